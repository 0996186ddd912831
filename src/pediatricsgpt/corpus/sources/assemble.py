"""From the lines of a document to its records: title, sections, parts and locators, alike for every format.

One record per deepest section; its title is the document's title and the headings down to it. A printed heading keeps
its number (`（二）传播途径`). Sections of more than 1,500 characters come in parts with the same title. The group is
the document, named by its title without `关于印发…的通知`, so that the same guideline as JSON, PDF and DOCX is one
group; its edition belongs to the name.

Locators: the line in text files, the page in PDF files and images. What has no lines of its own says it behind the
section's name: in JSON `(line 12 of content)`, `line` being where the object begins in the file; in DOCX
`(paragraph 12)`, blank paragraphs not counted and each row of a table being one; in EPUB `(chapter 3, paragraph 12)`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pediatricsgpt.corpus.sources.file import Result, SourceFile
from pediatricsgpt.corpus.sources.headings import marked_heading
from pediatricsgpt.corpus.sources.layout import (
    Line,
    drop_blank_lines,
    drop_page_numbers,
    drop_web_foot,
    keep_tables,
    take_contents,
    tidy,
)
from pediatricsgpt.corpus.sources.rows import Row
from pediatricsgpt.corpus.sources.structure import Section, parts, rejoin, sections, setting
from pediatricsgpt.records import Locator, Record, Reject, Step
from pediatricsgpt.text import key

LINE_CHARACTERS = 1_000_000
"""A longer line is no text: the longest book of the classical collections has 400,000 characters in all."""

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
_ENDLESS = "line too long: {} characters; a line of text has at most 1,000,000"
_SHOWN = 200
_MIN_TITLE_KEY = 6
_FENCE = re.compile(r"\s*(?:```|~~~)")
_EMPHASIS = re.compile(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1")


@dataclass(frozen=True, slots=True)
class Within:
    """Lines that are none of the file: what to call them, and the row of the file in which they stand.

    `unit` is a format of `{line}` and, where there are chapters or sheets, `{page}`.
    """

    unit: str
    row: Row | None = None


def text_lines(text: str) -> list[Line]:
    """The lines of a plain text, numbered from 1; what is left of tables stays line by line."""
    printed = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return keep_tables(_numbered(printed), printed)


def _numbered(printed: Sequence[str]) -> list[Line]:
    return [Line(_bounded_tidy(line), number) for number, line in enumerate(printed, 1)]


def markdown_lines(text: str) -> list[Line]:
    """The lines of a Markdown text, numbered from 1; what is fenced stays as it is, and headings lose their stars."""
    found: list[Line] = []
    fenced = False
    for line in _numbered(text.replace("\r\n", "\n").replace("\r", "\n").split("\n")):
        fence = _FENCE.match(line.text) is not None
        plain = _EMPHASIS.sub(r"\2", line.text) if line.text.startswith("#") else line.text
        verbatim = fenced or fence or line.text.startswith("|")
        found.append(Line(line.text if verbatim else plain, line.line, line.page, verbatim))
        fenced = fenced != fence
    return found


def paragraph_lines(text: str, chapter: int | None = None) -> list[Line]:
    """The lines of converted Markdown, which are none of the file: numbered without the blank ones."""
    found: list[Line] = []
    number = 0
    for line in markdown_lines(text):
        number += bool(line.text)
        found.append(Line(line.text, max(1, number), chapter, line.verbatim))
    return found


def table_rows(rows: Sequence[Sequence[str]]) -> list[str]:
    """A table as Markdown, the first row being its head."""
    width = max(map(len, rows), default=0)
    cells = [[cell.replace("|", "\\|") for cell in [*row, *[""] * (width - len(row))]] for row in rows]
    lines = ["|" + "".join(f" {cell} |" if cell else " |" for cell in row) for row in cells]
    return [*lines[:1], f"|{' --- |' * width}", *lines[1:]]


def _bounded_tidy(line: str) -> str:
    return tidy(line) if len(line) <= LINE_CHARACTERS else line


def _take_endless(file: SourceFile, lines: Sequence[Line], within: Within | None) -> tuple[list[Line], list[Reject]]:
    """The lines without those that are no text by their length, each of which is a reject with its beginning."""
    rejects = [
        Reject("read", _ENDLESS.format(len(line.text)), _where(file, line, within), line.text[:_SHOWN])
        for line in lines
        if len(line.text) > LINE_CHARACTERS
    ]
    return [line for line in lines if len(line.text) <= LINE_CHARACTERS] if rejects else list(lines), rejects


def _where(file: SourceFile, line: Line, within: Within | None) -> str:
    return f"{file.name}, {_locator(line, '', within)}"


def document_records(
    file: SourceFile,
    lines: Sequence[Line],
    title: str = "",
    *,
    paged: bool = False,
    within: Within | None = None,
    scanned: Collection[int] = (),
) -> Result:
    """Records and rejects of one document.

    Args:
        file: where they come from.
        lines: its text.
        title: the document's title, where it is known.
        paged: the lines are free of page numbers already.
        within: what the lines are, where they are not lines of the file.
        scanned: the pages that OCR read: records with text from there carry the step `ocr`.
    """
    lines, endless = _take_endless(file, lines, within)
    body = drop_web_foot(lines)
    body = drop_blank_lines(body if paged else drop_page_numbers(body))
    body, contents = take_contents(body)
    title, body = take_title(body, title or file.path.stem, known=bool(title))
    records, rejects = section_results(file, title, sections(rejoin(body, contents)), within, scanned)
    return records, endless + rejects


def section_results(
    file: SourceFile,
    title: str,
    found: Sequence[Section],
    within: Within | None = None,
    scanned: Collection[int] = (),
) -> Result:
    """Records of the sections that have text, and a reject for each that has none."""
    records: list[Record] = []
    rejects: list[Reject] = []
    for section in found:
        if section.paragraphs:
            made = _section_records(file, title, section, within)
            for record in made if _pages(section) & set(scanned) else ():
                record.steps.append(Step("ocr"))
            records += made
        else:
            where = _where(file, section.start, within)
            rejects.append(Reject("read", "heading without text: a figure in its place", where, section.path))
    return records, rejects


def _pages(section: Section) -> set[int]:
    starts = (section.start, *(paragraph.start for paragraph in section.paragraphs))
    return {start.page for start in starts if start.page is not None}


def _section_records(file: SourceFile, title: str, section: Section, within: Within | None = None) -> list[Record]:
    """The records of a section: one, or one for each part of a long section."""
    records = []
    group = document_group(title)
    heading = " / ".join(section.path)
    for number, (start, text) in enumerate(parts(section), 1):
        name = f"{heading} ({number})".strip() if number > 1 else heading
        locator = _locator(start, name, within)
        records.append(file.record(group=group, locator=locator, text=text, title=[title, *section.path]))
    return records


def _locator(start: Line, name: str, within: Within | None) -> Locator:
    """Where a section begins: `line` is a line of the file; what is none stands behind the section's name."""
    if within is None:
        return Locator(start.page, start.line, None, name or None)
    place = within.unit.format(line=start.line, page=start.page)
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
