"""Every number of a text that counts something: what it counts, how much, and in which unit."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from pediatricsgpt.facts import special
from pediatricsgpt.facts.fact import Fact
from pediatricsgpt.facts.numbers import NUMERALS
from pediatricsgpt.facts.reading import QUANTITY, Amount, N, amount, family_of, value

_TRIGGER = re.compile(rf"[\d{NUMERALS}半每日隔间早]|(?<![A-Za-z])[qQbBtT](?=[.\dDdIiOoNnHhWwMm])")
_RUN = re.compile(rf"\d+(?:\.\d+)?|[{NUMERALS}]+|.")
_ORDINAL = re.compile(rf"第\s?(?:{N}[、,，\-~～至到和]\s?)*$")

_AT_LEAST = re.compile(
    r"(?:≥|⩾|≧|>=|大于等同于|大于等于|大于或等于|大于或等同于|不少于|不低于|不小于|不短于|(?:至少|最少)[^，,。；;、\d]{0,3})[了于为约\s]{0,2}$"
)
_MORE = re.compile(r"(?:>|＞|﹥|超过|超出|大于|高于|多于|长于|逾)[了于为约\s]{0,2}$")
_AT_MOST = re.compile(
    r"(?:≤|⩽|≦|<=|(?:不|未|没|没有|别|不能|不得|不应|不宜|不可|不要)(?:超过|大于|高于|多于|长于|超出)|小于等于|小于或等于|(?:至多|最多)[^，,。；;、\d]{0,3}|不到等于)[了于为约\s]{0,2}$"
)
_LESS = re.compile(r"(?:<|＜|﹤|小于|低于|少于|短于|不足|不到|未满|不满|没到|没满|未到|未达)[了于为约\s]{0,2}$")
_AT_LEAST_AFTER = re.compile(r"\s?(?:左右)?(?:及|或|和)?其?以上")
_AT_MOST_AFTER = re.compile(r"\s?(?:(?:及|或|和)?其?以[下内]|之内|内(?![科分镜源脏外生容涵向]))")
_LESS_AFTER = re.compile(r"不到|不足")
_RELATIONS = ((_AT_MOST, "<="), (_AT_LEAST, ">="), (_MORE, ">"), (_LESS, "<"))
_BOUND = re.compile(r"[≥⩾≧≤⩽≦<>＜＞﹥﹤=于过到满足达出][了于为约\s]{0,2}$|[至最][少多]")

_COURSE = re.compile(
    r"(?:疗程|连续|连用|连服|服|共|为|约|×|[xX]|发热|发烧|咳嗽|术后|用药|[病]程|近|这|近|持续|最近|过|生后)[为约了\s]{0,2}$"
)
_NOT_A_SPAN = re.compile(r"(?:[每第哪某同前上下当如比]|[只就]?有)\s?$")
_MONTHS_OK = re.compile(r"(?:术后|产后|近|生后|孕|疗程|连续|病程|治疗|出生)\s?$")
_NOT_ONE_DAY = re.compile(r"一?(?:天|不如|比|到晚|下来|都|又一|之中|当中|中|里)")
# Behind a bound or a range of months or days: then it is one of age (3~6个月婴儿, 28天以内的新生儿).
_BOUND_THEN = r"\s?(?:及|或)?以[上下内]的?"
_CHILDREN = r"(?:龄|婴|新生儿|早产儿)"
_SOMEBODY = {
    "day": (rf"\s?的?{_CHILDREN}", rf"{_BOUND_THEN}{_CHILDREN}"),
    "month": tuple(
        rf"{lead}(?:{_CHILDREN}|幼儿|小?儿童|宝宝|宝贝|患儿|孩子|小儿|儿(?![科保]))"
        for lead in (r"\s?的?", _BOUND_THEN)
    ),
}
_RANGE_OF_AGE = {unit: re.compile(after) for unit, (after, _) in _SOMEBODY.items()}
_BOUND_OF_AGE = {unit: re.compile(after) for unit, (_, after) in _SOMEBODY.items()}
STEP = re.compile(r"每[增长大加满过隔]{0,2}\s?$")
_DOSING = re.compile(r"(?:[次日天晚服吃用喝各含打射塞贴滴喷加早中给]|麻醉|注入|接种|口服)[了上过约:：,，\s]{0,2}$")
_WEIGHT = re.compile(r"(?:体重|出生|重量?|胎重)[^，,。;；\d]{0,5}$")
_HEAT = re.compile(
    r"(?:体温|发烧|发热|高烧|高热|低烧|低热|烧到|烧|温度|气温|室温|水温|高温|℃|最高|热度|腋温|肛温|耳温|T)[^，,。;；\d]{0,6}$"
)
_BARE_HEAT = re.compile(
    r"(?:体温|烧到|烧至|发烧|高烧|低烧|腋温|肛温|耳温|热峰)[^，,。;；\d\w]{0,2}(?:最高)?(?:[约达到至为在是了有都]|一直){0,3}\s?$"
)
_HEAT_VALUE = re.compile(
    r"(?P<low>3[5-9](?:\.\d)?|4[0-2](?:\.\d)?)(?:\s?[-~～至到]\s?(?P<high>3[5-9](?:\.\d)?|4[0-2](?:\.\d)?))?(?![\d.]|\s?[%次岁天个年月周分小/例])"
)
_REST_OF_HEAT = re.compile(r"(?P<tenth>[\d一二三四五六七八九])(?!\d|[天月日岁个次])")
_MONTHS_TOO = re.compile(rf"零?(?P<months>{N})个月")


def quantities(text: str, taken: Sequence[tuple[int, int]]) -> list[Fact]:
    """Weights, temperatures, durations, frequencies, counts, doses, strengths and measurements; bounds of ages too.

    Args:
        text: with digits of half width.
        taken: spans in the text's order that belong to ages, drugs and vaccines; nothing is read inside them.
    """
    found: list[Fact] = []
    starts = [start for start, _ in taken]
    reached = 0
    for trigger in _TRIGGER.finditer(text):
        start = trigger.start()
        if start < reached:
            continue
        index = bisect_right(starts, start) - 1
        if index >= 0 and start < taken[index][1]:
            continue
        fact = _read(text, start)
        if fact is not None and not _overlaps(fact, taken, index):
            found.append(fact)
            reached = fact.end
        elif text[start] not in "每日隔间早qQbBtT":
            run = _RUN.match(text, start)
            reached = run.end() if run else start + 1
    return found


def _overlaps(fact: Fact, taken: Sequence[tuple[int, int]], index: int) -> bool:
    """Whether a fact that begins outside the taken spans runs into the next one."""
    return index + 1 < len(taken) and taken[index + 1][0] < fact.end


def _read(text: str, start: int) -> Fact | None:
    fact = special.read(text, start)
    if fact is None and text[start] not in "日隔间早qQbBtT":
        fact = _counted(text, start)
    if fact is None or _ORDINAL.search(text, max(0, start - 12), start):
        return None
    relation = relation_of(text, fact.start, fact.end)
    return replace(fact, relation=relation) if relation != "=" and fact.relation == "=" else fact


def relation_of(text: str, start: int, end: int) -> str:
    """How the text bounds the value at a place: ≥38.5, 不超过200mg, 3岁以下."""
    before = text[max(0, start - 8) : start]
    if _BOUND.search(before):
        for pattern, relation in _RELATIONS:
            if pattern.search(before):
                return relation
    following = text[end : end + 1]
    if following and following in " 左及或和其以之内不":
        for pattern, relation in ((_AT_LEAST_AFTER, ">="), (_AT_MOST_AFTER, "<="), (_LESS_AFTER, "<")):
            if pattern.match(text, end):
                return relation
    return "="


def _counted(text: str, start: int) -> Fact | None:
    """A number with a unit."""
    if text[start] == "每":
        return _per_weight(text, start)
    match = QUANTITY.match(text, start)
    read = amount(match) if match else None
    if match is not None and read is None and match["unit1"]:
        if months := _months_to_years(match):
            return months
        match, read = _first_alone(text, start)
    if match is None or read is None:
        return _bare_temperature(text, start)
    fact = _KINDS[read.family](text, match, read)
    if fact is not None and read.more:
        fact = replace(fact, relation=">")
    return fact


def _months_to_years(match: re.Match[str]) -> Fact | None:
    """6个月-5岁 is a range of ages in two units."""
    if family_of(match["unit1"]) != ("time", "month") or family_of(match["unit2"])[0] != "age":
        return None
    low, high = value(match["low"]), value(match["high"])
    if low is None or high is None:
        return None
    return Fact("age", match.start(), match.end(), match.group(), low[0], high[0] * 12, "month")


def _first_alone(text: str, start: int) -> tuple[re.Match[str] | None, Amount | None]:
    """The first of two quantities that make no range (30分钟至1小时)."""
    for end in range(start + 2, min(len(text), start + 12)):
        match = QUANTITY.fullmatch(text, start, end)
        if match and (read := amount(match)):
            return match, read
    return None, None


_PER_WEIGHT = re.compile(
    r"每(?P<day>[日天]每)?(?:公斤|千克|kg)(?:体重)?(?:每?(?P<day2>[日天]))?[给予用约为服]{0,3}\s?", re.IGNORECASE
)


def _per_weight(text: str, start: int) -> Fact | None:
    """每公斤体重10毫克 is 10 mg/kg."""
    head = _PER_WEIGHT.match(text, start)
    match = QUANTITY.match(text, head.end()) if head else None
    read = amount(match) if match else None
    if head is None or match is None or read is None or read.family not in ("mass", "volume", "activity"):
        return None
    unit = f"{read.symbol}/kg" + ("/day" if head["day"] or head["day2"] else "")
    return Fact("dose", start, match.end(), text[start : match.end()], read.low, read.high, unit)


def _make(match: re.Match[str], kind: str, read: Amount, unit: str | None = None, end: int | None = None) -> Fact:
    """The fact of a match; `end` leaves out what was read too much."""
    stop = match.end() if end is None else end
    return Fact(kind, match.start(), stop, match.string[match.start() : stop], read.low, read.high, unit or read.symbol)


def _time(text: str, match: re.Match[str], read: Amount) -> Fact | None:
    """A duration, unless it is a date, a year, an ordinal or a turn of phrase."""
    written = (match["unit2"] or match["unit"]).strip()
    before, after = text[max(0, match.start() - 6) : match.start()], text[match.end() : match.end() + 4]
    one = match["low"] in ("一", "1") and not match["high"] and not read.more
    idle = _NOT_A_SPAN.search(before) and after[:1] != "了"
    if one and not written.startswith("个") and (idle or _NOT_ONE_DAY.match(after)):
        return None
    if match["low"] == "半" and written in ("日",):
        return None
    if written == "年" and (read.low >= 1000 or len(match["low"]) == 4 or (read.low > 12 and before.endswith("年"))):
        return None
    if written == "月" and match["low"] != "半" and not (_MONTHS_OK.search(before) or after[:1] in tuple("前余龄大")):
        return None
    if written == "日" and not _is_days(match, before, after):
        return None
    if read.symbol in _BOUND_OF_AGE and (
        _BOUND_OF_AGE[read.symbol].match(text, match.end())
        or (match["high"] and _RANGE_OF_AGE[read.symbol].match(text, match.end()))
    ):
        return _make(match, "age", read)
    return _with_months(text, match, read) if read.symbol == "year" else _make(match, "duration", read)


def _is_days(match: re.Match[str], before: str, after: str) -> bool:
    """疗程7日, 两日前, 3~5日后: days that are counted, not the day of a month."""
    if before.rstrip()[-1:] in ("月", "年") or re.match(r"[上下晚早中夜凌]", after):
        return False
    return (
        bool(_COURSE.search(before))
        or bool(match["high"])
        or bool(re.match(r"\s?(?:[前后内]|以[内上后]|之[内后])", after))
    )


def _with_months(text: str, match: re.Match[str], read: Amount) -> Fact:
    """一年零六个月 is eighteen months."""
    rest = _MONTHS_TOO.match(text, match.end())
    months = rest and value(rest["months"])
    if rest is None or not months or match["high"]:
        return _make(match, "duration", read)
    total = read.low * 12 + months[0]
    return Fact("duration", match.start(), rest.end(), text[match.start() : rest.end()], total, None, "month")


def _age(text: str, match: re.Match[str], read: Amount) -> Fact | None:
    """A bound or a range of ages; persons' own ages are read elsewhere."""
    if STEP.search(text, max(0, match.start() - 5), match.start()):
        return None  # 每增长1岁
    months = replace(read, low=read.low * 12, high=None if read.high is None else read.high * 12)
    return _make(match, "age", months, "month")


