"""Statistics of a corpus as a drawing: one SVG file of bars, with the reader's own fonts for Chinese labels."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_WIDTH, _ROW, _MARGIN, _TITLE = 460, 18, 16, 30
_LABEL, _LONG_LABEL = 150, 360
_NUMBER = 140
_COLUMNS = 2
_MOST, _MOST_REASONS = 10, 24
_SIGN = 6.6
"""Width of a Latin letter at this size, in pixels; a Chinese character is twice as wide"""
_BLUE = "#2a6fb0"
_LABELS = (("source", "Sources"), ("task", "Tasks"), ("department", "Departments"), ("age_band", "Age bands"))


@dataclass(frozen=True, slots=True)
class Panel:
    """Bars under a title; `width` of all and of the `label` column in pixels."""

    title: str
    bars: Sequence[tuple[str, int]]
    width: int = _WIDTH
    label: int = _LABEL

    @property
    def height(self) -> int:
        """With the room below it."""
        return _TITLE + len(self.bars) * _ROW + _MARGIN


def statistics_svg(counted: Mapping[str, Any]) -> str:
    """Bars of sources, tasks, departments, age bands and lengths of every set, and of what was dropped and why.

    Args:
        counted: what `statistics` gave.
    """
    return _page(list(_panels(counted)), _dropped(counted["rejects"]))


def _panels(counted: Mapping[str, Any]) -> Iterator[Panel]:
    for name, values in counted["sets"].items():
        for label, title in _LABELS:
            if values.get(label):
                yield Panel(f"{title}: {name}", _top(values[label], _MOST))
        if values.get("lengths"):
            yield Panel(f"Characters a row: {name}", list(values["lengths"].items()))


def _dropped(rejects: Mapping[str, Mapping[str, int]]) -> Panel | None:
    """Every reason of every step in one panel across the page: reasons are sentences."""
    reasons = {f"{step}: {reason}": number for step, found in rejects.items() for reason, number in found.items()}
    width = _COLUMNS * _WIDTH + _MARGIN
    return Panel("Dropped, by step and reason", _top(reasons, _MOST_REASONS), width, _LONG_LABEL) if reasons else None


def _top(values: Mapping[str, int], most: int) -> list[tuple[str, int]]:
    """The most frequent values; the rest in one bar, so that nothing is hidden."""
    ordered = sorted(values.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(number for _, number in ordered[most:])
    return ordered[:most] + ([(f"{len(ordered) - most} others", rest)] if rest else [])


def _page(panels: Sequence[Panel], last: Panel | None) -> str:
    """Each panel below the column that is the shortest so far, the last one across the page."""
    parts, ends = [], [_MARGIN] * _COLUMNS
    for panel in panels:
        column = ends.index(min(ends))
        parts += _panel(panel, _MARGIN + column * (_WIDTH + _MARGIN), ends[column])
        ends[column] += panel.height
    height = max(ends)
    if last:
        parts += _panel(last, _MARGIN, height)
        height += last.height
    width = _MARGIN + _COLUMNS * (_WIDTH + _MARGIN)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12" role="img" aria-label="Statistics of the corpus">'
    )
    return "\n".join([head, f'<rect width="{width}" height="{height}" fill="#fff"/>', *parts, "</svg>"]) + "\n"


def _panel(panel: Panel, left: int, top: int) -> list[str]:
    most, total = max(number for _, number in panel.bars), sum(number for _, number in panel.bars)
    room = panel.width - panel.label - _NUMBER
    parts = [_text(panel.title, left, top + 14, weight=600)]
    for place, (label, number) in enumerate(panel.bars):
        y = top + _TITLE + place * _ROW
        size = max(1, round(room * number / most)) if number else 0
        parts.append(_text(_fitting(label, panel.label - 10), left + panel.label - 6, y + 10, anchor="end", full=label))
        parts.append(f'<rect x="{left + panel.label}" y="{y}" width="{size}" height="12" rx="2" fill="{_BLUE}"/>')
        share = f"{number:,} ({100 * number / total:.1f} %)" if total else "0"
        parts.append(_text(share, left + panel.label + size + 5, y + 10))
    return parts


def _fitting(text: str, width: float) -> str:
    """As much of a text as fits into so many pixels."""
    used = 0.0
    for place, sign in enumerate(text):
        used += _SIGN if ord(sign) < 0x2E80 else 2 * _SIGN
        if used > width:
            return text[: max(1, place - 1)] + "…"
    return text


def _text(text: str, x: int, y: int, anchor: str = "start", weight: int = 400, full: str = "") -> str:
    """A line of text; where it was cut, the whole of it appears when it is pointed at."""
    whole = f"<title>{html.escape(full)}</title>" if full and full != text else ""
    written = f"{html.escape(text)}{whole}"
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-weight="{weight}" fill="#222">{written}</text>'
