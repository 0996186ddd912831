"""Statistics of a corpus as a drawing: one SVG file of bars, with the reader's own fonts for Chinese labels."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_WIDTH, _ROW, _LABEL, _MARGIN, _TITLE = 460, 18, 170, 16, 30
_COLUMNS = 2
_MOST = 14
_BLUE = "#2a6fb0"
_LABELS = (("source", "Sources"), ("task", "Tasks"), ("department", "Departments"), ("age_band", "Age bands"))

Bars = tuple[str, Sequence[tuple[str, int]]]


def statistics_svg(counted: Mapping[str, Any]) -> str:
    """Bars of sources, tasks, departments, age bands and lengths of every set, and of what was dropped and why.

    Args:
        counted: what `statistics` gave.
    """
    return _page(list(_panels(counted)))


def _panels(counted: Mapping[str, Any]) -> Iterator[Bars]:
    for name, values in counted["sets"].items():
        for label, title in _LABELS:
            if values.get(label):
                yield f"{title}: {name}", _top(values[label])
        if values.get("lengths"):
            yield f"Characters a row: {name}", list(values["lengths"].items())
    for step, reasons in counted["rejects"].items():
        if reasons:
            yield f"Dropped by {step}", _top(reasons)


def _top(values: Mapping[str, int]) -> list[tuple[str, int]]:
    """The most frequent values; the rest in one bar, so that nothing is hidden."""
    ordered = sorted(values.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(number for _, number in ordered[_MOST:])
    return ordered[:_MOST] + ([(f"{len(ordered) - _MOST} others", rest)] if rest else [])


def _page(panels: Sequence[Bars]) -> str:
    rows = [panels[start : start + _COLUMNS] for start in range(0, len(panels), _COLUMNS)]
    parts, top = [], _MARGIN
    for row in rows:
        for column, panel in enumerate(row):
            parts += _panel(panel, _MARGIN + column * (_WIDTH + _MARGIN), top)
        top += max(_height(panel) for panel in row)
    width = _MARGIN + _COLUMNS * (_WIDTH + _MARGIN)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" width="{width}" height="{top}" '
        'font-family="sans-serif" font-size="12" role="img" aria-label="Statistics of the corpus">'
    )
    return "\n".join([head, f'<rect width="{width}" height="{top}" fill="#fff"/>', *parts, "</svg>"]) + "\n"


def _height(panel: Bars) -> int:
    return _TITLE + len(panel[1]) * _ROW + _MARGIN


def _panel(panel: Bars, left: int, top: int) -> list[str]:
    title, bars = panel
    most, total = max(number for _, number in bars), sum(number for _, number in bars)
    room = _WIDTH - _LABEL - 110
    parts = [_text(title, left, top + 14, weight=600)]
    for place, (label, number) in enumerate(bars):
        y = top + _TITLE + place * _ROW
        size = max(1, round(room * number / most)) if number else 0
        shown = label if len(label) <= 24 else label[:23] + "…"
        parts.append(_text(shown, left + _LABEL - 6, y + 10, anchor="end"))
        parts.append(f'<rect x="{left + _LABEL}" y="{y}" width="{size}" height="12" rx="2" fill="{_BLUE}"/>')
        share = f"{number:,} ({100 * number / total:.1f} %)" if total else "0"
        parts.append(_text(share, left + _LABEL + size + 5, y + 10))
    return parts


def _text(text: str, x: int, y: int, anchor: str = "start", weight: int = 400) -> str:
    escaped = html.escape(text)
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-weight="{weight}" fill="#222">{escaped}</text>'
