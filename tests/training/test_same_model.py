"""A checkpoint of another model is refused before a trainer fails on its tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM

from pediatricsgpt.errors import UserError
from pediatricsgpt.experts import ExpertsConfig, get_peft_model
from pediatricsgpt.training.same_model import check_checkpoint
from tests.fixtures import tiny_config


def _model(family: str = "qwen3", **more: Any) -> Any:
    return AutoModelForCausalLM.from_config(tiny_config(family, **more))


def _adapter(**more: Any) -> Any:
    return get_peft_model(_model(), ExpertsConfig(**{"r": 2, "task_type": "CAUSAL_LM", **more}))


@pytest.mark.parametrize("make", [_model, _adapter])
def test_a_checkpoint_of_the_same_model_passes(make: Any, tmp_path: Path) -> None:
    make().save_pretrained(tmp_path)
    check_checkpoint(tmp_path, make())


@pytest.mark.parametrize(
    ("kept", "now", "said"),
    [
        (_model, lambda: _model(hidden_size=64), "hidden_size 32 there, 64 here"),
        (_model, lambda: _model(num_hidden_layers=3), "num_hidden_layers 2 there, 3 here"),
        (_model, lambda: _model("qwen2"), "model_type qwen3 there, qwen2 here"),
        (_adapter, lambda: _adapter(r=4), "r 2 there, 4 here"),
        (_adapter, lambda: _adapter(num_experts=2), "num_experts 3 there, 2 here"),
        (_adapter, lambda: _adapter(target_modules="attention"), "target_modules down_proj gate_proj up_proj there"),
        (_adapter, _model, "it is an adapter, and a whole model is trained"),
        (_model, _adapter, "it is a whole model, and an adapter is trained"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused_in_one_line(kept: Any, now: Any, said: str, tmp_path: Path) -> None:
    kept().save_pretrained(tmp_path)
    with pytest.raises(UserError) as caught:
        check_checkpoint(tmp_path, now())
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_says_nothing_passes_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    check_checkpoint(tmp_path, _model())
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json: this file of a checkpoint is damaged"):
        check_checkpoint(tmp_path, _model())