def _amount(text: str, match: re.Match[str], read: Amount) -> Fact | None:
    """A dose, a rate of one, a laboratory value in mass per volume, or a weight in grams."""
    per = "".join(f"/{part}" for part in read.rate)
    if (
        read.family == "mass"
        and not per
        and _WEIGHT.search(text[max(0, match.start() - 12) : match.start()])
        and read.symbol == "g"
    ):
        high = None if read.high is None else read.high / 1000
        return _make(match, "weight", replace(read, low=read.low / 1000, high=high), "kg")
    if read.rate and read.rate[0] in ("L", "dl", "ml", "m2", "cm", "ul") and read.family != "volume":
        return _make(match, "measurement", read, f"{read.symbol}{per}")
    return _make(match, "dose", read, f"{read.symbol}{per}")


def _weight(_text: str, match: re.Match[str], read: Amount) -> Fact | None:
    if read.rate:
        return _make(match, "measurement", read, read.symbol + "".join(f"/{part}" for part in read.rate))
    share = Decimal("0.5") if read.symbol == "斤" else Decimal(1)
    high = None if read.high is None else read.high * share
    return _make(match, "weight", replace(read, low=read.low * share, high=high), "kg")


def _temperature(text: str, match: re.Match[str], read: Amount) -> Fact | None:
    """Degrees: of heat where they can be, of sight from fifty on or below eleven without sign of heat."""
    written = match["unit2"] or match["unit"]
    if written != "度":
        return _make(match, "temperature", read)
    before = text[max(0, match.start() - 12) : match.start()]
    if 30 <= read.low <= 43 or (read.low < 100 and _HEAT.search(before)):
        return _with_tenth(text, match, read)
    if read.low < 20 and not match["high"]:
        return _make(match, "measurement", read, "度") if match["low"][0].isdigit() and read.low > 4 else None
    return _make(match, "measurement", read, "度")


