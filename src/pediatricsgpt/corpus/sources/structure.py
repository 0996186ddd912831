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
_AUTHORS = re.compile(r"[^：，。]{0,12}(?:编写|编审|审定|审阅|起草|执笔|制定)[^：，。]{0,8}(?:专家|名单|委员会|组)[^：，。]{0,4}[：:]?")
_BOOK = re.compile(r"《[^》]{4,40}》")
_EDITION = re.compile(r"[（(][^（）()]{2,16}[版稿行）)][）)]?")
_USUAL = re.compile(
    r"(?:(?:疾病)?(?:定义|概述|病因|病原学|流行病学|发病机制|病理(?:生理|改变)?|临床表现|辅助检查|实验室检查|影像学检查"
    r"|诊断(?:标准|要点)?|鉴别诊断|治疗(?:原则|方案)?|预防|预后|随访|临床管理|遗传咨询|产前[筛诊][查断]|参考文献)"
    r"(?:和|与|及|、)?)+(?:的?建议)?|(?:诊疗|诊断|治疗)流程\s*(?:（[^）]*）|\([^)]*\))?"
)
_ITEM = re.compile(r"(?:\d{1,2}\s*[.．、](?!\d)|\d{1,2}(?:\.\d{1,2}){1,3}\s+(?=[一-龥])|[（(]\d{1,2}[）)]|\[\d{1,3}\]|[-*•●]\s)")
_CIRCLED = re.compile(r"[①-⑳]")
_BARE_ITEM = re.compile(r"\d{1,2}\s*[.．、]?")
_LABEL = re.compile(r"[一-龥]{2,6}：")
_MARKDOWN = re.compile(r"(#{1,6})\s+(.+?)\s*#*$")
_SENTENCE_END = re.compile(r"[。！？!?][”’」』）)]*$")
_CLAUSE_END = re.compile(r"[。！？!?；;：:][”’」』）)]*$")
_OPEN_END = "，、（《“‘([～~/×=≥≤＜＞<>+＋-—"
_INSIDE = re.compile(r"[（(][^（）()]*[）)]")
_PROSE = re.compile(r"[，。；！？：,;!?]")
_HEADING_LENGTH = 30
_RUN_IN = re.compile(r"(.{1,18}?[）)]?)(?:。|：(?=.{8}))(?=.)", re.DOTALL)
_RUN_IN_RANKS = (4, 6)
_FULL = 0.7
_BROKEN_NUMBER = re.compile(r"\d\.$")


@dataclass(slots=True)
class Paragraph:
    """A paragraph. `rank` is that of the heading mark it begins with; `heading` says that it is a heading."""

    start: Line
    text: str
    rank: int | None = None
    heading: bool = False
    last: str = ""
    """The line that was joined last: whether it is full decides what may follow"""


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
class Page:
    """What the lines of a document have in common."""

    width: float
    pieces: bool
    wrapped: bool
    usual_headings: bool
    contents: Collection[str]

    def is_full(self, text: str) -> bool:
        """True of a line that reaches the right edge, or nearly: it may go on in the next line."""
        return display_width(text) >= _FULL * self.width


def measure(lines: Sequence[Line], contents: Collection[str] = ()) -> Page:
    """Find out how the lines were made: in pieces, wrapped at a width, or a paragraph each."""
    texts = [line.text for line in lines if line.text]
    widths = sorted(map(display_width, texts)) or [0]
    width = widths[min(len(widths) - 1, int(len(widths) * 0.9))]
    full = [text for text in texts if display_width(text) >= _FULL * width]
    open_ended = sum(not _CLAUSE_END.search(text) for text in full)
    numbered = sum(heading_rank(text) is not None for text in texts)
    usual = sum(bool(_USUAL.fullmatch(text)) for text in texts)
    return Page(width, in_pieces(lines), open_ended >= 0.4 * len(full), usual > numbered, contents)


def display_width(text: str) -> int:
    """Columns that a text takes: two for a Han character or full-width punctuation."""
    return sum(2 if character > "\u2e80" else 1 for character in text)


def heading_rank(text: str) -> int | None:
    """The rank of a line that is a heading by its mark, its length and its lack of prose; None of any other."""
    for rank, mark in _MARKS:
        found = mark.match(text)
        if found and (rank != _UNNUMBERED or text.endswith("】")):
            return rank if _is_heading_text(text[found.end() :]) else None
    return None


def bare_heading(text: str) -> str:
    """A heading without its number: `（二）传播途径。` is 传播途径."""
    for _, mark in _MARKS:
        found = mark.match(text)
        if found:
            text = text[found.end() :]
            break
    return text.strip("【】 ").rstrip("。：: ")


def _is_heading_text(text: str) -> bool:
    if text.count("（") + text.count("(") != text.count("）") + text.count(")"):
        return False
    plain = _INSIDE.sub("", text).strip().rstrip("。：:")
    return 0 < len(plain) <= _HEADING_LENGTH and not _PROSE.search(plain) and plain[-1] not in _OPEN_END


def _mark_rank(text: str) -> int | None:
    return next((rank for rank, mark in _MARKS if mark.match(text)), None)
