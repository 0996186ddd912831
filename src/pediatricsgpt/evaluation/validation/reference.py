"""Pairs of answers with a reference's preference, and GPT-4's scores of DISC-MedLLM's evaluation as such.

Source: Bao et al. 2023, "DISC-MedLLM: Bridging General Large Language Models and Real-World Medical Consultation".
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import yaml

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.benchmarks import by_hash
from pediatricsgpt.evaluation.judge.decide import Outcome
from pediatricsgpt.evaluation.judge.questions import Question
from pediatricsgpt.records import Message, read_json_lines

Basis = Literal["decided", "all"]
"""On which pairs a judge passes: those that the reference decides, or all with ties as a verdict of their own"""

_SCORES, _DIALOGUES = "scores_*_cmd.jsonl", "dialogues_{}_cmd.json"
_SPEAKERS = {"patient": "患者", "doctor": "医生"}
_HIGHEST = 5


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """Two answers to one question, and what the reference holds of them."""

    id: str
    group: str
    """The question: pairs of one question are resampled together"""
    models: tuple[str, str]
    """A and B"""
    labels: Mapping[str, int]
    """Dimension -> 1 (A is better), -1 (B) or 0"""
    question: Question | None = None
    """What a judge is shown; None where its verdicts are there already"""


@dataclass(frozen=True, slots=True)
class Reference:
    """Pairs with labels, and what those are worth."""

    against: str
    what: str
    basis: Basis
    pairs: tuple[LabelledPair, ...]
    counts: Mapping[str, int]
    """What was read, and what could not be"""
    raters: Mapping[str, Any] | None = None
    """Agreement of the reference's own raters by dimension, where it has several"""
    real: bool = True
    """False for simulated raters: no judge passes by them"""

    def outcomes(self, dimension: str) -> dict[str, Outcome]:
        """Pair -> what the reference holds on a dimension."""
        return {pair.id: pair.labels[dimension] for pair in self.pairs if dimension in pair.labels}


def read_disc(folder: Path, max_pairs: int | None = None) -> Reference:
    """GPT-4's scores as preferences between every two models on one question.

    Which of the two is A is decided by a hash, so that neither side stands for a model.

    Args:
        folder: with `scores_MODEL_cmd.jsonl` and `dialogues_MODEL_cmd.json` of two models or more.
        max_pairs: pairs at most, chosen by a hash of their ids.

    Raises:
        UserError: a file is missing or not as it was published.
    """
    files = sorted(folder.glob(_SCORES))
    if len(files) < 2:
        raise UserError(f"needs two files {_SCORES} or more, as the evaluation of DISC-MedLLM has them", folder)
    scored: dict[str, dict[str, dict[str, float]]] = {}
    answers = unreadable = partly = 0
    for file in files:
        model = file.name.removeprefix("scores_").removesuffix("_cmd.jsonl")
        for line, row in read_json_lines(file):
            if not isinstance(row, dict) or not isinstance(row.get("id"), str):
                raise UserError("expected a JSON object with 'id' and 'scores'", f"{file}:{line}")
            found = scores_in(row.get("scores"))
            answers += 1
            unreadable += not found
            partly += 0 < len(found) < len(_definition()["criteria"])
            scored.setdefault(row["id"], {})[model] = found
    dialogues = {model: _dialogues(folder / _DIALOGUES.format(model)) for model in _models(scored)}
    pairs = sorted(_pairs(scored, dialogues), key=lambda pair: by_hash(pair.id))
    if not pairs:
        raise UserError("no two models have readable scores and dialogues on one question", folder)
    counts = {
        "answers": answers,
        "unreadable": unreadable,
        "partly_unreadable": partly,
        "questions": len({pair.group for pair in pairs}),
        "pairs_in_all": len(pairs),
    }
    what = " ".join(_definition()["what"].split())
    return Reference(_definition()["against"], what, "decided", tuple(pairs[:max_pairs]), counts)


def scores_in(text: Any) -> dict[str, float]:
    """Dimension -> score 1 to 5 of what GPT-4 wrote; a criterion that is missing or out of range is left out.

    Criteria are found by name in any order, with marks of emphasis and `/5` around them; a criterion that is named
    twice with different scores is not readable.
    """
    found = {}
    if isinstance(text, str):
        for criterion, dimension in _definition()["criteria"].items():
            said = {float(number) for number in _pattern(criterion).findall(text)}
            if len(said) == 1 and 1 <= (score := said.pop()) <= _HIGHEST:
                found[dimension] = score
    return found


def consultation(turns: Sequence[Mapping[str, str]]) -> str:
    """A consultation after its first question, as a judge reads it."""
    return "\n".join(f"{_SPEAKERS[turn['role']]}：{turn['content'].strip()}" for turn in turns)


def _pairs(
    scored: Mapping[str, Mapping[str, Mapping[str, float]]], dialogues: Mapping[str, Mapping[str, Any]]
) -> Iterator[LabelledPair]:
    for name, models in scored.items():
        having = sorted(model for model, scores in models.items() if scores and name in dialogues[model])
        for one, other in combinations(having, 2):
            key = f"{name}|{one}|{other}"
            a, b = (one, other) if int(by_hash(f"side of {key}"), 16) % 2 else (other, one)
            both = models[a].keys() & models[b].keys()
            labels = {dimension: _sign(models[a][dimension] - models[b][dimension]) for dimension in sorted(both)}
            first, second = dialogues[a][name], dialogues[b][name]
            if not labels or first["conversation"][0]["content"] != second["conversation"][0]["content"]:
                continue
            yield LabelledPair(key, name, (a, b), labels, _question(key, name, first, second))


def _question(key: str, name: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> Question:
    """The consultation as GPT-4 saw it: its first question, and each model's whole rest of it as the answer."""
    asked = Message(role="user", content=first["conversation"][0]["content"])
    answers = (consultation(first["conversation"][1:]), consultation(second["conversation"][1:]))
    department = (first.get("dataset_info") or {}).get("department")
    return Question(key, (asked,), answers, department=department, group=name)


def _dialogues(path: Path) -> dict[str, Any]:
    """Dialogues by question; a model whose file is missing has none to be judged."""
    if not path.is_file():
        raise UserError("this file is missing beside the scores: the judge must see what was scored", path)
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        found = {row["id"]: row for row in rows}
        for row in rows:
            if not {turn["role"] for turn in row["conversation"]} <= _SPEAKERS.keys():
                raise KeyError("role")
            row["conversation"][0]["content"]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(
            "expected a JSON list of {id, conversation: [{role: patient or doctor, content}]}", path
        ) from error
    return found


def _models(scored: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return sorted({model for models in scored.values() for model in models})


def _sign(difference: float) -> int:
    return (difference > 0) - (difference < 0)


@functools.cache
def _definition() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(resources.files(__package__).joinpath("disc.yaml").read_bytes())
    return read


@functools.cache
def _pattern(criterion: str) -> re.Pattern[str]:
    name = r"\s*".join(map(re.escape, criterion.split()))
    return re.compile(rf"(?<![A-Za-z]){name}[\s*_`\"']*[:：=][\s*_`\"']*(\d+(?:\.\d+)?)(?![\d.]*\d)", re.IGNORECASE)
