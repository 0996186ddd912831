"""The split into training, validation and held-out, by group: a document, dialogue or patient is on one side only."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from pediatricsgpt.records import Step

STEP = Step("split", 1)


def side(group: str, held_out: float, seed: int) -> str:
    """`held_out` for a share of all groups, else `train`, from the hash of the group's name and the seed alone.

    So a group never straddles, and a source that is added later moves no record from one side to the other, unless it
    repeats something and joins groups (see `deduplicate`).
    """
    return "held_out" if _draw(f"{seed}:{group}") < held_out else "train"


def take_validation(
    rows: Sequence[dict[str, Any]], share: float, seed: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows to train on and those to watch a phase by, apart by group: the same group goes the same way in all sets.

    A group that holds more than a hundredth of the rows is always trained on (a textbook may be half of a set), and so
    are rows that teach behaviour: there are few of them and each is wanted.
    """
    sizes = Counter(row["group"] for row in rows)
    most = max(1, len(rows) // 100)

    def watched(row: dict[str, Any]) -> bool:
        taught = row.get("family") == "behaviour" or row.get("aspect") == "safety"
        return not taught and sizes[row["group"]] <= most and _draw(f"{seed}:validation:{row['group']}") < share

    trained, validation = [], []
    for row in rows:
        if watched(row):
            validation.append({**row, "split": "validation"})
        else:
            trained.append(row)
    return trained, validation


def _draw(text: str) -> float:
    """A number in [0, 1) that is the text's own."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest, "big") / 2.0**256
