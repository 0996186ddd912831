"""Answers of one model to many prompts, kept as they come: a killed run goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pediatricsgpt.models.engine import Engine
from pediatricsgpt.records import Message


@dataclass(frozen=True, slots=True)
class Prompt:
    """A dialogue that waits for the assistant's next turn."""

    id: str
    messages: Sequence[Message]


def answer_all(
    engine: Engine, prompts: Sequence[Prompt], path: Path, advance: Callable[[int], None] = lambda _: None
) -> list[str]:
    """The answers to all prompts, in their order.

    Args:
        path: JSON lines `{"index", "id", "answer"}`, appended batch by batch; what it holds already is not asked again.
        advance: told how many answers have just come in (also those found in `path`).
    """
    known = _known(path, prompts)
    advance(len(known))
    with path.open("a", encoding="utf-8") as file:
        for batch in engine.answers([prompt.messages for prompt in prompts], done=known):
            for index, answer in batch:
                known[index] = answer
                file.write(json.dumps({"index": index, "id": prompts[index].id, "answer": answer}, ensure_ascii=False))
                file.write("\n")
            file.flush()
            os.fsync(file.fileno())
            advance(len(batch))
    return [known[index] for index in range(len(prompts))]


def _known(path: Path, prompts: Sequence[Prompt]) -> dict[int, str]:
    """What an interrupted run wrote. A line that was torn by the kill is dropped, and so is what follows it."""
    known: dict[int, str] = {}
    if not path.is_file():
        return known
    whole = 0
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            row = json.loads(line)
        except ValueError:
            break
        if not line.endswith(b"\n") or prompts[row["index"]].id != row["id"]:
            break
        known[row["index"]] = row["answer"]
        whole += len(line)
    with path.open("r+b") as file:
        file.truncate(whole)
    return known
