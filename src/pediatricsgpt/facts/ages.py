"""Ages of persons in Chinese text, in exact months.

An age decides what is right for a child, and a duration that is taken for an age (咳嗽3个月) puts a school child among
the infants. So years (岁) count as an age unless their context says otherwise, while months, weeks and days count only
where the context says that somebody is that old. Bounds and ranges (3岁以下, 6～12个月) are nobody's age.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

DAYS_PER_MONTH = Decimal("30.4375")
ADULT_MONTHS = 216
_OLDEST_MONTHS = 120 * 12

_NUMBER = r"(?:\d+(?:\.\d+)?|[一二两俩三四五六七八九十百]+)"
_CHILD = (
    r"(?:宝宝|宝贝|宝儿|宝|孩子|小孩|孩|婴儿|婴幼儿|幼儿|婴|儿童|童|小儿|患儿|新生儿|早产儿|女儿|儿子|孙子|孙女|外孙"
    r"|外甥女?|侄子|侄女|闺女|娃娃|娃|小朋友|小家伙|崽|囡囡|妹妹|弟弟|BB|bb|baby)"
)
# What may stand between "宝宝" and its age.
_FILLER = (
    r"(?:[，,：:、（(\s]|今年|现在|目前|已经|已|才|刚刚|刚|满|快要|快|都|是|有|了|只有|大概|大约|约|差不多|也|就|将近"
    r"|马上|年龄|月龄)"
)

_SPAN = re.compile(
    rf"""
    (?=[\d一二两俩三四五六七八九十百半满])(?:  # to look no further where nothing can begin
    (?P<half_year>半岁(?!多?以))
    | (?P<years>{_NUMBER})\s?(?P<about>多|来|几)?(?:个)?(?:周岁|岁)
        (?: (?P<year_half>半)
          | \s?(?:零|又|加)?\s?(?P<year_months>{_NUMBER})\s?
            (?:个(?P<year_month_half>半)?月|月(?=[的大了，,。.\s）)龄宝孩男女小]|$))
            (?!前(?!天)|后(?!天)|内|份|以)
            (?:零?(?P<year_days>{_NUMBER})天)?
        )?
    | (?P<months>{_NUMBER})\s?(?:(?P<counter>个)(?:多|来)?(?P<month_half>半)?)?(?:多)?月(?P<of_age>龄)?
        (?:零?(?P<month_days>{_NUMBER})天)?
    | (?P<half_month>半)(?:个)?(?:多)?月(?!板|经)
    | (?P<weeks>{_NUMBER})\s?(?:个)?(?:多)?(?:周(?![岁围边末日期一二三四五六])|星期(?![一二三四五六日天])|礼拜)
    | (?P<days>{_NUMBER})\s?(?:多)?(?:天|日(?=龄)|日大)
    | (?P<full_month>满月)(?!脸|酒|经|后|以后)
    )
    """,
    re.VERBOSE,
)
# (男，21): years whose unit is left out, an abbreviation of consultation platforms.
_BARE_YEARS = re.compile(r"(?<=[（(][男女][，,、 ])\s?(\d{1,3})(?=[）)])")

_BOUND_BEFORE = re.compile(
    r"(?:[≥≤<>＜＞≦≧⩾⩽]|大于|小于|超过|不到|未满|不满|不足|没满|没到|至少|低于|高于|早于|晚于|等到|长到|活到|相当于|平均|骨龄|智龄|心理年龄|发育年龄|中位年龄"
    r"|年龄[中范]\w{0,2}|到|至|每|第|[-~～—–－]|(?<=[\d一二两三四五六七八九十岁月天])、)\s*(?:了|是|为|约|在)?\s*$"
)
_BOUND_AFTER = re.compile(
    r"^\s*(?:左右)?(?:(?:及|或|和)?其?以[上下内前后外]|之[前后间内]|[内间]|前(?![面门额胸臂天几年段阵后不])|后(?![背脑面颈眼])|起|组"
    rf"|(?:岁|个月|月|天|周)?\s*[-~～—–－至到、]\s*{_NUMBER}\s*(?:周?岁|个|月|天|周|日))"
)
_NOT_LIVED = re.compile(r"(?:孕|怀胎|怀|妊娠|停经|胎龄|胎儿|胎|早产|术后|产后|流产后?)(?:了|约|大约|已|已经|的)?\s*$")
_BIG_AFTER = re.compile(rf"^大(?=[的了吗呢吧，。,.;；:：！!？?、\s）)]|$|{_CHILD}|男|女)")
_LEAD_IN = re.compile(
    r"(?:^|[^\w]|我|我们|咱|家|个|名|位|请问|问|你好|您好|是|有|的|满|刚|才|快|今年|现在|目前|对于|对|给|于|和|跟|与|例|约|多大)\s*$"
)
_CHILD_AFTER = re.compile(rf"^(?:多|左右|了)?大?(?:的)?[，,、\s]?(?:[男女小]|早产|{_CHILD})")
_CHILD_BEFORE = re.compile(rf"{_CHILD}{_FILLER}{{0,4}}$")
_BORN_TO_MOTHER = re.compile(
    rf"(?:生|生完|生下|生了|怀|怀了|产下|顺产|流产)(?:完|下|了|个|的)?{_CHILD}{_FILLER}{{0,4}}$"
)
_BORN_BEFORE = re.compile(
    r"(?:出生|生后|出世|降生|落地|生下来|生下)(?:后|才|刚刚|刚|已经|已|第|了|到现在|只有|大约|约|有|\s){0,3}$"
)
_SEX_BEFORE = re.compile(r"[男女](?:性|宝宝|宝|孩|婴|童|士)?(?:[，,：:、\s]|今年|现在|年龄|才|刚){0,3}$")
_SAID_AGE = re.compile(r"(?:年龄|月龄|日龄|矫正月龄)[：:，,为是\s]*$")
_CLAUSE_END = re.compile(r"^(?:了|大|多|的|整)*(?:[，。,.;；:：！!？?、\s）)]|$)")
_EVENT_AFTER = re.compile(r"^(?:多|了)?(?:没|未|前|后(?!背|脑)|内|以|之|来(?!看|医)|份|期间|一次)")
_COUNTED_DAYS = re.compile(rf"(?:已经|已|有|都|了|也){_FILLER}{{0,2}}$")
_PAST_AFTER = re.compile(r"^(?:左右|多|的)?(?:时|那年|那会|起|开始|就|入院|上学)")


@dataclass(frozen=True, slots=True)
class Age:
    """An age in a text: `text[start:end]` says it, `months` is its exact value."""

    start: int
    end: int
    text: str
    months: Decimal

    @property
    def adult(self) -> bool:
        """True from 18 years on."""
        return self.months >= ADULT_MONTHS


def ages(text: str) -> list[Age]:
    """All ages of persons in a text, in its order; durations, bounds and ranges are left out.

    Years count twelve months, days 1/30.4375 of one. Where a number is vague (三四岁, 5岁多) the lower one is taken.
    """
    found = [_bare(match) for match in _BARE_YEARS.finditer(text)]
    for match in _SPAN.finditer(text):
        months = _months(match)
        if months is not None and _is_age(match, text):
            found.append(Age(match.start(), match.end(), match.group(), months))
    return sorted(found, key=lambda age: age.start)


def present_ages(text: str) -> list[Age]:
    """The ages that somebody has now: without those at an earlier event (3岁时摔过) and impossible ones."""
    return [age for age in ages(text) if age.months <= _OLDEST_MONTHS and not _PAST_AFTER.match(text[age.end :])]


def patient_age(text: str) -> Age | None:
    """The age of the one that the text is about: the first plausible one, a child's where a child is spoken of.

    In "我30岁，宝宝6个月" this is 6个月. An age at an earlier event (3岁时摔过) is not the patient's age.
    """
    plausible = present_ages(text)
    children = [age for age in plausible if not age.adult]
    if children and re.search(_CHILD, text):
        return children[0]
    return plausible[0] if plausible else None


def _bare(match: re.Match[str]) -> Age:
    return Age(match.start(1), match.end(1), match.group(1), Decimal(match.group(1)) * 12)


def _number(text: str | None) -> Decimal | None:
    """A number in digits or in Chinese characters below 1000; of two digits side by side (三四) the first."""
    if not text:
        return None
    if text[0].isdigit():
        return Decimal(text)
    digits = {character: value for value, character in enumerate("一二三四五六七八九", 1)} | {"两": 2, "俩": 2}
    total, digit = 0, 0
    for character in text:
        if character in "十百":
            total += (digit or 1) * (10 if character == "十" else 100)
            digit = 0
        elif not digit:
            digit = digits[character]
    return Decimal(total + digit)


def _months(match: re.Match[str]) -> Decimal | None:
    """The value of a span in months; None where it is too vague (十几岁)."""
    part = match.group
    if part("half_year"):
        return Decimal(6)
    if part("full_month"):
        return Decimal(1)
    if part("half_month"):
        return Decimal("0.5")
    if part("years"):
        return _months_of_years(match)
    if part("months"):
        whole = _number(part("months")) or Decimal(0)
        return (
            whole + (Decimal("0.5") if part("month_half") else 0) + (_number(part("month_days")) or 0) / DAYS_PER_MONTH
        )
    if part("weeks"):
        return (_number(part("weeks")) or Decimal(0)) * 7 / DAYS_PER_MONTH
    return (_number(part("days")) or Decimal(0)) / DAYS_PER_MONTH


def _months_of_years(match: re.Match[str]) -> Decimal | None:
    part = match.group
    years = _number(part("years")) or Decimal(0)
    if part("about") and years == 10:
        return None
    months = years * 12 + (6 if part("year_half") else 0) + (_number(part("year_months")) or 0)
    half = Decimal("0.5") if part("year_month_half") else Decimal(0)
    return months + half + (_number(part("year_days")) or 0) / DAYS_PER_MONTH


def _is_age(match: re.Match[str], text: str) -> bool:
    """Whether the words around a span make it somebody's age."""
    before, after = text[max(0, match.start() - 24) : match.start()], text[match.end() : match.end() + 16]
    if _BOUND_BEFORE.search(before) or _BOUND_AFTER.match(after):
        return False
    if match["years"] or match["half_year"]:
        return True
    if _NOT_LIVED.search(before):
        return False
    if match["full_month"]:
        return _is_full_month(before, after)
    if match["of_age"] or match.group().endswith("日大") or after.startswith("龄"):
        return True
    return _lived(match, before, after)


