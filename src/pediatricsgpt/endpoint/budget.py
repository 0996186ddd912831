"""What is paid for, what it may cost, and what it will cost."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pediatricsgpt.endpoint.request import Answer, Failure, Request, json_schema
from pediatricsgpt.endpoint.settings import TeacherSettings
from pediatricsgpt.errors import UserError

_WIDE = re.compile(r"[^\x00-\x7f]")
_MESSAGE_TOKENS = 8
_MILLION = 1_000_000


@dataclass(slots=True)
class Usage:
    """The account of an endpoint: requests sent, answers that the cache had, tokens and money paid for.

    `estimated` counts answers whose server did not say how many tokens they took.
    """

    requests: int = 0
    cached: int = 0
    retried: int = 0
    failed: int = 0
    estimated: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    money: float = 0.0
    currency: str = ""

    @property
    def tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


class BudgetReached(UserError):
    """The budget is spent. `done` is what was answered until then, by the place of its request.

    `usage` has the tokens and the money of all endpoints that share the budget.
    """

    def __init__(self, message: str, done: dict[int, Answer | Failure], usage: Usage) -> None:
        super().__init__(message, "teacher")
        self.done = done
        self.usage = usage


@dataclass(frozen=True, slots=True)
class Estimate:
    """Before anything is sent: requests to pay for, input tokens by length, output tokens at most, money at most."""

    requests: int
    input_tokens: int
    output_tokens: int
    money: float
    currency: str


def tokens_of(text: str) -> int:
    """A cautious estimate without the model's tokenizer: one token a Chinese character, one for three others."""
    wide = len(_WIDE.findall(text))
    return wide + -(-(len(text) - wide) // 3)


def request_tokens(request: Request) -> int:
    """Estimated input tokens of a request."""
    schema = tokens_of(str(json_schema(request.schema))) if request.schema else 0
    return schema + sum(tokens_of(str(turn["content"])) + _MESSAGE_TOKENS for turn in request.messages)


def price(settings: TeacherSettings, input_tokens: int, output_tokens: int) -> float:
    """What so many tokens cost."""
    return (input_tokens * settings.price_input + output_tokens * settings.price_output) / _MILLION


def estimate(requests: Iterable[Request], settings: TeacherSettings) -> Estimate:
    """What a set of requests will cost at most; equal ones count once.

    Args:
        requests: what would be asked.
        settings: model, bound of tokens and prices.
    """
    keys: set[str] = set()
    given = taken = 0
    for request in requests:
        key = request.key(settings)
        if key not in keys:
            keys.add(key)
            given += request_tokens(request)
            taken += request.max_tokens or settings.max_tokens
    return Estimate(len(keys), given, taken, price(settings, given, taken), settings.currency)


class Budget:
    """Keeps what is spent, and what requests on their way may still cost, below the bounds of the settings.

    Endpoints of the same settings may share one: what any of them pays counts for all.

    Args:
        settings: the bounds and the prices.
    """

    def __init__(self, settings: TeacherSettings) -> None:
        self.settings = settings
        self.usage = Usage(currency=settings.currency)
        self._reserved: dict[int, tuple[int, int]] = {}
        self._next = 0

    def reserve(self, request: Request) -> int | None:
        """A ticket for a request that fits into the budget together with all that are on their way; else None."""
        cost = request_tokens(request), request.max_tokens or self.settings.max_tokens
        if not self._fits(cost):
            return None
        self._next += 1
        self._reserved[self._next] = cost
        return self._next

    @property
    def waiting(self) -> bool:
        """Whether requests are on their way that may turn out cheaper than they were reserved for."""
        return bool(self._reserved)

    def release(self, ticket: int) -> None:
        """A request came back, or failed."""
        del self._reserved[ticket]

    def pay(self, input_tokens: int, output_tokens: int) -> None:
        """Enter what an answer took."""
        self.usage.input_tokens += input_tokens
        self.usage.output_tokens += output_tokens
        self.usage.money = price(self.settings, self.usage.input_tokens, self.usage.output_tokens)

    def reached(self, done: dict[int, Answer | Failure]) -> BudgetReached:
        """The exception that says so."""
        usage, settings = self.usage, self.settings
        bound = f"{settings.budget_tokens} tokens" if settings.budget_tokens else ""
        money = f"{settings.budget_money} {settings.currency}" if settings.budget_money else ""
        paid = f" and {usage.money:.4f} {settings.currency}" if settings.price_input or settings.price_output else ""
        message = (
            f"the budget of {' and '.join(filter(None, (bound, money)))} allows no further request: "
            f"{usage.tokens} tokens{paid} spent, {len(done)} requests answered; "
            "nothing is lost, run again to go on, or raise the budget"
        )
        return BudgetReached(message, done, usage)

    def _fits(self, cost: tuple[int, int]) -> bool:
        settings = self.settings
        given = self.usage.input_tokens + cost[0] + sum(reserved for reserved, _ in self._reserved.values())
        taken = self.usage.output_tokens + cost[1] + sum(reserved for _, reserved in self._reserved.values())
        if settings.budget_tokens is not None and given + taken > settings.budget_tokens:
            return False
        return settings.budget_money is None or price(settings, given, taken) <= settings.budget_money
