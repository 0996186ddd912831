"""What tells the two sides of preference pairs apart without reading what they say (METHOD's caution on DFPO).

When the sides come from different writers, a model can learn their style instead of their content. The probe is a
logistic regression on style alone: how well it separates the sides is how much of a shortcut there is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pediatricsgpt.corpus import statistics as counting

GREETING = re.compile(
    r"\s*(?:(?:家长|患者|朋友|亲爱的\w*|尊敬的\w*)?[，,]?(?:[您你]们?好|嗨|哈[喽啰])|hello\b|hi\b)", re.IGNORECASE
)
LIST_LINE = re.compile(r"^\s*(?:[-*•·]|\d+[.、)）]|[（(]?[一二三四五六七八九十]+[)）、])", re.MULTILINE)
_WISH = re.compile(r"祝|早日康复|希望.{0,12}帮助|请放心|别担心|不要担心|不用担心")
_PUNCTUATION = re.compile(r"[，。！？；：、,.!?;:]")

# Style and nothing else: each says something about the form of an answer.
FEATURES: dict[str, Callable[[str], float]] = {
    "length": lambda text: math.log1p(len(text)),
    "greeting": lambda text: float(GREETING.match(text) is not None),
    "baby": lambda text: float(text.count("宝宝") + text.count("宝贝")),
    "list": lambda text: float(len(LIST_LINE.findall(text)) > 1),
    "lines": lambda text: math.log1p(text.count("\n")),
    "exclamations": lambda text: float(text.count("！") + text.count("!")),
    "polite_you": lambda text: float(text.count("您")),
    "wish": lambda text: float(len(_WISH.findall(text))),
    "sentence_length": lambda text: len(text) / (1 + len(_PUNCTUATION.findall(text))),
}
_FOLDS = 5
_MIN_PAIRS = 20
_MAX_PAIRS, _DRAWS = 2000, 40
_RIDGE, _STEPS = 1.0, 12

Matrix = NDArray[np.float64]


def side_statistics(texts: Sequence[str], others: Sequence[str]) -> dict[str, Any]:
    """Lengths, and the shares of answers with a greeting, 宝宝, a list, or more characters than the other side's."""

    def share(found: Sequence[bool]) -> float:
        return round(sum(found) / len(texts), 4) if texts else 0.0

    return {
        "length": counting.percentiles([len(text) for text in texts]),
        "greeting": share([FEATURES["greeting"](text) > 0 for text in texts]),
        "baby": share([FEATURES["baby"](text) > 0 for text in texts]),
        "list": share([FEATURES["list"](text) > 0 for text in texts]),
        "longer": share([len(text) > len(other) for text, other in zip(texts, others, strict=True)]),
    }


def probe(chosen: Sequence[str], rejected: Sequence[str]) -> dict[str, Any]:
    """How well style alone separates the sides: 0.5 is not at all, 1 is wholly.

    Args:
        chosen: the preferred sides.
        rejected: the low sides of the same pairs.

    Returns:
        `auc` of a logistic regression on `FEATURES`, each pair scored by a model that did not see it (five folds);
        `chance`, the range of that AUC over 40 draws in which the sides of the same pairs are swapped at random: style
        tells the sides apart where `auc` lies outside; `pairs_right`, how often the preferred side scores higher;
        `features`, the AUC of each by itself; `n` pairs looked at, at most 2,000. Below 20 pairs there is only `n`.
    """
    step = -(-len(chosen) // _MAX_PAIRS) or 1
    good, bad = _matrix(chosen[::step]), _matrix(rejected[::step])
    n = len(good)
    if n < _MIN_PAIRS:
        return {"n": n}
    area, right = _held_out_scores(good, bad)
    draws = np.random.default_rng(0)
    chance: list[float] = []
    for _ in range(_DRAWS):
        swap = draws.random(n)[:, None] < 0.5
        chance.append(_held_out_scores(np.where(swap, bad, good), np.where(swap, good, bad))[0])
    return {
        "n": n,
        "auc": round(area, 4),
        "chance": [round(min(chance), 4), round(max(chance), 4)],
        "pairs_right": round(right, 4),
        "features": {name: round(auc(good[:, i], bad[:, i]), 4) for i, name in enumerate(FEATURES)},
    }


def _held_out_scores(good: Matrix, bad: Matrix) -> tuple[float, float]:
    """Area under the curve, and share of pairs in order, of scores by models that did not see the pair."""
    n = len(good)
    scores_good, scores_bad = np.zeros(n), np.zeros(n)
    for fold in range(_FOLDS):
        held = np.arange(n) % _FOLDS == fold
        weights, mean, scale = _fit(good[~held], bad[~held])
        scores_good[held] = ((good[held] - mean) / scale) @ weights
        scores_bad[held] = ((bad[held] - mean) / scale) @ weights
    right = float(np.mean((scores_good > scores_bad) + 0.5 * (scores_good == scores_bad)))
    return auc(scores_good, scores_bad), right


def auc(higher: Matrix, lower: Matrix) -> float:
    """The probability that a value of the first exceeds one of the second; ties count one half."""
    values = np.concatenate([higher, lower])
    order = np.argsort(values, kind="stable")
    ranks = np.empty(len(values))
    ranks[order] = np.arange(1, len(values) + 1)
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.bincount(inverse, ranks) / counts)[inverse]
    n = len(higher)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * len(lower)))


def _matrix(texts: Sequence[str]) -> Matrix:
    return np.array([[measure(text) for measure in FEATURES.values()] for text in texts], float).reshape(
        len(texts), len(FEATURES)
    )


def _fit(good: Matrix, bad: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """Weights of a ridge logistic regression by Newton's method, with the mean and scale of the features."""
    both = np.concatenate([good, bad])
    mean, scale = both.mean(0), both.std(0)
    scale[scale == 0] = 1.0
    x = (both - mean) / scale
    y = np.concatenate([np.ones(len(good)), np.zeros(len(bad))])
    weights = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        gradient = x.T @ (p - y) + _RIDGE * weights
        hessian = (x * (p * (1 - p))[:, None]).T @ x + _RIDGE * np.eye(x.shape[1])
        weights -= np.linalg.solve(hessian, gradient)
    return weights, mean, scale
