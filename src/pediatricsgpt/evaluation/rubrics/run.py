"""Grading the answers of one model, as files: `rubrics.json` and `grades.jsonl`."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pediatricsgpt.endpoint.settings import TeacherSettings
from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.rubrics.forms import RubricItem, RubricSet, chosen
from pediatricsgpt.evaluation.rubrics.grade import grade
from pediatricsgpt.evaluation.rubrics.prompt import prompt
from pediatricsgpt.evaluation.rubrics.score import score
from pediatricsgpt.manifest import disk_errors, write_atomically
from pediatricsgpt.records import read_json_lines

RESULT, ROWS = "rubrics.json", "grades.jsonl"
_ANSWERS = "answers"
_SHOWN = 3
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


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
    answers, models = _read(path, rubrics)
    everything = {item.id for item in rubrics.items}
    missing = [item.id for item in wanted if item.id not in answers]
    unknown = [name for name in answers if name not in everything]
    if len(missing) == len(wanted):
        hint = f"; its first id is {next(iter(answers))!r}" if answers else ""
        raise UserError(
            f"no id in this file is one of the {len(wanted)} rubric items{hint}; `pedgpt rubrics items` writes the "
            "questions to answer",
            path,
        )
    if (missing or unknown) and not intersect:
        raise UserError(_different(len(wanted), missing, unknown), path)
    if len(models) > 1:
        raise UserError(f"answers of {len(models)} models ({', '.join(models)}); give one file a model", path)
    items = tuple(item for item in wanted if item.id in answers)
    kept = {item.id: answers[item.id] for item in items}
    return Answered(items, kept, models[0] if models else None, len(missing), len(unknown))


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
    address = hashlib.sha256(judge.base_url.encode()).hexdigest()[:8]
    return (cache or out / _ANSWERS) / f"{_UNSAFE.sub('-', judge.model)}-{address}"


def _read(path: Path, rubrics: RubricSet) -> tuple[dict[str, str], list[str]]:
    """Answers by id, and the models that the file names."""
    if path.is_dir():
        raise UserError("this is a folder; name a predictions file (JSON lines)", path)
    asked = {item.id: [turn.model_dump() for turn in item.messages if turn.role != "system"] for item in rubrics.items}
    answers: dict[str, str] = {}
    lines: dict[str, int] = {}
    models: set[str] = set()
    for line, row in read_json_lines(path):
        where = f"{path}:{line}"
        if not isinstance(row, dict):
            raise UserError("expected a JSON object with 'id' and 'prediction'", where)
        name = row.get("id")
        if not isinstance(name, str) or not name:
            raise UserError("the field 'id' is missing or no text; it names the rubric item", where)
        if not isinstance(row.get("prediction"), str):
            raise UserError(f"the field 'prediction' {_missing(row)}", where)
        if name in answers:
            raise UserError(f"the id {name} stands here and on line {lines[name]}; keep one", where)
        if name in asked and not _same_question(row.get("messages"), asked[name]):
            raise UserError(f"this answers another question than rubric item {name} asks", where)
        answers[name], lines[name] = row["prediction"], line
        if isinstance(row.get("model"), str):
            models.add(row["model"])
    if not answers:
        raise UserError("the file is empty; expected one JSON object per line with 'id' and 'prediction'", path)
    return answers, sorted(models)


def _same_question(said: Any, asked: Sequence[Mapping[str, str]]) -> bool:
    """Whether an answer was given to these turns, as far as its row says; a system prompt is the model's own affair."""
    if not isinstance(said, list):
        return True
    turns = [turn for turn in said if isinstance(turn, dict) and turn.get("role") != "system"]
    return [(turn.get("role"), turn.get("content")) for turn in turns] == [(t["role"], t["content"]) for t in asked]


def _missing(row: Mapping[str, Any]) -> str:
    if "prediction" in row:
        return "must be text"
    near = difflib.get_close_matches("prediction", [str(key) for key in row], n=1)
    return f"is missing; there is '{near[0]}': rename it to 'prediction'" if near else "is missing"


def _different(items: int, missing: Sequence[str], unknown: Sequence[str]) -> str:
    def some(names: Sequence[str]) -> str:
        more = ", …" if len(names) > _SHOWN else ""
        return f"{len(names)} ({', '.join(names[:_SHOWN])}{more})" if names else "none"

    return (
        f"of {items} rubric items, no answer to {some(missing)}; answers to no rubric item: {some(unknown)}; "
        f"--intersect grades the {items - len(missing)} that have one"
    )
