"""Tables on the pages of a PDF file: ruled ones by pdfplumber, those with horizontal rules only by their rules."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from pediatricsgpt.corpus.sources.assemble import table_rows
from pediatricsgpt.corpus.sources.geometry import Piece, join_words, open_table
from pediatricsgpt.corpus.sources.layout import tidy
from pediatricsgpt.corpus.sources.pdf_text import put_tables
from pediatricsgpt.errors import require_extra

_FEWEST_CELLS = 4
_FILLED_SHARE = 0.4
_RULE_SHARE = 0.25


class Tables:
    """The tables of a file's pages; pdfplumber opens the file at the first page that may hold one."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._document: Any = None

    def put_in(self, pieces: Sequence[Piece], number: int) -> tuple[list[Piece], str]:
        """The pieces with each table in the place of its text, and why tables could not be looked for, else ''."""
        try:
            import pdfplumber
        except ImportError as error:
            raise require_extra("documents", error) from error
        try:
            if self._document is None:
                self._document = pdfplumber.open(io.BytesIO(self._data))
            page = self._document.pages[number - 1]
            if 2 * sum(character["upright"] for character in page.chars) < len(page.chars):
                return list(pieces), "tables not looked for: the text stands sideways; it is kept as lines"
            tables = _ruled_tables(page)
            tables += _open_tables(page, tables)
            page.close()
        except Exception as error:  # noqa: BLE001 - pdfminer raises anything on damaged files
            return list(pieces), f"tables not looked for: {type(error).__name__}; their text is kept as lines"
        return put_tables(pieces, tables), ""


def _ruled_tables(page: Any) -> list[Piece]:
    """Tables with lines around their cells."""
    found = []
    for table in page.find_tables():
        rows = [[_cell_text(cell) for cell in row] for row in table.extract()]
        rows = [row for row in rows if any(row)]
        filled = sum(map(bool, (cell for row in rows for cell in row)))
        columns = max(map(len, rows), default=0)
        if len(rows) < 2 or columns < 2 or filled < max(_FEWEST_CELLS, _FILLED_SHARE * len(rows) * columns):
            continue  # a frame around text, or the lines of a flowchart
        x0, top, x1, bottom = table.bbox
        box = (x0 - page.bbox[0], top - page.bbox[1], x1 - page.bbox[0], bottom - page.bbox[1])
        found.append(Piece("", *box, tuple(table_rows(rows))))
    return found


def _cell_text(cell: str | None) -> str:
    joined = ""
    for line in (cell or "").split("\n"):
        joined = join_words(joined, tidy(line))
    return joined


def _open_tables(page: Any, known: Sequence[Piece]) -> list[Piece]:
    """Tables between three or more rules of one width, without upright lines."""
    left, above = page.bbox[0], page.bbox[1]
    upright = [edge for edge in page.edges if edge["orientation"] == "v"]
    rules: dict[tuple[int, int], list[float]] = {}
    for edge in page.edges:
        if edge["orientation"] == "h" and edge["x1"] - edge["x0"] >= _RULE_SHARE * page.width:
            rules.setdefault((round(edge["x0"] / 4), round(edge["x1"] / 4)), []).append(edge["top"])
    found = []
    for (start, end), heights in sorted(rules.items()):
        tops = sorted({round(height) for height in heights})
        box = (start * 4 - 4, tops[0] - 2, end * 4 + 4, tops[-1] + 2)
        shown = (box[0] - left, box[1] - above, box[2] - left, box[3] - above)
        if len(tops) < 3 or any(_overlap(shown, piece) for piece in known):
            continue
        if any(box[0] < edge["x0"] < box[2] and edge["bottom"] > box[1] and edge["top"] < box[3] for edge in upright):
            continue
        words = [
            Piece(tidy(word["text"]), word["x0"] - left, word["top"] - above, word["x1"] - left, word["bottom"] - above)
            for word in page.extract_words(x_tolerance=2)
            if box[0] <= (word["x0"] + word["x1"]) / 2 <= box[2]
            and box[1] <= (word["top"] + word["bottom"]) / 2 <= box[3]
        ]
        rows = open_table(words)
        found += [Piece("", *shown, rows)] if rows else []
    return found


def _overlap(box: tuple[float, float, float, float], piece: Piece) -> bool:
    return box[0] < piece.x1 and piece.x0 < box[2] and box[1] < piece.bottom and piece.top < box[3]
