"""In-context reconstruction (paper section 3): doctor-patient dialogues, in the words of a careful doctor.

A teacher that has seen worked pairs rewrites the doctor's terse turns, keeping every medical fact; without a teacher,
dialogues stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable

from pediatricsgpt.corpus.build.fidelity import Mode
from pediatricsgpt.corpus.build.rewrite import asked, rewrite
from pediatricsgpt.corpus.build.rows import Row, characters, instruction_row, reject
from pediatricsgpt.corpus.build.teacher import Built, OnDone, Prompt, prompt_with_pairs
from pediatricsgpt.corpus.settings import ReconstructSettings
from pediatricsgpt.endpoint import Endpoint
from pediatricsgpt.records import Message, Record, Reject, Step

STEP = Step("reconstruct", 1)


def build(records: Iterable[Record], settings: ReconstructSettings, teacher: Endpoint, on_done: OnDone = None) -> Built:
    """One row from every conversation whose rewriting keeps every fact; general and safety dialogues stay as they are.

    Returns:
        Rows, rejects and passes, for as many dialogues as are not distilled (`read`).

    Raises:
        UserError, BudgetReached: as `Endpoint.ask_all`.
    """
    conversations, built = _planned(records, settings)
    passes: list[tuple[str, Prompt, Mode]] = [("reconstruct", _prompt(settings), "complete")]
    built += rewrite(conversations, passes, teacher, STEP.version, on_done)
    return built


def requests(records: Iterable[Record], settings: ReconstructSettings) -> list[list[Message]]:
    """What `build` will ask, for an estimate."""
    return [asked(_prompt(settings), record.messages) for record in _planned(records, settings)[0]]


def _prompt(settings: ReconstructSettings) -> Prompt:
    return prompt_with_pairs("reconstruct", settings.worked_pairs)


def _planned(records: Iterable[Record], settings: ReconstructSettings) -> tuple[list[Record], Built]:
    """The conversations that are for the teacher, and what is done without it."""
    conversations: list[Record] = []
    others: list[Record] = []
    built = Built()
    for record in records:
        if record.shape != "messages" or record.family == "distilled":
            continue
        if record.family != "conversation" or record.task == "safety":
            others.append(record)
        elif (length := characters(record.messages)) > settings.max_characters:
            built.read += 1
            built.rejects.append(reject("reconstruct", f"too long: {length} characters", record))
        else:
            conversations.append(record)
    rows, rejects = instructions(others, settings)
    built += Built(rows, rejects, read=len(others))
    return conversations, built


def instructions(records: Iterable[Record], settings: ReconstructSettings) -> tuple[list[Row], list[Reject]]:
    """One row from every dialogue that is not distilled, as it is: conversations, general and safety ones.

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
