"""The questions that two models answered, paired by id: what cannot be paired is refused, with counts."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.benchmarks import by_hash
from pediatricsgpt.evaluation.predictions import (
    ANSWERED,
    LABELS,
    Prediction,
    by_id,
    first_few,
    model_of,
    read_predictions,
)
from pediatricsgpt.evaluation.settings import HELD_OUT_TASKS
from pediatricsgpt.records import Message


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
    sides = by_id(read_predictions(a, ANSWERED)), by_id(read_predictions(b, ANSWERED))
    models = names or (model_of(sides[0].values(), a) or a.stem, model_of(sides[1].values(), b) or b.stem)
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
    said = {answer.model for side in sides for answer in side.values() if answer.model}
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


def _different(sides: tuple[dict[str, Prediction], dict[str, Prediction]], common: Sequence[str], a: Path) -> str:
    def lacking(one: Mapping[str, Prediction], other: Mapping[str, Prediction]) -> str:
        names = [name for name in one if name not in other]
        return f"{len(names)} ({first_few(names)})" if names else "none"

    return (
        f"the two files do not hold the same questions: {len(common)} are common, {lacking(sides[0], sides[1])} only "
        f"in {a}, {lacking(sides[1], sides[0])} only here; --intersect judges the {len(common)} common ones"
    )


def _question(a: Prediction, b: Prediction) -> Question:
    """One question of both files."""
    messages = _messages(a) or _messages(b)
    if not messages:
        raise UserError(
            "neither this line nor the other file's says the question ('messages' or 'question'); of a benchmark, "
            "`pedgpt generate --answers FILE --benchmark NAME --data FILE --out FILE` puts them beside their questions",
            a.where,
        )
    if _messages(b) not in ((), messages):
        raise UserError(f"under the id {a.id} stands another question than at {a.where}", b.where)
    references = {text for side in (a, b) if (text := side.reference.strip())}
    if len(references) > 1:
        raise UserError(f"under the id {a.id} stands another reference than at {a.where}", b.where)
    labels = {name: getattr(a, name) or getattr(b, name) for name in (*LABELS, "group")}
    return Question(str(a.id), messages, (a.prediction, b.prediction), next(iter(references), None), **labels)


def _messages(answer: Prediction) -> tuple[Message, ...]:
    """The dialogue up to the question; empty where the line does not say it."""
    if answer.messages is None and answer.question is not None:
        return (Message(role="user", content=answer.question),)
    return answer.messages or ()
