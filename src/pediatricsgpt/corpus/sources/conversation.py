"""Dialogues between patients and doctors: JSON, and tables of consultations or of turns.

Text files: `transcript.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from pediatricsgpt.corpus.sources.dataset import aliases
from pediatricsgpt.corpus.sources.file import Items, SourceFile, dialogue_group
from pediatricsgpt.corpus.sources.rows import Row, RowError, reject_row, stream_json
from pediatricsgpt.corpus.sources.shapes import Shaped, label, question_and_answer, read_shaped, role_of
from pediatricsgpt.corpus.sources.table import Table, open_table, require_columns, table_error
from pediatricsgpt.records import Message, Record, Reject
from pediatricsgpt.text import key

_CONSULTATION = ("department", "title", "ask", "answer")
_TURNS = ("dialogue", "role", "content")
_EXCHANGE = ("question", "answer")
_NO_DETAILS = "无"  # what CMD holds in `ask` where the patient wrote only a title


def read_dialogues(file: SourceFile) -> Items:
    """Dialogues of a `.json` or `.jsonl` file, in any shape of turns or of question, answer and history.

    Rows with only `instruct` and `output` are safety rows: they go to the family `behaviour`.

    Raises:
        UserError: the file is no JSON, or its encoding is unknown.
    """
    return read_shaped(file, stream_json(file), shaped_dialogue)


def shaped_dialogue(file: SourceFile, row: Row, shaped: Shaped) -> Record:
    """The record of a dialogue whose shape was recognised.

    Raises:
        RowError: it is a preference pair.
    """
    if shaped.chosen:
        raise RowError("a preference pair in a source of kind conversation: use kind preferences or dataset")
    return file.record(
        group=dialogue_group(shaped.messages),
        locator=row.locator(),
        messages=shaped.messages,
        department=shaped.department,
        family="behaviour" if shaped.safety else "",
        task="safety" if shaped.safety else "",
    )


def read_consultations(file: SourceFile) -> Items:
    """Consultations of a CSV, TSV or XLSX table in any encoding, in one of three forms, known by their columns.

    - a consultation a row, as in CMD: `department`, `title`, `ask`, `answer`. The question is title and details; a
      title that the details repeat, and details that say `无`, are left out;
    - a question and its answer a row, in the shapes of instructions: `question`, `answer`, …;
    - a turn a row: `dialogue` (any id), `role`, `content`; rows with one id that follow each other are a dialogue.

    Columns may have their Chinese names (`rules/sources.yaml`); further ones are ignored.

    Raises:
        UserError: columns are missing, the file is damaged, or the encoding is unknown.
    """
    table = open_table(file, aliases(*_CONSULTATION, *_TURNS, *_EXCHANGE))
    if set(_TURNS) <= set(table.columns):
        return _told(file, table)
    if set(_EXCHANGE) <= set(table.columns) and "title" not in table.columns and "ask" not in table.columns:
        return read_shaped(file, table.rows, shaped_dialogue)
    if not {"title", "ask"} & set(table.columns):
        raise table_error(file, table.columns, (_CONSULTATION, _EXCHANGE, _TURNS))
    require_columns(file, table.columns, _CONSULTATION)
    return _consultations(file, table)


def _consultations(file: SourceFile, table: Table) -> Items:
    for row in table.rows:
        if isinstance(row, Reject):
            yield row
            continue
        try:
            messages = question_and_answer(question(row.value), row.value["answer"])
        except RowError as error:
            yield reject_row(file, row, str(error))
            continue
        department = label(row.value["department"])
        file.rows.used += 1
        yield file.record(
            group=dialogue_group(messages), locator=row.locator(), messages=messages, department=department
        )


def question(row: Mapping[str, str]) -> str:
    """Title and details of a consultation as one question."""
    title, details = row["title"].strip(), row["ask"].strip()
    if details == _NO_DETAILS:
        details = ""
    return "\n".join(part for part in (title if key(title) not in key(details) else "", details) if part) or title


def _told(file: SourceFile, table: Table) -> Items:
    """Dialogues of a table of turns; a row without an id goes on with the dialogue above it."""
    for _, rows in groupby(_named(table.rows), key=lambda named: named[0]):
        turns = [row for _, row in rows]
        readable = [row for row in turns if isinstance(row, Row)]
        yield from (row for row in turns if isinstance(row, Reject))
        if readable:
            yield from _dialogue(file, readable)


def _named(rows: Iterator[Row | Reject]) -> Iterator[tuple[str, Row | Reject]]:
    name = ""
    for row in rows:
        if isinstance(row, Row):
            name = row.value["dialogue"].strip() or name
        yield name, row


def _dialogue(file: SourceFile, rows: Sequence[Row]) -> Iterator[Record | Reject]:
    messages: list[Message] = []
    used: list[Row] = []
    for number, row in enumerate(rows, 1):
        try:
            messages.append(_said(row.value, number))
            used.append(row)
        except RowError as error:
            yield reject_row(file, row, str(error))
    if {"user", "assistant"} <= {message["role"] for message in messages}:
        file.rows.used += len(used)
        department = next((label(row.value.get("department")) for row in used), "unknown")
        group = dialogue_group(messages)
        yield file.record(group=group, locator=used[0].locator(), messages=messages, department=department)
    else:
        for row in used:
            yield reject_row(file, row, "empty dialogue: nobody asks or nobody answers")


def _said(row: Mapping[str, Any], number: int) -> Message:
    content = row["content"].strip()
    if not content:
        raise RowError(f"empty turn: number {number} of its dialogue")
    return Message(role=role_of(row["role"], number), content=content)
