"""Exact and near duplicates, and the groups that must stay together: nothing may stand in training and held out.

In two halves, so that records never have to be in memory all at once: `fingerprint` takes batches in any process,
`decide` sees all fingerprints. Texts are compared by their keys (`text.key`: letters and digits only).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from pediatricsgpt.corpus.deduplicate.decide import Decision, decide, decide_batches
from pediatricsgpt.corpus.deduplicate.fingerprint import (
    MIN_NEAR_KEY,
    MIN_PAIR_KEY,
    MIN_PASSAGE_KEY,
    MIN_QUESTION_KEY,
    fingerprint,
)
from pediatricsgpt.corpus.settings import DeduplicateSettings
from pediatricsgpt.records import Record, Reject, Step

__all__ = [
    "MIN_NEAR_KEY",
    "MIN_PAIR_KEY",
    "MIN_PASSAGE_KEY",
    "MIN_QUESTION_KEY",
    "STEP",
    "Decision",
    "decide",
    "deduplicate",
    "fingerprint",
    "reason",
]

STEP = Step("deduplicate", 3)


def deduplicate(
    records: Sequence[Record], settings: DeduplicateSettings | None = None, quality: Sequence[float] | None = None
) -> tuple[list[Record], list[Reject]]:
    """Drop duplicates of records that are in memory, and give every group of related ones one name.

    Args:
        records: in reading order.
        settings: the defaults where absent.
        quality: one number a record; all equal where absent, so that the first of several duplicates is kept.

    Returns:
        Kept records and rejects, together as many as were read. A reject names the record that was kept.
    """
    settings = settings or DeduplicateSettings()
    decision = decide_batches([fingerprint(records, settings, quality)], settings)
    kept: list[Record] = []
    rejects: list[Reject] = []
    for number, record in enumerate(records):
        if decision.keep[number]:
            kept.append(dataclasses.replace(record, group=decision.group[number], steps=[*record.steps, STEP]))
        else:
            original = records[int(decision.duplicate_of[number])]
            rejects.append(_duplicate(record, original, float(decision.similarity[number])))
    return kept, rejects


def _duplicate(record: Record, original: Record, similarity: float) -> Reject:
    place = f"{original.source.file}, {original.source.locator}"
    where = f"{record.source.file}, {record.source.locator}"
    return Reject("deduplicate", reason(similarity, f"{original.id} ({place})"), where, record.as_dict())


def reason(similarity: float, original: str) -> str:
    """Why a record is dropped; rounded down, so that a near-duplicate never reads as an equal one."""
    kind = "duplicate:" if similarity == 1 else f"near-duplicate: {int(similarity * 100) / 100:.2f}"
    return f"{kind} of {original}"
