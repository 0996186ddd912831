"""Textbooks, guidelines and other texts: which reader takes which file; JSON, Markdown and plain text are read here.

PDF is in `pdf.py`, images and scans in `ocr.py`, web pages and EPUB in `markup.py`, Word and Excel in `office.py`,
the classical textbooks in `classical.py`; what they have in common, from lines to records, in `assemble.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pediatricsgpt.corpus.sources import classical
from pediatricsgpt.corpus.sources.assemble import (
    LINE_CHARACTERS,
    Within,
    clean_title,
    document_records,
    markdown_lines,
    section_results,
    text_lines,
)
from pediatricsgpt.corpus.sources.file import Result, SourceFile
from pediatricsgpt.corpus.sources.layout import Line
from pediatricsgpt.corpus.sources.markup import read_epub, read_html
from pediatricsgpt.corpus.sources.ocr import read_image
from pediatricsgpt.corpus.sources.office import read_docx, read_xlsx
from pediatricsgpt.corpus.sources.pdf import read_pdf
from pediatricsgpt.corpus.sources.rows import RowError, json_rows, reject_row
from pediatricsgpt.records import Record, Reject
from pediatricsgpt.text import Decoded, decode_lines

_LINE_BYTES = 4 * LINE_CHARACTERS
_SHOWN = 200
_OTHER_KINDS = {
    b"%pdf-": "a PDF file (.pdf)",
    b"pk\x03\x04": "an archive (.docx, .xlsx or .epub)",
    b"\xd0\xcf\x11\xe0": "an old Office file (save it as .docx or .xlsx)",
    b"\x89png": "an image (.png)",
    b"\xff\xd8\xff": "an image (.jpg)",
    b"<!doctype html": "a web page (.html)",
    b"<html": "a web page (.html)",
}


def read_json(file: SourceFile) -> Result:
    """Documents of a JSON file: an object, an array or JSON lines of `title` and `content` (`url` and `year` unused).

    Raises:
        UserError: the file is no JSON, or its encoding is unknown.
    """
    rows, rejects = json_rows(file)
    records: list[Record] = []
    for row in rows:
        try:
            title, content = _title_and_content(row.value)
        except RowError as error:
            rejects.append(reject_row(file, row, str(error)))
            continue
        within = Within("line {line} of content", row)
        found, empty = document_records(file, text_lines(content), clean_title(title), within=within)
        if not found and not empty:
            rejects.append(reject_row(file, row, "nothing but a title"))
            continue
        file.rows.used += 1
        records += found
        rejects += empty
    return records, rejects


def _title_and_content(value: Any) -> tuple[str, str]:
    title, content = (value.get("title"), value.get("content")) if isinstance(value, dict) else (None, None)
    if not isinstance(title, str) or not isinstance(content, str):
        raise RowError("unknown shape: a document is an object with title and content")
    if not content.strip():
        raise RowError("empty document: content")
    return title, content


def read_text(file: SourceFile) -> Result:
    """A plain text file; one with the mark-up of classical textbooks is read as such.

    A line that no encoding fits, or of more than 4 MB, is a reject; the others are read.

    Raises:
        UserError: no encoding fits the file.
    """
    decoded, rejects = _decoded(file)
    if classical.is_classical(decoded.text):
        book, chapters = classical.read_book(decoded.text)
        records, empty = section_results(file, book or file.path.stem, chapters)
    else:
        records, empty = document_records(file, text_lines(decoded.text))
    return records, rejects + empty


def read_markdown(file: SourceFile) -> Result:
    """A Markdown file: its headings are the sections, its tables and fenced code stay as they are.

    Raises:
        UserError: no encoding fits the file.
    """
    decoded, rejects = _decoded(file)
    records, empty = document_records(file, _without_front_matter(markdown_lines(decoded.text)))
    return records, rejects + empty


def _without_front_matter(lines: Sequence[Line]) -> list[Line]:
    if not lines or lines[0].text != "---":
        return list(lines)
    end = next((place for place, line in enumerate(lines[1:], 1) if line.text == "---"), 0)
    return list(lines[end + 1 :]) if end else list(lines)


def _decoded(file: SourceFile) -> tuple[Decoded, list[Reject]]:
    """The text of a file and rejects of the lines that cannot be in it.

    Raises:
        UserError: no encoding fits the file, or nothing is left of it.
    """
    data, rejects = _without_endless_lines(file)
    kind = next((name for start, name in _OTHER_KINDS.items() if data.lstrip()[:64].lower().startswith(start)), None)
    if kind is not None:
        raise file.error(f"this is no text but {kind}: give the file its own extension")
    try:
        decoded = decode_lines(data)
    except ValueError as error:
        raise file.error(str(error)) from error
    file.encodings[decoded.encoding.removesuffix("-sig")] += 1
    rejects += [
        Reject("read", f"unknown encoding: a line that is not {decoded.encoding}", f"{file.name}:{number}", repr(line))
        for number, line in decoded.broken
    ]
    if not decoded.text.strip():
        raise file.error(f"nothing in it can be read: {rejects[0].reason}" if rejects else "the file is empty")
    return decoded, rejects


def _without_endless_lines(file: SourceFile) -> tuple[bytes, list[Reject]]:
    """The bytes with endless lines made empty: a line of 200 MB would be decoded and copied a dozen times."""
    data, rejects = file.data, []
    if len(data) <= _LINE_BYTES or data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data[:_LINE_BYTES]:
        return data, []
    kept: list[bytes] = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if len(line) > _LINE_BYTES:
            reason = f"line too long: {len(line)} bytes; a line of text has at most {_LINE_BYTES}"
            rejects.append(Reject("read", reason, f"{file.name}:{number}", repr(line[:_SHOWN])))
            line = b""
        kept.append(line)
    return b"\n".join(kept), rejects


READERS: Mapping[str, Callable[[SourceFile], Result]] = {
    ".json": read_json,
    ".jsonl": read_json,
    ".pdf": read_pdf,
    ".docx": read_docx,
    ".xlsx": read_xlsx,
    ".html": read_html,
    ".htm": read_html,
    ".xhtml": read_html,
    ".epub": read_epub,
    ".md": read_markdown,
    ".markdown": read_markdown,
    ".txt": read_text,
    ".png": read_image,
    ".jpg": read_image,
    ".jpeg": read_image,
    ".tif": read_image,
    ".tiff": read_image,
}
"""The readers of documents, by extension."""
