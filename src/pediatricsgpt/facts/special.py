"""Written forms that are more than a number with a unit: rates over time, blood pressure, powers, parts, mixtures."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

from pediatricsgpt.facts.fact import Fact
from pediatricsgpt.facts.reading import TIME, TO, N, family_of, value

_PERIODS = {
    "日": "day", "天": "day", "晚": "day", "夜": "day", "周": "week", "星期": "week", "月": "month", "个月": "month",
    "年": "year", "小时": "hour", "分钟": "minute", "分": "minute",
}  # fmt: skip
_ONE = (Decimal(1), None)
_VERB = r"[服用吃喷滴口饮喝漱含注射接受涂抹加解排打输敷使发作进行可大小便需要应约至少最多外内洗刷饭后前重复药\s]{0,5}"
_TIMES = rf"(?P<times>{N})(?:{TO}(?P<upto>{N}))?\s?"
# 一日三次, 每天2~3次, 每周加两次, 日服3次, 每分钟60次
_OFTEN = re.compile(
    rf"(?:每|[一1]\s?|(?=日))(?P<period>个月|小时|分钟|星期|[日天晚夜周月年])[,，:：]?{_VERB}{_TIMES}(?:次(?:{TO}(?P<last>{N})次)?)(?!性)"
)
# 2-3次/日
_PER = re.compile(rf"{_TIMES}次?\s?[/／]\s?(?P<period>日|天|周|月|d(?![A-Za-z])|day)")
# 每8小时, 每4~6小时一次, 每隔一天, 间隔12h, 3天一次
_EVERY = re.compile(
    rf"(?P<word>每间?隔|每|间?隔)\s?(?P<times>{N})(?:{TO}(?P<upto>{N}))?\s?(?P<unit>{TIME})(?:{_VERB}[一1]\s?次)?",
    re.IGNORECASE,
)
_EVERY_AFTER = re.compile(
    rf"(?P<times>{N})(?:{TO}(?P<upto>{N}))?\s?(?P<unit>{TIME}){_VERB}[一1]\s?次(?!性)", re.IGNORECASE
)
_ALTERNATE = re.compile(r"每?隔[日天](?:[服用]?[一1]\s?次)?|(?<![A-Za-z])qod(?![A-Za-z])", re.IGNORECASE)
_LATIN = re.compile(
    r"(?<![A-Za-z])(?:(?P<code>b\.?i\.?d|t\.?i\.?d|q\.?i\.?d|qd|qn|qm|biw|tiw|qw)\.?|q(?P<hours>\d{1,2}(?:\.\d)?(?:[-~～]\d{1,2})?)h)(?![A-Za-z])",
    re.IGNORECASE,
)
_CODES = {
    "bid": (2, "day"), "tid": (3, "day"), "qid": (4, "day"), "qd": (1, "day"), "qn": (1, "day"), "qm": (1, "day"),
    "biw": (2, "week"), "tiw": (3, "week"), "qw": (1, "week"),
}  # fmt: skip
_MEALS = re.compile(r"早(?P<noon>、?中)?、?晚(?:饭?[前后])?各[服用]?(?:[一1]\s?次|(?=\s?[\d一二两三四半]))")

_PRESSURE = re.compile(
    r"(?P<upper>\d{2,3})\s?[/／]\s?(?P<lower>\d{2,3})(?![\d/.])\s?(?P<unit>mm\s?Hg|毫米汞柱|mm汞柱)?", re.IGNORECASE
)
_PRESSURE_WORD = re.compile(r"(?:血压|BP|高压|低压)\D{0,14}$", re.IGNORECASE)
# 11.5×10^9/L, written 109/L where the exponent lost its place, and 3.5*10的8次方
_POWER = re.compile(
    r"(?P<low>\d+(?:\.\d+)?)(?:\s?[-~～—]\s?(?P<high>\d+(?:\.\d+)?))?\s?[×xX*＊✕╳]\s?10\s?(?:的|\^|\*\*|E)?\s?(?P<power>-?\d{1,2})(?:次方|次幂)?"
    r"(?P<per>\s?[/／]\s?(?:L|升))?",
    re.IGNORECASE,
)
_HUNDREDTHS = re.compile(rf"百分之(?P<low>{N})(?:{TO}(?:百分之)?(?P<high>{N}))?")
_PART = re.compile(
    rf"(?:(?P<below>{N})\s?分之\s?(?P<above>{N})|(?P<over>\d{{1,2}})\s?/\s?(?P<under>[2-9]|1\d))\s?(?P<unit>片|粒|袋|包|支|瓶|丸|颗|滴|勺|枚|贴|剂)"
)
_STRENGTH = re.compile(
    rf"(?P<low>{N})(?:{TO}(?P<high>{N}))?\s?(?P<unit>mg|毫克|g|克|μg|µg|ug|微克|万?IU|万?U|万?单位)\s?[/／:：]\s?(?P<volume>\d+(?:\.\d+)?)?\s?(?:ml|毫升)(?![A-Za-z])",
    re.IGNORECASE,
)
_STRENGTH_AFTER = re.compile(
    r"(?P<volume>\d+(?:\.\d+)?)\s?(?:ml|毫升)\s?[:：]\s?(?P<low>\d+(?:\.\d+)?)\s?(?P<unit>mg|毫克|g|克|μg|µg|ug|微克|万?IU|万?U|万?单位)(?![A-Za-z])",
    re.IGNORECASE,
)
_METRES = re.compile(r"[一1]米(?P<rest>\d{1,2}|[一二三四五六七八九]{1,2})(?![\d几])")


def read(text: str, start: int) -> Fact | None:
    """The special form that begins at a place, if there is one."""
    first = text[start]
    if first in "每日隔间":
        return _often(text, start) or _every(text, start) or _alternate(text, start)
    if first in "早qQbBtT":
        return _latin(text, start) if first != "早" else _meals(text, start)
    for reader in _BY_NUMBER:
        if fact := reader(text, start):
            return fact
    return None


def _span(match: re.Match[str], kind: str, low: Decimal, high: Decimal | None, unit: str) -> Fact:
    return Fact(kind, match.start(), match.end(), match.group(), low, high, unit)


def _two(match: re.Match[str], first: str, second: str) -> tuple[Decimal, Decimal | None] | None:
    """The ends of a range in two groups."""
    low = value(match[first])
    high = value(match[second]) if match[second] else None
    if low is None or (match[second] and high is None):
        return None
    return low[0], (high[1] or high[0]) if high else low[1]


def _often(text: str, start: int) -> Fact | None:
    match = _OFTEN.match(text, start)
    if match is None or (
        text[start] == "日"
        and start
        and (text[start - 1].isdigit() or text[start - 1] in "今昨明生节假一二三四五六七八九十")
    ):
        return None
    ends = _two(match, "times", "last" if match["last"] else "upto")
    if ends is None or (text[start] in "一1" and start and text[start - 1] in "有每第点"):
        return None
    return _span(match, "frequency", *ends, f"/{_PERIODS[match['period']]}")


def _per(text: str, start: int) -> Fact | None:
    match = _PER.match(text, start)
    if match is None or "次" not in match.group():
        return None
    ends = _two(match, "times", "upto")
    return _span(match, "frequency", *ends, f"/{_PERIODS.get(match['period'], 'day')}") if ends else None


def _every(text: str, start: int) -> Fact | None:
    match = _EVERY.match(text, start)
    if match is None:
        return None
    ends = _two(match, "times", "upto")
    if ends is None:
        return None
    unit = family_of(match["unit"])[1]
    if ends == _ONE and match["word"] == "每" and match.group().endswith("次"):
        return _span(match, "frequency", Decimal(1), None, f"/{unit}")
    if match["word"] in ("每隔", "隔") and ends == _ONE and unit == "day":
        ends = (Decimal(2), None)  # every other day
    return _span(match, "frequency", *ends, f"every {unit}")


def _every_after(text: str, start: int) -> Fact | None:
    match = _EVERY_AFTER.match(text, start)
    ends = _two(match, "times", "upto") if match else None
    if match is None or ends is None:
        return None
    return _span(match, "frequency", *ends, f"every {family_of(match['unit'])[1]}")


def _alternate(text: str, start: int) -> Fact | None:
    match = _ALTERNATE.match(text, start)
    return _span(match, "frequency", Decimal(2), None, "every day") if match else None


def _latin(text: str, start: int) -> Fact | None:
    match = _LATIN.match(text, start)
    if match is None:
        return _alternate(text, start)
    if match["code"]:
        times, period = _CODES[match["code"].lower().replace(".", "")]
        return _span(match, "frequency", Decimal(times), None, f"/{period}")
    low, *high = re.split(r"[-~～]", match["hours"])
    return _span(match, "frequency", Decimal(low), Decimal(high[0]) if high else None, "every hour")


def _meals(text: str, start: int) -> Fact | None:
    match = _MEALS.match(text, start)
    if match is None:
        return None
    return _span(match, "frequency", Decimal(3 if match["noon"] else 2), None, "/day")


def _pressure(text: str, start: int) -> Fact | None:
    match = _PRESSURE.match(text, start)
    if match is None or not (match["unit"] or _PRESSURE_WORD.search(text[max(0, start - 20) : start])):
        return None
    upper, lower = Decimal(match["upper"]), Decimal(match["lower"])
    return _span(match, "measurement", upper, lower, "mmHg") if upper > lower else None


def _power(text: str, start: int) -> Fact | None:
    match = _POWER.match(text, start)
    if match is None:
        return None
    high = Decimal(match["high"]) if match["high"] else None
    return _span(
        match, "measurement", Decimal(match["low"]), high, f"10^{match['power']}{'/L' if match['per'] else ''}"
    )


def _hundredths(text: str, start: int) -> Fact | None:
    match = _HUNDREDTHS.match(text, start)
    ends = _two(match, "low", "high") if match else None
    return _span(match, "measurement", *ends, "%") if match and ends else None


def _part(text: str, start: int) -> Fact | None:
    match = _PART.match(text, start)
    if match is None:
        return None
    above, below = value(match["above"] or match["over"]), value(match["below"] or match["under"])
    if above is None or below is None or not below[0]:
        return None
    if _is_decimal(Fraction(above[0]) / Fraction(below[0])):
        return _span(match, "count", above[0] / below[0], None, match["unit"])
    return _span(match, "count", above[0], None, f"{match['unit']}/{below[0]}")  # a third is no decimal


def _is_decimal(share: Fraction) -> bool:
    """Whether a fraction has an end in decimals: its denominator has no prime but two and five."""
    rest = share.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1


def _strength(text: str, start: int) -> Fact | None:
    match = _STRENGTH_AFTER.match(text, start) or _STRENGTH.match(text, start)
    if match is None:
        return None
    if match["volume"] is None and match["unit"][-1] in "Uu位":
        return None  # a laboratory value
    low, high = value(match["low"]), match.groupdict().get("high")
    upper = value(high) if high else None
    if low is None or (high and upper is None):
        return None
    scale = 10_000 if match["unit"].startswith("万") else 1
    symbol = family_of(match["unit"].lstrip("万"))[1]
    top = upper[0] * scale if upper else None
    return _span(match, "concentration", low[0] * scale, top, f"{symbol}/{match['volume'] or ''}ml")


def _metres(text: str, start: int) -> Fact | None:
    match = _METRES.match(text, start)
    if match is None:
        return None
    rest = "".join(
        str("零一二三四五六七八九".find(mark)) if mark in "一二三四五六七八九" else mark for mark in match["rest"]
    )
    return _span(match, "measurement", Decimal(f"1.{rest}"), None, "m")


_BY_NUMBER = (_often, _per, _every_after, _pressure, _power, _hundredths, _part, _strength, _metres)
