"""Dates of birth in every form in which people write them, told by a word of birth before or behind them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from pediatricsgpt.corpus.rules import rules

_CN = "零〇○一二三四五六七八九"
_MONTH = r"(?:1[0-2]|0?[1-9])(?!\d)"
_DAY = r"(?:3[01]|[12]\d|0?[1-9])(?!\d)"
_CN_MONTH = "(?:十[一二]?|[一二三四五六七八九正冬腊])"
_CN_DAY = "(?:初[一二三四五六七八九十]|[一二三]?十[一二三四五六七八九]?|廿[一二三四五六七八九]?|[一二三四五六七八九])"
_LUNAR = r"(?:\s?[（(]?(?:农历|阴历|阳历|新历|公历)[）)]?\s?)?闰?"
_YEAR = rf"(?:(?:19|20)\d{{2}}|\d{{2}}|[一二][{_CN}]{{3}}|[{_CN}]{{2}})"
_TIME = (
    r"(?:[ T，,]{0,2}(?:凌晨|早上|早晨|清晨|上午|中午|下午|傍晚|晚上|夜里|半夜)?\s?"
    r"(?:\d{1,2}|[一二两三四五六七八九]|十[一二]?)(?:[:：]\d{1,2}(?:[:：]\d{1,2})?|[点时](?:\d{1,2}分?|半|[一二三四五]?十?[一二三四五六七八九]?分)?)|\s?(?:凌晨|早上|早晨|清晨|上午|中午|下午|傍晚|晚上|夜里|半夜))?"
)
_FEASTS = "元旦|春节|元宵|清明|五一|端午|六一|七夕|中秋|国庆|十一(?![月号日])|重阳|除夕|大年[初三]\\S?"
_OF = re.compile(r"的?(?=[，,。！]|$)")
_DATE = re.compile(
    rf"(?<![\d.\-/])(?:{_YEAR}年的?(?:{_CN_MONTH}月)?(?:{_FEASTS})(?:那天|当天)?|{_YEAR}\s?年的?\s?{_LUNAR}(?:{_MONTH}|{_CN_MONTH})\s?月(?:份)?(?:\s?(?:{_DAY}|{_CN_DAY})(?:\s?[日号])?)?"
    rf"|(?:19|20)\d{{2}}\s?[.\-/、]\s?{_MONTH}\s?[.\-/、]\s?{_DAY}[日号]?"
    rf"|\d{{2}}\s?([.\-/、])\s?{_MONTH}\s?\1\s?{_DAY}[日号]?"
    r"|(?:19|20)\d{2} (?:1[0-2]|0[1-9]) (?:3[01]|[12]\d|0[1-9])(?!\d)"
    r"|(?:3[01]|[12]\d|0?[1-9])[./](?:1[0-2]|0?[1-9])[./](?:19|20)\d{2}(?!\d)"
    r"|(?:(?:19|20)?\d{2})(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?!\d)"
    rf"|(?:19|20)\d{{2}}[.\-/]{_MONTH}(?![.\-/]?\d)"
    rf"|(?:{_MONTH}|{_CN_MONTH})\s?月\s?(?:(?:{_DAY}|{_CN_DAY})\s?[日号]|初[一二三四五六七八九十]|廿[一二三四五六七八九]|(?:{_DAY}|{_CN_DAY}))"
    rf"|{_MONTH}[\-/]{_DAY}(?![.\-/\d%个天周岁月斤公千kKgGcCmM小至]))"
    rf"{_TIME}(?:[（(](?:农历|阴历|阳历|新历|公历|属)[^）)]{{1,12}}[）)])?"
)
_REACH = 16
_FULL = re.compile(r"(?:19|20)\d{2}\s?[年.\-/]\s?\d{1,2}\s?[月.\-/]\s?\d{1,2}")
_MONTH_DAY = re.compile(rf"(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?!\d)|{_MONTH}\.{_DAY}(?![.\d个天岁月斤公千kKgG%])")


def birth_dates(shadow: str, at: int, to: int) -> Iterator[tuple[int, int, str]]:
    """(start, end, `birth_date`) of dates beside a word of birth, with the time of day where one is said.

    Args:
        shadow: a text that `half_width` gave.
        at: where to begin.
        to: where to stop.
    """
    check, before, behind, bare, being = _context()
    if not check.search(shadow, at, to):
        return
    for match in _DATE.finditer(shadow, at, to):
        left = shadow[max(0, match.start() - _REACH) : match.start()]
        right = shadow[match.end() : match.end() + _REACH]
        said = before.search(left) or behind.search(right)
        # 我是2018-06-02的: no word of birth, but a whole date is what somebody is
        if said or (_FULL.match(match.group()) and being.search(left) and _OF.match(right)):
            yield match.start(), match.end(), "birth_date"
    for match in _MONTH_DAY.finditer(shadow, at, to):
        if bare.search(shadow[max(0, match.start() - _REACH) : match.start()]):
            yield match.start(), match.end(), "birth_date"


@functools.cache
def _context() -> tuple[re.Pattern[str], ...]:
    content = rules("deidentify_numbers")
    return (
        re.compile(r"[生产剖出历属宝孩]|是\s?(?:19|20)\d|[男女]，|落地|破壳|足月|[Dd][Oo][Bb]"),
        re.compile(rf"(?:{content['birth_word']})(?:{content['birth_link_before']})"),
        re.compile(content["birth_link_behind"]),
        re.compile(content["birth_bare"]),
        re.compile(content["birth_is"]),
    )
