"""Answer selection: scores against single tokens, ranks against a slow count, chance against a lottery."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pediatricsgpt.evaluation.benchmarks import Item
from pediatricsgpt.evaluation.selection import (
    CandidateLikelihood,
    candidate_scores,
    chance,
    rank,
    write_selection,
)
from pediatricsgpt.models.encode import encode_answer
from pediatricsgpt.records import Message

CANDIDATES = [("请量体温，多喝水。", True), ("建议手术。", False), ("注意休息，清淡饮食，按时复查血常规。", False)]


def item(name: str = "1", candidates: list[tuple[str, bool]] = CANDIDATES, **labels: Any) -> Item:
    return Item(name, [Message(role="user", content="宝宝发热怎么办")], candidates=candidates, **labels)


def one_by_one(loaded: Any, text: str) -> float:
    """Mean log-probability per token, a forward pass for each."""
    import torch

    asked, told = encode_answer(loaded.tokenizer, item().messages, Message(role="assistant", content=text))
    total = 0.0
    for place, token in enumerate(told):
        with torch.inference_mode():
            logits = loaded.model(input_ids=torch.tensor([asked + told[:place]])).logits[0, -1]
        total += float(torch.log_softmax(logits.double(), -1)[token])
    return total / len(told)


def test_a_score_is_the_mean_over_the_tokens_of_the_answer(loaded: Any) -> None:
    (scores,) = candidate_scores(loaded, [item()])
    assert list(scores or ()) == [pytest.approx(one_by_one(loaded, text), abs=1e-4) for text, _ in CANDIDATES]


@pytest.mark.parametrize("batch_tokens", [1, 100_000])
def test_neither_the_order_of_candidates_nor_the_batch_matters(loaded: Any, batch_tokens: int) -> None:
    items = [item("1"), item("2", CANDIDATES[::-1])]
    first, second = candidate_scores(loaded, items, batch_tokens)
    assert list(second or ()) == [pytest.approx(score, abs=1e-4) for score in reversed(first or [])]
    assert len(first or ()) == 3


def test_an_item_with_a_candidate_that_does_not_fit_has_no_score(loaded: Any) -> None:
    long = item("2", [("好", True), ("长" * 400, False)])
    found = candidate_scores(loaded, [item(), long])
    assert [scores is None for scores in found] == [False, True]


def test_what_was_measured_before_a_kill_is_not_measured_again(loaded: Any) -> None:
    items = [item(str(number)) for number in range(3)]
    prompts = [one.messages for one in items]
    whole = [pair for group in CandidateLikelihood(loaded, items, group=1).answers(prompts) for pair in group]
    rest = [pair for group in CandidateLikelihood(loaded, items, group=1).answers(prompts, done=[0]) for pair in group]
    assert rest == whole[1:]


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=8))
def test_the_rank_is_that_of_the_best_right_one_in_the_worst_order(pairs: list[tuple[int, bool]]) -> None:
    if not any(right for _, right in pairs):
        pairs = [*pairs, (0, True)]
    ordered = sorted(pairs, key=lambda pair: (-pair[0], pair[1]))  # of equal scores the wrong one first
    expected = next(place for place, (_, right) in enumerate(ordered, 1) if right)
    assert rank([score for score, _ in pairs], [right for _, right in pairs]) == expected


@pytest.mark.parametrize(("candidates", "right"), [(5, 1), (6, 2), (4, 3)])
def test_chance_is_the_mean_over_all_orders(candidates: int, right: int) -> None:
    labels = [place < right for place in range(candidates)]
    ranks = [order.index(True) + 1 for order in itertools.permutations(labels)]
    accuracy, mrr = chance(candidates, right)
    assert accuracy == pytest.approx(sum(place == 1 for place in ranks) / len(ranks))
    assert mrr == pytest.approx(sum(1 / place for place in ranks) / len(ranks))


def test_accuracy_and_mrr_have_n_intervals_and_the_level_of_chance(tmp_path: Path) -> None:
    items = [item("1", department="儿科"), item("2", department="内科"), item("3", department="内科")]
    scores = [[-1.0, -2.0, -3.0], [-2.0, -1.0, -3.0], [-1.0, -1.0, -1.0]]
    found = write_selection(tmp_path, items, scores, "webmedqa", "base")
    assert found == json.loads((tmp_path / "selection.json").read_text("utf-8"))
    assert (found["n"], found["accuracy"]["n"]) == (3, 3)
    assert found["accuracy"]["mean"] == pytest.approx(1 / 3)
    assert found["mrr"]["mean"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert found["chance"]["accuracy"] == pytest.approx(1 / 3)
    assert {value: group["n"] for value, group in found["strata"]["department"].items()} == {"儿科": 1, "内科": 2}
    rows = [json.loads(line) for line in (tmp_path / "selection.jsonl").read_text("utf-8").splitlines()]
    assert [(row["rank"], row["right"]) for row in rows] == [(1, True), (2, False), (3, False)]
