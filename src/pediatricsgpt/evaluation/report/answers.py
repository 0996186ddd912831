"""The models' answers side by side, a few items of each task."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pediatricsgpt.evaluation.compare.questions import HELD_OUT, Question
from pediatricsgpt.evaluation.report import words
from pediatricsgpt.records import PEDIATRIC_TASKS

PER_TASK = 5
OPEN = 2
_LONGEST = 1200
_TITLE = 60


@dataclass(frozen=True, slots=True)
class Group:
    """The first items of one task or benchmark, of `n`."""

    benchmark: str
    """Empty of the run's own held-out set"""
    task: str
    n: int
    items: Sequence[Shown]


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


def answers(items: Sequence[Question]) -> list[Group]:
    """Of each task and benchmark the first few. Items come in the order of a hash of their ids: nobody picked them."""
    groups: dict[tuple[str, str], list[Question]] = {}
    for item in items:
        groups.setdefault((item.benchmark, item.task), []).append(item)
    return [
        Group(
            "" if benchmark in ("", HELD_OUT) else words.benchmark(benchmark),
            task or "(none)",
            len(own),
            [_shown(item, place < OPEN) for place, item in enumerate(own[:PER_TASK])],
        )
        for (benchmark, task), own in sorted(groups.items(), key=lambda group: _place(*group[0]))
    ]


def _place(benchmark: str, task: str) -> tuple[bool, str, int, str]:
    known = PEDIATRIC_TASKS.index(task) if task in PEDIATRIC_TASKS else len(PEDIATRIC_TASKS)
    return benchmark != HELD_OUT, benchmark, known, task


def _shown(item: Question, opened: bool) -> Shown:
    # The first thing that is asked: the last turn of a consultation is often no more than a thank-you.
    asked = next((turn["content"] for turn in item.messages if turn["role"] == "user"), "(no question)")
    turns = [(words.ROLES.get(turn["role"], turn["role"]), _cut(turn["content"])) for turn in item.messages]
    said = [(model, _cut(answer.strip())) for model, answer in item.answers.items()]
    title = " ".join(asked.split())
    return Shown(item.id, title[:_TITLE] + "…" * (len(title) > _TITLE), turns, _cut(item.reference), said, opened)


def _cut(text: str) -> str:
    return words.shortened(re.sub(r"\s*\n\s*\n\s*", "\n\n", text), _LONGEST)
