"""The client of an OpenAI-compatible endpoint: many requests at once, each paid for once.

An answer is stored on disk before anybody sees it. Failed requests (429, 5xx, time-out, cut connection) are tried again
with growing pauses; what the server asks for in Retry-After is kept to by all requests.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeGuard

import httpx
from pydantic import BaseModel

from pediatricsgpt.endpoint.budget import Budget, Usage, price, request_tokens, tokens_of
from pediatricsgpt.endpoint.cache import AnswerCache
from pediatricsgpt.endpoint.connection import Refused, Session, Spent, Transient, complaint
from pediatricsgpt.endpoint.request import Answer, Failure, InvalidAnswer, Request, json_schema, parse, without_thoughts
from pediatricsgpt.endpoint.settings import TeacherSettings
from pediatricsgpt.errors import UserError

Result = Answer | Failure
_log = logging.getLogger(__name__)
_LONGEST_PAUSE = 60.0
_FAILED_IN_A_ROW = 8
# A token is rarely longer than 12 bytes of JSON; an answer beyond that bound is one that does not end.
_BYTES_PER_TOKEN, _BYTES_BESIDE = 32, 65_536


class Endpoint:
    """A model at an address, with the folder of its paid answers.

    Args:
        settings: address, model, bounds, prices.
        cache_folder: where paid answers are kept; one process at a time.
        budget: what this endpoint and others of the same settings may spend together; one of its own by default.

    Raises:
        UserError: the address is not on this machine and `allow_external` is not set; the key's variable is not set;
            the cache is in use.
        ValueError: the shared budget is of other settings.
    """

    def __init__(self, settings: TeacherSettings, cache_folder: Path, budget: Budget | None = None) -> None:
        if budget is not None and budget.settings != settings:
            raise ValueError("a budget is shared only by endpoints of the same settings")
        if settings.external and not settings.allow_external:
            raise UserError(
                f"{settings.base_url} is not on this machine, and nothing leaves it unless allow_external: true stands "
                "in the recipe (and then only de-identified rows)",
                "teacher.base_url",
            )
        self.settings = settings
        self._key = _key(settings)
        self._budget = budget or Budget(settings)
        self._usage = Usage(currency=settings.currency)
        self._cache = AnswerCache(cache_folder)
        self._with_format = True
        self._bound_name = "max_tokens"
        self._failed_in_a_row = 0
        self._told = False
        self._session: Session | None = None

    @property
    def name(self) -> str:
        """The model's name, for provenance."""
        return self.settings.model

    @property
    def usage(self) -> Usage:
        """Requests, cached answers, tokens and money of this object alone since it was made."""
        return self._usage

    async def complete(
        self,
        messages: Sequence[Mapping[str, object]],
        schema: type[BaseModel] | None = None,
        deidentified: bool = False,
    ) -> Result:
        """Ask one question in a running event loop, from the cache where it is paid for; `aclose` when done.

        Args:
            messages: turns with `role` and `content`.
            schema: the form of the answer; None for plain text.
            deidentified: whether the text was de-identified.

        Returns:
            The answer, or a failure with its reason: refused by the server, broken or endless, of a wrong form.

        Raises:
            UserError: text that is not de-identified would leave the machine, or the server cannot be used at all.
            BudgetReached: the budget is spent.
        """
        request = Request(messages, schema, deidentified)
        self._guard(request)
        try:
            return await self._ask(request)
        except Spent:
            raise self._budget.reached({}) from None

    def ask_all(
        self, requests: Sequence[Request], on_done: Callable[[int, Result], None] | None = None
    ) -> list[Result]:
        """Answers to many requests, `concurrency` at one time, in the order of the requests; equal ones are paid once.

        Args:
            requests: what to ask.
            on_done: called with a request's place and its result as soon as it is there.

        Raises:
            UserError: as for `complete`; nothing is sent where one request must not leave the machine. Answers that
                are on their way when something fails are waited for and kept.
            BudgetReached: the budget is spent; it carries what is done.
        """
        for request in requests:
            self._guard(request)
        return asyncio.run(self._ask_all(requests, on_done))

    def close(self) -> None:
        """Give the cache back."""
        self._cache.close()

    async def aclose(self) -> None:
        """The same, and close the connections that `complete` opened."""
        if self._session is not None:
            await self._session.client.aclose()
            self._session = None
        self.close()

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _guard(self, request: Request) -> None:
        if self.settings.external and not (self.settings.allow_external and request.deidentified):
            raise UserError(
                f"a row that is not de-identified must not leave this machine for {self.settings.base_url}; switch "
                "corpus.deidentify on; name a source that is about no patient in corpus.deidentify.exempt_sources; or "
                "use a model on this machine",
                "teacher.allow_external",
            )

    async def _ask_all(
        self, requests: Sequence[Request], on_done: Callable[[int, Result], None] | None
    ) -> list[Result]:
        done: dict[int, Result] = {}
        stop: list[Exception] = []
        places = iter(_places(requests, self.settings).values())

        async def worker() -> None:
            while not stop and (same := next(places, None)) is not None:
                try:
                    result = await self._ask(requests[same[0]])
                except (UserError, Spent) as error:
                    stop.append(error)
                    return
                for place in same:
                    done[place] = result
                    if on_done:
                        on_done(place, result)

        try:
            await asyncio.gather(*(worker() for _ in range(min(self.settings.concurrency, len(requests)))))
        finally:
            if self._session is not None:
                await self._session.client.aclose()
                self._session = None
        if stop and isinstance(stop[0], Spent):
            raise self._budget.reached(done)
        if stop:
            raise stop[0]
        return [done[place] for place in range(len(requests))]

    async def _ask(self, request: Request) -> Result:
        """Ask, and ask again where the form is wrong: each of these answers is paid for and kept."""
        asked = request
        for repaired in range(self.settings.repairs + 1):
            result = await self._paid(asked)
            if isinstance(result, Failure) or request.schema is None:
                return result
            try:
                value = parse(result.text, request.schema)
            except InvalidAnswer as error:
                if not result.finished:  # asking again would be cut off again
                    return Failure(f"answer cut off at max_tokens: {error}")
                if repaired == self.settings.repairs:
                    return Failure(str(error))
                asked = asked.repair(str(error))
            else:
                return Answer(
                    result.text, value, result.input_tokens, result.output_tokens, result.finished, result.cached
                )
        raise AssertionError("unreachable")

    async def _paid(self, request: Request) -> Result:
        """The raw answer of one request: from the cache, or asked for, stored, then given."""
        key = request.key(self.settings)
        if (stored := self._cache.get(key)) is not None:
            self.usage.cached += 1
            return _result(stored, cached=True)
        session = self._at_hand()
        ticket = await session.reserve(self._budget, request)
        try:
            stored = await self._send(session, request)
            self._cache.put(key, stored)
            self._pay(stored["input_tokens"], stored["output_tokens"])
        except Transient as error:
            self._note_failure(error)
            return Failure(f"server failed: {error}")
        except Refused as error:
            self.usage.failed += 1
            return Failure(f"server refused: {error}")
        finally:
            await session.release(self._budget, ticket)
        self._failed_in_a_row = 0
        self.usage.estimated += stored["estimated"]
        return _result(stored, cached=False)

    def _pay(self, input_tokens: int, output_tokens: int) -> None:
        self._budget.pay(input_tokens, output_tokens)
        self.usage.input_tokens += input_tokens
        self.usage.output_tokens += output_tokens
        self.usage.money = price(self.settings, self.usage.input_tokens, self.usage.output_tokens)

    def _note_failure(self, error: Transient) -> None:
        """One request that fails is a row's misfortune; many in a row are the server's."""
        self.usage.failed += 1
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= _FAILED_IN_A_ROW or str(error).startswith("no connection"):
            raise UserError(
                f"{self.settings.base_url} does not answer ({error}); nothing that was paid for is lost, "
                "run again when the server is up",
                "teacher.base_url",
            ) from error

    async def _send(self, session: Session, request: Request) -> dict[str, Any]:
        for tried in range(self.settings.retries + 1):
            try:
                return await self._send_once(session, request)
            except Transient as error:
                if tried == self.settings.retries:
                    raise Transient(f"{error}, {tried + 1} times") from error
                self.usage.retried += 1
                # Clients that failed together must not come back together.
                growing = min(_LONGEST_PAUSE, self.settings.retry_pause * 2**tried) * random.uniform(0.75, 1.25)
                # The first one is told: with patient settings it takes minutes until a server counts as down.
                log = _log.info if self._told else _log.warning
                log("%s: %s; trying again", self.settings.base_url, error)
                self._told = True
                if error.pause is not None:
                    session.hold_all(error.pause)
                await asyncio.sleep(growing if error.pause is None else 0)
        raise AssertionError("unreachable")

    async def _send_once(self, session: Session, request: Request) -> dict[str, Any]:
        await session.turn()
        self.usage.requests += 1
        body = request.body(self.settings)
        if request.schema is not None and self._with_format:
            body["response_format"] = _response_format(request)
        bound = body["max_tokens"] * _BYTES_PER_TOKEN + _BYTES_BESIDE
        body[self._bound_name] = body.pop("max_tokens")
        try:
            async with session.slots, asyncio.timeout(self.settings.timeout):
                status, headers, content = await session.post(body, bound)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise Transient(f"time-out after {self.settings.timeout:g} s") from error
        except httpx.ConnectError as error:
            raise Transient(f"no connection: {error}") from error
        except httpx.HTTPError as error:
            raise Transient(f"connection cut: {type(error).__name__}") from error
        if status == 200:
            return self._read(content, request, bound)
        if status in (400, 422) and self._adapt(content, body):
            return await self._send_once(session, request)
        raise complaint(status, headers, content)

    def _adapt(self, content: bytes, body: Mapping[str, Any]) -> bool:
        """Ask in another way from now on, where the server does not know something that this body held."""
        if "response_format" in body and b"response_format" in content:
            self._with_format = False
            _log.info("%s has no structured output; answers are read from the text", self.settings.base_url)
            return True
        if "max_tokens" in body and b"max_completion_tokens" in content:
            self._bound_name = "max_completion_tokens"
            return True
        return False

    def _read(self, content: bytes, request: Request, bound: int) -> dict[str, Any]:
        """The fields of a completion that are kept.

        An endless answer is kept as a failure: asking again would be paid again.
        """
        given, taken = request_tokens(request), request.max_tokens or self.settings.max_tokens
        if len(content) > bound:
            reason = f"endless answer: more than {bound} bytes"
            return {"failure": reason, "input_tokens": given, "output_tokens": taken, "estimated": True}
        try:
            completion = json.loads(content)
            choice = completion["choices"][0]
            text = choice["message"]["content"] or ""
            if not isinstance(text, str):
                raise TypeError("content is no text")
        except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
            raise Transient(f"no completion in the server's answer ({type(error).__name__})") from error
        counted = _counted(completion.get("usage"))
        return {
            "text": _sound(text),
            "finished": choice.get("finish_reason") != "length",
            "input_tokens": counted[0] if counted else given,
            "output_tokens": counted[1] if counted else tokens_of(text),
            "estimated": counted is None,
            "model": _sound(str(completion.get("model", ""))),
        }

    def _at_hand(self) -> Session:
        """The connections of the running event loop."""
        loop = asyncio.get_running_loop()
        if self._session is None or self._session.loop is not loop:
            self._session = Session(self.settings, self._key, loop)
        return self._session


