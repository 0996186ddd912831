"""What a page puts around a text: page numbers, running heads, tables of contents, the feet of web pages.

Pure functions over lines. They drop what belongs to the page and nothing else; in doubt a line stays.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from pediatricsgpt.corpus.sources.headings import USUAL, display_width, marked_heading
from pediatricsgpt.text import key, normalise

# Characters of the fonts Symbol and Wingdings that PDF files leave in the private-use area; doses stand among them.
_SYMBOLS = str.maketrans(
    {
        "\uf061": "α",
        "\uf062": "β",
        "\uf067": "γ",
        "\uf06d": "μ",
        "\uf0a3": "≤",
        "\uf0b0": "°",
        "\uf0b1": "±",
        "\uf0b3": "≥",
        "\uf0b4": "×",
        "\uf0b7": "•",
        "\uf06c": "•",
        "\uf0d8": "•",
    }
)
_HAN = r"\u3400-\u4dbf\u4e00-\u9fff，。；：？！、（）《》【】“”"
_BESIDE_HAN = re.compile(rf"(?<=[{_HAN}]) +| +(?=[{_HAN}])")
_SPACED_TOKENS = 6
CLOSING = "，。、；：！？）》」』”’%℃),.;:!?~～"
_NUMBER = re.compile(r"\d{1,4}")
_DECORATED = re.compile(r"[-—–―－]+\s*(\d{1,4})\s*[-—–―－]+|第\s*(\d{1,4})\s*页(?:[\s,，/]*共\s*\d+\s*页)?")
_DOT_LEADER = re.compile(r"\s*[.．·…]{4,}[.．·…\s]*(\d{1,4}|[ivxIVX]{1,6})?$")
_OUTER_NUMBER = re.compile(r"^\W*\d{1,4}\W+|\W+\d{1,4}\W*$")
_ROMAN = re.compile(r"[ivxIVX]{1,6}|[Ⅰ-Ⅻ]+")
_CONTENTS = re.compile(r"目\s*[录次]|contents", re.IGNORECASE)
_ENTRY_MARK = re.compile(
    r"(?:第[一二三四五六七八九十百零〇\d]+[章节篇编]|[一二三四五六七八九十]+、|\d+\s*[.．、]|附[录件表]\s*\d*\s*[：:]?)\s*"
)
_ENTRY_LENGTH = 40
_CAPTION = re.compile(r"表\s*\d+(?:[-－—–.]\d+)?[\s:：.]*[^，。；]{2,40}[^，。；）)]")
_NOTE = re.compile(r"注\s*[:：]")
# Of the width of the text: cells of tables take up to 0.83 of it.
_TABLE_WIDTH, _FEWEST_ROWS, _TABLE_LINES = 0.85, 3, 150
_LINES_PER_PAGE = (10, 80)
_PER_PAGE_SHARE = 0.4
_EDGE_LINES = 2
_WEB_OWNER = "版权所有"
_WEB_FOOT_START = re.compile(r"网站地图|相关链接[：:]?")
_WEB_FOOT_LINES = 8


@dataclass(frozen=True, slots=True)
class Line:
    """A line or a paragraph, with the place where it begins: the line of the text and the page, where known."""

    text: str
    line: int | None = None
    page: int | None = None
    verbatim: bool = False
    """A row of a table or a line of code: a paragraph by itself, whatever it looks like"""


def tidy(text: str) -> str:
    """A line with its characters put right: symbol fonts, widths, letters set apart by spaces (`目 前 是 我 国`)."""
    tokens = text.split()
    single = sum(len(token) == 1 and token > "\u2e80" for token in tokens)
    spaced = len(tokens) >= _SPACED_TOKENS and single > len(tokens) / 2
    text = normalise(text.translate(_SYMBOLS))
    return _BESIDE_HAN.sub("", text) if spaced else text


def in_pieces(lines: Sequence[Line]) -> bool:
    """True of a text that was cut at every change of font, as web pages made from documents are.

    Closing punctuation never begins a line in Chinese typesetting; in such a text it begins many.
    """
    texts = [line.text for line in lines if line.text and not line.verbatim]
    if len(texts) < 2:
        return False
    closing = sum(text[0] in CLOSING for text in texts)
    return statistics.median(map(len, texts)) < 12 and closing / len(texts) >= 0.05


def drop_page_numbers(lines: Sequence[Line]) -> list[Line]:
    """Without the page numbers that stand alone on a line, and the blank lines beside them.

    A bare number is a page number only as a member of the longest run of consecutive numbers that are about a page
    apart: `5` between `约` and `岁` is none, and a text in pieces has none at all.
    """
    dropped = {place for place, line in enumerate(lines) if _DECORATED.fullmatch(line.text)}
    if not in_pieces(lines):
        dropped |= set(_numbered_pages(lines))
    for place in list(dropped):
        dropped |= _blank_around(lines, place)
    return [line for place, line in enumerate(lines) if place not in dropped]


def _numbered_pages(lines: Sequence[Line]) -> list[int]:
    """Places of the longest chain n, n + 1, n + 2, … of lines that are a number, if it is spaced like pages."""
    chains: dict[int, list[int]] = {}
    for place, line in enumerate(lines):
        if _NUMBER.fullmatch(line.text):
            number = int(line.text)
            chain = [*chains.get(number - 1, []), place]
            if len(chain) > len(chains.get(number, [])):
                chains[number] = chain
    longest = max(chains.items(), key=lambda item: (len(item[1]), -item[0]), default=(0, []))
    first = longest[0] - len(longest[1]) + 1
    if len(longest[1]) < (2 if first == 1 else 3):
        return []
    gap = (longest[1][-1] - longest[1][0]) / (len(longest[1]) - 1)
    return longest[1] if _LINES_PER_PAGE[0] <= gap <= _LINES_PER_PAGE[1] else []


def _blank_around(lines: Sequence[Line], place: int) -> set[int]:
    found = set()
    for step in (-1, 1):
        near = place + step
        while 0 <= near < len(lines) and not lines[near].text:
            found.add(near)
            near += step
    return found


def drop_running_heads(pages: Sequence[Sequence[Line]]) -> list[list[Line]]:
    """Pages without the heads and feet that many of them share: a line at the edge, equal up to the page number in it.

    Where the line is only a number, it has to go up with the pages.
    """
    edges = [(page, place) for page in range(len(pages)) for place in _edges(pages[page])]
    pages_of: dict[str, set[int]] = {}
    for page, place in edges:
        pages_of.setdefault(_pattern(pages[page][place].text, page), set()).add(page)
    needed = max(3, _PER_PAGE_SHARE * len(pages))
    repeated = {pattern for pattern, where in pages_of.items() if len(where) >= needed}
    dropped = {
        (page, place)
        for page, place in edges
        if _pattern(pages[page][place].text, page) in repeated or _DECORATED.fullmatch(pages[page][place].text)
    }
    return [
        [line for place, line in enumerate(lines) if (page, place) not in dropped] for page, lines in enumerate(pages)
    ]


def _edges(lines: Sequence[Line]) -> list[int]:
    filled = [place for place, line in enumerate(lines) if line.text]
    return sorted({*filled[:_EDGE_LINES], *filled[-_EDGE_LINES:]})


def _pattern(text: str, page: int) -> str:
    if _NUMBER.fullmatch(text):
        return f"number {int(text) - page}"
    return _OUTER_NUMBER.sub("#", text)


def keep_tables(lines: Sequence[Line], printed: Sequence[str]) -> list[Line]:
    """The lines, those of tables marked verbatim and with the spaces between their cells.

    An export as plain text leaves of a table its caption (`表 53-2 …`) and pieces of its rows. Which cell stood where
    is lost, but joined like prose two of them would make new numbers, and some cells would be headings. A table goes
    on until a heading, a note, or two lines that fill the width.

    Args:
        lines: the document's lines.
        printed: the same lines as they are in the file.
    """
    found = list(lines)
    widths = sorted(display_width(line.text) for line in lines if line.text)
    if not widths or in_pieces(lines):
        return found
    full = _TABLE_WIDTH * widths[int(len(widths) * 0.9)]
    for place, line in enumerate(lines):
        if _CAPTION.fullmatch(line.text) and not found[place].verbatim:
            rows = _table_length(lines[place + 1 : place + 1 + _TABLE_LINES], full)
            for row in range(place, place + rows + 1) if rows >= _FEWEST_ROWS else ():
                found[row] = replace(lines[row], text=_cells(lines[row].text, printed[row]), verbatim=True)
    return found


def _table_length(lines: Sequence[Line], full: float) -> int:
    wide = 0
    for place, line in enumerate(lines):
        if USUAL.fullmatch(line.text) or marked_heading(line.text) is not None or _NOTE.match(line.text):
            return place - wide
        wide = wide + 1 if display_width(line.text) >= full else 0
        if wide == 2:
            return place - 1
    return len(lines) - wide if len(lines) < _TABLE_LINES else 0


def _cells(text: str, printed: str) -> str:
    """The line with the spaces that were printed in it, unless all its letters were set apart."""
    parts = printed.translate(_SYMBOLS).split()
    letters = len(parts) >= _SPACED_TOKENS and sum(map(len, parts)) < 2 * len(parts)
    return text if letters else " ".join(map(normalise, parts))


def drop_web_foot(lines: Sequence[Line]) -> list[Line]:
    """Without the foot of a web page: from the site map or the links down, where an owner's line follows at once."""
    for place, line in enumerate(lines):
        following = lines[place : place + _WEB_FOOT_LINES]
        if _WEB_FOOT_START.fullmatch(line.text) and any(_WEB_OWNER in near.text for near in following):
            return list(lines[:place])
    return list(lines)


