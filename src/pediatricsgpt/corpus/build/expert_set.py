"""The set of phase 4, expert SFT (paper section 3): the three pediatric tasks in equal numbers, plus general replay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pediatricsgpt.corpus.build.rows import Row, rank, shuffled, trained
from pediatricsgpt.corpus.settings import ExpertSetSettings
from pediatricsgpt.errors import UserError
from pediatricsgpt.records import PEDIATRIC_TASKS


@dataclass(frozen=True, slots=True)
class TaskCount:
    """How a task stands in the set: different rows at hand, rows in the set, and how often one row occurs at most."""

    available: int
    rows: int
    repeats: int


@dataclass(frozen=True, slots=True)
class ExpertSet:
    """The rows, a repeated one several times, and the count of each task; `general` is the replay."""

    rows: list[Row]
    counts: dict[str, TaskCount]


def expert_set(rows: Sequence[Row], settings: ExpertSetSettings, seed: int) -> ExpertSet:
    """As many training rows of each pediatric task, and general rows up to their share of the whole.

    That is `per_task` rows, or fewer where the smallest task does not reach it with each of its rows `max_repeats`
    times. A task with more rows is sampled, one with fewer is repeated. Which rows, and their order, depends on their
    ids and the seed alone.

    Raises:
        UserError: a task has no row; it is named.
    """
    at_hand = {
        task: shuffled((row for row in rows if trained(row) and row["task"] == task), seed) for task in PEDIATRIC_TASKS
    }
    if empty := [task for task, found in at_hand.items() if not found]:
        raise UserError(
            f"phase 4 needs training rows of all three pediatric tasks, and there are none of {', '.join(empty)}",
            "corpus.sources",
        )
    wanted = min(settings.per_task, *(len(found) * settings.max_repeats for found in at_hand.values()))
    drawn: list[tuple[int, Row]] = []
    counts: dict[str, TaskCount] = {}
    for task, found in at_hand.items():
        drawn += (repeated := _repeated(found, wanted))
        counts[task] = TaskCount(len(found), wanted, repeated[-1][0] + 1)
    replay = shuffled((row for row in rows if trained(row) and row["task"] == "general"), seed)
    taken = replay[: round(len(drawn) * settings.general_replay / (1 - settings.general_replay))]
    counts["general"] = TaskCount(len(replay), len(taken), int(bool(taken)))
    drawn += [(0, row) for row in taken]
    drawn.sort(key=lambda item: rank(seed, "order", item[1]["id"], item[0]))
    return ExpertSet([row for _, row in drawn], counts)


def _repeated(rows: list[Row], wanted: int) -> list[tuple[int, Row]]:
    """Rows with the number of their repetition: whole rounds, then the first rows of one more."""
    return [(index // len(rows), rows[index % len(rows)]) for index in range(wanted)]
