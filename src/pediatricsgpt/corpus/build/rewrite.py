"""Rewriting the doctor's turns of dialogues with a teacher, each turn checked against what it was made from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from pediatricsgpt import text as chinese
from pediatricsgpt.corpus.build.fidelity import Mode, check
from pediatricsgpt.corpus.build.rows import instruction_row, reject
from pediatricsgpt.corpus.build.teacher import Built, OnDone, Prompt, Turns, as_script, ask, is_deidentified, passed
from pediatricsgpt.endpoint import Endpoint
from pediatricsgpt.records import Message, Record, Step

_LABEL = re.compile(r"^\s*医生\d*\s*[：:]")


@dataclass(slots=True)
class _Job:
    record: Record
    messages: list[Message]
    steps: list[Step] = field(default_factory=list)


def rewrite(
    records: Sequence[Record],
    passes: Sequence[tuple[str, Prompt, Mode]],
    teacher: Endpoint,
    version: int,
    on_done: OnDone = None,
) -> Built:
    """Dialogues whose doctor's turns went through the given passes, one after the other.

    Args:
        records: dialogues.
        passes: name of the step, prompt, and how its result is checked against the pass before it.
        teacher: who writes.
        version: of the rule, for the provenance.
        on_done: called with 1 for each answer.

    Returns:
        One row from every dialogue that passed every check, and a reject with the reason from every other one;
        `counts` has how many dialogues a step gave back as they were.
    """
    built = Built(read=len(records))
    jobs = [_Job(record, list(record.messages)) for record in records]
    for name, prompt, mode in passes:
        step = prompt.step(name, version, teacher)
        given = [(asked(prompt, job.messages), is_deidentified(job.record)) for job in jobs]
        going_on: list[_Job] = []
        unchanged = 0
        for job, said in zip(jobs, ask(teacher, given, Turns, on_done), strict=True):
            reasons = [said] if isinstance(said, str) else problems(job.messages, said.turns, mode)
            built.passes.append(passed(job.record.id, step, said, reasons))
            if reasons or isinstance(said, str):
                built.rejects.append(reject(name, reasons[0], job.record))
                continue
            before, job.messages = job.messages, rewritten(job.messages, said.turns)
            unchanged += _key(before) == _key(job.messages)
            job.steps.append(step)
            going_on.append(job)
        jobs = going_on
        built.counts[f"{name}:unchanged"] = unchanged
    for job in jobs:
        built.rows.append(instruction_row(job.record, job.messages, job.record.task or "general", *job.steps))
    return built


def asked(prompt: Prompt, dialogue: Sequence[Message]) -> list[Message]:
    """The turns that a teacher is given for one dialogue."""
    count = sum(turn["role"] == "assistant" for turn in dialogue)
    return prompt.messages(dialogue=as_script(dialogue), count=count)


def _key(dialogue: Sequence[Message]) -> str:
    return "\n".join(chinese.key(turn["content"]) for turn in dialogue)


def rewritten(dialogue: Sequence[Message], turns: Sequence[str]) -> list[Message]:
    """The dialogue with the teacher's turns in place of the doctor's; a label that it copied is no part of a turn."""
    new = (_LABEL.sub("", turn).strip() for turn in turns)
    return [
        {"role": turn["role"], "content": next(new) if turn["role"] == "assistant" else turn["content"]}
        for turn in dialogue
    ]


def problems(dialogue: Sequence[Message], turns: Sequence[str], mode: Mode) -> list[str]:
    """Why rewritten turns are not kept; what was said before a turn may be repeated in it, but no caregiver's dose."""
    count = sum(turn["role"] == "assistant" for turn in dialogue)
    if len(turns) != count:
        return [f"wrong number of turns: {len(turns)} instead of {count}"]
    if not all(_LABEL.sub("", turn).strip() for turn in turns):
        return ["empty turn: a doctor's turn was left out"]
    reasons: list[str] = []
    before: dict[str, list[str]] = {"system": [], "user": [], "assistant": []}
    for old, new in zip(dialogue, rewritten(dialogue, turns), strict=True):
        if old["role"] == "assistant":
            heard, own = ("\n".join(before[role]) for role in ("user", "assistant"))
            reasons += check(old["content"], new["content"], mode, heard, own)
        before[old["role"]].append(old["content"])
    return reasons
