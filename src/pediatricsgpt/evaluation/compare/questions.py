"""Questions with every model's answer to them, from a run's folder or from any predictions files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.predictions import (
    LABELS,
    PREDICTIONS,
    Prediction,
    by_id,
    first_few,
    read_predictions,
    with_ids,
)
from pediatricsgpt.records import Message

HELD_OUT = "held_out"
"""The questions that a run keeps back from its own sources: its models' answers lie in `evaluation/MODEL`, those of
others in `evaluation/benchmarks/held_out/MODEL`"""

ROLES = {"system": "系统", "user": "患者或家长", "assistant": "医生"}
"""Who speaks, as readers are told"""

NOT_MODELS = frozenset({"benchmarks", "contamination", "judge", "panel", "rubrics", "consultations", "safety"})
"""Folders in a run's `evaluation/` that are no model's"""


@dataclass(frozen=True, slots=True)
class Question:
    """One question, its reference answer, and each model's own answer; models that were not asked are not there."""

    id: str
    benchmark: str
    task: str
    department: str
    age_band: str
    messages: tuple[Message, ...]
    reference: str
    answers: Mapping[str, str]

    def holds(self, text: str) -> bool:
        """Whether every word of a text (words are parted by spaces) stands in the question, the reference or an answer;
        upper and lower case are one.
        """
        said = (self.reference, *self.answers.values(), *(message["content"] for message in self.messages))
        whole = "\n".join(said).casefold()
        return all(word in whole for word in text.casefold().split())


@dataclass(frozen=True, slots=True)
class Questions:
    """Questions in the order of their files, and the models that were asked."""

    title: str
    models: Sequence[str]
    items: Sequence[Question]
    left_out: int = 0
    """Questions that not every file holds, where only the common ones were asked for"""


def questions_of_run(run_folder: Path, order: Sequence[str]) -> Questions:
    """Every question that any model of a run was asked.

    Args:
        run_folder: a run's folder.
        order: names of models that come first, in their order; others follow by name.

    Raises:
        UserError: a predictions file is damaged, or one id stands for two questions.
    """
    evaluation = run_folder / "evaluation"
    groups = {HELD_OUT: [path for path in evaluation.glob(f"*/{PREDICTIONS}") if _is_model(path)]}
    for folder in sorted(evaluation.glob("benchmarks/*")):
        groups.setdefault(folder.name, []).extend(folder.glob(f"*/{PREDICTIONS}"))
    items: list[Question] = []
    asked: set[str] = set()
    for benchmark, paths in groups.items():
        files = {path.parent.name: path for path in paths if not path.parent.name.endswith((".partial", ".old"))}
        asked |= files.keys()
        named = {name: files[name] for name in sorted_models(files, order)}
        items += merged(benchmark, {name: with_ids(read_predictions(path)) for name, path in named.items()}, named)
    return Questions(run_folder.resolve().name, sorted_models(asked, order), items)


def questions_of_files(paths: Sequence[Path], intersect: bool = False) -> Questions:
    """The questions of predictions files, one file a model.

    Args:
        paths: JSON lines with `id`, `prediction` and `reference`.
        intersect: keep what all files hold, where they hold different questions.

    Raises:
        UserError: a file is damaged or given twice, an item has no id or one that was there before, two files hold
            different questions and `intersect` is not set, or nothing is common to all.
    """
    if len({path.resolve() for path in paths}) < len(paths):
        raise UserError("the same file is given twice", paths[0])
    answered = {path: by_id(read_predictions(path)) for path in paths}
    names = dict(zip(model_names(answered), paths, strict=True))
    every = {name: None for items in answered.values() for name in items}
    common = [name for name in every if all(name in items for items in answered.values())]
    where = paths[0]
    if not common:
        raise UserError("the files answer different questions: no id stands in all of them", where)
    if len(common) < len(every) and not intersect:
        lacking = {path: [name for name in every if name not in items] for path, items in answered.items()}
        said = "; ".join(f"{path} lacks {len(one)} ({first_few(one)})" for path, one in lacking.items() if one)
        hint = f"--intersect compares the {len(common)} common ones"
        raise UserError(f"the files answer different questions: of {len(every)} ids {said}; {hint}", where)
    kept = {name: {one: answered[path][one] for one in common} for name, path in names.items()}
    title = " · ".join(names)
    return Questions(title, list(names), list(merged("", kept, names)), len(every) - len(common))


def merged(
    benchmark: str, answered: Mapping[str, Mapping[str, Prediction]], files: Mapping[str, Path]
) -> Iterator[Question]:
    """One question for every id that any model answered, in the order in which ids first come.

    Raises:
        UserError: two models were given different questions under one id.
    """
    for name in {name: None for items in answered.values() for name in items}:
        mine = {model: items[name] for model, items in answered.items() if name in items}
        first_model, first = next(iter(mine.items()))
        messages = next((item.messages for item in mine.values() if item.messages), ())
        for model, item in mine.items():
            if item.reference != first.reference or (item.messages and item.messages != messages):
                raise UserError(
                    f"item {name} is not the question that '{first_model}' was given; evaluate both again",
                    files[model],
                )
        labels = {field: _first(mine.values(), field) for field in LABELS}
        answers = {model: item.prediction for model, item in mine.items()}
        yield Question(name, benchmark, **labels, messages=messages, reference=first.reference, answers=answers)


def model_names(answered: Mapping[Path, Mapping[str, Prediction]]) -> list[str]:
    """A name for each file: the model that it says, else the file's name, else its folder's; never the same twice."""
    said = [{item.model for item in items.values()} for items in answered.values()]
    stated = [next(iter(models)) if len(models) == 1 else None for models in said]
    if all(stated) and len(set(stated)) == len(stated):
        return [str(name) for name in stated]
    paths = list(answered)
    for names in ([path.stem for path in paths], [path.resolve().parent.name for path in paths]):
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def sorted_models(names: Iterable[str], order: Sequence[str]) -> list[str]:
    """Names in the given order, others after them by name."""
    return sorted(names, key=lambda name: (order.index(name) if name in order else len(order), name))


def _is_model(path: Path) -> bool:
    return path.parent.name not in NOT_MODELS


def _first(items: Iterable[Prediction], field: str) -> str:
    return next((str(value) for item in items if (value := getattr(item, field)) is not None), "")
