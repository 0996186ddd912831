"""Whose an amount is: the drug and the age of a dose or a frequency, the drug or the finding of an age or a duration.

Two doses that changed places leave the same numbers and the same drugs behind; only who owns which tells them apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from pediatricsgpt.facts import Fact, canonical

Form = tuple[str, Fraction | None, Fraction | None, str]
"""Unit, lower and upper value, and the bound: equal for amounts that say the same (0.5g = 500mg, tid = 每日三次)."""
Finder = Callable[[str], Iterable[tuple[int, str]]]

_AMOUNTS = frozenset({"dose", "frequency", "concentration", "count"})
_TIMES = frozenset({"age", "duration"})
_MEDICINES = ("drug", "vaccine")
_CONDITIONS = frozenset({"age", "weight"})
_EVENTS = frozenset({"次", "顿"})  # of vomiting as well as of taking
_CLAUSE = re.compile(r"[^，。；！？,;!?\n]+")
_SENTENCE = re.compile(r"[^。！？!?\n]+")
_JOINED = re.compile(r"\s?(?:[、/（(]|和|或者?|与|以?及|跟)?\s?")
_BEFORE_DRUG = re.compile(r"\s?的?")


@dataclass(frozen=True, slots=True)
class Owned:
    """An amount, its form, and the names that it may belong to; none where the text does not say.

    `side` is what the names are: `thing` (drugs, findings) or `whose` (the age or weight that a dose is for).
    """

    fact: Fact
    form: Form
    owners: frozenset[str]
    side: str = "thing"

    def __str__(self) -> str:
        return f"{'、'.join(sorted(self.owners))} {self.fact.text}"


def form(fact: Fact) -> Form:
    """What makes two amounts the same; `>` and `>=` are not told apart, an age and a duration of a length neither."""
    return canonical(fact)[1:]


def is_dosing(fact: Fact) -> bool:
    """Whether a fact says how much or how often: a dose, a strength, a frequency, a number of tablets."""
    return fact.kind in _AMOUNTS and not (fact.kind == "count" and fact.unit.partition("/")[0] in _EVENTS)


def owned(text: str, facts: Sequence[Fact], find: Finder) -> list[Owned]:
    """The amounts and times of a text with their owners.

    Args:
        text: the text.
        facts: what was extracted from it, in its order.
        find: the findings of a piece of text, with their places in it.
    """
    found: list[Owned] = []
    for clause in _CLAUSE.finditer(text):
        inside = [fact for fact in facts if clause.start() <= fact.start < clause.end()]
        found += _of_drugs(text, facts, inside)
        if any(fact.kind in _TIMES for fact in inside):
            findings = [(clause.start() + place, name) for place, name in find(clause.group())]
            found += _of_anything(inside, findings)
    for sentence in _SENTENCE.finditer(text):
        found += _of_persons([fact for fact in facts if sentence.start() <= fact.start < sentence.end()])
    return found


def moved(before: Sequence[Owned], after: Sequence[Owned]) -> Iterator[Owned]:
    """Amounts of `after` that `before` states as well, but each time of something else."""
    known: dict[tuple[Form, str], list[frozenset[str]]] = {}
    for one in before:
        known.setdefault((one.form, one.side), []).append(one.owners)
    for one in after:
        others = known.get((one.form, one.side))
        if others and one.owners and all(other and other.isdisjoint(one.owners) for other in others):
            yield one


def _of_drugs(text: str, facts: Sequence[Fact], inside: Sequence[Fact]) -> Iterator[Owned]:
    """Amounts belong to the nearest drug before them; 5ml布洛芬和2ml美林 say it the other way round."""
    amounts = [fact for fact in inside if fact.kind in _AMOUNTS]
    here = [fact for fact in inside if fact.kind in _MEDICINES]
    drug_follows = bool(amounts and here) and amounts[0].start < here[0].start
    for amount in amounts:
        drugs = [fact for fact in facts if fact.kind in _MEDICINES and (amount.negated or not fact.negated)]
        follows = next((drug for drug in here if drug.start >= amount.end), None)
        if drug_follows and follows and _BEFORE_DRUG.fullmatch(text, amount.end, follows.start):
            yield Owned(amount, form(amount), frozenset({follows.name}))
        else:
            yield Owned(amount, form(amount), _last(text, [drug for drug in drugs if drug.end <= amount.start]))


def _of_persons(inside: Sequence[Fact]) -> Iterator[Owned]:
    """Amounts of a sentence belong to the last age or weight before them (1岁以下2.5ml，1至3岁5ml)."""
    owner: frozenset[str] = frozenset()
    for fact in inside:
        if fact.kind in _CONDITIONS or (fact.kind == "duration" and fact.unit in ("month", "year")):
            unit, low, high, bound = form(fact)
            owner = frozenset({f"{bound.strip('=')}{low}{'' if high is None else f'-{high}'} {unit}"})
        elif is_dosing(fact):
            yield Owned(fact, form(fact), owner, "whose")


def _last(text: str, drugs: Sequence[Fact]) -> frozenset[str]:
    """The last drug, with those that are named in one breath with it (布洛芬和对乙酰氨基酚都是5ml)."""
    names: set[str] = set()
    for place in range(len(drugs) - 1, -1, -1):
        if names and not _JOINED.fullmatch(text, drugs[place].end, drugs[place + 1].start):
            break
        names.add(drugs[place].name)
    return frozenset(names)


def _of_anything(inside: Sequence[Fact], findings: Sequence[tuple[int, str]]) -> Iterator[Owned]:
    """Times belong to what their clause names; of several in one clause each to what stands next to it.

    The first time of a clause tells whether names stand before their times (发热3天咳嗽5天) or behind them
    (6个月以上用布洛芬、3个月以上用对乙酰氨基酚).
    """
    times = [fact for fact in inside if fact.kind in _TIMES]
    named = [*findings, *((fact.start, fact.name) for fact in inside if fact.kind in _MEDICINES)]
    first_name = min((place for place, _ in named), default=0)
    for index, time in enumerate(times):
        low, high = -1, max(time.end, *(place + 1 for place, _ in named)) if named else time.end
        if len(times) > 1 and first_name < times[0].start:
            low, high = times[index - 1].end if index else low, time.start
        elif len(times) > 1:
            low, high = time.end, times[index + 1].start if index + 1 < len(times) else high
        yield Owned(time, form(time), frozenset(name for place, name in named if low <= place < high))
