"""Held-out loss against the obvious computation, row by row and token by token."""

from __future__ import annotations

import pytest
import torch

from pediatricsgpt.evaluation.likelihood import choose_rows, held_out_loss
from pediatricsgpt.models.encode import IGNORED, encode_dialogue
from pediatricsgpt.models.load import Loaded
from tests.rows import instruction

ROWS = [
    instruction("孩子发烧怎么办", "先量体温。", "三十九度", "请就诊。"),
    instruction("咳嗽", "多喝水。"),
    instruction("黄疸", "多数是生理性的，但要观察大便颜色和精神。"),
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


def test_rows_that_do_not_fit_the_window_are_counted(loaded: Loaded) -> None:
    told: list[int] = []
    long = instruction("发烧", "多喝水。" * 200)
    found = held_out_loss(loaded, [*ROWS, long], seed=1, advance=told.append)
    assert (found.left_out_too_long, found.rows) == (1, 3)
    assert sum(told) == 4


def test_the_chosen_rows_do_not_depend_on_their_order() -> None:
    assert choose_rows(ROWS, 2) == choose_rows(ROWS[::-1], 2)
