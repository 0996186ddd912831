"""PDF files: the text layer page by page, its columns in reading order, its tables as tables; scanned pages by OCR.

PDFium gives the characters with their boxes, pdfplumber the ruled tables. Tables with horizontal rules only, as
journals set them, are found by their rules. A page without a text layer is a scan and goes to `ocr.py`; pictures
beside text are figures and are not read.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pediatricsgpt.corpus.sources.assemble import document_records
from pediatricsgpt.corpus.sources.file import Result, SourceFile
from pediatricsgpt.corpus.sources.geometry import Piece, in_columns
from pediatricsgpt.corpus.sources.layout import Line, drop_running_heads, tidy
from pediatricsgpt.corpus.sources.ocr import ScannedPage, page_rejects, read_picture
from pediatricsgpt.corpus.sources.pdf_tables import Tables
from pediatricsgpt.corpus.sources.pdf_text import cut_at_gaps, text_pieces
from pediatricsgpt.errors import require_extra
from pediatricsgpt.records import Reject

_FEWEST_CHARACTERS = 20
"""A page with fewer, which may be its number, and a picture on it is a scan; so is a file with fewer in all"""
_DOTS_PER_INCH = 200
"""At which scans are read: 150 and 200 read clean type alike, small type needs the 200"""
_LONGEST_SIDE = 4000
_TAIL_BYTES = 2048
_NO_PAGES = re.compile(rb"/Count\s+0\b")
_A_PAGE = re.compile(rb"/Type\s*/Page\b")
_WHOLE_PAGE = 0.8
_FEWEST_PATHS = 3


@dataclass(slots=True)
class _Page(ScannedPage):
    """What was read of a page. `scan` is set where OCR read it."""

    scan: bool = False


def read_pdf(file: SourceFile) -> Result:
    """A PDF file. Pages that are scans are read by OCR where the source's `ocr` is `auto`; else they are rejects.

    Raises:
        UserError: it is no PDF file, it is encrypted or has no pages, nothing on them can be read, or the extra
            `documents` (for scans `ocr`) is missing.
    """
    data = file.data
    pages = _pages(file, data)
    characters = sum(len(line.text) for page in pages for line in page.lines)
    if characters < _FEWEST_CHARACTERS:
        raise file.error(_nothing_read(file, pages))
    rejects = [reject for number, page in enumerate(pages, 1) for reject in page_rejects(file, number, page)]
    if b"%%EOF" not in data[-_TAIL_BYTES:]:
        rejects.append(Reject("read", "cut off: the file's end is missing, pages may be too", file.name))
    lines = [line for page in drop_running_heads([page.lines for page in pages]) for line in page]
    scanned = [number for number, page in enumerate(pages, 1) if page.scan]
    records, empty = document_records(file, lines, paged=True, scanned=scanned)
    return records, rejects + empty


def _nothing_read(file: SourceFile, pages: Sequence[_Page]) -> str:
    reasons = [page.reject for page in pages if page.reject]
    if file.settings.ocr == "never" and reasons:
        return "no text layer: probably a scan; set ocr: auto to read it by OCR"
    return f"no text on any of {len(pages)} pages; the first: {reasons[0] if reasons else 'next to nothing on it'}"


def _pages(file: SourceFile, data: bytes) -> list[_Page]:
    try:
        import pypdfium2
    except ImportError as error:
        raise require_extra("documents", error) from error
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        raise file.error(_not_opened(data, str(error))) from error
    try:
        if not len(document):
            raise file.error("the PDF has no pages")
        tables = Tables(data)
        return [_page(file, document, number, tables) for number in range(1, len(document) + 1)]
    finally:
        document.close()


def _not_opened(data: bytes, error: str) -> str:
    if "assword" in error or b"/Encrypt" in data[-_TAIL_BYTES:]:
        return "the PDF is encrypted: save it without a password"
    if b"%PDF-" not in data[:1024]:
        return "not a PDF file"
    if _NO_PAGES.search(data) and not _A_PAGE.search(data):  # PDFium opens no such file
        return "the PDF has no pages"
    return "the PDF is damaged or cut off: no page can be read; fetch it again"


def _page(file: SourceFile, document: Any, number: int, tables: Tables) -> _Page:
    import pypdfium2

    try:
        page = document[number - 1]
        pieces = text_pieces(page)
    except pypdfium2.PdfiumError as error:
        return _Page(reject=f"damaged page: {error}")
    letters = sum(len(piece.text.strip()) for piece in pieces)
    if letters < _FEWEST_CHARACTERS and _is_picture(page, alone=not letters):
        return _scanned(file, page, number)
    if not letters:
        return _Page(reject="empty page: nothing is printed on it")
    found = _Page()
    if _may_hold_table(page):
        pieces, found.reject = tables.put_in(pieces, number)
    ordered = in_columns(cut_at_gaps(pieces)) or pieces
    found.lines = [line for piece in ordered for line in _lines_of(piece, number)]
    return found


def _lines_of(piece: Piece, page: int) -> Iterator[Line]:
    for row in piece.rows:
        yield Line(row, page=page, verbatim=True)
    if not piece.rows:
        yield Line(tidy(piece.text), page=page)


def _scanned(file: SourceFile, page: Any, number: int) -> _Page:
    if file.settings.ocr == "never":
        return _Page(reject="page without a text layer: a picture or a scan; ocr is set to never")
    width, height = page.get_size()
    scale = min(_DOTS_PER_INCH / 72, _LONGEST_SIDE / max(width, height))
    picture = page.render(scale=scale).to_numpy()
    scan = read_picture(picture)
    lines = [replace(line, page=number) for line in scan.lines]
    return _Page(lines, scan.reject, scan.unsure, scan.confidence, scan=True)


def _is_picture(page: Any, *, alone: bool) -> bool:
    """True of a page that is a picture: one over all of it, or, `alone` without any text, whatever is drawn there."""
    import pypdfium2.raw as pdfium

    if alone:
        return next(iter(page.get_objects(max_depth=4)), None) is not None
    width, height = page.get_size()
    boxes = [each.get_bounds() for each in page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_IMAGE], max_depth=4)]
    areas = [(right - left) * (top - bottom) for left, bottom, right, top in boxes]
    return bool(max(areas, default=0.0) >= _WHOLE_PAGE * width * height)


def _may_hold_table(page: Any) -> bool:
    import pypdfium2.raw as pdfium

    paths = page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_PATH], max_depth=4)
    return len(list(itertools.islice(paths, _FEWEST_PATHS))) == _FEWEST_PATHS
