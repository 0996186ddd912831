"""The set of phase 4, expert SFT (paper section 3): the three pediatric tasks in equal numbers, plus general replay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pediatricsgpt.corpus.build.rows import Row, rank, shuffled, trained
from pediatricsgpt.corpus.settings import ExpertSetSettings
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
    """`per_task` training rows of each pediatric task, and general rows up to their share of the whole.

    A task with more rows is sampled; one with fewer is repeated, no row more than `max_repeats` times, and stays
    smaller if that is not enough. Which rows, and their order, depends on their ids and the seed alone.
    """
    drawn: list[tuple[int, Row]] = []
    counts: dict[str, TaskCount] = {}
    for task in PEDIATRIC_TASKS:
        at_hand = shuffled((row for row in rows if trained(row) and row["task"] == task), seed)
        drawn += _repeated(at_hand, settings, counts, task)
    replay = shuffled((row for row in rows if trained(row) and row["task"] == "general"), seed)
    taken = replay[: round(len(drawn) * settings.general_replay / (1 - settings.general_replay))]
    counts["general"] = TaskCount(len(replay), len(taken), int(bool(taken)))
    drawn += [(0, row) for row in taken]
    drawn.sort(key=lambda item: rank(seed, "order", item[1]["id"], item[0]))
    return ExpertSet([row for _, row in drawn], counts)


def _repeated(
    rows: list[Row], settings: ExpertSetSettings, counts: dict[str, TaskCount], task: str
) -> list[tuple[int, Row]]:
    """Rows with the number of their repetition: whole rounds, then the first rows of one more."""
    wanted = min(settings.per_task, len(rows) * settings.max_repeats)
    drawn = [divmod(index, len(rows)) for index in range(wanted)]
    counts[task] = TaskCount(len(rows), wanted, drawn[-1][0] + 1 if drawn else 0)
    return [(turn, rows[place]) for turn, place in drawn]
