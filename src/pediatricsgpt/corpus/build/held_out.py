"""The held-out rows: what no training set sees, for evaluation and for the loss during training."""

from __future__ import annotations

from collections.abc import Iterable

from pediatricsgpt.corpus.build.rows import Row
from pediatricsgpt.records import TASKS


def held_out_set(rows: Iterable[Row]) -> list[Row]:
    """All held-out rows, ordered by task and id: the three pediatric tasks, general and safety ones."""
    held_out = (row for row in rows if row["split"] == "held_out")
    return sorted(held_out, key=lambda row: (TASKS.index(row["task"]), row["id"]))
