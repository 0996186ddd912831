"""The corpus room's steps in their order, with an account of every record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pediatricsgpt.corpus.clean import clean
from pediatricsgpt.corpus.deduplicate import deduplicate
from pediatricsgpt.corpus.select import label
from pediatricsgpt.corpus.settings import CorpusSettings
from pediatricsgpt.corpus.split import split
from pediatricsgpt.records import Record, Reject


@dataclass(slots=True)
class Curated:
    """What `curate` gives back. `counts` has, per step, `read`, `kept`, `rejected` and `reasons` with their numbers."""

    records: list[Record]
    rejects: list[Reject]
    counts: dict[str, dict[str, Any]]


def curate(records: Sequence[Record], settings: CorpusSettings, seed: int) -> Curated:
    """Clean, deduplicate, label and split, in this order.

    Raises:
        RuntimeError: a step lost or invented a record (kept + rejected must be what it read); the step is named.
    """
    account = Curated([], [], {})
    kept = _accounted(account, "clean", len(records), *clean(records, settings.clean))
    kept = _accounted(account, "deduplicate", len(kept), *deduplicate(kept))
    kept = _accounted(account, "label", len(kept), label(kept), [])
    account.records = _accounted(account, "split", len(kept), split(kept, settings.split, seed), [])
    return account


def reasons(rejects: Sequence[Reject]) -> dict[str, int]:
    """How often each reason occurs, most frequent first; details after a colon are left out."""
    counted = Counter(reject.reason.split(":")[0] for reject in rejects)
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


def _accounted(account: Curated, step: str, read: int, kept: list[Record], rejected: list[Reject]) -> list[Record]:
    if len(kept) + len(rejected) != read:
        raise RuntimeError(f"step '{step}' read {read} records but kept {len(kept)} and rejected {len(rejected)}")
    account.rejects += rejected
    account.counts[step] = {
        "read": read,
        "kept": len(kept),
        "rejected": len(rejected),
        "reasons": reasons(rejected),
    }
    return kept
