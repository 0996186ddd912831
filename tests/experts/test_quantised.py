"""Experts on quantised linears (bitsandbytes): the layer as on the weights that the quantisation stands for."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, Qwen2ForCausalLM, set_seed

from pediatricsgpt.experts import ExpertsConfig, get_peft_model
from pediatricsgpt.models.load import load
from tests.fixtures import tiny_config

KINDS = {
    "nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": torch.float32},
    "int8": {"load_in_8bit": True},
}
TOLERANCE = {"nf4": 1e-4, "int8": 0.05}
"""Eight bits round what goes into a product too, and its gradient"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model on the disk."""
    set_seed(0)
    config = tiny_config("qwen2", vocab_size=128, hidden_size=64, intermediate_size=128)
    path = tmp_path_factory.mktemp("base")
    Qwen2ForCausalLM(config).save_pretrained(path)
    return path


def _quantised(folder: Path, kind: str) -> Any:
    return AutoModelForCausalLM.from_pretrained(
        folder, quantization_config=BitsAndBytesConfig(**KINDS[kind]), device_map="cpu"
    )


def _dense(quantised: Any, folder: Path) -> Any:
    """A model with the weights that the quantised ones stand for."""
    import bitsandbytes

    dense = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for name, module in quantised.named_modules():
        own = dense.get_submodule(name)
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            meant = bitsandbytes.functional.dequantize_4bit(module.weight.data, module.weight.quant_state)
        elif isinstance(module, bitsandbytes.nn.Linear8bitLt):
            meant = module.weight.data.float() * module.weight.SCB[:, None] / 127
        else:
            continue
        own.weight.data = meant.float()
    return dense


def _adapted(base: Any, noise: bool = False) -> Any:
    set_seed(1)
    config = ExpertsConfig(r=4, lora_alpha=8, task_type="CAUSAL_LM", target_modules="all-linear", noise=noise)
    model = get_peft_model(base, config)
    for name, weight in model.named_parameters():
        if "experts_" in name:
            torch.nn.init.normal_(weight.data, std=0.05, generator=torch.Generator().manual_seed(len(name)))
    return model.train()


def _step(model: Any) -> tuple[float, dict[str, torch.Tensor]]:
    ids = torch.randint(0, 128, (2, 24), generator=torch.Generator().manual_seed(2))
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    return float(loss.detach()), {
        name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad
    }


@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_gradients_are_those_on_the_weights_that_are_meant(kind: str, folder: Path) -> None:
    quantised = _quantised(folder, kind)
    expected_loss, expected = _step(_adapted(_dense(quantised, folder)))
    loss, gradients = _step(_adapted(quantised))
    assert gradients.keys() == expected.keys()
    assert loss == pytest.approx(expected_loss, rel=TOLERANCE[kind])
    for name, gradient in gradients.items():
        off = float((gradient - expected[name]).norm() / expected[name].norm())
        assert off < 4 * TOLERANCE[kind], name
        assert gradient.dtype == torch.float32


@pytest.mark.parametrize("kind", KINDS)
def test_experts_on_a_quantised_base_are_saved_and_loaded(kind: str, folder: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    model = _adapted(_quantised(folder, kind), noise=True).eval()
    assert {weight.dtype for name, weight in model.named_parameters() if "experts_" in name} == {torch.float32}
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(_quantised(folder, kind), tmp_path).eval()
    ids = torch.arange(20)[None]
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids).logits, loaded(input_ids=ids).logits)
        assert model.generate(input_ids=ids, max_new_tokens=3, do_sample=False).shape == (1, 23)


def test_gradients_pass_a_base_that_was_measured_before(folder: Path, tmp_path: Path) -> None:
    """On CPUs with bfloat16 bitsandbytes lays its weights out anew at the first forward pass in evaluation mode."""
    tokenizer = Path(__file__).parents[2] / "examples/tokenizer"
    for path in (*folder.iterdir(), *tokenizer.iterdir()):
        shutil.copy(path, tmp_path)
    found = []
    for measured in (False, True):
        model = _adapted(load(tmp_path, dtype="nf4", trainable=True).model)
        if measured:
            with torch.no_grad():
                model.eval()(input_ids=torch.arange(20)[None])
        found.append(_step(model.train())[1])
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    first = next(name for name in found[0] if "layers.0" in name and "experts_B" in name)
    assert found[0][first].norm() > 0
