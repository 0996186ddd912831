"""Grading the answers of one model, as files: `rubrics.json` and `grades.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pediatricsgpt.endpoint.settings import TeacherSettings
from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation import paid
from pediatricsgpt.evaluation.predictions import ANSWERED, Prediction, by_id, first_few, model_of, read_predictions
from pediatricsgpt.evaluation.rubrics.forms import RubricItem, RubricSet, Turn, chosen
from pediatricsgpt.evaluation.rubrics.grade import grade
from pediatricsgpt.evaluation.rubrics.prompt import prompt
from pediatricsgpt.evaluation.rubrics.score import score
from pediatricsgpt.manifest import disk_errors, write_atomically
from pediatricsgpt.records import Message

RESULT, ROWS = "rubrics.json", "grades.jsonl"


@dataclass(frozen=True, slots=True)
class Answered:
    """Answers to the items of a rubric set."""

    items: tuple[RubricItem, ...]
    """The items that have an answer, in the set's order"""
    answers: Mapping[str, str]
    """Item id -> answer"""
    model: str | None = None
    """What the file says who answered"""
    missing: int = 0
    """Items of the set without an answer"""
    unknown: int = 0
    """Answers to something that is not in the set"""


def read_answers(path: Path, rubrics: RubricSet, intersect: bool = False, max_items: int | None = None) -> Answered:
    """Read a predictions file: JSON lines with `id` and `prediction`, perhaps `model`.

    Args:
        path: the file.
        rubrics: whose items were answered.
        intersect: grade the common items where the two do not hold the same ones.
        max_items: items at most, as `forms.chosen`; answers to the set's other items are then no complaint.

    Raises:
        UserError: a line is not as it must be, an id stands twice, or (without `intersect`) ids are missing or unknown.
    """
    wanted = chosen(rubrics, max_items)
    answers = by_id(read_predictions(path, ANSWERED))
    _check_questions(answers, rubrics)
    everything = {item.id for item in rubrics.items}
    missing = [item.id for item in wanted if item.id not in answers]
    unknown = [name for name in answers if name not in everything]
    if len(missing) == len(wanted):
        raise UserError(
            f"no id in this file is one of the {len(wanted)} rubric items; its first id is {next(iter(answers))!r}; "
            "`pedgpt rubrics items` writes the questions to answer",
            path,
        )
    if (missing or unknown) and not intersect:
        raise UserError(_different(len(wanted), missing, unknown), path)
    model = model_of(answers.values(), path)
    items = tuple(item for item in wanted if item.id in answers)
    kept = {item.id: answers[item.id].prediction for item in items}
    return Answered(items, kept, model, len(missing), len(unknown))


def grade_answers(
    rubrics: RubricSet,
    answered: Answered,
    model: str,
    judge: TeacherSettings,
    out: Path,
    cache: Path | None = None,
    deidentified: bool = False,
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Grade one model's answers and write `rubrics.json` and `grades.jsonl`.

    Args:
        rubrics: the set.
        answered: the answers to its items.
        model: who answered, as the result names it.
        judge: who grades.
        out: folder of the result.
        cache: folder of paid answers of all graders; `out`/answers by default.
        deidentified: whether no patient is in the texts.
        advance: told how many grades have just come in.

    Raises:
        UserError, BudgetReached: as `grade`; nothing is written then, and nothing that was paid for is lost.
    """
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    place = answers_folder(out, judge, cache)
    found = grade(answered.items, answered.answers, judge, place, deidentified, advance)
    result = {
        "model": model,
        "judge": {"model": judge.model, "base_url": judge.base_url},
        "prompt": prompt().described(),
        **score(rubrics, answered.items, found.rows),
        "costs": found.costs,
        "missing": answered.missing,
    }
    if answered.missing:
        result["warnings"].append(f"{answered.missing} items of the set have no answer and are not in these figures")
    with disk_errors(out):
        rows = "".join(json.dumps(row.as_dict(), ensure_ascii=False) + "\n" for row in found.rows)
        write_atomically(out / ROWS, rows)
        write_atomically(out / RESULT, json.dumps(result, ensure_ascii=False, indent=2) + "\n")
    return result


def answers_folder(out: Path, judge: TeacherSettings, cache: Path | None = None) -> Path:
    """Where the paid answers of one grader lie: in `cache`, or else in the result's own folder."""
    return paid.answers_folder(cache or out / paid.ANSWERS, judge)


def _check_questions(answers: Mapping[str, Prediction], rubrics: RubricSet) -> None:
    """An answer under an item's id is to that item's question."""
    for item in rubrics.items:
        answer = answers.get(item.id)
        if answer is not None and not _same_question(answer.messages, item.messages):
            raise UserError(f"this answers another question than rubric item {item.id} asks", answer.where)


def _same_question(said: Sequence[Message] | None, asked: Sequence[Turn]) -> bool:
    """Whether an answer was given to these turns, as far as its row says; a system prompt is the model's own affair."""
    if said is None:
        return True
    theirs = [(turn["role"], turn["content"]) for turn in said if turn["role"] != "system"]
    return theirs == [(turn.role, turn.content) for turn in asked if turn.role != "system"]


def _different(items: int, missing: Sequence[str], unknown: Sequence[str]) -> str:
    def some(names: Sequence[str]) -> str:
        return f"{len(names)} ({first_few(names)})" if names else "none"

    return (
        f"of {items} rubric items, no answer to {some(missing)}; answers to no rubric item: {some(unknown)}; "
        f"--intersect grades the {items - len(missing)} that have one"
    )
