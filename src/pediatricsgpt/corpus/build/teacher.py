"""What the construction rules with a teacher share: prompts as files, passes as provenance, answers or reasons.

A prompt is a file of `prompts/`; its hash stands in the steps of every row that it led to, so that a row can be traced
to the very words that its teacher was given.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel

from pediatricsgpt.corpus.build.rows import Row
from pediatricsgpt.endpoint import Endpoint, Failure, Request
from pediatricsgpt.records import Message, Record, Reject, Step

# de-identified, or of a source that the recipe declares to be about no patient
DEIDENTIFY_STEPS = frozenset({"deidentify", "deidentify_exempt"})
HASH_LENGTH = 16
_PLACE = re.compile(r"\{([a-z]+)\}")
_SECTION = re.compile(r"^# (system|user)\n", re.MULTILINE)
_NAMES = {"user": "家长", "assistant": "医生"}


@dataclass(slots=True)
class Built:
    """What a rule made: rows, what it rejected with reasons, and every pass of its teacher.

    `read` is how many items went in: rows and rejects together. A pass is `{parent, step, teacher, prompt_hash,
    wrote, reasons}`: what the teacher wrote for which record or row, and why it was not kept (empty where it was).
    """

    rows: list[Row] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    passes: list[dict[str, Any]] = field(default_factory=list)
    read: int = 0
    counts: dict[str, Any] = field(default_factory=dict)

    def __iadd__(self, other: Built) -> Built:
        """Join what another rule made."""
        self.rows += other.rows
        self.rejects += other.rejects
        self.passes += other.passes
        self.read += other.read
        self.counts |= other.counts
        return self


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt file; `hash` is of its bytes and those of its worked pairs."""

    name: str
    hash: str
    system: str
    user: str
    shots: tuple[Message, ...] = ()

    def messages(self, **values: object) -> list[Message]:
        """The turns for a teacher; a `{name}` that no value is given for stays as it is, and so does one in a value."""
        return [{"role": "system", "content": self.system}, *self.shots, {"role": "user", "content": self.fill(values)}]

    def fill(self, values: Mapping[str, object]) -> str:
        """The user's turn with its values."""
        return _PLACE.sub(lambda match: str(values.get(match[1], match[0])), self.user)

    def step(self, rule: str, version: int, teacher: Endpoint) -> Step:
        """The provenance of what this prompt led to."""
        return Step(rule, version, teacher.name, self.hash)


@functools.cache
def prompt(name: str) -> Prompt:
    """The prompt of `prompts/<name>.md`, without worked pairs."""
    data = _read(f"{name}.md")
    parts = _SECTION.split(data.decode())
    sections = dict(zip(parts[1::2], map(str.strip, parts[2::2]), strict=True))
    return Prompt(name, _hash(data), sections["system"], sections["user"])


@functools.cache
def prompt_with_pairs(name: str, count: int) -> Prompt:
    """The same with the first `count` worked pairs of `<name>_pairs.yaml` as turns before it."""
    bare, data = prompt(name), _read(f"{name}_pairs.yaml")
    pairs = yaml.safe_load(data)["pairs"][:count]
    shots: list[Message] = []
    for pair in pairs:
        answer = Turns(turns=pair["turns"]).model_dump_json()
        shots.append(
            {"role": "user", "content": bare.fill({"dialogue": pair["dialogue"], "count": len(pair["turns"])})}
        )
        shots.append({"role": "assistant", "content": answer})
    return Prompt(name, _hash(_read(f"{name}.md"), data, str(count).encode()), bare.system, bare.user, tuple(shots))


def _read(name: str) -> bytes:
    return resources.files(__package__).joinpath("prompts", name).read_bytes()


def _hash(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:HASH_LENGTH]


class Turns(BaseModel):
    """The doctor's turns, rewritten, in their order."""

    turns: list[str]


def as_script(messages: Sequence[Message]) -> str:
    """A dialogue as a teacher sees it: 家长：… and 医生1：…, the doctor's turns counted."""
    lines: list[str] = []
    count = 0
    for turn in messages:
        if turn["role"] == "system":
            continue
        count += turn["role"] == "assistant"
        number = count if turn["role"] == "assistant" else ""
        lines.append(f"{_NAMES[turn['role']]}{number}：{turn['content']}")
    return "\n".join(lines)


def is_deidentified(item: Record | Mapping[str, Any]) -> bool:
    """Whether the provenance of a record or a row says that it was de-identified, or exempt by its source's name."""
    if isinstance(item, Record):
        return any(step.name in DEIDENTIFY_STEPS for step in item.steps)
    return any(step["name"] in DEIDENTIFY_STEPS for step in item["steps"])


Schema = TypeVar("Schema", bound=BaseModel)


def ask(
    teacher: Endpoint, messages: Iterable[tuple[Sequence[Message], bool]], schema: type[Schema], on_done: OnDone = None
) -> list[Schema | str]:
    """A parsed answer for each conversation, or the reason why there is none.

    Args:
        teacher: who is asked.
        messages: conversations, and whether each is de-identified.
        schema: the form of the answers.
        on_done: called with 1 for each answer, to move a progress bar on.
    """
    requests = [Request(turns, schema, deidentified) for turns, deidentified in messages]
    results = teacher.ask_all(requests, (lambda *_: on_done(1)) if on_done else None)
    return [
        f"teacher: {result.reason}" if isinstance(result, Failure) else _value(result.value, schema)
        for result in results
    ]


def _value(value: BaseModel | None, schema: type[Schema]) -> Schema:
    assert isinstance(value, schema)
    return value


OnDone = Callable[[int], None] | None


def passed(parent: str, step: Step, wrote: Any, reasons: Sequence[str]) -> dict[str, Any]:
    """One pass, as it is kept beside the rows."""
    told = wrote.model_dump() if isinstance(wrote, BaseModel) else wrote
    named = {"parent": parent, "step": step.name, "teacher": step.teacher, "prompt_hash": step.prompt_hash}
    return {**named, "wrote": told, "reasons": list(reasons)}
