"""Headings of Chinese documents: by their marks (`第三章`, `一、`, `（一）`, `【…】`), usual names and mark-up."""

from __future__ import annotations

import re

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
TOP, NUMBERED, UNNUMBERED, BRACKETED = 0, 4, 5, 6
"""Ranks: of appendices and listed headings, of `一、`, of usual headings and `【…】`, of `（一）`."""
APPENDIX = re.compile(r"附\s*[录件]\s*[\d一二三四五六七八九十]*")
AUTHORS = re.compile(
    r"[^：，。]{0,12}(?:编写|编审|审定|审阅|起草|执笔|制定)[^：，。]{0,8}(?:专家|名单|委员会|组)[^：，。]{0,4}[：:]?"
)
BOOK = re.compile(r"《[^》]{4,40}》")
EDITION = re.compile(r"[（(][^（）()]{2,16}[版稿行）)][）)]?")
USUAL = re.compile(
    r"(?:(?:疾病)?(?:定义|概述|病因|病原学|流行病学|发病机制|病理(?:生理|改变)?|临床表现|辅助检查|实验室检查|影像学检查"
    r"|诊断(?:标准|要点)?|鉴别诊断|治疗(?:原则|方案)?|预防|预后|随访|临床管理|遗传咨询|产前[筛诊][查断]|参考文献)"
    r"(?:和|与|及|、)?)+(?:的?建议)?|(?:诊疗|诊断|治疗)流程\s*(?:（[^）]*）|\([^)]*\))?"
)
_WIDE = "“”‘’…—"
REFERENCES = "参考文献"
BARE = re.compile(rf"\d{{1,2}}\s*[.．、]|[（(]?{_NUMERAL}[）)、]")
MARKDOWN = re.compile(r"(#{1,6})\s+(.+?)\s*#*$")
CLAUSE_END = re.compile(r"[。！？!?；;：:.][”’」』）)]*$")
OPEN_END = "，、（《“‘([～~/×=≥≤＜＞<>+＋-—"
INSIDE = re.compile(r"[（(][^（）()]*[）)]")
PROSE = re.compile(r"[，。；！？：,;!?]")
HEADING_LENGTH, _STOPPED_HEADING_LENGTH = 30, 15
_RUN_IN_LENGTH = 18


def display_width(text: str) -> int:
    """Columns that a text takes: two for a Han character or full-width punctuation, of which quotation marks are."""
    return sum(2 if character > "\u2e80" or character in _WIDE else 1 for character in text)


def marked_heading(text: str) -> int | None:
    """The rank of a line that is a heading by its mark, its length and its lack of prose; None of any other."""
    for rank, mark in _MARKS:
        found = mark.match(text)
        if found and (rank != UNNUMBERED or text.endswith("】")):
            return rank if is_heading_text(text[found.end() :]) else None
    return None


def is_heading_text(text: str) -> bool:
    """True of what stands behind a mark where it is short, no prose and complete."""
    if text.count("（") + text.count("(") != text.count("）") + text.count(")"):
        return False
    plain = INSIDE.sub("", text).strip()
    limit = _STOPPED_HEADING_LENGTH if plain.endswith("。") else HEADING_LENGTH
    plain = plain.rstrip("。：:")
    return bool(plain) and display_width(plain) <= 2 * limit and not PROSE.search(plain) and plain[-1] not in OPEN_END


def mark_rank(text: str) -> int | None:
    """The rank of the mark that a line begins with, whether it is a heading or not; None without one."""
    return next((rank for rank, mark in _MARKS if mark.match(text)), None)


def run_in(text: str) -> str:
    """The heading that a paragraph begins with, its stop included; '' where there is none."""
    if text.startswith("【"):
        return text[: text.index("】") + 1]
    stop = re.search("[。：]", text)
    if stop is None or stop.start() > _RUN_IN_LENGTH or len(text) - stop.end() < 2:
        return ""
    return text[: stop.end()] if marked_heading(text[: stop.start()]) is not None else ""
