"""In-context reconstruction (paper section 3) without a teacher: doctor-patient dialogues as they are."""

from __future__ import annotations

from collections.abc import Iterable

from pediatricsgpt.corpus.build.rows import Row, characters, instruction_row, reject
from pediatricsgpt.corpus.settings import ReconstructSettings
from pediatricsgpt.records import Record, Reject, Step

STEP = Step("reconstruct", 1)


def instructions(records: Iterable[Record], settings: ReconstructSettings) -> tuple[list[Row], list[Reject]]:
    """One row from every dialogue that is not distilled: conversations, general and safety ones.

    Returns:
        Rows of the instruction schema and the dialogues that are too long, together as many as there are such
        dialogues.
    """
    rows: list[Row] = []
    rejects: list[Reject] = []
    for record in records:
        if record.shape != "messages" or record.family == "distilled":
            continue
        if (length := characters(record.messages)) > settings.max_characters:
            rejects.append(reject("reconstruct", f"too long: {length} characters", record))
        else:
            rows.append(instruction_row(record, record.messages, record.task or "general", STEP))
    return rows, rejects
