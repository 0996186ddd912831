"""The models' answers side by side, a few items of each task."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pediatricsgpt.evaluation.compare import Compared, tasks_of
from pediatricsgpt.evaluation.report import words

PER_TASK = 5
OPEN = 2
_LONGEST = 1200
_TITLE = 60


@dataclass(frozen=True, slots=True)
class Shown:
    """One item as the report shows it; long texts are cut and say by how much."""

    id: str
    title: str
    turns: Sequence[tuple[str, str]]
    """(speaker, text)"""
    reference: str
    answers: Sequence[tuple[str, str]]
    """(model, answer)"""
    open: bool


def answers(items: Sequence[Compared]) -> list[tuple[str, int, list[Shown]]]:
    """(task, items in all, the first few). Items come in the order of a hash of their ids, so these are not picked."""
    found = []
    for task in tasks_of(items):
        own = [item for item in items if item.task == task]
        found.append((task, len(own), [_shown(item, place < OPEN) for place, item in enumerate(own[:PER_TASK])]))
    return found


def _shown(item: Compared, opened: bool) -> Shown:
    # The first thing that is asked: the last turn of a consultation is often no more than a thank-you.
    asked = next((turn["content"] for turn in item.messages if turn["role"] == "user"), "(no question)")
    turns = [(words.ROLES.get(turn["role"], turn["role"]), _cut(turn["content"])) for turn in item.messages]
    said = [(model, _cut(answer.strip())) for model, answer in item.answers.items()]
    title = " ".join(asked.split())
    return Shown(item.id, title[:_TITLE] + "…" * (len(title) > _TITLE), turns, _cut(item.reference), said, opened)


def _cut(text: str) -> str:
    return words.shortened(re.sub(r"\s*\n\s*\n\s*", "\n\n", text), _LONGEST)
