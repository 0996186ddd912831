"""Textbooks, guidelines and other texts: JSON, PDF, DOCX, Markdown, plain text, and the classical textbooks.

One record per deepest section; its title is the document's title and the headings down to it. A printed heading keeps
its number (`（二）传播途径`). Sections of more than 1,500 characters come in
parts with the same title. The group is the document, named by its title without `关于印发…的通知`, so that the same
guideline as JSON, PDF and DOCX is one group; its edition belongs to the name.

Locators: the line in text files, the page in PDF files. What has no lines of its own says it behind the section's
name: in JSON `(line 12 of content)`, `line` being where the object begins in the file; in DOCX `(paragraph 12)`, blank
paragraphs not counted and each row of a table being one.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pediatricsgpt.corpus.sources import classical
from pediatricsgpt.corpus.sources.file import Result, SourceFile
from pediatricsgpt.corpus.sources.layout import (
    Line,
    drop_blank_lines,
    drop_page_numbers,
    drop_running_heads,
    drop_web_foot,
    take_contents,
    tidy,
)
from pediatricsgpt.corpus.sources.rows import Row, RowError, json_rows, reject_row
from pediatricsgpt.corpus.sources.structure import Section, marked_heading, parts, rejoin, sections, setting
from pediatricsgpt.errors import require_extra
from pediatricsgpt.records import Locator, Record, Reject
from pediatricsgpt.text import key

_NOTICE = re.compile(r"^.{0,40}?关于(?:印发|发布|公布)|的?通知$")
_NOT_TITLE = re.compile(r"[。；！？，：]")
_TITLE_LENGTH = 60
_APPENDIX_LINE = re.compile(r"附\s*[件录]\s*\d*")
_EDITION_LINE = re.compile(r"[（(][^（）()]{2,16}[）)]")
_DATE_LINE = re.compile(r"\d{4}\s*年\s*\d{1,2}\s*月(?:\s*\d{1,2}\s*日)?")
_MARKDOWN_TITLE = re.compile(r"#\s+(.+)")
_EDITION_AT_END = re.compile(r"[（(][^（）()]{2,16}[）)]$")
_TITLE_END = re.compile(r"(?:通知|规范|指南|方案|共识|意见|标准|手册|教程|学|[版稿][）)])$")
_LEADING_LINES = 8
_MIN_TITLE_KEY = 6
_MIN_TEXT = 20


@dataclass(frozen=True, slots=True)
class _Within:
    """Lines that are none of the file: what to call them, and the row of the file in which they stand."""

    unit: str
    row: Row | None = None


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
        within = _Within("line {} of content", row)
        found, empty = _records(file, _lines(content), clean_title(title), within=within)
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
    """A plain text or Markdown file; one with the mark-up of classical textbooks is read as such.

    Raises:
        UserError: the encoding is unknown.
    """
    text = file.text()
    if classical.is_classical(text):
        book, chapters = classical.read_book(text)
        return _section_results(file, book or file.path.stem, chapters)
    return _records(file, _lines(text))


def read_docx(file: SourceFile) -> Result:
    """A Word document; its headings and tables survive as Markdown.

    Raises:
        UserError: it is no DOCX file, it holds no text, or the extra `documents` is not installed.
    """
    try:
        from markitdown import MarkItDown, MarkItDownException, MissingDependencyException
    except ImportError as error:
        raise require_extra("documents", error) from error
    if not _is_docx(file.data):
        raise file.error("not a DOCX file; an old .doc or a document with a password has to be saved as .docx first")
    try:
        text = MarkItDown().convert_stream(io.BytesIO(file.data), file_extension=".docx").markdown
    except MissingDependencyException as error:
        raise require_extra("documents", ImportError(name="mammoth")) from error
    except MarkItDownException as error:
        raise file.error("the DOCX file is damaged") from error
    lines: list[Line] = []
    number = 0
    for line in map(tidy, text.split("\n")):
        number += bool(line)
        lines.append(Line(line, max(1, number)))
    if not number:
        raise file.error("the document holds no text")
    return _records(file, lines, within=_Within("paragraph {}"))


def _is_docx(data: bytes) -> bool:
    """True of a Word document; the converter would take anything else for plain text or an archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return "word/document.xml" in archive.namelist()
    except zipfile.BadZipFile:
        return False


def read_pdf(file: SourceFile) -> Result:
    """The text layer of a PDF file. A page without text, in a file that has some, is a reject.

    Raises:
        UserError: it is no PDF file, it is encrypted, no page has a text layer, or the extra `documents` is missing.
    """
    pages = [[Line(tidy(line), page=number) for line in page] for number, page in enumerate(_pdf_pages(file), 1)]
    silent = [number for number, page in enumerate(pages, 1) if not any(line.text for line in page)]
    characters = sum(len(line.text) for page in pages for line in page)
    if characters < _MIN_TEXT:
        raise file.error("no text layer: probably a scan, and OCR is not available yet in this version")
    rejects = [
        Reject("read", "page without a text layer: a picture or a scan", f"{file.name}, page {number}")
        for number in silent
    ]
    lines = [line for page in drop_running_heads(pages) for line in page]
    records, empty = _records(file, lines, paged=True)
    return records, rejects + empty


