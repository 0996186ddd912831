"""The structure of a Chinese document: its paragraphs, its headings, and the sections under them.

Pure functions. What goes in are lines without page furniture (`layout.py`); what comes out says the same, no digit,
unit or sign lost: lines are joined and cut apart, never rewritten.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from pediatricsgpt.corpus.sources.headings import (
    APPENDIX,
    AUTHORS,
    BARE,
    BOOK,
    BRACKETED,
    CLAUSE_END,
    EDITION,
    HEADING_LENGTH,
    INSIDE,
    MARKDOWN,
    NUMBERED,
    OPEN_END,
    PROSE,
    REFERENCES,
    TOP,
    UNNUMBERED,
    USUAL,
    display_width,
    is_heading_text,
    mark_rank,
    marked_heading,
    run_in,
)
from pediatricsgpt.corpus.sources.layout import CLOSING, Line, in_pieces
from pediatricsgpt.text import key, sentences

PART_CHARACTERS = 1500
"""Sections with more characters are cut into parts, at the ends of paragraphs."""

_ITEM = re.compile(
    r"\d{1,2}\s*[.．、](?!\d)|\d{1,2}(?:\.\d{1,2}){1,3}\s+(?=[一-龥])|[（(]\d{1,2}[）)]|\[\d{1,3}\]|[-*•●]\s"
)
_STOPPED_ITEM = re.compile(r"\d{1,2}\s*[.．、]")
_LABEL = re.compile(r"[一-龥]{2,6}：")
_SENTENCE_END = re.compile(r"[。！？!?][”’」』）)]*$")
_RAISED = re.compile(r"[0-9]{1,2}")
_POINT = re.compile(r"\d\.$")
_NARROWEST = 24  # columns; nobody wraps a text narrower than twelve Han characters
_AHEAD = 60
# Shares of the line width. Cells of tables reach 0.83 in the guidelines, so a heading after such a line is one; a line
# that goes on is shorter than 0.8 only where a long Latin word did not fit any more.
_EDGE, _FULL, _GAP = 0.88, 0.8, 0.65
_GATHERED_HEADING = 70
_NO_CONTENTS: Mapping[str, str] = MappingProxyType({})


@dataclass(slots=True)
class Paragraph:
    """A paragraph. `rank` is that of the heading mark it begins with; `heading` says that it is a heading."""

    start: Line
    text: str
    last: str
    """The line that was joined last: whether it reaches the edge decides what may follow"""
    rank: int | None = None
    heading: bool = False


@dataclass(slots=True)
class Section:
    """The text under one heading. `path` are the headings from the outermost in, without the document's title."""

    path: list[str]
    start: Line
    paragraphs: list[Paragraph] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The paragraphs, one a line."""
        return "\n".join(paragraph.text for paragraph in self.paragraphs)


@dataclass(frozen=True, slots=True)
class Setting:
    """How the lines of a document were set."""

    width: float
    pieces: bool
    """Cut at changes of font: nothing follows from the length of a line"""
    wrapped: bool
    """Lines end at the right edge; otherwise a line is a paragraph"""
    usual_headings: bool
    """`临床表现` alone on a line is a heading, because the document numbers few or none"""
    contents: Mapping[str, str]
    """The headings that the table of contents lists, by key"""

    def lists(self, text: str) -> bool:
        """True of a heading that the table of contents lists."""
        return bool(self.contents) and key(text) in self.contents

    def reaches(self, text: str, share: float = _FULL) -> bool:
        """True of a line that takes at least this share of the width."""
        return display_width(text) >= share * self.width


def setting(lines: Sequence[Line], contents: Mapping[str, str] = _NO_CONTENTS) -> Setting:
    """Find out how the lines were set."""
    texts = [line.text for line in lines if line.text and not line.verbatim]
    widths = sorted(map(display_width, texts)) or [0]
    width = widths[min(len(widths) - 1, int(len(widths) * 0.9))]
    headings = {text for text in texts if marked_heading(text) is not None}
    full = [text for text in texts if display_width(text) >= _FULL * width and text not in headings]
    open_ended = sum(not CLAUSE_END.search(text) for text in full)
    wrapped = width >= _NARROWEST and 0 < 0.4 * len(full) <= open_ended
    usual = sum(bool(USUAL.fullmatch(text)) for text in texts)
    return Setting(width, in_pieces(lines), wrapped, usual > len(headings), contents)


def _heading_rank(text: str, how: Setting) -> int | None:
    """The rank of a heading, marked or not; None of a line that is none."""
    markdown = MARKDOWN.match(text)
    if markdown:
        marked = marked_heading(markdown.group(2))
        return len(markdown.group(1)) - 7 if marked is None else marked
    rank = marked_heading(text)
    if rank is not None:
        return rank
    if APPENDIX.match(text) and is_heading_text(text) and "：" not in text:
        return TOP
    if AUTHORS.fullmatch(text) or BOOK.fullmatch(text) or how.lists(text):
        return TOP
    if not how.usual_headings or not USUAL.fullmatch(text):
        return None
    return NUMBERED if text == REFERENCES else UNNUMBERED  # the references are those of all sections above


def rejoin(lines: Sequence[Line], contents: Mapping[str, str] = _NO_CONTENTS) -> list[Paragraph]:
    """Put paragraphs together that a page or an export broke into lines, and find the headings among them."""
    lines = [_without_wrong_mark(line) for line in lines]
    how = setting(lines, contents)
    joined = join_lines(lines, how)
    items = _items(joined)
    found = [
        part
        for place, paragraph in enumerate(joined)
        for part in ([paragraph] if place in items else _with_headings(paragraph, how))
    ]
    _raise_groups(found)
    if contents:
        _lower_repeated(found)
    return found


def _lower_repeated(paragraphs: Sequence[Paragraph]) -> None:
    """Make a usual heading that comes again under the same one a paragraph: it is the head of a table's column.

    Only where the table of contents says which headings are above: else a new disease may have begun unseen.
    """
    seen: set[str] = set()
    for paragraph in paragraphs:
        above = paragraph.heading and paragraph.rank is not None and paragraph.rank < UNNUMBERED
        if above and paragraph.text != REFERENCES:
            seen = set()
        elif paragraph.heading and paragraph.rank == UNNUMBERED and USUAL.fullmatch(paragraph.text):
            if paragraph.text in seen:
                paragraph.rank, paragraph.heading = None, False
            seen.add(paragraph.text)


def _items(paragraphs: Sequence[Paragraph]) -> set[int]:
    """Places of the items of lists that begin with prose: what looks like a heading among them is the item's start.

    `（一）超高热；（二）神经系统改变：嗜睡…；（三）血糖升高…` are three criteria, and no section `（二）神经系统改变`.
    """
    found: set[int] = set()
    listed = False
    for place, paragraph in enumerate(paragraphs):
        if mark_rank(paragraph.text) != BRACKETED or paragraph.start.verbatim:
            listed = False
            continue
        opens = place == 0 or mark_rank(paragraphs[place - 1].text) != BRACKETED
        named = marked_heading(paragraph.text) is not None
        listed = not named and not run_in(paragraph.text) if opens else listed and not named
        if listed:
            paragraph.rank = BRACKETED
            found.add(place)
    return found


def _raise_groups(paragraphs: Sequence[Paragraph]) -> None:
    """Rank what stands over usual headings above them: `（一）Ⅰ型神经纤维瘤病`, then its `病因`, its `临床表现`, …

    One alone says nothing: its own text may be missing. A numbered line over a usual heading is a heading even with a
    comma in it: `十二、外周 T 细胞淋巴瘤，非特指型`.
    """
    over = [
        paragraph
        for paragraph, following in itertools.pairwise(paragraphs)
        if following.heading and following.rank == UNNUMBERED and USUAL.fullmatch(following.text)
        if paragraph.rank in (NUMBERED, BRACKETED) and display_width(paragraph.text) <= 2 * HEADING_LENGTH
        if not CLAUSE_END.search(paragraph.text)
    ]
    if len(over) < 2:
        return
    for paragraph in over:
        paragraph.rank, paragraph.heading = NUMBERED, True


def join_lines(lines: Sequence[Line], how: Setting) -> list[Paragraph]:
    """The paragraphs of lines that were set in a known way, headings being paragraphs like others."""
    found: list[Paragraph] = []
    current: Paragraph | None = None
    for place, line in enumerate(lines):
        if not line.text:
            current = None
        elif current is None or _begins(current, lines[place : place + _AHEAD], how):
            current = Paragraph(line, line.text, line.text)
            found.append(current)
        else:
            apart = _heading_rank(current.text, how) == TOP and not EDITION.fullmatch(line.text)
            glued = f"{current.text} {line.text}" if apart else _glue(current.text, line.text, how)
            current.text, current.last = glued, line.text
    return found


def _without_wrong_mark(line: Line) -> Line:
    """A line without the mark of a heading where it is the first of a paragraph: `## （二）隔离。对于患儿，应当`."""
    marked = MARKDOWN.match(line.text)
    prose = marked is not None and re.search("[，。；].", INSIDE.sub("", marked.group(2)))
    return replace(line, text=marked.group(2)) if marked and prose and not line.verbatim else line


def _begins(current: Paragraph, following: Sequence[Line], how: Setting) -> bool:
    """Whether a paragraph begins with the next line, or the current one goes on in it."""
    text = following[0].text
    if current.start.verbatim or following[0].verbatim or _is_markup(current.text) or _is_markup(text):
        return True
    if text[0] in CLOSING or BARE.fullmatch(current.text):
        return False
    ended = bool(_SENTENCE_END.search(current.text))
    # In pieces a mark alone (`（四）`) may begin a heading or a sentence: only its stop tells.
    settled = ended or not (how.pieces and BARE.fullmatch(current.start.text))
    if settled and _heading_rank(current.text, how) is not None:
        return not _heading_goes_on(current, following, how)
    if how.pieces:
        return ended or _opens(text, how)
    if current.text[-1] in OPEN_END or _is_raised(current.text, text):
        return False
    opens = _opens(text, how)
    if ended or not how.wrapped:
        return True
    if opens:
        after_clause = CLAUSE_END.search(current.text) is not None
        return after_clause or not how.reaches(current.last, _EDGE) or how.lists(text)
    # A long Latin word that did not fit leaves a gap at the end of the line before.
    return not how.reaches(current.last, _GAP if text[0].isascii() else _FULL)


def _is_markup(text: str) -> bool:
    return text.startswith("|") or MARKDOWN.match(text) is not None


def _opens(text: str, how: Setting) -> bool:
    """True of a line that looks like a beginning: a heading, an item of a list, in pieces also a label."""
    if mark_rank(text) is not None or _ITEM.match(text) or _heading_rank(text, how) is not None:
        return True
    return how.pieces and _LABEL.match(text) is not None


def _is_raised(before: str, after: str) -> bool:
    """A raised or lowered digit (cm², PaO₂), which stands on a line of its own in the text layer of a page."""
    return _RAISED.fullmatch(after) is not None and before[-1].isascii() and before[-1].isalpha()


def _heading_goes_on(current: Paragraph, following: Sequence[Line], how: Setting) -> bool:
    """Whether a heading runs over into the next line."""
    text = following[0].text
    if len(current.text) + len(text) > _GATHERED_HEADING or _opens(text, how) != bool(AUTHORS.fullmatch(text)):
        return False
    rank = _heading_rank(current.text, how)
    if rank == TOP:
        if EDITION.fullmatch(text):
            return True
        gathers = APPENDIX.match(current.text) or BOOK.fullmatch(current.text)
        return bool(gathers) and not AUTHORS.search(current.text) and not PROSE.search(INSIDE.sub("", text))
    if how.pieces:
        return _is_rest_of_heading(following, how)
    # A line up to the edge without a stop is rather the beginning of a sentence than a heading.
    return how.wrapped and how.reaches(current.last, _EDGE) and not _SENTENCE_END.search(current.text)


def _is_rest_of_heading(following: Sequence[Line], how: Setting) -> bool:
    """In pieces: true where the next heading comes before any sentence ends, so that all up to it is one heading."""
    rest = ""
    for line in following:
        if line.text and _opens(line.text, how):
            return True
        rest += line.text
        if len(rest) > HEADING_LENGTH or PROSE.search(rest) or _STOPPED_ITEM.match(rest):
            return False
    return False


def _glue(before: str, after: str, how: Setting) -> str:
    """Join two lines: no space beside Han characters, one between Latin words, none inside a number or a range."""
    if not (before[-1].isascii() and after[0].isascii()):
        return before + after
    if how.pieces:
        words = before[-2:].isalpha() and after[:2].isalpha() and len(before) > 1 and len(after) > 1
        return f"{before} {after}" if words else before + after
    joined = before[-1] in OPEN_END or after[0] in "-/" + CLOSING or _POINT.search(before)
    return before + after if joined or _is_raised(before, after) else f"{before} {after}"


def _with_headings(paragraph: Paragraph, how: Setting) -> list[Paragraph]:
    """The paragraph with its rank; where a heading runs into its text (`（一）休息。卧床…`), the two apart."""
    if paragraph.start.verbatim:
        return [paragraph]
    rank = _heading_rank(paragraph.text, how)
    if rank is not None:
        markdown = MARKDOWN.match(paragraph.text)
        text = how.contents.get(key(paragraph.text)) or (markdown.group(2) if markdown else paragraph.text)
        return [Paragraph(paragraph.start, text, text, rank, True)]
    paragraph.rank = mark_rank(paragraph.text)
    head = run_in(paragraph.text) if paragraph.rank is not None else ""
    if not head:
        return [paragraph]
    rest = paragraph.text[len(head) :].strip()
    return [Paragraph(paragraph.start, head, head, paragraph.rank, True), Paragraph(paragraph.start, rest, rest)]


def sections(paragraphs: Sequence[Paragraph]) -> list[Section]:
    """Divide at the headings, one section for each deepest heading; what stands before the first has no path.

    A paragraph that begins with a heading mark and is no heading ends the section of its rank: its text belongs to
    the heading above. A section without paragraphs is a heading with nothing under it: there was a figure, or a table.
    """
    found: list[Section] = []
    stack: list[tuple[int, str]] = []
    current: Section | None = None
    for place, paragraph in enumerate(paragraphs):
        rank = paragraph.rank
        if rank is not None and (paragraph.heading or any(above >= rank for above, _ in stack)):
            stack = [entry for entry in stack if entry[0] < rank]
            current = None
        if paragraph.heading and rank is not None and not _is_item(paragraphs, place):
            stack.append((rank, paragraph.text.rstrip("。：: ")))
            current = Section([text for _, text in stack], paragraph.start)
            found.append(current)
            continue
        path = [text for _, text in stack]
        if current is None:
            # Items that follow each other under the same heading are one section.
            current = found[-1] if found and found[-1].path == path else Section(path, paragraph.start)
            found += [] if found and found[-1] is current else [current]
        current.paragraphs.append(paragraph)
    below = [*(following.path for following in found[1:]), []][: len(found)]
    return [
        section
        for section, after in zip(found, below, strict=True)
        if section.paragraphs or after[: len(section.path)] != section.path
    ]


def _is_item(paragraphs: Sequence[Paragraph], place: int) -> bool:
    """True of a seeming heading that ends like a sentence and has nothing under it: `（六）重度吸烟者。`"""
    paragraph, following = paragraphs[place], paragraphs[place + 1 : place + 2]
    if not paragraph.text.endswith(("。", "；")) or paragraph.rank is None:
        return False
    return all(after.rank is not None and after.rank <= paragraph.rank for after in following)


def parts(section: Section, limit: int = PART_CHARACTERS) -> list[tuple[Line, str]]:
    """The text of a section in parts of at most `limit` characters, each with the place where it begins.

    Cut at the ends of paragraphs; a paragraph that is longer by itself at the ends of sentences.
    """
    found: list[tuple[Line, str]] = []
    for paragraph in section.paragraphs:
        units = [paragraph.text] if len(paragraph.text) <= limit else sentences(paragraph.text)
        for number, unit in enumerate(units):
            between = "" if number else "\n"
            if found and len(found[-1][1]) + len(between) + len(unit) <= limit:
                found[-1] = (found[-1][0], found[-1][1] + between + unit)
            else:
                found.append((paragraph.start, unit))
    return [(section.start if number == 0 else start, text) for number, (start, text) in enumerate(found)]
