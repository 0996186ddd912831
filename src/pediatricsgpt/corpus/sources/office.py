"""Word and Excel files; headings by style and tables survive as Markdown."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree
from xml.parsers.expat import ExpatError

from pediatricsgpt.corpus.sources.assemble import Within, document_records, table_rows
from pediatricsgpt.corpus.sources.file import Result, SourceFile
from pediatricsgpt.corpus.sources.layout import Line
from pediatricsgpt.errors import require_extra

# A real document is a few times its archive; thousand-fold ones are made to fill the memory.
_UNPACKED_BYTES = 1 << 30
_BODY = "word/document.xml"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def read_docx(file: SourceFile) -> Result:
    """A Word document; its headings and tables survive as Markdown.

    Raises:
        UserError: it is no DOCX file, it is damaged or holds no text, or the extra `documents` is not installed.
    """
    from pediatricsgpt.corpus.sources.markup import plain_lines, to_markdown

    try:
        import mammoth
        import markitdown  # noqa: F401
        from markitdown.converter_utils.docx.pre_process import pre_process_docx
    except ImportError as error:
        raise require_extra("documents", error) from error
    check_archive(file, _BODY, "a DOCX file; an old .doc or a document with a password")
    data = file.data
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            ElementTree.fromstring(archive.read(_BODY))  # the converter would leave out what follows a fault
        page = mammoth.convert_to_html(pre_process_docx(io.BytesIO(data))).value
    except (zipfile.BadZipFile, ValueError, KeyError, AttributeError, SyntaxError, ExpatError) as error:
        raise file.error(f"the DOCX file is damaged: {error}") from error
    lines = plain_lines(to_markdown(page))
    if not any(line.text for line in lines):
        raise file.error("the document holds no text")
    return document_records(file, lines, within=Within("paragraph {line}"))


def check_archive(file: SourceFile, member: str, what: str) -> None:
    """Check that a file is an intact archive with a member, and no bomb.

    Raises:
        UserError: it is not.
    """
    problem = f"not {what} has to be saved as .docx first" if "DOCX" in what else f"not {what}"
    data = file.data
    if data.startswith(_OLE):
        raise file.error(problem)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            size = sum(entry.file_size for entry in archive.infolist())
            damaged = archive.testzip() if member in names and size <= _UNPACKED_BYTES else None
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, OSError, zlib.error) as error:
        raise file.error(f"the archive is damaged or cut off: {error}" if data[:2] == b"PK" else problem) from error
    if size > _UNPACKED_BYTES:
        raise file.error(f"the archive unpacks to {size} bytes; more than {_UNPACKED_BYTES} are no document")
    if damaged:
        raise file.error(f"the archive is damaged: {damaged} does not unpack")
    if member not in names:
        raise file.error(problem)


def read_xlsx(file: SourceFile) -> Result:
    """An Excel file: every sheet is a section with one table, blank rows and columns left out.

    Raises:
        UserError: it is no XLSX file, it is damaged or holds no text, or the extra `documents` is not installed.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise require_extra("documents", error) from error
    check_archive(file, "xl/workbook.xml", "an XLSX file; save it as .xlsx without a password")
    try:
        book = openpyxl.load_workbook(io.BytesIO(file.data), read_only=True, data_only=True)
        sheets = [(sheet.title, list(sheet.iter_rows(values_only=True))) for sheet in book.worksheets]
    except (KeyError, ValueError, TypeError, AttributeError, OSError) as error:
        raise file.error(f"the XLSX file is damaged: {error}") from error
    lines = [line for number, (name, rows) in enumerate(sheets, 1) for line in _sheet_lines(name, rows, number)]
    if not lines:
        raise file.error("the file holds no text")
    return document_records(file, lines, file.path.stem, within=Within("sheet {page}, row {line}"))


def _sheet_lines(name: str, rows: Sequence[Sequence[Any]], sheet: int) -> list[Line]:
    texts = [["" if cell is None else " ".join(str(cell).split()) for cell in row] for row in rows]
    filled = [(number, row) for number, row in enumerate(texts, 1) if any(row)]
    columns = [
        place
        for place in range(max(map(len, texts), default=0))
        if any(row[place : place + 1] != [""] and row[place:] for _, row in filled)
    ]
    if not filled:
        return []
    numbers = [filled[0][0], filled[0][0], *(number for number, _ in filled[1:])]
    table = table_rows([[row[place] if place < len(row) else "" for place in columns] for _, row in filled])
    head = Line(f"# {name}", filled[0][0], sheet)
    return [head, *(Line(text, number, sheet, True) for number, text in zip(numbers, table, strict=True))]
