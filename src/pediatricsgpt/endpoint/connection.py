"""One event loop's connections to an endpoint: the rate, the pauses, and what a server's complaints mean."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import json
import time
from collections.abc import Mapping
from typing import Any

import httpx

from pediatricsgpt.endpoint.budget import Budget
from pediatricsgpt.endpoint.request import Request
from pediatricsgpt.endpoint.settings import TeacherSettings
from pediatricsgpt.errors import UserError

_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_NO_ENTRY = {401: "the key is not accepted", 403: "the key has no right to this model", 404: "no such address or model"}
_LONGEST_RETRY_AFTER = 900.0
_LOOK_AGAIN = 0.2


class Transient(Exception):
    """Worth another try, after `pause` seconds where the server said so."""

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.pause = pause


class Refused(Exception):
    """This request will never get an answer (too long, forbidden content)."""


class Spent(Exception):
    """The budget allows no further request."""


class Session:
    """What belongs to one event loop: connections, the rate, and who waits for whom."""

    def __init__(self, settings: TeacherSettings, key: str | None, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=settings.timeout,
            limits=httpx.Limits(max_connections=settings.concurrency),
            trust_env=settings.external,  # a proxy would carry text that is meant for this machine out of it
            follow_redirects=False,
        )
        self._url = f"{settings.base_url}/chat/completions"
        self._spacing = 60 / settings.requests_per_minute if settings.requests_per_minute else 0.0
        self._next = self._held = 0.0
        self._room = asyncio.Condition()
        self.slots = asyncio.Semaphore(settings.concurrency)

    async def turn(self) -> None:
        """Wait for the next place in the rate, and for the end of a pause that the server asked for."""
        place = max(self._next, time.monotonic())
        self._next = place + self._spacing
        while (ahead := max(place, self._held) - time.monotonic()) > 0:
            await asyncio.sleep(ahead)

    def hold_all(self, seconds: float) -> None:
        """No request before so many seconds have passed."""
        self._held = max(self._held, time.monotonic() + seconds)

    async def reserve(self, budget: Budget, request: Request) -> int:
        """A ticket, if need be after requests on their way have turned out cheaper than feared."""
        async with self._room:
            while (ticket := budget.reserve(request)) is None:
                if not budget.waiting:
                    raise Spent
                with contextlib.suppress(TimeoutError):  # another endpoint of this budget notifies nobody here
                    async with asyncio.timeout(_LOOK_AGAIN):
                        await self._room.wait()
            return ticket

    async def release(self, budget: Budget, ticket: int) -> None:
        """A request came back; those that wait for the budget look again."""
        async with self._room:
            budget.release(ticket)
            self._room.notify_all()

    async def post(self, body: Mapping[str, Any], bound: int) -> tuple[int, httpx.Headers, bytes]:
        """Status, headers, and the content up to a little more than `bound` bytes."""
        content = bytearray()
        async with self.client.stream("POST", self._url, json=body) as response:
            async for part in response.aiter_bytes():
                content += part
                if len(content) > bound:
                    break
            return response.status_code, response.headers, bytes(content)


def complaint(status: int, headers: httpx.Headers, content: bytes) -> Exception:
    """What an answer that is no answer means."""
    said = _said(content)
    if status in _RETRIED:
        return Transient(f"status {status}", _retry_after(headers.get("retry-after")))
    if status in _NO_ENTRY:
        return UserError(f"{_NO_ENTRY[status]} ({status} {said})", "teacher.base_url")
    if 300 <= status < 400:
        return UserError(f"the server sends elsewhere ({status}), which is not followed", "teacher.base_url")
    return Refused(f"{status} {said}")


def _retry_after(value: str | None) -> float | None:
    """Seconds from a Retry-After header, which holds seconds or a date; bounded."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return min(seconds, _LONGEST_RETRY_AFTER) if seconds > 0 else 0.0


def _said(content: bytes) -> str:
    """The server's own words, short and on one line."""
    try:
        error = json.loads(content)["error"]
        text = str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        text = content[:200].decode("utf-8", "replace")
    return " ".join(text.split())[:200]
