"""What one text says that another does not: the stretches to highlight where answers stand side by side.

Texts are compared sign by sign, where a number and a Latin word are one sign each, so that 38.5 and 39.5 differ as
wholes. The longest common stretch is taken first, then what lies before and after it (Ratcliff and Obershelp). A
common stretch of a single sign counts for nothing: 的 stands in every text. The page's script does the same; a test
compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_SIGN = re.compile(r"[0-9]+(?:\.[0-9]+)*|[A-Za-z]+|[\s\S]")
_SHORTEST = 2
LONGEST = 4000
"""Signs up to which texts are compared; of longer ones nothing is highlighted"""


def signs(text: str) -> list[str]:
    """A text in the units that are compared: numbers, Latin words, single characters. They join to the text again."""
    return _SIGN.findall(text)


def differences(text: str, other: str) -> list[tuple[str, bool]]:
    """Cut `text` into stretches: (stretch, whether `other` lacks it). They join to `text` again.

    Nothing is lacking if the two are equal, or if one of them has more than `LONGEST` signs.
    """
    ours, theirs = signs(text), signs(other)
    if text == other or max(len(ours), len(theirs)) > LONGEST:
        return [(text, False)] if text else []
    found: list[tuple[str, bool]] = []
    at = 0
    for start, size in _common(ours, theirs):
        found += [("".join(ours[at:start]), True), ("".join(ours[start : start + size]), False)]
        at = start + size
    found.append(("".join(ours[at:]), True))
    return [(stretch, lacking) for stretch, lacking in found if stretch]


def _common(ours: Sequence[str], theirs: Sequence[str]) -> Iterator[tuple[int, int]]:
    """(start in `ours`, signs) of the common stretches, in their order."""
    places: dict[str, list[int]] = {}
    for place, sign in enumerate(theirs):
        places.setdefault(sign, []).append(place)
    todo = [(0, len(ours), 0, len(theirs))]
    found = []
    while todo:
        low, high, other_low, other_high = todo.pop()
        start, other, size = _longest(ours, places, low, high, other_low, other_high)
        if size >= _SHORTEST:
            found.append((start, size))
            todo += [(low, start, other_low, other), (start + size, high, other + size, other_high)]
    yield from sorted(found)


def _longest(
    ours: Sequence[str], places: dict[str, list[int]], low: int, high: int, other_low: int, other_high: int
) -> tuple[int, int, int]:
    """(start in ours, start in theirs, signs) of the longest common stretch within bounds; the first of equal ones."""
    best = (low, other_low, 0)
    ending: dict[int, int] = {}  # place in theirs -> signs of the common stretch that ends there
    for place in range(low, high):
        longer: dict[int, int] = {}
        for other in places.get(ours[place], ()):
            if other_low <= other < other_high:
                size = longer[other] = ending.get(other - 1, 0) + 1
                if size > best[2]:
                    best = (place - size + 1, other - size + 1, size)
        ending = longer
    return best
