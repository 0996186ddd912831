"""Instruction data of other projects, and preference pairs."""

from __future__ import annotations

from collections.abc import Iterator

from pediatricsgpt.corpus.rules import rules
from pediatricsgpt.corpus.sources.file import Items, SourceFile, dialogue_group
from pediatricsgpt.corpus.sources.rows import Row, RowError, stream_json
from pediatricsgpt.corpus.sources.shapes import Shaped, read_shaped
from pediatricsgpt.corpus.sources.table import open_table
from pediatricsgpt.records import Record, Reject

_TABLES = (".csv", ".tsv", ".xlsx")
_COLUMNS = ("department", "question", "answer")


def read_instructions(file: SourceFile) -> Items:
    """Instructions in any published shape, several in one file if need be; of tables, the columns make the shape.

    A preference pair is read as an instruction, the preferred answer being the answer; such rows are general
    (family and task), because the published pairs in this shape are.

    Raises:
        UserError: the file is neither JSON nor a table, or its encoding is unknown.
    """
    return read_shaped(file, _rows(file), _instruction)


def _rows(file: SourceFile) -> Iterator[Row | Reject]:
    return open_table(file, aliases(*_COLUMNS)).rows if file.path.suffix.lower() in _TABLES else stream_json(file)


def aliases(*wanted: str) -> dict[str, str]:
    """What the columns of a table may be called -> their names here; of the wanted columns only."""
    return {other: name for name in wanted for other in rules("sources")["columns"][name]}


def _instruction(file: SourceFile, row: Row, shaped: Shaped) -> Record:
    return file.record(
        group=dialogue_group(shaped.messages),
        locator=row.locator(),
        messages=[*shaped.messages, *shaped.chosen],
        department=shaped.department,
        family="general" if shaped.chosen else "",
        task="general" if shaped.chosen else "",
    )


def read_preferences(file: SourceFile) -> Items:
    """Preference pairs: the prompt in `messages`, the two answers in `chosen` and `rejected`.

    Raises:
        UserError: the file is neither JSON nor a table, or its encoding is unknown.
    """
    return read_shaped(file, _rows(file), _preference)


def _preference(file: SourceFile, row: Row, shaped: Shaped) -> Record:
    if not shaped.chosen:
        raise RowError("no preference pair: chosen and rejected are missing")
    return file.record(
        group=dialogue_group(shaped.messages),
        locator=row.locator(),
        messages=shaped.messages,
        chosen=shaped.chosen,
        rejected=shaped.rejected,
        department=shaped.department,
    )
