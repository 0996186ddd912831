"""The split into training and held-out records, by group: a document, dialogue or patient is on one side only."""

from __future__ import annotations

import hashlib

from pediatricsgpt.records import Step

STEP = Step("split", 1)


def side(group: str, held_out: float, seed: int) -> str:
    """`held_out` for a share of all groups, else `train`, from the hash of the group's name and the seed alone.

    So a group never straddles, and a source that is added later moves no record from one side to the other, unless it
    repeats something and joins groups (see `deduplicate`).
    """
    digest = hashlib.sha256(f"{seed}:{group}".encode("utf-8", "surrogatepass")).digest()
    return "held_out" if int.from_bytes(digest, "big") < held_out * 2.0**256 else "train"
