"""All facts of a text, in its order."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

from pediatricsgpt.facts.ages import Age, ages
from pediatricsgpt.facts.fact import Fact
from pediatricsgpt.facts.lexicon import medicines
from pediatricsgpt.facts.negation import negations
from pediatricsgpt.facts.numbers import half_width
from pediatricsgpt.facts.quantities import STEP, quantities, relation_of
from pediatricsgpt.facts.reading import value

_AGE_WORD = re.compile(r"[岁月周天日龄]|星期|礼拜|[（(][男女]")
_WEEKS = re.compile(
    r"(?P<count>[\d.]+|[一二两三四五六七八九十百]+)\s?个?(?P<more>[多余来几])?(?P<unit>周|星期|礼拜|天|日)"
)
_MORE = re.compile(r"[多余来几]")
_DIGITS = re.compile(r"\d+(?:\.\d+)?")
_LIST_MARK = re.compile(r"(?:^|[\n。；;：:！？，,\s])[（(]?$")
_LIST_MARK_END = re.compile(r"[、.．)）:：](?!\d)")
_PER_CENT_OF = re.compile(r"\s?(?:的|浓度的?)?(?:酒精|乙醇|碘伏|碘酊|双氧水|溶液|食盐|生理盐水|浓度)")


def extract(text: str) -> list[Fact]:
    """All medical facts of a text, in its order.

    Kinds: `age` (persons' ages and bounds of age, in months or days), `weight` (kg), `temperature` (℃), `duration`,
    `frequency` (`/day` times a day, `every hour` the hours between two), `count` (tablets, bags, times), `dose` (an
    amount of mass, volume or activity, also per kg or per day), `concentration` (mass per volume, per cent before a
    drug), `measurement` (other units; blood pressure has the upper value in `value`, the lower in `high`), `drug`,
    `vaccine`, `negation`, and `number` for digits that none of these took (numbering of lists is left out).

    Args:
        text: any Chinese text; full-width digits are read as they stand, places are those of this text.
    """
    plain = half_width(text)
    named = medicines(plain)
    persons = _persons(plain, named)
    taken = sorted([(fact.start, fact.end) for fact in (*named, *persons)])
    counted = _strengths(plain, quantities(plain, taken), named)
    denied = negations(plain)
    facts = [*named, *persons, *counted]
    facts += _numbers(plain, facts)
    if denied:
        reach = _Spans(denied)
        facts = [replace(fact, negated=True) if reach.touch(fact.start, fact.start + 1) else fact for fact in facts]
        facts += denied
    facts.sort(key=lambda fact: (fact.start, fact.kind))
    if plain is text:
        return facts
    return [replace(fact, text=text[fact.start : fact.end]) for fact in facts]


def _persons(text: str, named: list[Fact]) -> list[Fact]:
    """Ages of persons as facts."""
    if not _AGE_WORD.search(text):
        return []
    inside = _Spans(named)
    return [
        _age(text, age)
        for age in ages(text)
        if not inside.touch(age.start, age.end) and not STEP.search(text, max(0, age.start - 4), age.start)
    ]


def _age(text: str, age: Age) -> Fact:
    """Days and weeks stay days, because a month is no whole number of them."""
    relation = ">" if _MORE.search(age.text) else relation_of(text, age.start, age.end)
    weeks = _WEEKS.fullmatch(age.text.removesuffix("大")) if age.text[-1] in "天日周期拜大" else None
    read = value(weeks["count"]) if weeks else None
    if weeks and read:
        days = read[0] * (1 if weeks["unit"] in "天日" else 7)
        return Fact("age", age.start, age.end, age.text, days, None, "day", relation=relation)
    return Fact("age", age.start, age.end, age.text, age.months, None, "month", relation=relation)


def _strengths(text: str, counted: list[Fact], named: list[Fact]) -> list[Fact]:
    """Per cent right before a drug is the strength of that drug."""
    starts = {fact.start for fact in named}
    result = []
    for fact in counted:
        if fact.unit == "%" and fact.kind == "measurement":
            place = fact.end
            while place < len(text) and text[place] in " 的":
                place += 1
            if place in starts or _PER_CENT_OF.match(text, fact.end):
                fact = replace(fact, kind="concentration")
        result.append(fact)
    return result


def _numbers(text: str, facts: list[Fact]) -> list[Fact]:
    """Digits that no other fact took, without the numbering of lists."""
    taken = _Spans(facts)
    found = []
    for match in _DIGITS.finditer(text):
        start, end = match.span()
        if taken.touch(start, end) or (
            _LIST_MARK_END.match(text, end) and _LIST_MARK.search(text, max(0, start - 3), start)
        ):
            continue
        found.append(Fact("number", start, end, match.group(), Decimal(match.group())))
    return found


class _Spans:
    """Spans that do not overlap, to ask what lies inside."""

    def __init__(self, facts: Iterable[Fact]) -> None:
        self._spans = sorted((fact.start, fact.end) for fact in facts)
        self._starts = [start for start, _ in self._spans]

    def touch(self, start: int, end: int) -> bool:
        """Whether any of the spans has a character of this one."""
        index = bisect_left(self._starts, end) - 1
        return index >= 0 and start < self._spans[index][1]
