"""What judges will cost, and what they did."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pediatricsgpt.endpoint import AnswerCache, Estimate, Request, TeacherSettings, estimate
from pediatricsgpt.endpoint.budget import price
from pediatricsgpt.evaluation.judge.ask import Paid, Showing, answers_folder, rater_names, requests_of
from pediatricsgpt.evaluation.settings import JudgeSettings


@dataclass(frozen=True, slots=True)
class Forecast:
    """What one judge will still cost at most; repairs of answers in a wrong form are not in it."""

    rater: str
    judge: TeacherSettings
    cost: Estimate
    known: int
    """Requests that are paid for already"""

    @property
    def line(self) -> str:
        """For people."""
        priced = self.judge.price_input or self.judge.price_output
        money = f"at most {self.cost.money:,.2f} {self.judge.currency}" if priced else "no price given"
        paid = f" ({self.known:,} more are paid for already)" if self.known else ""
        bounds = [f"{self.judge.budget_tokens:,} tokens"] if self.judge.budget_tokens else []
        bounds += [f"{self.judge.budget_money:,.2f} {self.judge.currency}"] if self.judge.budget_money else []
        return (
            f"judge {self.rater}: {self.cost.requests:,} requests{paid}, about {self.cost.input_tokens:,} tokens in "
            f"and at most {self.cost.output_tokens:,} out, {money}, "
            f"{'budget ' + ' and '.join(bounds) if bounds else 'no budget set'}"
        )


def forecast(settings: JudgeSettings, showings: Sequence[Showing], folder: Path) -> list[Forecast]:
    """What each judge will still cost.

    Args:
        folder: of the paid answers, which need not be there yet.
    """
    requests = requests_of(showings, deidentified=False)
    found = []
    for rater, judge in zip(rater_names(settings.judges), settings.judges, strict=True):
        total = Estimate(0, 0, 0, 0.0, judge.currency)
        known = 0
        for repeat in range(settings.repeats):
            waiting = _waiting(requests, judge, answers_folder(folder, judge, repeat))
            known += len(requests) - len(waiting)
            one = estimate(waiting, judge)
            total = Estimate(
                total.requests + one.requests,
                total.input_tokens + one.input_tokens,
                total.output_tokens + one.output_tokens,
                total.money + one.money,
                judge.currency,
            )
        found.append(Forecast(rater, judge, total, known))
    return found


def costs(judges: Sequence[TeacherSettings], paid: Mapping[str, Paid]) -> dict[str, Any]:
    """What the verdicts took, for `judge.json`; money is None where judges are paid in several currencies.

    Args:
        paid: by the judge's name, in their order.
    """
    currencies = {judge.currency for judge in judges}
    money = sum(
        price(judge, one.input_tokens, one.output_tokens) for judge, one in zip(judges, paid.values(), strict=True)
    )
    return {
        "requests": sum(one.requests for one in paid.values()),
        "cached": sum(one.cached for one in paid.values()),
        "input_tokens": sum(one.input_tokens for one in paid.values()),
        "output_tokens": sum(one.output_tokens for one in paid.values()),
        "money": round(money, 6) if len(currencies) == 1 else None,
        "currency": currencies.pop() if len(currencies) == 1 else None,
    }


def _waiting(requests: Sequence[Request], judge: TeacherSettings, place: Path) -> list[Request]:
    if not place.is_dir():
        return list(requests)
    with contextlib.closing(AnswerCache(place)) as cache:
        return [request for request in requests if request.key(judge) not in cache]
