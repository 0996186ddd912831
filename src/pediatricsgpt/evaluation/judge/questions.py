"""The questions that two models answered, paired by id: what cannot be paired is refused, with counts."""

from __future__ import annotations

import dataclasses
import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.benchmarks import by_hash
from pediatricsgpt.evaluation.settings import HELD_OUT_TASKS
from pediatricsgpt.records import Message, read_json_lines

LABELS = ("task", "department", "age_band")
_TEXTS = ("model", "reference", *LABELS, "group")
_SHOWN_IDS = 3


@dataclass(frozen=True, slots=True)
class Question:
    """One question and the answers of model A and of model B to it. What the files do not say is None."""

    id: str
    messages: tuple[Message, ...]
    """The dialogue up to the question"""
    answers: tuple[str, str]
    reference: str | None = None
    task: str | None = None
    department: str | None = None
    age_band: str | None = None
    group: str | None = None
    """The case that it belongs to: questions of one case are resampled together"""
    benchmark: str | None = None
    """Where it comes from, if questions of several are judged together"""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two models on the same questions."""

    models: tuple[str, str]
    questions: tuple[Question, ...]
    only_one: tuple[int, int] = (0, 0)
    """Questions that only A, and that only B answered; left out"""
    left_out: int = 0
    """Questions beyond the number asked for, left out by a hash of their ids"""
    also_named: tuple[str, ...] = ()
    """Other names that the files give these models: no judge may read them either"""


@dataclass(frozen=True, slots=True)
class _Answer:
    where: str
    id: str
    answer: str
    messages: tuple[Message, ...] | None
    texts: Mapping[str, str | None] = field(default_factory=dict)


def read_pair(
    a: Path,
    b: Path,
    names: tuple[str, str] | None = None,
    intersect: bool = False,
) -> Pair:
    """Pair two predictions files.

    Args:
        a: JSON lines with `id` and `prediction`; `messages` or `question`, `reference`, `model`, `task`, `department`,
            `age_band` and `group` where they are known. The question may stand in one of the two files alone.
        b: the other model's.
        names: of the models; None takes what the files say in `model`, or else the files' own names.
        intersect: take the common questions where the files do not hold the same; None of the others is judged.

    Raises:
        UserError: a line is not as it must be, an id is missing or stands twice, the files hold different questions,
            or both are of one model; file and line are named.
    """
    if a.resolve() == b.resolve():
        raise UserError("this file stands on both sides; a model is compared with another one", a)
    sides = _read(a), _read(b)
    models = names or (_model(sides[0], a), _model(sides[1], b))
    if models[0] == models[1]:
        raise UserError(
            f"both files are of the model '{models[0]}' (that of {a} too); if they are two models, name them with "
            "--names A,B",
            b,
        )
    common = [name for name in sides[0] if name in sides[1]]
    only = len(sides[0]) - len(common), len(sides[1]) - len(common)
    if not common:
        raise UserError(f"no id of this file is one of {a}: the two answered different questions", b)
    if any(only) and not intersect:
        raise UserError(_different(sides, common, a), b)
    said = {name for side in sides for answer in side.values() if (name := answer.texts["model"])}
    questions = tuple(_question(sides[0][name], sides[1][name]) for name in common)
    return Pair(models, questions, only, also_named=tuple(sorted(said - set(models))))


def joined(pairs: Mapping[str, Pair]) -> Pair:
    """The questions of several benchmarks together; an item without a task takes the benchmark's name as its task.

    Args:
        pairs: benchmark -> the same two models on its questions.

    Raises:
        ValueError: the pairs are not of the same models, or there is none.
    """
    models = {pair.models for pair in pairs.values()}
    if len(models) != 1:
        raise ValueError(f"pairs of the same two models can be joined, not {sorted(models)}")
    times = Counter(question.id for pair in pairs.values() for question in pair.questions)
    questions = [
        dataclasses.replace(
            question,
            id=question.id if times[question.id] == 1 else f"{benchmark}/{question.id}",
            task=question.task or benchmark,
            benchmark=benchmark,
        )
        for benchmark, pair in pairs.items()
        for question in pair.questions
    ]
    only = (sum(pair.only_one[0] for pair in pairs.values()), sum(pair.only_one[1] for pair in pairs.values()))
    named = tuple(sorted({name for pair in pairs.values() for name in pair.also_named}))
    return Pair(models.pop(), tuple(questions), only, sum(pair.left_out for pair in pairs.values()), named)


def chosen(pair: Pair, max_items: int) -> Pair:
    """At most so many questions of each benchmark, and of each held-out task, by a hash of their ids.

    They come in the order of the hash. A smaller number chooses some of those that a larger one does: what was paid
    for then serves again.
    """
    taken: Counter[str | None] = Counter()
    kept = []
    for question in sorted(pair.questions, key=lambda question: by_hash(question.id)):
        name = question.task if question.task in HELD_OUT_TASKS else question.benchmark
        taken[name] += 1
        if taken[name] <= max_items:
            kept.append(question)
    left_out = pair.left_out + len(pair.questions) - len(kept)
    return dataclasses.replace(pair, questions=tuple(kept), left_out=left_out)


def _read(path: Path) -> dict[str, _Answer]:
    """The answers of a file by id."""
    if path.is_dir():
        raise UserError("this is a folder; name a predictions file (JSON lines)", path)
    found: dict[str, _Answer] = {}
    for line, row in read_json_lines(path):
        answer = _parse(row, f"{path}:{line}")
        if answer.id in found:
            first = found[answer.id].where.rpartition(":")[2]
            raise UserError(f"the id {answer.id} stands here and on line {first}; keep one", answer.where)
        found[answer.id] = answer
    if not found:
        raise UserError("the file is empty; expected one JSON object per line with 'id' and 'prediction'", path)
    return found


def _parse(row: Any, where: str) -> _Answer:
    if not isinstance(row, dict):
        raise UserError("expected a JSON object with 'id' and 'prediction'", where)
    name = row.get("id")
    if isinstance(name, int) and not isinstance(name, bool):
        name = str(name)
    if not isinstance(name, str) or not name:
        raise UserError("the field 'id' is missing: answers of two models are paired by it", where)
    answer = row.get("prediction")
    if not isinstance(answer, str):
        raise UserError(f"the field 'prediction' {_missing(row, 'prediction')}", where)
    for one in _TEXTS:
        if row.get(one) is not None and not isinstance(row[one], str):
            raise UserError(f"the field '{one}' must be text", where)
    return _Answer(where, name, answer, _messages(row, where), {one: row.get(one) for one in _TEXTS})


def _missing(row: Mapping[str, Any], name: str) -> str:
    if name in row:
        return "must be text"
    near = difflib.get_close_matches(name, [str(key) for key in row], n=1)
    return f"is missing; there is '{near[0]}': rename it to '{name}'" if near else "is missing"


def _messages(row: Mapping[str, Any], where: str) -> tuple[Message, ...] | None:
    if row.get("messages") is None:
        question = row.get("question")
        return (Message(role="user", content=question),) if isinstance(question, str) else None
    turns = row["messages"]
    whole = isinstance(turns, list) and all(
        isinstance(turn, dict) and all(isinstance(turn.get(part), str) for part in ("role", "content"))
        for turn in turns
    )
    if not whole or not turns:
        raise UserError("'messages' must be a list of {role, content}, up to the question", where)
    return tuple(Message(role=turn["role"], content=turn["content"]) for turn in turns)


def _model(answers: Mapping[str, _Answer], path: Path) -> str:
    names = sorted({name for answer in answers.values() if (name := answer.texts["model"])})
    if len(names) > 1:
        raise UserError(f"answers of {len(names)} models ({', '.join(names)}) in one file; give one file a model", path)
    return names[0] if names else path.stem


def _different(sides: tuple[dict[str, _Answer], dict[str, _Answer]], common: Sequence[str], a: Path) -> str:
    def lacking(one: Mapping[str, _Answer], other: Mapping[str, _Answer]) -> str:
        names = [name for name in one if name not in other]
        shown = ", ".join(names[:_SHOWN_IDS]) + (", …" if len(names) > _SHOWN_IDS else "")
        return f"{len(names)} ({shown})" if names else "none"

    return (
        f"the two files do not hold the same questions: {len(common)} are common, {lacking(sides[0], sides[1])} only "
        f"in {a}, {lacking(sides[1], sides[0])} only here; --intersect judges the {len(common)} common ones"
    )


def _question(a: _Answer, b: _Answer) -> Question:
    """One question of both files."""
    messages = a.messages or b.messages
    if messages is None:
        raise UserError(
            "neither this line nor the other file's says the question ('messages' or 'question'); of a benchmark, "
            "`pedgpt generate --answers FILE --benchmark NAME --data FILE --out FILE` puts them beside their questions",
            a.where,
        )
    if b.messages is not None and b.messages != messages:
        raise UserError(f"under the id {a.id} stands another question than at {a.where}", b.where)
    references = {text for side in (a, b) if (text := (side.texts["reference"] or "").strip())}
    if len(references) > 1:
        raise UserError(f"under the id {a.id} stands another reference than at {a.where}", b.where)
    labels = {name: a.texts[name] or b.texts[name] for name in (*LABELS, "group")}
    return Question(a.id, messages, (a.answer, b.answer), next(iter(references), None), **labels)
