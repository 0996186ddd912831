"""Rows of the training sets: made from a record or from another row, always with their provenance."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pediatricsgpt.records import Message, Record, Reject, Step, content_id, provenance

Row = dict[str, Any]


def instruction_row(record: Record, messages: Sequence[Message], task: str, *steps: Step) -> Row:
    """A row of the instruction schema with the record's labels and provenance."""
    turns = [dict(message) for message in messages]
    return {
        "messages": turns,
        "task": task,
        "family": record.family,
        "department": record.department,
        "age_band": record.age_band,
        "age_months": record.age_months,
        **provenance({"messages": turns, "task": task}, record, *steps),
    }


def derived(row: Mapping[str, Any], content: Mapping[str, Any], *steps: Step) -> Row:
    """A row with `content` that was made from another row: that row is its parent, the steps go on from there."""
    return {
        **content,
        "id": content_id(content),
        "group": row["group"],
        "source": row["source"],
        "parents": [row["id"]],
        "steps": [*row["steps"], *(dataclasses.asdict(step) for step in steps)],
        "split": row["split"],
    }


def rank(seed: int, *parts: object) -> str:
    """A place in a shuffled order that depends on nothing but the seed and the parts."""
    return hashlib.sha256(":".join(map(str, (seed, *parts))).encode("utf-8", "surrogatepass")).hexdigest()


def shuffled(rows: Iterable[Row], seed: int) -> list[Row]:
    """Rows in the order of their ranks; adding a row moves no other."""
    return sorted(rows, key=lambda row: rank(seed, row["id"]))


def trained(row: Mapping[str, Any]) -> bool:
    """True of rows that training may see."""
    return bool(row["split"] == "train")


def characters(messages: Sequence[Message]) -> int:
    """How long a conversation is, in characters."""
    return sum(len(message["content"]) for message in messages)


def reject(step: str, reason: str, record: Record) -> Reject:
    """A record that a rule made nothing of."""
    return Reject(step, reason, f"{record.source.file}, {record.source.locator}", record.as_dict())