def _pdf_pages(file: SourceFile) -> list[list[str]]:
    try:
        import pypdfium2
    except ImportError as error:
        raise require_extra("documents", error) from error
    try:
        document = pypdfium2.PdfDocument(file.data)
    except pypdfium2.PdfiumError as error:
        problem = "the PDF is encrypted: save it without a password" if "assword" in str(error) else "not a PDF file"
        raise file.error(problem) from error
    try:
        texts = [page.get_textpage().get_text_range() for page in document]
    finally:
        document.close()
    return [re.split(r"\r\n|\r|\n", _without_soft_hyphens(text)) for text in texts]


def _without_soft_hyphens(text: str) -> str:
    """PDFium writes U+FFFE where a hyphen ended a line: inside a word it goes, elsewhere (`IL-6`) it is a hyphen."""
    return re.sub("(?<=[a-z])\ufffe(?=[a-z])", "", text).replace("\ufffe", "-")


def _lines(text: str) -> list[Line]:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return [Line(tidy(line), number) for number, line in enumerate(text.split("\n"), 1)]


def _records(
    file: SourceFile, lines: Sequence[Line], title: str = "", *, paged: bool = False, within: _Within | None = None
) -> Result:
    """Records and rejects of one document. `paged` lines are free of page numbers already."""
    body = drop_web_foot(lines)
    body = drop_blank_lines(body if paged else drop_page_numbers(body))
    body, contents = take_contents(body)
    title, body = take_title(body, title or file.path.stem, known=bool(title))
    return _section_results(file, title, sections(rejoin(body, contents)), within)


def _section_results(file: SourceFile, title: str, found: Sequence[Section], within: _Within | None = None) -> Result:
    records: list[Record] = []
    rejects: list[Reject] = []
    for section in found:
        if section.paragraphs:
            records += _section_records(file, title, section, within)
        else:
            where = f"{file.name}, {_locator(section.start, '', within)}"
            rejects.append(
                Reject("read", "heading without text: a figure or a table in its place", where, section.path)
            )
    return records, rejects


def _section_records(file: SourceFile, title: str, section: Section, within: _Within | None = None) -> list[Record]:
    """The records of a section: one, or one for each part of a long section."""
    records = []
    group = document_group(title)
    heading = " / ".join(section.path)
    for number, (start, text) in enumerate(parts(section), 1):
        name = f"{heading} ({number})".strip() if number > 1 else heading
        locator = _locator(start, name, within)
        records.append(file.record(group=group, locator=locator, text=text, title=[title, *section.path]))
    return records


def _locator(start: Line, name: str, within: _Within | None) -> Locator:
    """Where a section begins: `line` is a line of the file; what is none stands behind the section's name."""
    if within is None:
        return Locator(start.page, start.line, None, name or None)
    place = within.unit.format(start.line)
    section = f"{name} ({place})" if name else place
    return Locator(None, within.row.line if within.row else None, within.row.number if within.row else None, section)


def document_group(title: str) -> str:
    """The group of a document, from its title."""
    return f"document:{key(title) or title}"


def clean_title(title: str) -> str:
    """A title without the words of the notice that it was published with, and without quotation marks."""
    title = _NOTICE.sub("", tidy(title)).strip()
    return re.sub("[《》]", "", _NOTICE.sub("", title)).strip()


def take_title(lines: Sequence[Line], title: str, *, known: bool) -> tuple[str, list[Line]]:
    """The document's title, and the lines without those at the top that only repeat it (with edition and date).

    Args:
        lines: the document's lines.
        title: its title where `known`, else what to call it if the top of the document does not say.
        known: whether `title` comes from the source.
    """
    body = list(lines)
    if not known:
        found = _title_at_top(body)
        title, body = (clean_title(found[0]), body[found[1] :]) if found else (title, body)
    return title, _without_repeated_title(body, title)


def _title_at_top(lines: Sequence[Line]) -> tuple[str, int] | None:
    """The title in the first lines and how many lines it takes; None where the text begins at once."""
    for place, line in enumerate(lines[:_LEADING_LINES]):
        if not line.text or _APPENDIX_LINE.fullmatch(line.text):
            continue
        marked = _MARKDOWN_TITLE.fullmatch(line.text)
        text = marked.group(1) if marked else line.text
        if _NOT_TITLE.search(text) or len(text) > _TITLE_LENGTH:
            return None
        following = next((near for near in range(place + 1, len(lines)) if lines[near].text), len(lines))
        if following < len(lines) and _EDITION_LINE.fullmatch(lines[following].text):
            return text + lines[following].text, following + 1
        named = marked or following > place + 1 or _TITLE_END.search(text)
        alone = marked_heading(text) is None and not setting(lines).reaches(text)
        return (text, place + 1) if named or alone else None
    return None


def _without_repeated_title(lines: Sequence[Line], title: str) -> list[Line]:
    whole = {key(title), key(_EDITION_AT_END.sub("", title))}
    said, end = "", 0
    for place, line in enumerate(lines[:_LEADING_LINES]):
        if not line.text or (_APPENDIX_LINE.fullmatch(line.text) and not said):
            continue
        said += key(line.text)
        ends = len(said) >= _MIN_TITLE_KEY and any(name.endswith(said) for name in whole)
        if not ends and not any(name.startswith(said) for name in whole):
            break
        if ends or said in whole:
            end = place + 1
    if end < len(lines) and end and _DATE_LINE.fullmatch(lines[end].text):
        end += 1
    return list(lines[end:])
