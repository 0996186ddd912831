"""Answer selection: does a model find the right answer to a question likelier than the others?

The score of a candidate is its mean log-likelihood per token as the answer to the question, end included: without the
division by the length, the shortest would win. A wrong candidate with the score of a right one counts as better
(ties are settled against the model). Accuracy: the best candidate is right. MRR: 1 / rank of the best right one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from math import comb
from pathlib import Path
from typing import Any

from pediatricsgpt.evaluation.benchmarks import Item
from pediatricsgpt.evaluation.likelihood import answer_losses
from pediatricsgpt.evaluation.statistics import RESAMPLES, SEED, bootstrap_share
from pediatricsgpt.manifest import digest, write_atomically
from pediatricsgpt.models.load import Loaded, identity
from pediatricsgpt.records import Message, write_json_lines

SELECTION = "selection.json"
ROWS = "selection.jsonl"
STRATA = ("department", "subject", "age_band")
_DIGITS = 6


class CandidateLikelihood:
    """Scores of candidates in the form of an `Answerer`: what was measured is kept on a kill.

    Args:
        items: in the order of the prompts that it will be asked.
        group: items that are measured together.
    """

    def __init__(self, loaded: Loaded, items: Sequence[Item], batch_tokens: int = 4096, group: int = 8) -> None:
        self._loaded, self._items, self._batch_tokens, self._group = loaded, items, batch_tokens, group

    @property
    def signature(self) -> list[Any]:
        """What the scores depend on besides the prompts."""
        return ["candidates", identity(self._loaded), digest([item.candidates for item in self._items])]

    def fits(self, messages: Sequence[Message]) -> bool:
        """Always: what does not fit has no score."""
        return True

    def answers(
        self, prompts: Sequence[Sequence[Message]], done: Iterable[int] = ()
    ) -> Iterator[list[tuple[int, str]]]:
        """Groups of (index, scores of its candidates as JSON)."""
        finished = set(done)
        for first in range(0, len(prompts), self._group):
            places = range(first, min(first + self._group, len(prompts)))
            if finished.issuperset(places):  # groups are a function of the prompts alone: resumed = uninterrupted
                continue
            found = candidate_scores(self._loaded, [self._items[place] for place in places], self._batch_tokens)
            yield [(place, json.dumps(scores)) for place, scores in zip(places, found, strict=True)]


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
        "strata": _strata(items, rows),
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


def _strata(items: Sequence[Item], rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for field in STRATA:
        groups: dict[str, list[dict[str, Any]]] = {}
        for item, row in zip(items, rows, strict=True):
            groups.setdefault(getattr(item, field) or "unknown", []).append(row)
        if set(groups) != {"unknown"}:
            found[field] = {value: {"n": len(groups[value]), **_figures(groups[value])} for value in sorted(groups)}
    return found
