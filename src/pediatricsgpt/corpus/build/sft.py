"""The set of phase 2, full-parameter SFT (paper section 3): the medical generalist, before the pediatric tasks."""

from __future__ import annotations

from collections.abc import Iterable

from pediatricsgpt.corpus.build.rows import Row, trained
from pediatricsgpt.records import PEDIATRIC_TASKS


def sft_set(rows: Iterable[Row]) -> list[Row]:
    """All training rows but those of the three pediatric tasks, which belong to phase 4: general-medical and
    multi-department instructions, conversations, safety, self-cognition and general ones, in the order given.
    """
    return [row for row in rows if trained(row) and row["task"] not in PEDIATRIC_TASKS]
