"""Paid answers of judges and graders: where they lie, what is still to be paid for, and what those at hand took."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pediatricsgpt.endpoint import AnswerCache, Estimate, Failure, Request, TeacherSettings, estimate
from pediatricsgpt.endpoint.budget import price
from pediatricsgpt.endpoint.request import InvalidAnswer, parse, without_thoughts

ANSWERS = "answers"
"""The folder of paid answers in that of a result"""
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(slots=True)
class Paid:
    """What the answers at hand took, whenever it was paid: equal requests once, repaired answers each."""

    requests: int = 0
    cached: int = 0
    """Of these, the ones that an earlier command had paid for"""
    input_tokens: int = 0
    output_tokens: int = 0

    def add(self, requests: Sequence[Request], judge: TeacherSettings, cache: AnswerCache, known: set[str]) -> None:
        """Count what a cache holds of these requests; `known` is what it held before this command."""
        found = dict(pair for request in requests for pair in attempts(request, judge, cache))
        self.requests += len(found)
        self.cached += len(found.keys() & known)
        self.input_tokens += sum(stored["input_tokens"] for stored in found.values())
        self.output_tokens += sum(stored["output_tokens"] for stored in found.values())


@dataclass(frozen=True, slots=True)
class Forecast:
    """What one judge or grader will still cost at most; repairs of answers in a wrong form are not in it."""

    rater: str
    """Its name in the results"""
    judge: TeacherSettings
    cost: Estimate
    known: int
    """Requests that are paid for already"""
    role: str = "judge"
    """In the line for people: judge, grader"""

    @property
    def to_agree(self) -> bool:
        """Whether it needs the user's word: it costs money, or text leaves this machine."""
        return bool(self.cost.requests and (self.cost.money or self.judge.external))

    @property
    def line(self) -> str:
        """For people."""
        priced = self.judge.price_input or self.judge.price_output
        money = f"at most {self.cost.money:,.2f} {self.judge.currency}" if priced else "no price given"
        paid = f" ({self.known:,} more are paid for already)" if self.known else ""
        bounds = [f"{self.judge.budget_tokens:,} tokens"] if self.judge.budget_tokens else []
        bounds += [f"{self.judge.budget_money:,.2f} {self.judge.currency}"] if self.judge.budget_money else []
        return (
            f"{self.role} {self.rater}: {self.cost.requests:,} requests{paid}, about {self.cost.input_tokens:,} tokens "
            f"in and at most {self.cost.output_tokens:,} out, {money}, "
            f"{'budget ' + ' and '.join(bounds) if bounds else 'no budget set'}"
        )


def answers_folder(folder: Path, judge: TeacherSettings) -> Path:
    """Where the paid answers of one model at one address lie, below the folder of all."""
    address = hashlib.sha256(judge.base_url.encode()).hexdigest()[:8]
    return folder / f"{_UNSAFE.sub('-', judge.model)}-{address}"


def known_requests(folder: Path) -> set[str]:
    """Requests that an earlier command has paid for; the folder need not be there yet."""
    if not folder.is_dir():
        return set()
    with contextlib.closing(AnswerCache(folder)) as cache:
        return set(cache)


def forecast_of(requests: Sequence[Request], judge: TeacherSettings, folder: Path) -> tuple[Estimate, int]:
    """What these requests will still cost at most, and how many of them are paid for already."""
    known = known_requests(folder)
    waiting = [request for request in requests if request.key(judge) not in known]
    return estimate(waiting, judge), len(requests) - len(waiting)


def attempts(request: Request, judge: TeacherSettings, cache: AnswerCache) -> Iterator[tuple[str, dict[str, Any]]]:
    """What was paid for one request (key, answer): its answer, and those to the repairs that followed it."""
    assert request.schema is not None
    asked = request
    for _ in range(judge.repairs + 1):
        key = asked.key(judge)
        stored = cache.get(key)
        if stored is None:
            return
        yield key, stored
        if "text" not in stored or not stored["finished"]:
            return
        try:
            parse(stored["text"], request.schema)
            return
        except InvalidAnswer as error:
            asked = asked.repair(str(error))


def server_failed(result: Failure) -> bool:
    """Whether the server gave no answer at all, which nobody who answers can be blamed for; asked again later."""
    return result.reason.startswith("server failed")


def last_words(request: Request, result: Failure, judge: TeacherSettings, cache: AnswerCache) -> str:
    """What was said last in a form that cannot be read, without thoughts; why there is none where nothing was."""
    texts = [stored["text"] for _, stored in attempts(request, judge, cache) if "text" in stored]
    return without_thoughts(texts[-1]) if texts else f"（{result.reason}）"


def costs(judges: Sequence[TeacherSettings], paid: Mapping[str, Paid]) -> dict[str, Any]:
    """What results took, as they say it; money is None where judges are paid in several currencies.

    Args:
        judges: who was paid.
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
