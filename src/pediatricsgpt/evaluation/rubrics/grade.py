"""Asking the grader: one call a criterion, nothing twice.

Every answer is on the disk before anybody sees it; a killed command finds all that it paid for. Grades are read back
from there, so that the raw text of an invalid one is kept too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pediatricsgpt.endpoint import Answer, AnswerCache, Endpoint, Failure, Request, TeacherSettings
from pediatricsgpt.evaluation.paid import (
    Forecast,
    Paid,
    costs,
    forecast_of,
    known_requests,
    last_words,
    server_failed,
)
from pediatricsgpt.evaluation.rubrics.forms import Criterion, RubricItem
from pediatricsgpt.evaluation.rubrics.prompt import Grade, prompt

_NO_ANSWER = "（没有回答，未询问：任何标准都不符合）"


@dataclass(frozen=True, slots=True)
class Graded:
    """What the grader said about one criterion of one answer."""

    id: str
    """Of the item"""
    criterion: str
    points: float
    met: bool | None
    """None where the grader gave no grade"""
    veto: bool
    raw: str
    """What it said, word for word"""
    rater: str
    answered: bool = True
    """False where the server gave no answer at all; asked again when the same command runs again"""

    def as_dict(self) -> dict[str, Any]:
        """One line of `grades.jsonl`."""
        row = {name: getattr(self, name) for name in ("id", "criterion", "points", "met", "veto", "raw", "rater")}
        return row if self.answered else {**row, "answered": False}


@dataclass(slots=True)
class Grades:
    """All that the grader said, and what it took, whenever that was paid."""

    rows: list[Graded] = field(default_factory=list)
    costs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Question:
    item: RubricItem
    criterion: Criterion
    request: Request | None
    """None for an answer that is empty"""


def forecast(items: Sequence[RubricItem], answers: Mapping[str, str], judge: TeacherSettings, folder: Path) -> Forecast:
    """What grading will still cost at most.

    Args:
        items: what was answered.
        answers: item id -> answer.
        judge: who grades.
        folder: of the paid answers, which need not be there yet.
    """
    requests = [one.request for one in _questions(items, answers, False) if one.request]
    return Forecast(judge.model, judge, *forecast_of(requests, judge, folder), role="grader")


def grade(
    items: Sequence[RubricItem],
    answers: Mapping[str, str],
    judge: TeacherSettings,
    folder: Path,
    deidentified: bool = False,
    advance: Callable[[int], None] = lambda _: None,
) -> Grades:
    """Grade every criterion of every item.

    Args:
        items: what was answered.
        answers: item id -> answer; each item has one.
        judge: who grades; an answer of a wrong form is asked for again as often as its `repairs` say.
        folder: of its paid answers.
        deidentified: whether no patient is in the texts; without it nothing goes to an external address.
        advance: told how many answers have just come in.

    Raises:
        UserError: the grader cannot be used at all, or not now; what it said until then is kept.
        BudgetReached: its budget is spent; what it said until then is kept.
    """
    asked = _questions(items, answers, deidentified)
    requests = [one.request for one in asked if one.request]
    known, paid = known_requests(folder), Paid()
    with Endpoint(judge, folder) as endpoint:
        results = iter(endpoint.ask_all(requests, lambda *_: advance(1)))
    with contextlib.closing(AnswerCache(folder)) as cache:
        rows = [_row(one, next(results) if one.request else None, judge, cache) for one in asked]
        paid.add(requests, judge, cache, known)
    return Grades(rows, costs([judge], {judge.model: paid}))


def _questions(items: Sequence[RubricItem], answers: Mapping[str, str], deidentified: bool) -> list[_Question]:
    return [
        _Question(item, one, _request(item, answers[item.id], one, deidentified) if answers[item.id].strip() else None)
        for item in items
        for one in item.criteria
    ]


def _request(item: RubricItem, answer: str, criterion: Criterion, deidentified: bool) -> Request:
    return Request(prompt().messages(item, answer, criterion), Grade, deidentified)


def _row(one: _Question, result: Answer | Failure | None, judge: TeacherSettings, cache: AnswerCache) -> Graded:
    met: bool | None
    answered = True
    if result is None or one.request is None:
        met, raw = False, _NO_ANSWER
    elif isinstance(result, Answer):
        assert isinstance(result.value, Grade)
        met, raw = result.value.criteria_met, result.text
    else:
        met, answered = None, not server_failed(result)
        raw = last_words(one.request, result, judge, cache)
    criterion = one.criterion
    return Graded(one.item.id, criterion.id, criterion.points, met, criterion.veto, raw, judge.model, answered)