def drop_blank_lines(lines: Sequence[Line]) -> list[Line]:
    """Without blank lines where they stand after nearly every line and so separate nothing; else unchanged."""
    blank = sum(not line.text for line in lines)
    if blank >= 0.4 * len(lines):
        return [line for line in lines if line.text]
    return list(lines)


def take_contents(lines: Sequence[Line]) -> tuple[list[Line], dict[str, str]]:
    """The lines without the table of contents, and the headings that it lists, each by its key.

    The table begins with `目录` and goes on while lines end in dot leaders or look like numbered headings that did not
    occur yet. Lines with dot leaders and a page number are dropped wherever they stand. A heading that the text prints
    with its number is listed with it only: without, it is a cell of a table or a name in passing.
    """
    start = next((place for place, line in enumerate(lines) if _CONTENTS.fullmatch(line.text)), None)
    entries: list[str] = []
    end = 0 if start is None else start + 1
    while start is not None and end < len(lines):
        entry = _entry(lines, end)
        if entry is None or (entry and key(entry) in map(key, entries)):
            break
        entries += [entry] if entry else []
        end += 1
    kept = list(lines)
    if start is not None and len(entries) >= 2:
        while start and (not lines[start - 1].text or _ROMAN.fullmatch(lines[start - 1].text)):
            start -= 1
        kept = [*lines[:start], *lines[end:]]
    kept = [line for line in kept if not _is_entry_with_page(line.text)]
    return kept, _listed(entries, {key(line.text) for line in kept}) if len(entries) >= 2 else {}


