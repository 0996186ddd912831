"""The text layer of a PDF page: lines with the boxes of their characters, as PDFium gives them."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pediatricsgpt.corpus.sources.geometry import Piece

_WIDE_GAP = 1.2  # of the height of a line: between columns, never between words


@dataclass(frozen=True, slots=True)
class _Character:
    text: str
    x0: float
    top: float
    x1: float
    bottom: float


def text_pieces(page: Any) -> list[Piece]:
    """The lines of the text layer as PDFium breaks them, in the order of the file, with their boxes."""
    found: list[Piece] = []
    for line in _character_lines(page):
        placed = [each for each in line if each.x1 > each.x0]
        if placed:
            found.append(LinePiece.of(line, placed))
    return found


@dataclass(frozen=True, slots=True)
class LinePiece(Piece):
    """A line that can still be cut: it has its characters."""

    characters: tuple[_Character, ...] = ()

    @classmethod
    def of(cls, line: Sequence[_Character], placed: Sequence[_Character] = ()) -> LinePiece:
        placed = placed or [each for each in line if each.x1 > each.x0] or list(line)
        return cls(
            _without_soft_hyphens("".join(each.text for each in line)),
            min(each.x0 for each in placed),
            min(each.top for each in placed),
            max(each.x1 for each in placed),
            max(each.bottom for each in placed),
            (),
            tuple(line),
        )


def _without_soft_hyphens(text: str) -> str:
    """PDFium writes U+FFFE where a hyphen ended a line: inside a word it goes, elsewhere (`IL-6`) it is a hyphen."""
    return re.sub("(?<=[a-z])\ufffe(?=[a-z])", "", text).replace("\ufffe", "-")


def _character_lines(page: Any) -> Iterator[list[_Character]]:
    """The characters of each line. PDFium counts the line breaks and spaces that it adds; those have no box."""
    import pypdfium2.raw as pdfium

    textpage = page.get_textpage()
    shown = _Shown(page)
    edges = [ctypes.c_double() for _ in range(4)]
    line: list[_Character] = []
    for place in range(textpage.count_chars()):
        code = pdfium.FPDFText_GetUnicode(textpage, place)
        if code in (10, 13):
            if line:
                yield line
            line = []
            continue
        pdfium.FPDFText_GetCharBox(textpage, place, *edges)
        left, right, bottom, top = (edge.value for edge in edges)
        # PDFium says 2 for the hyphen that its text shows as U+FFFE.
        text = "\ufffe" if code == 2 else chr(code) if 0 < code < 0x110000 else ""
        line.append(_Character(text, *shown.box(left, bottom, right, top)))
    if line:
        yield line


class _Shown:
    """From PDF coordinates (origin below, page not turned) to those of the page as it is shown."""

    def __init__(self, page: Any) -> None:
        left, bottom, right, top = page.get_cropbox()
        self.origin, self.size = (left, bottom), (right - left, top - bottom)
        self.rotation = page.get_rotation() % 360

    def box(self, left: float, bottom: float, right: float, top: float) -> tuple[float, float, float, float]:
        width, height = self.size
        x0, x1 = left - self.origin[0], right - self.origin[0]
        y0, y1 = bottom - self.origin[1], top - self.origin[1]
        if self.rotation == 90:
            return y0, x0, y1, x1
        if self.rotation == 180:
            return width - x1, y0, width - x0, y1
        if self.rotation == 270:
            return height - y1, width - x1, height - y0, width - x0
        return x0, height - y1, x1, height - y0


def cut_at_gaps(pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces, lines cut where a gap is wider than any between words: PDFium runs columns together."""
    found: list[Piece] = []
    for piece in pieces:
        if not isinstance(piece, LinePiece):
            found.append(piece)
            continue
        part: list[_Character] = []
        end = piece.x0
        for character in piece.characters:
            placed = character.x1 > character.x0
            if placed and part and character.x0 - end > _WIDE_GAP * piece.height:
                found.append(LinePiece.of(part))
                part = []
            part.append(character)
            end = max(end, character.x1) if placed else end
        found += [LinePiece.of(part)] if part else []
    return [piece for piece in found if piece.rows or piece.text.strip()]


def put_tables(pieces: Sequence[Piece], tables: Sequence[Piece]) -> list[Piece]:
    """The pieces without the characters inside the tables, each table where the first of them was."""
    found: list[Piece] = []
    placed: set[int] = set()
    for piece in pieces:
        kept: list[_Character] = []
        for character in piece.characters if isinstance(piece, LinePiece) else ():
            inside = next((place for place, table in enumerate(tables) if _holds(table, character)), None)
            if inside is None:
                kept.append(character)
            elif inside not in placed:
                placed.add(inside)
                found += [LinePiece.of(kept)] if "".join(each.text for each in kept).strip() else []
                kept = []
                found.append(tables[inside])
        found += [LinePiece.of(kept)] if "".join(each.text for each in kept).strip() else []
    return found


def _holds(table: Piece, character: _Character) -> bool:
    x, y = (character.x0 + character.x1) / 2, (character.top + character.bottom) / 2
    return table.x0 <= x <= table.x1 and table.top <= y <= table.bottom
