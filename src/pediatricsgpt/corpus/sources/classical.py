"""Classical textbooks in the mark-up of the TCM-Ancient-Books collection.

`<目录>` gives the place in the book (`卷一\\四诊总括`), `<篇名>` the name of a chapter, `属性：` opens its text.
Inside, `\\x…\\x` sets off names of prescriptions and signatures, `\\r…\\r` stands for a picture; glyphs that the
collection lacked are spaces. One record per chapter; the first chapter is the title page with the book's name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from pediatricsgpt.corpus.sources.layout import Line
from pediatricsgpt.corpus.sources.structure import Section, join_lines, setting

_NAME, _PLACE, _TEXT = "<篇名>", "<目录>", "属性："
_BOOK = re.compile(r"^书名：\s*(.+?)\s*$", re.MULTILINE)
_PICTURE = re.compile(r"\\r[^\\]*(?:\\[^\\\n]*\.bmp)?\\r")
_SET_OFF = re.compile(r"\\x(.*?)\\x[ \t]*")
_ANY_MARK = re.compile(r"\\[xr]")
_BETWEEN_PLACES = re.compile(r"[\\·]")
_PROSE = re.compile(r"[，。；∶：！？]")
_INSIDE = re.compile(r"[（(〔][^）)〕]*[）)〕]?")
_BETWEEN_DRUGS = re.compile(r"(?<=[一-龥）)〕]) +(?=[一-龥])")
_PREPARATION = re.compile("上|共|右|引用|为末|研|水煎|净水")
_FEWEST_DRUGS = 3
_PROSE_WIDTH = 0.75


def is_classical(text: str) -> bool:
    """True of a text with the mark-up of this collection."""
    return _NAME in text and _PLACE in text


def read_book(text: str) -> tuple[str, list[Section]]:
    """The book's name ('' where no title page gives it) and its chapters; one of pictures only has no paragraphs."""
    named = _BOOK.search(text)
    chapters = [
        (path, start, _drug_lists(lines))
        for path, start, lines in _chapters(text)
        if not any(_BOOK.match(line.text) for line in lines)
    ]
    whole = setting([line for *_, lines in chapters for line in lines])
    # Verse is set wider than prose, and every line is broken: a line of prose counts as full as well.
    how = replace(whole, width=whole.width * _PROSE_WIDTH, wrapped=True, usual_headings=False)
    return named.group(1) if named else "", [Section(path, start, join_lines(ls, how)) for path, start, ls in chapters]


def _chapters(text: str) -> list[tuple[list[str], Line, list[Line]]]:
    """Path (place in the book and name), first line and lines of each chapter."""
    found: list[tuple[list[str], Line, list[Line]]] = []
    place: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if line.startswith(_PLACE):
            place = [part.strip() for part in _BETWEEN_PLACES.split(line[len(_PLACE) :]) if part.strip()]
        elif line.startswith(_NAME):
            name = line[len(_NAME) :].strip()
            found.append((list(dict.fromkeys([*place, name])), Line(name, number), []))
            place = []
        elif found:
            found[-1][2].extend(_plain(line.removeprefix(_TEXT), number))
    return found


def _plain(text: str, number: int) -> list[Line]:
    """A line without marks: pictures out, what was set off (names of prescriptions) on lines of its own."""
    text = _SET_OFF.sub(lambda mark: f"\n{mark.group(1).strip()}\n", _PICTURE.sub("", text))
    # A remark in brackets belongs to the name before it: 珍珠散（方见脾疳）.
    text = _ANY_MARK.sub("", re.sub(r"\n(?=[（(])", "", text))
    return [Line(part.strip(), number) for part in text.split("\n") if part.strip()]


def _drug_lists(lines: Sequence[Line]) -> list[Line]:
    """The lines with `、` between the drugs of a prescription, and a blank line before what is done with them.

    Only spaces hold the drugs apart, which cleaning takes for missing glyphs.
    """
    found: list[Line] = []
    listed = False
    for line in lines:
        fewest = _FEWEST_DRUGS - listed  # the last line of a list may be shorter
        text, lists = _with_commas(line.text, fewest), _lists_drugs(line.text, fewest)
        whole = listed and found[-1].text.endswith(("）", ")"))  # else the last drug may go on in this line
        if listed and not lists and (whole or _PREPARATION.match(text)):
            found.append(Line(""))
        elif whole:
            found[-1] = replace(found[-1], text=f"{found[-1].text}、")
        found.append(replace(line, text=text))
        listed = lists
    return found


def _lists_drugs(text: str, fewest: int) -> bool:
    return _PROSE.search(_INSIDE.sub("", text)) is None and len(_INSIDE.sub("", text).split()) >= fewest


def _with_commas(text: str, fewest: int) -> str:
    stop = _PROSE.search(_INSIDE.sub(lambda bracket: "x" * len(bracket.group()), text))
    drugs, rest = (text[: stop.start()], text[stop.start() :]) if stop else (text, "")
    names = _INSIDE.sub("", drugs).split()
    if len(names) < fewest or any(len(name) < 2 for name in names[:-1]):
        return text
    return _BETWEEN_DRUGS.sub(lambda gap: "，" if _PREPARATION.match(drugs, gap.end()) else "、", drugs) + rest
