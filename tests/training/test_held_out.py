"""Held-out losses: those of the rows alone, of rows that are not trained on, always the same ones."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from pediatricsgpt.errors import UserError
from pediatricsgpt.models.encode import encode_answer, encode_dialogue, encode_text
from pediatricsgpt.models.load import Loaded, load
from pediatricsgpt.training.held_out import Objective, held_sets, log_likelihoods, loss
from pediatricsgpt.training.token_loss import add_token_loss
from tests.rows import instruction, text, write
from tests.training.jobs import DIALOGUES, held_out, held_out_pairs


def _folder(parent: Path, name: str) -> Path:
    (parent / name).mkdir()
    return parent / name


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    return write(tmp_path, "instruction", DIALOGUES)


@pytest.fixture
def model(model_folder: Path) -> Loaded:
    loaded = load(model_folder, dtype="float32", trainable=True)
    add_token_loss(loaded.model)
    return loaded


def _by_hand(model: Any, ids: list[int], labels: list[int]) -> tuple[float, int]:
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].double()
    places = [place for place in range(1, len(ids)) if labels[place] != -100]
    return sum(float(logits[place - 1].log_softmax(0)[ids[place]]) for place in places), len(places)


def test_the_loss_is_the_mean_over_tokens_of_the_rows_alone(model: Loaded, trained: Path, tmp_path: Path) -> None:
    sets = held_sets(held_out(tmp_path), trained, model.tokenizer, rows=9, max_length=64)
    rows = [encode_text(model.tokenizer, value) for value in ("天空是蓝的，草是绿的。", "北京是中国的首都。")]
    values = [_by_hand(model.model, row.input_ids, row.labels) for row in rows]
    expected = -sum(value for value, _ in values) / sum(tokens for _, tokens in values)
    found = loss(sets["general"], log_likelihoods(model.model, sets["general"]), None, Objective())
    assert found == pytest.approx(expected, rel=1e-5)
    assert model.model.training
    answer = encode_dialogue(
        model.tokenizer,
        [
            {"role": "user", "content": "新生儿呕吐"},
            {"role": "assistant", "content": "请就诊。"},
        ],
    )
    value, tokens = _by_hand(model.model, answer.input_ids, answer.labels)
    found = loss(sets["sft"], log_likelihoods(model.model, sets["sft"]), None, Objective())
    assert found == pytest.approx(-value / tokens, rel=1e-5)


def test_the_loss_of_pairs_is_dfpos_against_the_model_that_came_in(
    model: Loaded, trained: Path, tmp_path: Path
) -> None:
    held = held_sets({"own": held_out_pairs(tmp_path)}, trained, model.tokenizer, rows=9, max_length=64)["own"]
    reference = log_likelihoods(model.model, held)
    likelihood = sum(-value / tokens for value, tokens in reference[0::2]) / 2
    start = loss(held, reference, reference, Objective(0.3, 0.5))
    assert start == pytest.approx(math.log(2) + 0.5 * likelihood)
    moved = [(value + shift, tokens) for (value, tokens), shift in zip(reference, [1.0, -2.0, 0.0, 4.0], strict=True)]
    by_hand = [math.log(1 + math.exp(-0.3 * 3)), math.log(1 + math.exp(0.3 * 4))]
    likelihoods = [-value / tokens for value, tokens in moved[0::2]]
    expected = sum(a + 0.5 * b for a, b in zip(by_hand, likelihoods, strict=True)) / 2
    assert loss(held, moved, reference, Objective(0.3, 0.5)) == pytest.approx(expected)


def test_the_preferred_side_comes_first(model: Loaded, trained: Path, tmp_path: Path) -> None:
    held = held_sets({"own": held_out_pairs(tmp_path)}, trained, model.tokenizer, rows=1, max_length=64)["own"]
    sides = [model.tokenizer.decode(one.input_ids) for one in held.sequences]
    known = {"鼻塞": ("可用生理盐水。", "不用管"), "便秘": ("多吃蔬菜，多喝水。", "吃泻药")}
    preferred, low = next(pair for question, pair in known.items() if question in sides[0])
    assert preferred in sides[0]
    assert low in sides[1]
    prompt, answer = encode_answer(
        model.tokenizer,
        [{"role": "user", "content": next(question for question in known if question in sides[0])}],
        {"role": "assistant", "content": preferred},
    )
    assert held.sequences[0].input_ids == [*prompt, *answer]
    assert held.sequences[0].labels == [-100] * len(prompt) + answer


def test_what_is_trained_on_is_never_measured(model: Loaded, trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    same_group = {**instruction("咳嗽", "换个说法。", split="held_out")}
    rows = [
        DIALOGUES[1],
        same_group,
        instruction("从未见过", "好的。", split="held_out"),
        instruction("训练行", "好。"),
    ]
    path = write(folder, "instruction", rows)
    held = held_sets({"sft": path}, trained, model.tokenizer, rows=9, max_length=64)["sft"]
    assert held.counts == {"rows": 1, "left_out_trained": 3, "left_out_too_long": 0, "left_out_without_loss": 0}
    assert "从未见过" in model.tokenizer.decode(held.sequences[0].input_ids)
    only_trained = write(folder, "cpt", [text("什么")])
    with pytest.raises(UserError, match="1 are trained on"):
        held_sets({"general": only_trained}, trained, model.tokenizer, rows=9, max_length=64)


def test_rows_are_the_same_in_any_order_and_long_ones_are_counted(model: Loaded, trained: Path, tmp_path: Path) -> None:
    rows = [instruction(f"问题{number}", "答。" * (1 + 40 * (number == 7)), split="held_out") for number in range(20)]
    chosen = []
    for name, order in (("forward", rows), ("backward", rows[::-1])):
        (tmp_path / name).mkdir()
        path = write(tmp_path / name, "instruction", order)
        held = held_sets({"sft": path}, trained, model.tokenizer, rows=5, max_length=40)["sft"]
        chosen.append([one.input_ids for one in held.sequences])
        assert held.counts["rows"] == 5
    assert chosen[0] == chosen[1]
    every = held_sets({"sft": path}, trained, model.tokenizer, rows=99, max_length=40)["sft"]
    assert every.counts == {"rows": 19, "left_out_trained": 0, "left_out_too_long": 1, "left_out_without_loss": 0}


def test_rows_without_an_answer_are_not_counted_as_too_long(model: Loaded, trained: Path, tmp_path: Path) -> None:
    mute = instruction("没有回答的问题", split="held_out")
    path = write(_folder(tmp_path, "held"), "instruction", [mute, instruction("新问题", "好的。", split="held_out")])
    held = held_sets({"sft": path}, trained, model.tokenizer, rows=9, max_length=64)["sft"]
    assert held.counts == {"rows": 1, "left_out_trained": 0, "left_out_too_long": 0, "left_out_without_loss": 1}
    alone = write(_folder(tmp_path, "mute"), "instruction", [mute])
    with pytest.raises(UserError, match="0 are longer than max_length 64, 1 have nothing that carries loss"):
        held_sets({"sft": alone}, trained, model.tokenizer, rows=9, max_length=64)
