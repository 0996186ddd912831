"""The three pediatric tasks (paper section 3): `medkqa`, `evidiag`, `trerecom`, and what is none of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pediatricsgpt import text as chinese
from pediatricsgpt.corpus.rules import pattern
from pediatricsgpt.facts import patient_age
from pediatricsgpt.records import Record

MIN_CONCLUSION_KEY = 4
MIN_CASE_KEY = 12
_PRESET = ("general", "safety", "self")


def task_of(record: Record, pediatric: bool) -> str:
    """The task of a dialogue. What is not about a child, or has a task of its own already, is none of the three.

    `evidiag` as in the data contract: two or more doctor turns, at least one question that collects evidence, then a
    conclusion. `trerecom` asks what to do about a described case. `medkqa` is every other question. A dialogue of
    several turns that asks nothing and collects nothing is `general`. Sections of text have no task yet.
    """
    if record.shape == "text":
        return record.task
    if record.task in _PRESET or not pediatric or record.shape == "preference":
        return record.task or "general"
    if is_evidence_based(_turns(record, "assistant")):
        return "evidiag"
    asked = _turns(record, "user")
    if is_case(asked) and (asks_treatment(asked) or _is_answered_with_treatment(record, asked)):
        return "trerecom"
    return "medkqa" if len(asked) == 1 or pattern("tasks", "asking").search("\n".join(asked)) else "general"


def is_evidence_based(answers: Sequence[str]) -> bool:
    """Whether a doctor asks for evidence in one turn and concludes in a later one."""
    asks = next((place for place, answer in enumerate(answers[:-1]) if collects_evidence(answer)), None)
    return asks is not None and any(concludes(answer) for answer in answers[asks + 1 :])


def collects_evidence(answer: str) -> bool:
    """Whether a turn asks something about the patient."""
    questions = [sentence for sentence in chinese.sentences(answer) if is_question(sentence)]
    return any(not pattern("tasks", "courtesy_questions").search(question) for question in questions)


def concludes(answer: str) -> bool:
    """Whether a turn holds a statement with a diagnosis or advice, not only questions, thanks and wishes."""
    statements = [sentence for sentence in chinese.sentences(_without_courtesies(answer)) if not is_question(sentence)]
    return any(
        len(chinese.key(statement)) >= MIN_CONCLUSION_KEY and pattern("tasks", "conclusions").search(statement)
        for statement in statements
    )


def _without_courtesies(answer: str) -> str:
    """An answer without its clauses of thanks, wishes and goodbyes."""
    clauses = re.split(r"(?<=[，,。！!？?；;\n])", answer)
    return "".join(clause for clause in clauses if not pattern("tasks", "courtesies").search(clause))


def is_question(sentence: str) -> bool:
    """Whether a sentence asks: by its mark or, in chats without marks, by its words."""
    bare = sentence.rstrip("。.!！~～… ")
    return (
        bare.endswith(("？", "?"))
        or bool(pattern("tasks", "question_ends").search(bare))
        or bool(pattern("tasks", "question_starts").search(bare))
    )


def asks_treatment(asked: Sequence[str]) -> bool:
    """Whether the questions ask what to do, what to take or how to treat."""
    return bool(pattern("tasks", "treatment").search("\n".join(asked)))


def is_case(asked: Sequence[str]) -> bool:
    """Whether the questions describe somebody in particular and what ails him."""
    text = "\n".join(asked)
    if len(chinese.key(text)) < MIN_CASE_KEY or not pattern("tasks", "course").search(text):
        return False
    return bool(pattern("tasks", "patient").search(text)) or patient_age(text) is not None


def _is_answered_with_treatment(record: Record, asked: Sequence[str]) -> bool:
    """Whether a case that ends without a question is answered with treatment."""
    if pattern("tasks", "asking").search("\n".join(asked)):
        return False
    return bool(pattern("tasks", "treated").search("\n".join(_turns(record, "assistant"))))


def _turns(record: Record, role: str) -> list[str]:
    return [turn["content"] for turn in record.messages if turn["role"] == role]
