"""Reading test sets: in any shape that a source has, and questions without answers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pediatricsgpt.corpus.decontaminate.index import Item
from pediatricsgpt.corpus.settings import EvaluationSetSettings, SourceSettings
from pediatricsgpt.errors import UserError
from pediatricsgpt.records import Message, Record, Reject

_QUESTION_FIELDS = ("case", "medical_case", "first_question", "question", "query", "instruction", "input", "prompt")
_GROUNDS = "evaluation only"


@dataclass(frozen=True, slots=True)
class TestSet:
    """A test set: its items, and the rows that could not be read."""

    __test__ = False  # no test case of pytest

    name: str
    items: list[Item]
    rejects: list[Reject] = field(default_factory=list)


def load_test_set(settings: EvaluationSetSettings, base: Path) -> TestSet:
    """Read a test set.

    Args:
        settings: its name and where it is.
        base: the recipe's folder, to which the path is relative.

    Returns:
        An item for every row with a question or an answer; its id says the file and where in it the row stands. Rows
        of several turns have all questions on one side and all answers on the other.

    Raises:
        UserError: the path does not exist, or nothing in it could be read.
    """
    items: list[Item] = []
    rejects: list[Reject] = []
    for entry in _read(settings, base):
        item = _of_record(entry) if isinstance(entry, Record) else _of_row(entry)
        if item:
            items.append(item)
        elif isinstance(entry, Reject):
            rejects.append(entry)
    if not items:
        reason = f"; the first of {len(rejects)} rejects: {rejects[0].where}: {rejects[0].reason}" if rejects else ""
        raise UserError(f"test set '{settings.name}' holds nothing that could be read{reason}", base / settings.path)
    return TestSet(settings.name, items, rejects)


def row_items(rows: Iterable[Mapping[str, Any]]) -> list[Item]:
    """Held-out rows of the instruction schema as test items."""
    return [(row["id"], *turn_sides(row["messages"])) for row in rows]


def turn_sides(turns: Sequence[Message]) -> tuple[str, str]:
    """What the user says and what the assistant says, each with a line break between turns."""
    said = {"user": [], "assistant": []}  # type: dict[str, list[str]]
    for turn in turns:
        said.get(turn["role"], []).append(turn["content"])
    return "\n".join(said["user"]), "\n".join(said["assistant"])


def _read(settings: EvaluationSetSettings, base: Path) -> Iterator[Record | Reject]:
    """The rows of the files. A test set is not trained on, so it needs no licence for that."""
    from pediatricsgpt.corpus.sources import Reading, source_files

    source = SourceSettings(
        name=settings.name,
        kind=settings.kind,
        path=settings.path,
        licence=_GROUNDS,
        consent=_GROUNDS,
        purpose=_GROUNDS,
    )
    for file in source_files(source, base):
        answered, questions = False, False
        try:
            for entry in Reading(source.model_copy(update={"path": Path(os.path.relpath(file, base))}), base):
                answered |= isinstance(entry, Record)
                questions |= isinstance(entry, Reject) and _of_row(entry) is not None
                yield entry
        except UserError:
            # A file of questions without answers holds nothing to train on, and says so at its end.
            if answered or not questions:
                raise


def _of_record(record: Record) -> Item:
    question, answer = turn_sides((*record.messages, *record.chosen))
    return f"{record.source.file}, {record.source.locator}", question, answer or record.text


def _of_row(reject: Reject) -> Item | None:
    """A row that is no training row because it has no answer: its questions."""
    if not isinstance(reject.row, dict):
        return None
    texts = [str(reject.row[name]) for name in _QUESTION_FIELDS if isinstance(reject.row.get(name), str)]
    question = "\n".join(text for text in texts if text.strip())
    return (reject.where, question, "") if question else None
