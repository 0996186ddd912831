"""The held-out rows: what no training set sees, for evaluation and for the loss during training."""

from __future__ import annotations

from collections.abc import Iterable

from pediatricsgpt.corpus.build.rows import Row
from pediatricsgpt.records import PEDIATRIC_TASKS

TASKS = (*PEDIATRIC_TASKS, "general")


def held_out_set(rows: Iterable[Row]) -> list[Row]:
    """Held-out rows of the three pediatric tasks and general ones, ordered by task and id."""
    held_out = (row for row in rows if row["split"] == "held_out" and row["task"] in TASKS)
    return sorted(held_out, key=lambda row: (TASKS.index(row["task"]), row["id"]))
