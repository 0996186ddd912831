"""Where the pieces of a page stand, and in which order they are read: columns, tables without lines.

Pure functions over boxes; the pieces come from the text layer of a PDF page or from OCR. Units are the page's own
(points or pixels), the origin is its upper left corner.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from pediatricsgpt.corpus.sources.assemble import table_rows

_GUTTER = (0.3, 0.7)  # where on the page's text the gap between two columns may lie
_FEWEST = 5
_FULL_SHARE, _FULL_WIDTH = 0.5, 0.65
_SPANNING_SHARE = 0.4


@dataclass(frozen=True, slots=True)
class Piece:
    """A line of text, or a table, and its box. `rows` are the lines of a table in Markdown."""

    text: str
    x0: float
    top: float
    x1: float
    bottom: float
    rows: tuple[str, ...] = ()

    @property
    def height(self) -> float:
        """Of the box."""
        return self.bottom - self.top

    @property
    def middle(self) -> float:
        """The height at which it stands."""
        return (self.top + self.bottom) / 2


def in_columns(pieces: Sequence[Piece]) -> list[Piece] | None:
    """The pieces of a page that is set in two columns, in the order of reading; None of any other page.

    What crosses the gap between the columns (a title, a wide table) stands between what is above and below it; in
    between the left column comes before the right one. Two columns of short entries are no columns of text.
    """
    gap = _gutter(pieces)
    if gap is None:
        return None
    across = sorted((piece for piece in pieces if piece.x0 < gap < piece.x1), key=lambda piece: piece.top)
    found: list[Piece] = []
    left = [piece for piece in pieces if piece.x1 <= gap]
    right = [piece for piece in pieces if piece.x0 >= gap]
    above = float("-inf")
    for bound in [*(piece.middle for piece in across), float("inf")]:
        for column in (left, right):
            inside = [piece for piece in column if above <= piece.middle < bound]
            found += sorted(inside, key=lambda piece: piece.middle)
        found += [piece for piece in across if piece.middle == bound and piece not in found]
        above = bound
    return found


def _gutter(pieces: Sequence[Piece]) -> float | None:
    """The horizontal place of the gap between two columns of text."""
    if len(pieces) < 2 * _FEWEST:
        return None
    left, right = min(piece.x0 for piece in pieces), max(piece.x1 for piece in pieces)
    low, high = (left + share * (right - left) for share in _GUTTER)
    places = {piece.x1 + 0.1 for piece in pieces if low <= piece.x1 <= high}
    best = min(places, key=lambda place: (_crossing(pieces, place), place), default=None)
    if best is None:
        return None
    columns = [[p for p in pieces if p.x1 <= best], [p for p in pieces if p.x0 >= best]]
    total = sum(piece.x1 - piece.x0 for piece in pieces)
    if _crossing(pieces, best) > _SPANNING_SHARE * total or not all(map(_is_column, columns)):
        return None
    return (max(piece.x1 for piece in columns[0]) + min(piece.x0 for piece in columns[1])) / 2


def _crossing(pieces: Sequence[Piece], place: float) -> float:
    return sum(piece.x1 - piece.x0 for piece in pieces if piece.x0 < place < piece.x1)


def _is_column(pieces: Sequence[Piece]) -> bool:
    """True where at least half of the pieces fill the column, as the lines of a paragraph do."""
    if len(pieces) < _FEWEST:
        return False
    width = max(piece.x1 for piece in pieces) - min(piece.x0 for piece in pieces)
    full = sum(piece.x1 - piece.x0 >= _FULL_WIDTH * width for piece in pieces)
    return full >= _FULL_SHARE * len(pieces)


def in_rows(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Pieces that stand beside each other, row by row from the top, each row from the left."""
    rows: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda each: each.middle):
        if rows:
            near = statistics.mean(each.middle for each in rows[-1])
            if abs(piece.middle - near) <= 0.5 * min(piece.height, *(each.height for each in rows[-1])):
                rows[-1].append(piece)
                continue
        rows.append([piece])
    return [sorted(row, key=lambda piece: piece.x0) for row in rows]


def open_table(words: Sequence[Piece]) -> tuple[str, ...]:
    """A table without upright lines, as Markdown; () where its words stand in fewer than two columns or rows.

    Columns are parted by gaps that no word crosses. A row without a word in its first column goes on in the cells
    above it, unless it has as many cells as that: then it is a row under a tall cell.
    """
    bounds = _column_bounds(words)
    if len(bounds) < 2:
        return ()
    rows: list[list[str]] = []
    for row in in_rows(words):
        cells = ["" for _ in bounds]
        for word in row:
            place = next(number for number, (_, end) in enumerate(bounds) if word.x0 < end)
            cells[place] = join_words(cells[place], word.text)
        before = rows[-1] if rows else []
        if before and not cells[0] and sum(map(bool, cells)) < sum(map(bool, before)):
            rows[-1] = [join_words(above, cell) for above, cell in zip(before, cells, strict=True)]
        else:
            rows.append(cells)
    return tuple(table_rows(rows)) if len(rows) >= 2 else ()


def _column_bounds(words: Sequence[Piece]) -> list[tuple[float, float]]:
    """Left and right of each column."""
    narrowest = 0.6 * statistics.median(word.height for word in words) if words else 0.0
    bounds: list[tuple[float, float]] = []
    for word in sorted(words, key=lambda each: each.x0):
        if bounds and word.x0 - bounds[-1][1] < narrowest:
            bounds[-1] = (bounds[-1][0], max(bounds[-1][1], word.x1))
        else:
            bounds.append((word.x0, word.x1))
    return bounds


def join_words(before: str, after: str) -> str:
    """Two words or lines of a cell as one: a space only between ASCII ones."""
    if not before or not after:
        return before + after
    return f"{before} {after}" if before[-1].isascii() and after[0].isascii() else before + after