def _listed(entries: Sequence[str], printed: Collection[str]) -> dict[str, str]:
    """Headings by key, in the spelling of the table: the one in the text is sometimes torn (`Le be r`)."""
    found = {key(entry): entry.strip() for entry in entries}
    for entry in entries:
        bare = _ENTRY_MARK.sub("", entry, count=1).strip()
        if key(entry) not in printed and bare:
            found.setdefault(key(bare), bare)
    return found


def _is_entry_with_page(text: str) -> bool:
    leader = _DOT_LEADER.search(text)
    return leader is not None and leader.group(1) is not None


def _entry(lines: Sequence[Line], place: int) -> str | None:
    """The heading that a line of a table of contents names: '' for furniture inside it, None where the table ends."""
    text = lines[place].text
    if not text or _ROMAN.fullmatch(text) or _NUMBER.fullmatch(text):
        return ""
    leader = _DOT_LEADER.search(text)
    if leader:
        return text[: leader.start()]
    if _ENTRY_MARK.match(text) and len(text) <= _ENTRY_LENGTH and not re.search(r"[。；，]", text):
        return text
    # A long entry runs over two lines, of which the second has the leader.
    continues = place + 1 < len(lines) and _DOT_LEADER.search(lines[place + 1].text)
    return "" if continues and len(text) <= _ENTRY_LENGTH * 2 else None
