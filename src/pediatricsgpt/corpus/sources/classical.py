"""Classical textbooks in the mark-up of the TCM-Ancient-Books collection.

`<目录>` gives the place in the book (`卷一\\四诊总括`), `<篇名>` the name of a chapter, `属性：` opens its text. Inside,
`\\x…\\x` sets off names of prescriptions and signatures, `\\r…\\r` stands for a picture; glyphs that the collection lacked
are spaces. One record per chapter; the first chapter is the title page, from which the book's name comes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pediatricsgpt.corpus.sources.file import Result, SourceFile
from pediatricsgpt.corpus.sources.layout import Line
from pediatricsgpt.corpus.sources.structure import Paragraph, Section, parts, rejoin
from pediatricsgpt.records import Locator, Record, Reject
from pediatricsgpt.text import key

_NAME, _PLACE, _TEXT = "<篇名>", "<目录>", "属性："
_BOOK = re.compile(r"^书名：\s*(.+?)\s*$", re.MULTILINE)
_PICTURE = re.compile(r"\\r[^\\]*(?:\\[^\\\n]*\.bmp)?\\r")
_SET_OFF = re.compile(r"\\x(.*?)\\x[ \t]*")
_ANY_MARK = re.compile(r"\\[xr]")
_BETWEEN_PLACES = re.compile(r"[\\·]")
_PROSE = re.compile(r"[，。；∶：！？]")
_DRUG = re.compile(r"[一-龥]+(?:[（(〔][^（）()〔〕]*[）)〕])?")


def is_classical(text: str) -> bool:
    """True of a text with the mark-up of this collection."""
    return _NAME in text and _PLACE in text


def read_textbook(file: SourceFile, text: str) -> Result:
    """The chapters of a book; a chapter that holds only pictures is a reject.

    Raises:
        UserError: there is no chapter with text.
    """
    named = _BOOK.search(text)
    book = named.group(1) if named else file.path.stem
    records: list[Record] = []
    rejects: list[Reject] = []
    for start, place, name, lines in _chapters(text):
        if named and any(_BOOK.match(line.text) for line in lines):
            continue  # the title page
        path = list(dict.fromkeys([*place, name]))
        section = Section(path, Line(name, start), _paragraphs(lines))
        if section.paragraphs:
            records += _chapter_records(file, book, section)
        else:
            rejects.append(file.reject("chapter without text: only pictures, or nothing", " / ".join(path), line=start))
    if not records:
        raise file.error("no chapter with text")
    return records, rejects


def _chapter_records(file: SourceFile, book: str, section: Section) -> list[Record]:
    records = []
    for number, (start, text) in enumerate(parts(section), 1):
        heading = " / ".join(section.path)
        locator = Locator(line=start.line, section=f"{heading} ({number})" if number > 1 else heading)
        records.append(
            file.record(group=f"document:{key(book)}", locator=locator, text=text, title=[book, *section.path])
        )
    return records


def _chapters(text: str) -> list[tuple[int, list[str], str, list[Line]]]:
    """Line, place in the book, name and raw lines of each chapter."""
    found: list[tuple[int, list[str], str, list[Line]]] = []
    place: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if line.startswith(_PLACE):
            place = [part.strip() for part in _BETWEEN_PLACES.split(line[len(_PLACE) :]) if part.strip()]
        elif line.startswith(_NAME):
            found.append((number, place, line[len(_NAME) :].strip(), []))
            place = []
        elif found:
            found[-1][3].append(Line(line.removeprefix(_TEXT), number))
    return found


def _paragraphs(lines: Sequence[Line]) -> list[Paragraph]:
    """The paragraphs of a chapter: pictures out, names of prescriptions on lines of their own, lines rejoined."""
    plain = [part for line in lines for part in _without_marks(line)]
    paragraphs = rejoin([line for line in plain if line.text])
    for paragraph in paragraphs:
        paragraph.text = _with_commas(paragraph.text)
    return paragraphs


def _without_marks(line: Line) -> list[Line]:
    text = _SET_OFF.sub(lambda mark: f"\n{mark.group(1).strip()}\n", _PICTURE.sub("", line.text))
    # A remark in brackets belongs to the name before it: 珍珠散（方见脾疳）.
    text = _ANY_MARK.sub("", re.sub(r"\n(?=[（(])", "", text))
    return [Line(part.strip(), line.line) for part in text.split("\n") if part.strip()]


def _with_commas(text: str) -> str:
    """A list of drugs with `、` between them: only spaces hold them apart, which cleaning takes for missing glyphs."""
    drugs = text.split()
    if len(drugs) < 3 or not all(_DRUG.fullmatch(drug) for drug in drugs):
        return text
    return text if _PROSE.search(re.sub(r"[（(〔][^）)〕]*[）)〕]", "", text)) else "、".join(drugs)
