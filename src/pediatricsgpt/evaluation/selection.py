"""Answer selection: does a model find the right answer to a question likelier than the others?

The score of a candidate is its mean log-likelihood per token as the answer to the question, end included: without the
division by the length, the shortest would win. A wrong candidate with the score of a right one counts as better
(ties are settled against the model). Accuracy: the best candidate is right. MRR: 1 / rank of the best right one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from math import comb
from pathlib import Path
from typing import Any

from pediatricsgpt.evaluation.benchmarks import Item
from pediatricsgpt.evaluation.in_groups import InGroups, by_field
from pediatricsgpt.evaluation.likelihood import answer_losses
from pediatricsgpt.evaluation.statistics import RESAMPLES, SEED, bootstrap_share
from pediatricsgpt.manifest import digest, write_atomically
from pediatricsgpt.models.load import Loaded, identity
from pediatricsgpt.records import Message, write_json_lines

SELECTION = "selection.json"
ROWS = "selection.jsonl"
STRATA = ("department", "subject", "age_band")
_DIGITS = 6


class CandidateLikelihood(InGroups):
    """Scores of candidates; see `InGroups` for the arguments."""

    def __init__(self, loaded: Loaded, items: Sequence[Item], group: int = 8) -> None:
        super().__init__(loaded, items, group)

    @property
    def signature(self) -> list[Any]:
        """What the scores depend on besides the prompts."""
        return ["candidates", identity(self._loaded), digest([item.candidates for item in self._items])]

    def _measured(self, prompts: Sequence[Sequence[Message]], items: Sequence[Item]) -> list[list[float] | None]:
        return candidate_scores(self._loaded, items)


def candidate_scores(loaded: Loaded, items: Sequence[Item], batch_tokens: int = 4096) -> list[list[float] | None]:
    """Mean log-likelihood per token, in nats, of each candidate of each item; None where one does not fit the window.

    A score of some candidates alone would be that of an easier question.
    """
    pairs = [(item.messages, text) for item in items for text, _ in item.candidates or ()]
    losses = iter(answer_losses(loaded, pairs, batch_tokens))
    found: list[list[float] | None] = []
    for item in items:
        own = [next(losses) for _ in item.candidates or ()]
        scores = [round(-loss[0] / loss[1], _DIGITS) for loss in own if loss is not None]
        found.append(scores if len(scores) == len(own) else None)
    return found


def rank(scores: Sequence[float], right: Sequence[bool]) -> int:
    """The rank, from 1, of the best right candidate; wrong ones with the same score stand before it."""
    best = max(score for score, is_right in zip(scores, right, strict=True) if is_right)
    return 1 + sum(score >= best for score, is_right in zip(scores, right, strict=True) if not is_right)


def chance(candidates: int, right: int) -> tuple[float, float]:
    """Accuracy and expected 1 / rank of somebody who orders the candidates by lot."""
    orders = comb(candidates, right)
    first = [comb(candidates - place, right - 1) / orders for place in range(1, candidates - right + 2)]
    return first[0], sum(share / place for place, share in enumerate(first, 1))


def write_selection(
    folder: Path,
    items: Sequence[Item],
    scores: Sequence[Sequence[float]],
    benchmark: str,
    model: str,
) -> dict[str, Any]:
    """Write `selection.jsonl` and `selection.json`; returns what the latter says."""
    rows = [_row(item, own) for item, own in zip(items, scores, strict=True)]
    partial = folder / (ROWS + ".partial")
    write_json_lines(partial, rows)
    partial.replace(folder / ROWS)
    lots = [chance(row["candidates"], row["right_candidates"]) for row in rows]
    found = {
        "benchmark": benchmark,
        "model": model,
        "n": len(rows),
        "signature": f"selection | n {len(rows)} | mean log-likelihood per token, ties against the model | "
        f"bootstrap by case, {RESAMPLES} resamples, seed {SEED}",
        **_figures(rows),
        "chance": {
            "accuracy": sum(one for one, _ in lots) / len(lots),
            "mrr": sum(one for _, one in lots) / len(lots),
        },
        "strata": by_field(STRATA, items, rows, lambda some: {"n": len(some), **_figures(some)}),
    }
    write_atomically(folder / SELECTION, json.dumps(found, ensure_ascii=False, indent=1))
    return found


def _row(item: Item, scores: Sequence[float]) -> dict[str, Any]:
    right = [is_right for _, is_right in item.candidates or ()]
    place = rank(scores, right)
    labels = {name: getattr(item, name) for name in (*STRATA, "group")}
    return {
        "id": item.id,
        **{name: value for name, value in labels.items() if value is not None},
        "rank": place,
        "right": place == 1,
        "candidates": len(right),
        "right_candidates": sum(right),
        "scores": list(scores),
    }


def _figures(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    cases = [row.get("group") or row["id"] for row in rows]
    return {
        "accuracy": asdict(bootstrap_share([float(row["right"]) for row in rows], groups=cases)),
        "mrr": asdict(bootstrap_share([1 / row["rank"] for row in rows], groups=cases)),
    }