def _is_full_month(before: str, after: str) -> bool:
    """满月 is one month where a child is said to be it; not 还没满月, not a mother's month after birth."""
    clause = re.split(r"[，。,.;；！!？?\n]", before)[-1]
    if re.search(r"(?:未|没|没有|不|不到|差\S{0,3}|月子|产后|怀孕\S*)$", clause):
        return False
    return bool(re.search(rf"{_CHILD}\S{{0,6}}$", before[-12:]) or re.match(rf"的?\S?{_CHILD}", after))


def _lived(match: re.Match[str], before: str, after: str) -> bool:
    """Whether months, weeks or days are the time that a child has lived."""
    if _BIG_AFTER.match(after):
        return True
    bare_month = bool(match["months"]) and not match["counter"]
    if bare_month and re.match(r"[份日初底中末\d]", after):
        return False
    if _CHILD_AFTER.match(after) and _LEAD_IN.search(before):
        return True
    if _SAID_AGE.search(before) or (_SEX_BEFORE.search(before) and _CLAUSE_END.match(after)):
        return True
    if bare_month or _EVENT_AFTER.match(after):
        return False
    if _BORN_BEFORE.search(before):
        return True
    return _said_of_child(match, before, after)


def _said_of_child(match: re.Match[str], before: str, after: str) -> bool:
    """宝宝6个月, 孩子现在三个月了, 宝宝30天：…; for days and weeks only as a clause of its own."""
    if not _CHILD_BEFORE.search(before) or _BORN_TO_MOTHER.search(before):
        return False
    if match["months"]:
        return True
    return bool(_CLAUSE_END.match(after)) and not _COUNTED_DAYS.search(before)