def _with_tenth(text: str, match: re.Match[str], read: Amount) -> Fact:
    """38度5 is 38.5."""
    rest = _REST_OF_HEAT.match(text, match.end()) if not match["half"] and not match["high"] else None
    if rest is None:
        return _make(match, "temperature", read, "℃")
    tenth = "零一二三四五六七八九".find(rest["tenth"])
    tenths = Decimal(tenth if tenth >= 0 else rest["tenth"]) / 10
    return Fact(
        "temperature", match.start(), rest.end(), text[match.start() : rest.end()], read.low + tenths, None, "℃"
    )


def _bare_temperature(text: str, start: int) -> Fact | None:
    """体温38.5, 烧到39: degrees whose unit is left out."""
    match = _HEAT_VALUE.match(text, start)
    if match is None or not _BARE_HEAT.search(text[max(0, start - 10) : start]):
        return None
    high = Decimal(match["high"]) if match["high"] else None
    return Fact("temperature", start, match.end(), match.group(), Decimal(match["low"]), high, "℃")


def _count(text: str, match: re.Match[str], read: Amount) -> Fact | None:
    """Tablets, bags, drops and times; a single one only where a dose is spoken of (每次一片, not 一片红疹)."""
    if read.rate:
        kind = "frequency" if read.symbol == "次" else "count"
        per = "".join(f"/{part}" for part in read.rate)
        return _make(match, kind, read, per if kind == "frequency" else f"{read.symbol}{per}")
    if (match["unit2"] or match["unit"]).startswith("个"):
        return None
    before = text[max(0, match.start() - 8) : match.start()]
    if read.symbol in ("次", "顿") and read.low == 1 and not read.high:
        return None
    if match["low"] == "一" and not match["high"] and not match["half"] and not _DOSING.search(before):
        return None
    return _make(match, "count", read)


def _measure(_text: str, match: re.Match[str], read: Amount) -> Fact | None:
    if read.symbol == "D" and "." not in match.group():
        return None
    return _make(match, "measurement", read, read.symbol + "".join(f"/{part}" for part in read.rate))


_KINDS = {
    "time": _time,
    "age": _age,
    "mass": _amount,
    "volume": _amount,
    "activity": _amount,
    "body": _weight,
    "temperature": _temperature,
    "counter": _count,
    "measurement": _measure,
}
