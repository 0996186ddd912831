"""Side by side: the models of a run on the same questions, and what each phase changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.metrics import score_pair
from pediatricsgpt.evaluation.paired import ALPHA
from pediatricsgpt.evaluation.predictions import PREDICTIONS, Prediction, read_predictions, with_ids
from pediatricsgpt.evaluation.settings import MODELS as MODELS
from pediatricsgpt.evaluation.statistics import Difference, cases_of, holm, paired_bootstrap_difference, paired_p
from pediatricsgpt.records import PEDIATRIC_TASKS, Message

CHANGE_METRICS = ("rouge-l", "bleu-4")
"""Metrics that changes are tested on: few, because every further test brings its own chance of a false verdict"""

_SHOWN_CHARACTERS = 160

ItemScores = Mapping[str, Mapping[str, float]]
"""Item id -> metric -> value 0..1"""


@dataclass(frozen=True, slots=True)
class Compared:
    """One question with its reference answer and each model's own."""

    id: str
    task: str
    messages: tuple[Message, ...]
    reference: str
    answers: dict[str, str]
    """Model -> answer, in the order of `MODELS`"""
    group: str | None = None
    """The case that it belongs to, where several questions belong to one"""


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one metric of one task between two models, on the same items. Values are times 100."""

    model: str
    before: str
    task: str
    metric: str
    difference: Difference
    """Its verdict needs both: an interval that does not touch zero, and a small corrected p-value"""
    p: float
    """Two-sided, by flipping signs"""
    p_holm: float
    """Corrected for all changes that were tested together (Holm)"""


def models_of(run_folder: Path) -> list[str]:
    """Models of a run that have predictions, in the order in which they are made."""
    return [name for name in MODELS if predictions_file(run_folder, name).is_file()]


def predictions_file(run_folder: Path, model: str) -> Path:
    """Where a model's predictions lie."""
    return run_folder / "evaluation" / model / PREDICTIONS


def compared(run_folder: Path) -> list[Compared]:
    """The items that every model with predictions has answered, in the order of the first model's file.

    Raises:
        UserError: a predictions file is damaged, or two models were given different questions under one id.
    """
    answered = {name: with_ids(read_predictions(predictions_file(run_folder, name))) for name in models_of(run_folder)}
    if not answered:
        return []
    first = next(iter(answered.values()))
    common = [name for name in first if all(name in items for items in answered.values())]
    return [_compared(run_folder, name, {model: items[name] for model, items in answered.items()}) for name in common]


def changes(
    items: Sequence[Compared],
    profile: str,
    metrics: Sequence[str] = CHANGE_METRICS,
    scored: Mapping[str, ItemScores] | None = None,
) -> list[Change]:
    """Paired differences by task: each model against the one before it, and the last against the first.

    Whole cases are resampled, and flipped, where items have a `group`.

    Args:
        items: what `compared` gave.
        profile: the metric profile, `paper` or `char`.
        metrics: names of `METRICS`; higher must be better.
        scored: model -> the scores of its items in this profile, as they were written; of a model of which an item
            or a metric is not there the answers are scored anew.

    Returns:
        changes by task, then pair of models, then metric; nothing where there is only one model.
    """
    found: list[tuple[tuple[str, str, str, str], Difference, float]] = []
    for task in tasks_of(items):
        own = [item for item in items if item.task == task]
        scores, cases = _scores(own, profile, metrics, scored or {}), cases_of([item.group for item in own])
        for before, model in pairs(list(scores)):
            for metric in metrics:
                ours, theirs = ([100 * one[metric] for one in scores[name]] for name in (model, before))
                difference = paired_bootstrap_difference(ours, theirs, groups=cases)
                found.append(((model, before, task, metric), difference, paired_p(ours, theirs, cases)))
    corrected = holm([p for _, _, p in found])
    return [
        Change(*pair, difference if adjusted <= ALPHA else replace(difference, verdict="no verdict"), p, adjusted)
        for (pair, difference, p), adjusted in zip(found, corrected, strict=True)
    ]


def pairs(models: Sequence[str]) -> list[tuple[str, str]]:
    """(before, after): neighbours, then the first with the last where something lies between them."""
    neighbours = list(pairwise(models))
    return neighbours + ([(models[0], models[-1])] if len(models) > 2 else [])


def tasks_of(items: Sequence[Compared]) -> list[str]:
    """Tasks that occur, the three pediatric ones first."""
    present = {item.task for item in items}
    return [task for task in PEDIATRIC_TASKS if task in present] + sorted(present - set(PEDIATRIC_TASKS))


def answers_to_one_question(run_folder: Path) -> list[tuple[str, str]]:
    """One question and each model's answer as (title, text), for the terminal; nothing where none was answered.

    A parent's question of one turn is taken if there is one: it says all by itself. Each text is one line, shortened.
    """
    items = compared(run_folder)
    if not items:
        return []
    item = min(items, key=lambda one: (len(one.messages) != 1, one.task != "trerecom"))
    answers = [(model, _line(answer) or "(empty answer)") for model, answer in item.answers.items()]
    return [("question", _line(_question(item.messages))), *answers]


def _line(text: str) -> str:
    shown = " ".join(text.split())
    return shown if len(shown) <= _SHOWN_CHARACTERS else shown[:_SHOWN_CHARACTERS] + "…"


def _question(messages: Sequence[Message]) -> str:
    if len(messages) == 1:
        return messages[0]["content"].strip()
    return "\n".join(f"{message['role']}: {message['content'].strip()}" for message in messages)


def _compared(run_folder: Path, name: str, items: Mapping[str, Prediction]) -> Compared:
    first_model, first = next(iter(items.items()))
    for model, item in items.items():
        if (item.reference, item.messages) != (first.reference, first.messages):
            raise UserError(
                f"item {name} is not the question that '{first_model}' was given; evaluate both again",
                predictions_file(run_folder, model),
            )
    answers = {model: item.prediction for model, item in items.items()}
    group = next((item.group for item in items.values() if item.group), None)
    return Compared(name, first.task or "(none)", first.messages or (), first.reference, answers, group)


def _scores(
    items: Sequence[Compared], profile: str, metrics: Sequence[str], scored: Mapping[str, ItemScores]
) -> dict[str, Sequence[Mapping[str, float]]]:
    """Scores of each item, 0..1, by model."""
    found: dict[str, Sequence[Mapping[str, float]]] = {}
    for name in items[0].answers if items else ():
        written = [scored.get(name, {}).get(item.id, {}) for item in items]
        if all(metric in one for one in written for metric in metrics):
            found[name] = written
        else:
            found[name] = [score_pair(item.answers[name], item.reference, profile) for item in items]
    return found
