"""The two sides of medical preference pairs, where models write them (paper section 3).

Preferred is a humanistic rephrasing of the reference by a teacher, with every fact of it; low is the answer of a weaker
assistant to the same prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, Field

from pediatricsgpt.corpus.build.fidelity import check
from pediatricsgpt.corpus.build.rows import Row
from pediatricsgpt.corpus.build.teacher import OnDone, as_script, ask, is_deidentified, passed, prompt
from pediatricsgpt.endpoint import Endpoint, Failure, Request
from pediatricsgpt.records import Message, Reject, Step

VERSION = 1


class Rephrased(BaseModel):
    """The reference answer in humane words."""

    answer: str = Field(min_length=2)


@dataclass(slots=True)
class Side:
    """One side of the pairs: answers by row id, the step that wrote them, and what was not kept."""

    step: Step
    answers: dict[str, str] = field(default_factory=dict)
    rejects: list[Reject] = field(default_factory=list)
    passes: list[dict[str, Any]] = field(default_factory=list)


def preferred(rows: Sequence[Row], teacher: Endpoint, on_done: OnDone = None) -> Side:
    """A humanistic rephrasing of each row's last answer; one that loses or adds a fact is rejected with the reason.

    Args:
        rows: instruction rows that end with the reference.
        teacher: who writes.
        on_done: called with 1 for each answer.

    Raises:
        UserError, BudgetReached: as `Endpoint.ask_all`.
    """
    words = prompt("preferred")
    side = Side(words.step("preferred", VERSION, teacher))
    given = [
        (
            words.messages(dialogue=as_script(row["messages"][:-1]), answer=row["messages"][-1]["content"]),
            is_deidentified(row),
        )
        for row in rows
    ]
    for row, said in zip(rows, ask(teacher, given, Rephrased, on_done), strict=True):
        if isinstance(said, str):
            reasons = [said]
        else:
            reasons = problems(row["messages"], said.answer)
            side.answers |= {} if reasons else {row["id"]: said.answer.strip()}
        side.passes.append(passed(row["id"], side.step, said, reasons))
        if reasons:
            wrote = said if isinstance(said, str) else said.answer
            side.rejects.append(_reject("preferred", reasons[0], row, wrote))
    return side


def problems(messages: Sequence[Message], answer: str) -> list[str]:
    """Why a rephrasing of the last of these turns is not kept."""
    heard, own = (
        "\n".join(turn["content"] for turn in messages[:-1] if turn["role"] == role) for role in ("user", "assistant")
    )
    return check(messages[-1]["content"], answer, "complete", heard, own)


def weak_answers(rows: Sequence[Row], weaker: Endpoint, max_new_tokens: int, on_done: OnDone = None) -> Side:
    """The answer of a weaker assistant to the prompt of each row, as it comes.

    Args:
        rows: prompts of `prompts_for_low_answers`, or instruction rows without their last answer.
        weaker: the assistant.
        max_new_tokens: bound of an answer, in tokens.
        on_done: called with 1 for each answer.

    Raises:
        UserError, BudgetReached: as `Endpoint.ask_all`.
    """
    side = Side(Step("low_answer", VERSION, teacher=weaker.name))
    requests = [Request(row["messages"], None, is_deidentified(row), max_new_tokens) for row in rows]
    for row, said in zip(rows, weaker.ask_all(requests, (lambda *_: on_done(1)) if on_done else None), strict=True):
        if isinstance(said, Failure):
            side.rejects.append(_reject("low_answer", f"weaker assistant: {said.reason}", row, ""))
        else:
            side.answers[row["id"]] = said.text.strip()
    return side


def _reject(step: str, reason: str, row: Row, wrote: str) -> Reject:
    return Reject(step, reason, f"row {row['id']}", {"id": row["id"], "messages": row["messages"], "answer": wrote})
