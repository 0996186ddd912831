"""Answers that recommend to a child what its age forbids, by the table `unsafe.yaml`.

The table is a first one and unreviewed. It looks for a sentence that recommends a medicine without any word of warning
or negation, so it misses more than it finds; what it finds is rejected with the rule's id and consequence.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pediatricsgpt import text as chinese
from pediatricsgpt.corpus.rules import pattern, rules
from pediatricsgpt.facts import ADULT_MONTHS, patient_age


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table; `below` is an age in months."""

    id: str
    drugs: re.Pattern[str]
    below: float
    exceptions: re.Pattern[str] | None
    only_with: re.Pattern[str] | None
    consequence: str


def unsafe_advice(question: str, answers: Sequence[str], age_months: float | None = None) -> str:
    """What an answer recommends against a rule: `id, words, consequence`; empty where nothing is found.

    Args:
        question: all that the patient says; a child's age is taken from it where `age_months` is None.
        answers: the doctor's turns.
        age_months: of the patient, where known.
    """
    if not any(map(_words().search, answers)):
        return ""
    age = _age(question) if age_months is None else _Age(age_months)
    if age is None or age.months > ADULT_MONTHS or _others().search(question):
        return ""
    dialogue = "\n".join([question, *answers])
    for sentence in (sentence for answer in answers for sentence in chinese.sentences(answer)):
        if _words().search(sentence) and _recommends(sentence):
            for rule in _table():
                drug = rule.drugs.search(sentence)
                if drug and _holds(rule, age, dialogue):
                    return f"{rule.id}, {drug.group()}, {rule.consequence}"
    return ""


@dataclass(frozen=True, slots=True)
class _Age:
    """An age in months; `at_most` where words only bound it (宝宝, 新生儿)."""

    months: float
    at_most: bool = False


def _holds(rule: Rule, age: _Age, dialogue: str) -> bool:
    return (
        (age.months <= rule.below if age.at_most else age.months < rule.below)
        and not (rule.exceptions and rule.exceptions.search(dialogue))
        and not (rule.only_with and not rule.only_with.search(dialogue))
    )


def _recommends(sentence: str) -> bool:
    return not pattern("unsafe", "warnings").search(sentence) and bool(
        pattern("unsafe", "recommends").search(sentence) and not _others().search(sentence)
    )


def _age(question: str) -> _Age | None:
    """The patient's age, said in numbers, else bounded by words; None where neither is."""
    said = patient_age(question)
    if said is not None:
        return _Age(float(said.months))
    return next((_Age(float(months), True) for words, months in _bands() if words.search(question)), None)


@functools.cache
def _table() -> tuple[Rule, ...]:
    return tuple(
        Rule(
            row["id"],
            re.compile("|".join(row["drugs"])),
            float(row["below_months"]),
            re.compile("|".join(row["exceptions"])) if row.get("exceptions") else None,
            re.compile("|".join(row["only_with"])) if row.get("only_with") else None,
            row["consequence"],
        )
        for row in rules("unsafe")["rules"]
    )


@functools.cache
def _words() -> re.Pattern[str]:
    return re.compile("|".join(rules("unsafe")["words"]))


@functools.cache
def _bands() -> tuple[tuple[re.Pattern[str], float], ...]:
    return tuple((re.compile(words), float(months)) for words, months in rules("unsafe")["bands"])


@functools.cache
def _others() -> re.Pattern[str]:
    return re.compile(rules("unsafe")["others"])
