"""Asking the judges: both orders, repeats, and nothing twice.

Every answer is on the disk before anybody sees it (`endpoint.cache`), a folder a judge and repeat. Verdicts are read
back from there: the raw text of an invalid one is there too, and a killed run finds all that it paid for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pediatricsgpt.endpoint import Answer, AnswerCache, Budget, BudgetReached, Endpoint, Estimate, Failure, Request
from pediatricsgpt.endpoint.settings import TeacherSettings
from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.benchmarks import by_hash
from pediatricsgpt.evaluation.judge.present import Shown
from pediatricsgpt.evaluation.judge.prompt import DIMENSIONS, Comparison, prompt
from pediatricsgpt.evaluation.judge.verdicts import Verdict, Word
from pediatricsgpt.evaluation.paid import (
    Forecast,
    Paid,
    answers_folder,
    forecast_of,
    known_requests,
    last_words,
    server_failed,
)
from pediatricsgpt.evaluation.settings import JudgeSettings

_SAME = "两份回答相同，没有询问。"


@dataclass(frozen=True, slots=True)
class Showing:
    """One pair of answers in one order."""

    shown: Shown
    order: int
    """0: model A first; 1: model B"""


@dataclass(slots=True)
class Judged:
    """What one judge said."""

    verdicts: list[Verdict] = field(default_factory=list)
    unanswered: int = 0
    """Requests that the server failed to answer; asked again when the same command runs again"""
    paid: Paid = field(default_factory=Paid)


def showings(shown: Sequence[Shown], both_orders: bool) -> list[Showing]:
    """What is shown, question by question; with one order only, a hash of the id decides which: half and half."""
    return [
        Showing(one, order)
        for one in shown
        for order in ((0, 1) if both_orders else (int(by_hash(f"order of {one.question.id}"), 16) % 2,))
    ]


def requests_of(showings: Sequence[Showing], deidentified: bool) -> list[Request]:
    """The questions to a judge; none for two answers that are the same."""
    return [
        Request(prompt().messages(one.shown, one.order), Comparison, deidentified)
        for one in showings
        if not one.shown.identical
    ]


def rater_names(judges: Sequence[TeacherSettings]) -> list[str]:
    """A name for each judge: its model's, with the address where two have the same."""
    models = [judge.model for judge in judges]
    return [judge.model if models.count(judge.model) == 1 else f"{judge.model} ({judge.base_url})" for judge in judges]


def forecast(settings: JudgeSettings, showings: Sequence[Showing], folder: Path) -> list[Forecast]:
    """What each judge will still cost.

    Args:
        folder: of the paid answers, which need not be there yet.
    """
    requests = requests_of(showings, deidentified=False)
    found = []
    for rater, judge in zip(rater_names(settings.judges), settings.judges, strict=True):
        told = [forecast_of(requests, judge, _place(folder, judge, repeat)) for repeat in range(settings.repeats)]
        total = Estimate(
            sum(one.requests for one, _ in told),
            sum(one.input_tokens for one, _ in told),
            sum(one.output_tokens for one, _ in told),
            sum(one.money for one, _ in told),
            judge.currency,
        )
        found.append(Forecast(rater, judge, total, sum(known for _, known in told)))
    return found


def ask_judge(
    judge: TeacherSettings,
    rater: str,
    models: tuple[str, str],
    showings: Sequence[Showing],
    folder: Path,
    repeats: int = 1,
    deidentified: bool = False,
    advance: Callable[[int], None] = lambda _: None,
) -> Judged:
    """The verdicts of one judge on everything that is shown.

    Args:
        rater: its name in the verdicts.
        models: A and B.
        folder: of the paid answers of all judges.
        repeats: how often the same is asked.
        deidentified: whether no patient is in the texts; without it nothing goes to an external address.
        advance: told how many answers have just come in.

    Raises:
        UserError: the judge cannot be used at all, or not now; what it said until then is kept.
        BudgetReached: its budget is spent; what it said until then is kept.
    """
    found, budget = Judged(), Budget(judge)
    requests = requests_of(showings, deidentified)
    for repeat in range(repeats):
        place = _place(folder, judge, repeat)
        known = known_requests(place)
        with _named(rater, requests, repeat, repeats), Endpoint(judge, place, budget) as endpoint:
            results = endpoint.ask_all(requests, lambda *_: advance(1))
        with contextlib.closing(AnswerCache(place)) as cache:
            answers = iter(zip(requests, results, strict=True))
            for one in showings:
                said = None if one.shown.identical else _said(*next(answers), judge, cache)
                _add(found, one, said, rater, models, repeat)
            found.paid.add(requests, judge, cache, known)
    return found


def _place(folder: Path, judge: TeacherSettings, repeat: int) -> Path:
    """A folder a repeat: the same question asked again is another answer."""
    return answers_folder(folder, judge) / f"repeat-{repeat}"


@contextlib.contextmanager
def _named(rater: str, requests: Sequence[Request], repeat: int, repeats: int) -> Iterator[None]:
    """Name the judge in what its endpoint complains of, and say how far a spent budget went."""
    try:
        yield
    except BudgetReached as error:
        done, total = repeat * len(requests) + len(error.done), repeats * len(requests)
        _reword(
            error,
            f"{error.message}; the judge has answered {done} of {total} requests: with a smaller max_items the same "
            "answers give whole figures on fewer items",
            rater,
        )
        raise
    except UserError as error:
        if (error.where or "").startswith("teacher"):
            _reword(error, error.message, rater)
        raise


def _reword(error: UserError, message: str, rater: str) -> None:
    error.message, error.where = message, f"judge {rater}"
    error.args = (message,)


@dataclass(frozen=True, slots=True)
class _Said:
    raw: str
    words: dict[str, Word] | None
    """None where there is no verdict in it"""


def _said(request: Request, result: Answer | Failure, judge: TeacherSettings, cache: AnswerCache) -> _Said | None:
    """The judge's words; None where the server gave none, which the judge cannot be blamed for."""
    if isinstance(result, Answer):
        assert isinstance(result.value, Comparison)
        return _Said(result.text, result.value.words())
    return None if server_failed(result) else _Said(last_words(request, result, judge, cache), None)


def _add(found: Judged, one: Showing, said: _Said | None, rater: str, models: tuple[str, str], repeat: int) -> None:
    """One verdict a dimension, or one more request without an answer."""
    if said is None and not one.shown.identical:
        found.unanswered += 1
        return
    (left, first), (right, second) = list(zip(models, one.shown.answers, strict=True))[:: 1 if one.order == 0 else -1]
    question = one.shown.question
    for dimension in DIMENSIONS:
        word: Word = "tie" if said is None else said.words[dimension] if said.words else "invalid"
        found.verdicts.append(
            Verdict(
                id=question.id,
                dimension=dimension,
                left=left,
                right=right,
                verdict=word,
                rater=rater,
                order=one.order,
                repeat=repeat,
                raw=said.raw if said else _SAME,
                asked=said is not None,
                left_characters=len(first),
                right_characters=len(second),
                task=question.task,
                department=question.department,
                age_band=question.age_band,
                group=question.group,
            )
        )
