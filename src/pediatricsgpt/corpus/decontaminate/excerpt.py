"""What two texts have in common, for a reader of the leakage report."""

from __future__ import annotations

_LONGEST = 120


def excerpt(text: str, target: str) -> str:
    """The longest stretch of `target` that stands in `text`, the first one of several; cut at 120 characters."""
    best, start, length = "", 0, 0
    while start + length < len(target):
        if target[start : start + length + 1] in text:
            length += 1
            best = target[start : start + length]
        else:
            start += 1
    return best if len(best) <= _LONGEST else f"{best[:_LONGEST]}…"
