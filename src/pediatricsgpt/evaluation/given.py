"""Answers that somebody else's model gave to a benchmark's questions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.benchmarks import Benchmark
from pediatricsgpt.evaluation.benchmarks.files import field_of, read_json
from pediatricsgpt.evaluation.predictions import first_few
from pediatricsgpt.text import key

_ANSWER = ("prediction", "answer", "response", "output", "model_answer")
_DOCTOR = ("doctor", "assistant", "gpt", "bot")
_PATIENT = ("patient", "user", "human")
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Given:
    """Answers by item id, and what else the file held or lacked."""

    answers: dict[str, str]
    missing: int
    """Items that it has no answer to"""
    unknown: int
    """Answers to items that the benchmark has not"""
    not_asked: int
    """Answers to items of the benchmark that are not asked here"""


def given_answers(path: Path, benchmark: Benchmark, allow_missing: bool = False) -> Given:
    """The answers of a file to the items of a benchmark; answers to other items are counted and left out.

    Raises:
        UserError: no file, or no form that is known; an id twice with different answers; an answer to another question;
            items without an answer, unless they may be missing; or no answer to any item.
    """
    if not path.is_file():
        raise UserError("no such file of answers", path)
    rows = [_read(row, f"{path}: answer {number}") for number, row in enumerate(read_json(path), 1)]
    if not rows:
        raise UserError("the file is empty; expected answers with id and prediction", path)
    _refuse_twice(rows, path)
    items = {item.id: item for item in benchmark.items}
    answers = {name: answer for name, answer, _ in rows if name in items}
    _refuse_others(
        [name for name, _, asked in rows if name in items and asked and key(asked) != key(items[name].question)], path
    )
    missing = [name for name in items if name not in answers]
    if not answers:
        raise UserError(
            f"none of {len(rows)} answers is to an item of {benchmark.name}: other ids, for example "
            f"{', '.join(name for name, _, _ in rows[:_SHOWN])}",
            path,
        )
    if missing and not allow_missing:
        raise UserError(
            f"{len(missing)} of {len(items)} items of {benchmark.name} have no answer: {first_few(missing)}", path
        )
    unknown = len({name for name, _, _ in rows} - benchmark.known_ids)
    return Given(answers, len(missing), unknown, len(rows) - unknown - len(answers))


def _read(row: Any, where: str) -> tuple[str, str, str]:
    """Id, answer and question (empty where it is not said) of one row in any of the known forms."""
    if not isinstance(row, dict):
        raise UserError("each answer must be a JSON object with id and prediction", where)
    name = field_of(row, ("id",))
    if not name:
        raise UserError("field 'id' is missing: answers are matched to questions by it", where)
    turns = row.get("conversation")
    if isinstance(turns, list):
        return name, _first(turns, _DOCTOR, where), _said(turns, _PATIENT)
    answer = next((row[one] for one in _ANSWER if isinstance(row.get(one), str)), None)
    if answer is None:
        raise UserError(f"field 'prediction' is missing; there is {', '.join(map(str, row))}", where)
    messages = row.get("messages")
    asked = [turn for turn in messages if isinstance(turn, dict)][-1:] if isinstance(messages, list) else []
    return name, answer, _said(asked, _PATIENT)


def _first(turns: Sequence[Any], roles: Sequence[str], where: str) -> str:
    """What one of these roles says first, its answer to the question alone."""
    said = _said(turns, roles)
    if not said and not any(isinstance(turn, dict) and turn.get("role") in roles for turn in turns):
        raise UserError(f"no turn of a {roles[0]} in 'conversation'", where)
    return said


def _said(turns: Iterable[Any], roles: Sequence[str]) -> str:
    own = (turn for turn in turns if isinstance(turn, dict) and turn.get("role") in roles)
    turn = next(own, {})
    return str(turn.get("content") or turn.get("value") or "")


def _refuse_twice(rows: Sequence[tuple[str, str, str]], path: Path) -> None:
    counts = Counter(name for name, _, _ in rows)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise UserError(f"{len(twice)} items have more than one answer: {first_few(twice)}; keep one of each", path)


def _refuse_others(names: Sequence[str], path: Path) -> None:
    if names:
        raise UserError(
            f"{len(names)} answers are to other questions than those of the same ids: {first_few(names)}", path
        )
