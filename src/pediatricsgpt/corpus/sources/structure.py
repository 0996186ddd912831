"""The structure of a Chinese document: its paragraphs, its headings, and the sections under them.

Pure functions. What goes in are lines without page furniture (`layout.py`); what comes out says the same, no digit,
unit or sign lost: lines are joined and cut apart, never rewritten.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from pediatricsgpt.corpus.sources.layout import CLOSING, Line, in_pieces
from pediatricsgpt.text import key, sentences

PART_CHARACTERS = 1500
"""Sections with more characters are cut into parts, at the ends of paragraphs."""

_NUMERAL = "[一二三四五六七八九十百零〇]+"
# Rank of a heading: a heading ends the sections of its own rank and of those below it (greater numbers).
_MARKS = (
    (1, re.compile(rf"第(?:{_NUMERAL}|\d+)(?:篇|编|部分)(?![一-龥])\s*")),
    (2, re.compile(rf"第(?:{_NUMERAL}|\d+)章\s*")),
    (3, re.compile(rf"第(?:{_NUMERAL}|\d+)节\s*")),
    (4, re.compile(rf"{_NUMERAL}、(?![一二三四五六七八九十]+[线级期类度])\s*")),
    (5, re.compile(r"(?=【[^】]{1,15}】)")),
    (6, re.compile(rf"[（(]{_NUMERAL}[）)]\s*[、.]?\s*")),
)
_TOP, _UNNUMBERED = 0, 5
_APPENDIX = re.compile(r"附\s*[录件]\s*[\d一二三四五六七八九十]*")
_AUTHORS = re.compile(
    r"[^：，。]{0,12}(?:编写|编审|审定|审阅|起草|执笔|制定)[^：，。]{0,8}(?:专家|名单|委员会|组)[^：，。]{0,4}[：:]?"
)
_BOOK = re.compile(r"《[^》]{4,40}》")
_EDITION = re.compile(r"[（(][^（）()]{2,16}[版稿行）)][）)]?")
_USUAL = re.compile(
    r"(?:(?:疾病)?(?:定义|概述|病因|病原学|流行病学|发病机制|病理(?:生理|改变)?|临床表现|辅助检查|实验室检查|影像学检查"
    r"|诊断(?:标准|要点)?|鉴别诊断|治疗(?:原则|方案)?|预防|预后|随访|临床管理|遗传咨询|产前[筛诊][查断]|参考文献)"
    r"(?:和|与|及|、)?)+(?:的?建议)?|(?:诊疗|诊断|治疗)流程\s*(?:（[^）]*）|\([^)]*\))?"
)
_ITEM = re.compile(
    r"\d{1,2}\s*[.．、](?!\d)|\d{1,2}(?:\.\d{1,2}){1,3}\s+(?=[一-龥])|[（(]\d{1,2}[）)]|\[\d{1,3}\]|[-*•●]\s"
)
_STOPPED_ITEM = re.compile(r"\d{1,2}\s*[.．、]")
_BARE = re.compile(rf"\d{{1,2}}\s*[.．、]|[（(]?{_NUMERAL}[）)、]")
_LABEL = re.compile(r"[一-龥]{2,6}：")
_MARKDOWN = re.compile(r"(#{1,6})\s+(.+?)\s*#*$")
_SENTENCE_END = re.compile(r"[。！？!?][”’」』）)]*$")
_RAISED = re.compile(r"[0-9]{1,2}")
_POINT = re.compile(r"\d\.$")
_CLAUSE_END = re.compile(r"[。！？!?；;：:.][”’」』）)]*$")
_OPEN_END = "，、（《“‘([～~/×=≥≤＜＞<>+＋-—"
_INSIDE = re.compile(r"[（(][^（）()]*[）)]")
_PROSE = re.compile(r"[，。；！？：,;!?]")
_HEADING_LENGTH, _STOPPED_HEADING_LENGTH = 30, 15
_RUN_IN_LENGTH = 18
_NARROWEST = 24  # columns; nobody wraps a text narrower than twelve Han characters
_AHEAD = 60
# Shares of the line width. Cells of tables reach 0.83 in the guidelines, so a heading after such a line is one; a line
# that goes on is shorter than 0.8 only where a long Latin word did not fit any more.
_EDGE, _FULL, _GAP = 0.88, 0.8, 0.65
_GATHERED_HEADING = 70


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
    contents: Collection[str]
    """Keys of the headings that the table of contents lists"""

    def lists(self, text: str) -> bool:
        """True of a heading that the table of contents lists."""
        return bool(self.contents) and key(text) in self.contents

    def reaches(self, text: str, share: float = _FULL) -> bool:
        """True of a line that takes at least this share of the width."""
        return display_width(text) >= share * self.width


def setting(lines: Sequence[Line], contents: Collection[str] = ()) -> Setting:
    """Find out how the lines were set."""
    texts = [line.text for line in lines if line.text]
    widths = sorted(map(display_width, texts)) or [0]
    width = widths[min(len(widths) - 1, int(len(widths) * 0.9))]
    headings = {text for text in texts if marked_heading(text) is not None}
    full = [text for text in texts if display_width(text) >= _FULL * width and text not in headings]
    open_ended = sum(not _CLAUSE_END.search(text) for text in full)
    wrapped = width >= _NARROWEST and 0 < 0.4 * len(full) <= open_ended
    usual = sum(bool(_USUAL.fullmatch(text)) for text in texts)
    return Setting(width, in_pieces(lines), wrapped, usual > len(headings), contents)


def display_width(text: str) -> int:
    """Columns that a text takes: two for a Han character or full-width punctuation."""
    return sum(2 if character > "\u2e80" else 1 for character in text)


def marked_heading(text: str) -> int | None:
    """The rank of a line that is a heading by its mark, its length and its lack of prose; None of any other."""
    for rank, mark in _MARKS:
        found = mark.match(text)
        if found and (rank != _UNNUMBERED or text.endswith("】")):
            return rank if _is_heading_text(text[found.end() :]) else None
    return None


def _is_heading_text(text: str) -> bool:
    if text.count("（") + text.count("(") != text.count("）") + text.count(")"):
        return False
    plain = _INSIDE.sub("", text).strip()
    limit = _STOPPED_HEADING_LENGTH if plain.endswith("。") else _HEADING_LENGTH
    plain = plain.rstrip("。：:")
    return 0 < len(plain) <= limit and not _PROSE.search(plain) and plain[-1] not in _OPEN_END


def _mark_rank(text: str) -> int | None:
    return next((rank for rank, mark in _MARKS if mark.match(text)), None)


def _heading_rank(text: str, how: Setting) -> int | None:
    """The rank of a heading, marked or not; None of a line that is none."""
    markdown = _MARKDOWN.match(text)
    if markdown:
        marked = marked_heading(markdown.group(2))
        return len(markdown.group(1)) - 7 if marked is None else marked
    rank = marked_heading(text)
    if rank is not None:
        return rank
    if _APPENDIX.match(text) and _is_heading_text(text) and "：" not in text:
        return _TOP
    if _AUTHORS.fullmatch(text) or _BOOK.fullmatch(text) or how.lists(text):
        return _TOP
    return _UNNUMBERED if how.usual_headings and _USUAL.fullmatch(text) else None


def rejoin(lines: Sequence[Line], contents: Collection[str] = ()) -> list[Paragraph]:
    """Put paragraphs together that a page or an export broke into lines, and find the headings among them."""
    lines = [_without_wrong_mark(line) for line in lines]
    how = setting(lines, contents)
    return [part for paragraph in join_lines(lines, how) for part in _with_headings(paragraph, how)]


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
            apart = _heading_rank(current.text, how) == _TOP and not _EDITION.fullmatch(line.text)
            glued = f"{current.text} {line.text}" if apart else _glue(current.text, line.text, how)
            current.text, current.last = glued, line.text
    return found


def _without_wrong_mark(line: Line) -> Line:
    """A line without the mark of a heading where it is the first of a paragraph: `## （二）隔离。对于患儿，应当`."""
    marked = _MARKDOWN.match(line.text)
    prose = marked is not None and re.search("[，。；].", _INSIDE.sub("", marked.group(2)))
    return Line(marked.group(2), line.line, line.page) if marked and prose else line


def _begins(current: Paragraph, following: Sequence[Line], how: Setting) -> bool:
    """Whether a paragraph begins with the next line, or the current one goes on in it."""
    text = following[0].text
    if _is_markup(current.text) or _is_markup(text):
        return True
    if text[0] in CLOSING or _BARE.fullmatch(current.text):
        return False
    ended = bool(_SENTENCE_END.search(current.text))
    # In pieces a mark alone (`（四）`) may begin a heading or a sentence: only its stop tells.
    settled = ended or not (how.pieces and _BARE.fullmatch(current.start.text))
    if settled and _heading_rank(current.text, how) is not None:
        return not _heading_goes_on(current, following, how)
    if how.pieces:
        return ended or _opens(text, how)
    if current.text[-1] in _OPEN_END or _is_raised(current.text, text):
        return False
    opens = _opens(text, how)
    if ended or not how.wrapped:
        return True
    if opens:
        after_clause = _CLAUSE_END.search(current.text) is not None
        return after_clause or not how.reaches(current.last, _EDGE) or how.lists(text)
    # A long Latin word that did not fit leaves a gap at the end of the line before.
    return not how.reaches(current.last, _GAP if text[0].isascii() else _FULL)


def _is_markup(text: str) -> bool:
    return text.startswith("|") or _MARKDOWN.match(text) is not None


def _opens(text: str, how: Setting) -> bool:
    """True of a line that looks like a beginning: a heading, an item of a list, in pieces also a label."""
    if _mark_rank(text) is not None or _ITEM.match(text) or _heading_rank(text, how) is not None:
        return True
    return how.pieces and _LABEL.match(text) is not None


def _is_raised(before: str, after: str) -> bool:
    """A raised or lowered digit (cm², PaO₂), which stands on a line of its own in the text layer of a page."""
    return _RAISED.fullmatch(after) is not None and before[-1].isascii() and before[-1].isalpha()


def _heading_goes_on(current: Paragraph, following: Sequence[Line], how: Setting) -> bool:
    """Whether a heading runs over into the next line."""
    text = following[0].text
    if len(current.text) + len(text) > _GATHERED_HEADING or _opens(text, how) != bool(_AUTHORS.fullmatch(text)):
        return False
    rank = _heading_rank(current.text, how)
    if rank == _TOP:
        if _EDITION.fullmatch(text):
            return True
        gathers = _APPENDIX.match(current.text) or _BOOK.fullmatch(current.text)
        return bool(gathers) and not _AUTHORS.search(current.text) and not _PROSE.search(_INSIDE.sub("", text))
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
        if len(rest) > _HEADING_LENGTH or _PROSE.search(rest) or _STOPPED_ITEM.match(rest):
            return False
    return False


def _glue(before: str, after: str, how: Setting) -> str:
    """Join two lines: no space beside Han characters, one between Latin words, none inside a number or a range."""
    if not (before[-1].isascii() and after[0].isascii()):
        return before + after
    if how.pieces:
        words = before[-2:].isalpha() and after[:2].isalpha() and len(before) > 1 and len(after) > 1
        return f"{before} {after}" if words else before + after
    joined = before[-1] in _OPEN_END or after[0] in "-/" + CLOSING or _POINT.search(before)
    return before + after if joined or _is_raised(before, after) else f"{before} {after}"


def _with_headings(paragraph: Paragraph, how: Setting) -> list[Paragraph]:
    """The paragraph with its rank; where a heading runs into its text (`（一）休息。卧床…`), the two apart."""
    rank = _heading_rank(paragraph.text, how)
    if rank is not None:
        markdown = _MARKDOWN.match(paragraph.text)
        text = markdown.group(2) if markdown else paragraph.text
        return [Paragraph(paragraph.start, text, text, rank, True)]
    paragraph.rank = _mark_rank(paragraph.text)
    head = _run_in(paragraph.text) if paragraph.rank is not None else ""
    if not head:
        return [paragraph]
    rest = paragraph.text[len(head) :].strip()
    return [Paragraph(paragraph.start, head, head, paragraph.rank, True), Paragraph(paragraph.start, rest, rest)]


def _run_in(text: str) -> str:
    """The heading that a paragraph begins with, its stop included; '' where there is none."""
    if text.startswith("【"):
        return text[: text.index("】") + 1]
    stop = re.search("[。：]", text)
    if stop is None or stop.start() > _RUN_IN_LENGTH or len(text) - stop.end() < 2:
        return ""
    return text[: stop.end()] if marked_heading(text[: stop.start()]) is not None else ""


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
