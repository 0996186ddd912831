"""Held-out loss against the obvious computation, row by row and token by token."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch

from pediatricsgpt.evaluation import likelihood
from pediatricsgpt.evaluation.likelihood import change, choose_rows, held_out_loss, text_loss
from pediatricsgpt.models.encode import IGNORED, encode_dialogue, encode_text
from pediatricsgpt.models.load import Loaded
from tests.rows import instruction, text

ROWS = [
    instruction("孩子发烧怎么办", "先量体温。", "三十九度", "请就诊。"),
    instruction("咳嗽", "多喝水。"),
    instruction("黄疸", "多数是生理性的，但要观察大便颜色和精神。"),
]


TEXTS = [
    {**text("小儿肺炎多由病毒引起。" * 8), "form": "plain"},
    {**text("问：发烧怎么办？答：多喝水。"), "form": "instruction"},
    {**text("新生儿黄疸。"), "form": "plain", "source": {**text("")["source"], "name": "books"}},
]


def _slow(loaded: Loaded) -> tuple[float, int]:
    total, tokens = 0.0, 0
    for row in ROWS:
        encoded = encode_dialogue(loaded.tokenizer, row["messages"])
        with torch.no_grad():
            logits = loaded.model(torch.tensor([encoded.input_ids])).logits[0].double()
        for place, label in enumerate(encoded.labels[1:]):
            if label != IGNORED:
                total -= float(logits[place].log_softmax(0)[label])
                tokens += 1
    return total / tokens, tokens


@pytest.mark.parametrize("batch_tokens", [1, 64, 4096])
def test_it_is_the_mean_over_answer_tokens(loaded: Loaded, batch_tokens: int) -> None:
    found = held_out_loss(loaded, ROWS, seed=1, batch_tokens=batch_tokens)
    mean, tokens = _slow(loaded)
    assert found.mean == pytest.approx(mean, rel=1e-5)
    assert found.tokens == tokens
    assert found.rows == 3
    assert found.low <= found.mean <= found.high


@pytest.mark.parametrize("batch_tokens", [1, 4096])
def test_the_loss_of_every_row_is_kept_in_the_order_of_the_rows(loaded: Loaded, batch_tokens: int) -> None:
    found = held_out_loss(loaded, ROWS, seed=1, batch_tokens=batch_tokens)
    assert [item.id for item in found.items] == [row["id"] for row in ROWS]
    for item, row in zip(found.items, ROWS, strict=True):
        alone = held_out_loss(loaded, [row], seed=1)
        assert item.nll / item.tokens == pytest.approx(alone.mean, rel=1e-5)
        assert item.labels == {"task": "medkqa", "source": "tests"}
    assert sum(item.nll for item in found.items) / found.tokens == pytest.approx(found.mean, rel=1e-6)
    json.dumps(found.as_dict())


def _text_by_hand(loaded: Loaded, value: str, window: int) -> tuple[float, int]:
    ids = encode_text(loaded.tokenizer, value).input_ids
    total, tokens = 0.0, 0
    for start in range(0, len(ids), window):
        piece = ids[start : start + window]
        with torch.no_grad():
            logits = loaded.model(torch.tensor([piece])).logits[0].double()
        for place, token in enumerate(piece[1:]):
            total -= float(logits[place].log_softmax(0)[token])
            tokens += 1
    return total, tokens


def test_perplexity_by_form_and_source_is_that_of_their_tokens(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likelihood, "_TEXT_WINDOW", 24)
    found = text_loss(loaded, TEXTS, seed=1, batch_tokens=64)
    by_hand = [_text_by_hand(loaded, row["text"], 24) for row in TEXTS]
    assert len(encode_text(loaded.tokenizer, TEXTS[0]["text"]).input_ids) > 24, "one text is longer than the window"
    groups = {"plain": [0, 2], "instruction": [1]}
    for form, places in groups.items():
        nll = sum(by_hand[place][0] for place in places) / sum(by_hand[place][1] for place in places)
        assert found.by_form[form]["nll"] == pytest.approx(nll, rel=1e-5)
        assert found.by_form[form]["ppl"] == pytest.approx(math.exp(nll), rel=1e-4)
        assert found.by_form[form]["rows"] == len(places)
    assert found.by_source["books"]["tokens"] == by_hand[2][1]
    assert found.whole["tokens"] == sum(tokens for _, tokens in by_hand)
    assert [item.tokens for item in found.items] == [tokens for _, tokens in by_hand]


def _plain(values: list[tuple[str, float, int]]) -> list[dict[str, Any]]:
    return [{"id": name, "nll": nll, "tokens": tokens} for name, nll, tokens in values]


def test_a_change_is_measured_on_the_same_rows_and_tokens() -> None:
    before = _plain([(str(n), 30.0 + n, 10) for n in range(12)] + [("gone", 1.0, 1), ("other", 5.0, 4)])
    after = _plain([(str(n), 25.0 + n + (n % 3), 10) for n in reversed(range(12))] + [("other", 5.0, 5)])
    found = change(before, after, seed=1)
    assert found is not None
    assert found.n == 12
    assert found.mean == pytest.approx(sum(n % 3 - 5 for n in range(12)) / 120)
    assert found.low <= found.mean <= found.high < 0
    assert found.verdict == "better"
    back = change(after, before, seed=1)
    assert back is not None
    assert (back.verdict, back.mean) == ("worse", pytest.approx(-found.mean))
    assert change(before, [], seed=1) is None


def test_few_rows_and_mixed_changes_have_no_verdict() -> None:
    few = change(_plain([(str(n), 9.0, 3) for n in range(4)]), _plain([(str(n), 3.0, 3) for n in range(4)]), seed=1)
    assert few is not None
    assert few.verdict == "no verdict"
    mixed = change(
        _plain([(str(n), 9.0, 3) for n in range(20)]), _plain([(str(n), 9.0 + (-1) ** n, 3) for n in range(20)]), seed=1
    )
    assert mixed is not None
    assert mixed.verdict == "no verdict"


def test_rows_that_do_not_fit_the_window_are_counted(loaded: Loaded) -> None:
    told: list[int] = []
    long = instruction("发烧", "多喝水。" * 200)
    found = held_out_loss(loaded, [*ROWS, long], seed=1, advance=told.append)
    assert (found.left_out_too_long, found.rows) == (1, 3)
    assert sum(told) == 4


def test_the_chosen_rows_do_not_depend_on_their_order() -> None:
    assert choose_rows(ROWS, 2) == choose_rows(ROWS[::-1], 2)


def test_rows_of_one_document_count_as_one(loaded: Loaded) -> None:
    rows = [{**row, "group": f"document {place % 2}"} for place, row in enumerate(ROWS)]
    assert [item.group for item in held_out_loss(loaded, rows, seed=1).items] == [
        "document 0",
        "document 1",
        "document 0",
    ]
    losses = [[item.nll, item.tokens] for item in held_out_loss(loaded, rows, seed=1).items]
    both = sum(losses[place][0] for place in (0, 2)) / sum(losses[place][1] for place in (0, 2))
    ends = sorted([both, losses[1][0] / losses[1][1]])
    found = held_out_loss(loaded, rows, seed=1)  # two cases: some resamples hold only one of them
    assert [found.low, found.high] == pytest.approx(ends, rel=1e-5)


def test_a_change_over_few_documents_has_no_verdict() -> None:
    rows = [(str(n), 30.0 + n % 3, 10) for n in range(12)]
    before = _plain(rows)
    after = [{**row, "nll": row["nll"] - 5.0, "group": f"document {n % 3}"} for n, row in enumerate(before)]
    found, alone = change(before, after, seed=1), change(before, [{**row, "group": None} for row in after], seed=1)
    assert found is not None
    assert alone is not None
    assert (found.verdict, alone.verdict, found.n) == ("no verdict", "better", 12)
