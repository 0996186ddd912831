"""What is asked and what comes back, and how structured answers are read."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError

from pediatricsgpt.endpoint.settings import TeacherSettings

_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)
_FENCE = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL | re.IGNORECASE)
_REPAIR = "注意：请只输出一个符合要求的JSON对象，不要输出任何其他文字。上一次的输出不合要求：{problem}"


@dataclass(frozen=True, slots=True)
class Request:
    """One question to the model.

    Args:
        messages: turns with `role` and `content`.
        schema: the pydantic model that the answer must fit; None for plain text.
        deidentified: whether the text was de-identified; without it nothing goes to an external address.
        max_tokens: bound of this answer, instead of the settings'.
    """

    messages: Sequence[Mapping[str, object]]
    schema: type[BaseModel] | None = None
    deidentified: bool = False
    max_tokens: int | None = None

    def body(self, settings: TeacherSettings) -> dict[str, Any]:
        """What goes over the wire, without the form of the answer."""
        return {
            "model": settings.model,
            "messages": [{"role": str(turn["role"]), "content": str(turn["content"])} for turn in self.messages],
            "temperature": settings.temperature,
            "max_tokens": self.max_tokens or settings.max_tokens,
        }

    def key(self, settings: TeacherSettings) -> str:
        """SHA-256 of everything that the answer depends on: address, model, text, sampling, form of the answer."""
        form = json_schema(self.schema) if self.schema else None
        asked = {"base_url": settings.base_url, **self.body(settings), "schema": form}
        canonical = json.dumps(asked, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()

    def repair(self, problem: str) -> Request:
        """The same request, with what was wrong with the last answer."""
        *before, last = self.messages
        content = f"{last['content']}\n\n{_REPAIR.format(problem=problem)}"
        messages = [*before, {"role": last["role"], "content": content}]
        return Request(messages, self.schema, self.deidentified, self.max_tokens)


@cache
def json_schema(schema: type[BaseModel]) -> dict[str, Any]:
    """The form of an answer as JSON schema; made once for each class, because every request needs it."""
    return schema.model_json_schema()


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said. `value` is the parsed answer where a schema was asked for; `finished` is false where the
    bound of tokens cut it off; `cached` is true where it had been paid for before.
    """

    text: str
    value: BaseModel | None
    input_tokens: int
    output_tokens: int
    finished: bool
    cached: bool


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request has no usable answer: `kind: detail`, as the reason of a reject."""

    reason: str


class InvalidAnswer(ValueError):
    """An answer that is not what was asked for; the message is `kind: detail`."""


def parse(text: str, schema: type[BaseModel]) -> BaseModel:
    """Read a structured answer, also where the model wrapped it in a code block or in words.

    Raises:
        InvalidAnswer: there is no JSON object, or it does not fit; the first problem is named.
    """
    candidate = _object(without_thoughts(text))
    try:
        content = json.loads(candidate, strict=False)
    except RecursionError as error:
        raise InvalidAnswer("broken JSON: nested too deeply") from error
    except ValueError as error:
        raise InvalidAnswer(f"broken JSON: {getattr(error, 'msg', 'an integer too long to be read')}") from error
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "whole answer"
        raise InvalidAnswer(f"wrong schema: {field}: {first['msg']}") from error


def without_thoughts(text: str) -> str:
    """The answer without what a reasoning model thought aloud before it."""
    return _THOUGHT.sub("", text).strip()


def _object(text: str) -> str:
    """From the first brace to the last one, inside a code block where there is one."""
    fenced = _FENCE.search(text)
    inside = fenced.group(1) if fenced and "{" in fenced.group(1) else text
    start, end = inside.find("{"), inside.rfind("}")
    return inside[start : end + 1] if 0 <= start < end else inside.strip()
