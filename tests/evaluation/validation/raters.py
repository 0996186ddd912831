"""Raters whose truth is known: simulated doctors, and judges behind the server that follow a planted preference.

Until there are real labels, `simulated_verdicts` makes a table in the very form that doctors' verdicts have. Its raters
are named so that no judge can pass by them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pediatricsgpt.evaluation.judge.ask import Showing
from pediatricsgpt.evaluation.judge.prompt import DIMENSIONS, prompt

Body = Mapping[str, Any]


def simulated_verdicts(
    truth: Mapping[str, int],
    models: tuple[str, str],
    dimension: str,
    skills: Sequence[float],
    missing: float = 0.0,
    seed: int = 0,
    name: str = "simulated",
) -> list[dict[str, Any]]:
    """Rows of verdicts: each rater says the truth with its skill, else one of the three verdicts at random.

    Args:
        truth: question -> 1 (the first model is better), -1 or 0.
        skills: one per rater.
        missing: share of questions that a rater does not see.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for number, skill in enumerate(skills, 1):
        for question, better in truth.items():
            if rng.random() < missing:
                continue
            order = int(rng.integers(0, 2))
            said = better if rng.random() < skill else int(rng.integers(-1, 2))
            left, right = models if order == 0 else models[::-1]
            word = "tie" if said == 0 else "left" if (said == 1) == (order == 0) else "right"
            rows.append(
                {
                    "id": question,
                    "dimension": dimension,
                    "left": left,
                    "right": right,
                    "verdict": word,
                    "rater": f"{name}-{number}",
                    "order": order,
                }
            )
    return rows


def _toss(*names: str) -> float:
    """A number 0..1 that is the same each time."""
    return int(hashlib.sha256("|".join(names).encode()).hexdigest()[:8], 16) / 16**8


def said(better: Mapping[str, int], order: int) -> str:
    """A judge's answer; `better` is in the view of A."""
    shown = {1: "甲", -1: "乙", 0: "平"} if order == 0 else {1: "乙", -1: "甲", 0: "平"}
    return json.dumps({one: {"reason": "理由", "better": shown[better.get(one, 0)]} for one in DIMENSIONS})


def judge_that(
    prefers: Callable[[str, str], int], showings: Sequence[Showing], consistent: bool = True
) -> Callable[[Body], str]:
    """A judge for the server with a preference of its own: prefers(pair, dimension) -> 1, -1, 0 in the view of A.

    Args:
        consistent: False for one that takes the first answer, whatever it is.
    """
    known = {prompt().messages(one.shown, one.order)[-1]["content"]: one for one in showings}

    def answer(body: Body) -> str:
        one = known[body["messages"][-1]["content"]]
        pair = one.shown.question.id
        if not consistent:
            return said(dict.fromkeys(DIMENSIONS, 1 if one.order == 0 else -1), one.order)
        return said({dimension: prefers(pair, dimension) for dimension in DIMENSIONS}, one.order)

    return answer


def noisy(labels: Mapping[str, Mapping[str, int]], wrong: float) -> Callable[[str, str], int]:
    """Follows the labels, but for a share of pairs on which it says the opposite; never a tie of its own making."""

    def prefers(pair: str, dimension: str) -> int:
        better = labels[pair].get(dimension, 0) or (1 if _toss("side", pair, dimension) < 0.5 else -1)
        return -better if _toss("wrong", pair, dimension) < wrong else better

    return prefers
