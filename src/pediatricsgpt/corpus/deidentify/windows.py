"""The parts of a text in which a search is worth its time."""

from __future__ import annotations

import re


def windows(seed: re.Pattern[str], text: str, before: int, after: int) -> list[tuple[int, int]]:
    """(start, end) of the surroundings of every seed, `before` and `after` characters wide, joined where they touch."""
    found: list[tuple[int, int]] = []
    for match in seed.finditer(text):
        start, end = max(0, match.start() - before), min(len(text), match.end() + after)
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found
