"""Answers of one model to many prompts, kept as they come: a killed run goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pediatricsgpt.manifest import digest
from pediatricsgpt.records import Message


class Answerer(Protocol):
    """Something that answers dialogues: the local engine, or a model at an address."""

    @property
    def signature(self) -> list[Any]:
        """What an answer depends on besides its prompt."""

    def answers(
        self, prompts: Sequence[Sequence[Message]], done: Iterable[int] = ()
    ) -> Iterator[list[tuple[int, str]]]:
        """Answer all prompts but those in `done`; yields (index, answer) in groups, as they come."""

    def fits(self, messages: Sequence[Message]) -> bool:
        """Whether a dialogue and its answer fit the model's window."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A dialogue that waits for the assistant's next turn."""

    id: str
    messages: Sequence[Message]


def answer_all(
    engine: Answerer, prompts: Sequence[Prompt], path: Path, advance: Callable[[int], None] = lambda _: None
) -> list[str]:
    """The answers to all prompts, in their order.

    Args:
        path: JSON lines: first what the answers depend on (model, sampling, prompts), then `{"index", "answer"}`,
            appended batch by batch. What it holds already is not asked again; answers of another model, or to other
            prompts, are thrown away.
        advance: told how many answers have just come in (also those found in `path`).
    """
    signature = digest([engine.signature, [[prompt.id, list(prompt.messages)] for prompt in prompts]])
    known = _known(path, signature)
    advance(len(known))
    with path.open("a", encoding="utf-8") as file:
        if path.stat().st_size == 0:
            file.write(json.dumps({"signature": signature}) + "\n")
        for batch in engine.answers([prompt.messages for prompt in prompts], done=known):
            for index, answer in batch:
                known[index] = answer
                file.write(json.dumps({"index": index, "answer": answer}, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
            advance(len(batch))
    return [known[index] for index in range(len(prompts))]


def _known(path: Path, signature: str) -> dict[int, str]:
    """What an interrupted run wrote. A line that was torn by the kill is cut off, and so is what follows it."""
    known: dict[int, str] = {}
    if not path.is_file():
        return known
    lines = path.read_bytes().splitlines(keepends=True)
    whole = 0
    for number, line in enumerate(lines):
        try:
            row = json.loads(line)
        except ValueError:
            break
        if not line.endswith(b"\n") or (number == 0 and row.get("signature") != signature):
            break
        if number > 0:
            known[row["index"]] = row["answer"]
        whole += len(line)
    with path.open("r+b") as file:
        file.truncate(whole)
    return known
