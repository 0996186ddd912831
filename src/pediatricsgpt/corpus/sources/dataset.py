"""Instruction data of other projects, and preference pairs."""

from __future__ import annotations

from pediatricsgpt.corpus.sources.file import Result, SourceFile, dialogue_group
from pediatricsgpt.corpus.sources.rows import Row, RowError
from pediatricsgpt.corpus.sources.shapes import Shaped, read_shaped
from pediatricsgpt.records import Record


def read_instructions(file: SourceFile) -> Result:
    """Instructions in any published shape, several in one file if need be.

    A preference pair is read as an instruction, the preferred answer being the answer; such rows are general
    (family and task), because the published pairs in this shape are.

    Raises:
        UserError: the file is no JSON, or its encoding is unknown.
    """
    return read_shaped(file, _instruction)


def _instruction(file: SourceFile, row: Row, shaped: Shaped) -> Record:
    return file.record(
        group=dialogue_group(shaped.messages),
        locator=row.locator(),
        messages=[*shaped.messages, *shaped.chosen],
        department=shaped.department,
        family="general" if shaped.chosen else "",
        task="general" if shaped.chosen else "",
    )


def read_preferences(file: SourceFile) -> Result:
    """Preference pairs: the prompt in `messages`, the two answers in `chosen` and `rejected`.

    Raises:
        UserError: the file is no JSON, or its encoding is unknown.
    """
    return read_shaped(file, _preference)


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
