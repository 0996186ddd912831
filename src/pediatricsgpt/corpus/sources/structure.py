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
    r"(?:\d{1,2}\s*[.．、](?!\d)|\d{1,2}(?:\.\d{1,2}){1,3}\s+(?=[一-龥])|[（(]\d{1,2}[）)]|\[\d{1,3}\]|[-*•●]\s)"
)
_CIRCLED = re.compile(r"[①-⑳]")
_BARE = re.compile(rf"\d{{1,2}}\s*[.．、]?|[（(]?{_NUMERAL}[）)、]")
_LABEL = re.compile(r"[一-龥]{2,6}：")
_MARKDOWN = re.compile(r"(#{1,6})\s+(.+?)\s*#*$")
_SENTENCE_END = re.compile(r"[。！？!?][”’」』）)]*$")
_POINT = re.compile(r"\d\.$")
_CLAUSE_END = re.compile(r"[。！？!?；;：:][”’」』）)]*$")
_OPEN_END = "，、（《“‘([～~/×=≥≤＜＞<>+＋-—"
_INSIDE = re.compile(r"[（(][^（）()]*[）)]")
_PROSE = re.compile(r"[，。；！？：,;!?]")
_HEADING_LENGTH = 30
_RUN_IN_LENGTH = 18
_FULL = 0.7
_EDGE, _SHORT = 0.9, 0.5
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

    def reaches(self, text: str, share: float = _FULL) -> bool:
        """True of a line that takes at least this share of the width."""
        return display_width(text) >= share * self.width


def setting(lines: Sequence[Line], contents: Collection[str] = ()) -> Setting:
    """Find out how the lines were set."""
    texts = [line.text for line in lines if line.text]
    widths = sorted(map(display_width, texts)) or [0]
    width = widths[min(len(widths) - 1, int(len(widths) * 0.9))]
    full = [text for text in texts if display_width(text) >= _FULL * width]
    open_ended = sum(not _CLAUSE_END.search(text) for text in full)
    numbered = sum(marked_heading(text) is not None for text in texts)
    usual = sum(bool(_USUAL.fullmatch(text)) for text in texts)
    return Setting(width, in_pieces(lines), open_ended >= 0.4 * len(full), usual > numbered, contents)


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


def bare_heading(text: str) -> str:
    """A heading without its number: of `（二）传播途径。` 传播途径."""
    found = next((found for _, mark in _MARKS if (found := mark.match(text))), None)
    return text[found.end() if found else 0 :].strip("【】 ").rstrip("。：: ")


def _is_heading_text(text: str) -> bool:
    if text.count("（") + text.count("(") != text.count("）") + text.count(")"):
        return False
    plain = _INSIDE.sub("", text).strip().rstrip("。：:")
    return 0 < len(plain) <= _HEADING_LENGTH and not _PROSE.search(plain) and plain[-1] not in _OPEN_END


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
    if _AUTHORS.fullmatch(text) or _BOOK.fullmatch(text) or (how.contents and key(text) in how.contents):
        return _TOP
    return _UNNUMBERED if how.usual_headings and _USUAL.fullmatch(text) else None


def rejoin(lines: Sequence[Line], contents: Collection[str] = ()) -> list[Paragraph]:
    """Put paragraphs together that a page or an export broke into lines, and find the headings among them."""
    how = setting(lines, contents)
    found: list[Paragraph] = []
    current: Paragraph | None = None
    for place, line in enumerate(lines):
        if not line.text:
            current = None
        elif current is None or _begins(current, lines[place:], how):
            current = Paragraph(line, line.text, line.text)
            found.append(current)
        else:
            current.text, current.last = _glue(current.text, line.text, how), line.text
    return [part for paragraph in found for part in _with_headings(paragraph, how)]


def _begins(current: Paragraph, following: Sequence[Line], how: Setting) -> bool:
    """Whether a paragraph begins with the next line, or the current one goes on in it."""
    text = following[0].text
    if _is_markup(current.text) or _is_markup(text):
        return True
    if text[0] in CLOSING or _BARE.fullmatch(current.text):
        return False
    ended = bool(_SENTENCE_END.search(current.text))
    if _heading_rank(current.text, how) is not None and (
        ended or not (how.pieces and _BARE.fullmatch(current.start.text))
    ):
        return not _heading_goes_on(current, following, how)
    if _opens(text, how):
        return bool(_CLAUSE_END.search(current.text)) or how.pieces or not how.reaches(current.last)
    return ended or not _goes_on(current, text, how)


def _is_markup(text: str) -> bool:
    return text.startswith("|") or _MARKDOWN.match(text) is not None


def _opens(text: str, how: Setting) -> bool:
    """True of a line that looks like a beginning: a heading, an item of a list, in pieces also a label."""
    if _mark_rank(text) is not None or _ITEM.match(text) or _heading_rank(text, how) is not None:
        return True
    return how.pieces and _LABEL.match(text) is not None


def _goes_on(current: Paragraph, text: str, how: Setting) -> bool:
    if how.pieces or current.text[-1] in _OPEN_END:
        return True
    # A raised or lowered digit (cm², PaO₂) stands on a line of its own in the text layer of a page.
    if text.isdigit() and len(text) <= 2 and current.text[-1].isascii() and current.text[-1].isalpha():
        return True
    return how.wrapped and how.reaches(current.last)


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
    alone = not _PROSE.search(text) and not how.reaches(text, _SHORT)
    return alone and how.wrapped and how.reaches(current.last, _EDGE)


def _is_rest_of_heading(following: Sequence[Line], how: Setting) -> bool:
    """In pieces: true where the next heading comes before any sentence ends, so that all up to it is one heading."""
    rest = ""
    for line in following:
        if line.text and _opens(line.text, how):
            return True
        rest += line.text
        if len(rest) > _HEADING_LENGTH or _PROSE.search(rest):
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
    raised = after.isdigit() and len(after) <= 2 and before[-1].isalpha()
    return before + after if joined or raised else f"{before} {after}"


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
    the heading above. Headings without text of their own make no section.
    """
    found: list[Section] = []
    stack: list[tuple[int, str]] = []
    current: Section | None = None
    for paragraph in paragraphs:
        if paragraph.heading and paragraph.rank is not None:
            stack = [entry for entry in stack if entry[0] < paragraph.rank]
            stack.append((paragraph.rank, paragraph.text.rstrip("。：: ")))
            current = Section([text for _, text in stack], paragraph.start)
            found.append(current)
            continue
        if paragraph.rank is not None and any(rank >= paragraph.rank for rank, _ in stack):
            stack = [entry for entry in stack if entry[0] < paragraph.rank]
            current = None
        if current is None:
            current = Section([text for _, text in stack], paragraph.start)
            found.append(current)
        current.paragraphs.append(paragraph)
    return [section for section in found if section.paragraphs]


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