def _places(requests: Sequence[Request], settings: TeacherSettings) -> dict[str, list[int]]:
    """The places of equal requests together, in the order of their first."""
    places: dict[str, list[int]] = {}
    for place, request in enumerate(requests):
        places.setdefault(request.key(settings), []).append(place)
    return places


def _key(settings: TeacherSettings) -> str | None:
    if settings.key_env is None:
        return None
    key = os.environ.get(settings.key_env, "").strip()
    if not key:
        raise UserError(
            f"the environment variable {settings.key_env} is not set; it must hold the key", "teacher.key_env"
        )
    return key


def _response_format(request: Request) -> dict[str, Any]:
    assert request.schema is not None
    schema = json_schema(request.schema)
    return {"type": "json_schema", "json_schema": {"name": request.schema.__name__, "schema": schema, "strict": False}}


def _counted(usage: object) -> tuple[int, int] | None:
    """Tokens in and out as a server counts them; None where what it says is no count (`[]`, text, a field missing)."""
    if not isinstance(usage, dict):
        return None
    given, taken = usage.get("prompt_tokens"), usage.get("completion_tokens")
    return (given, taken) if _is_count(given) and _is_count(taken) else None


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _sound(text: str) -> str:
    """Without halves of characters, which no file can hold."""
    return text.encode("utf-8", "replace").decode()


def _result(stored: Mapping[str, Any], cached: bool) -> Result:
    if "failure" in stored:
        return Failure(stored["failure"])
    given, taken = stored["input_tokens"], stored["output_tokens"]
    return Answer(without_thoughts(stored["text"]), None, given, taken, stored["finished"], cached)
