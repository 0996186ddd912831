"""An adapter in the authors' layout gives the same outputs as their formula, and what is missing is refused."""

from __future__ import annotations

import json

import pytest
import torch
from peft import PeftModel
from safetensors.torch import save_file
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from pediatricsgpt.errors import UserError
from pediatricsgpt.experts import release
from tests.experts.test_tuner import logits, tiny_base

T, R, ALPHA = 3, 4, 8
LAYERS = {
    f"model.layers.{i}.mlp.{name}": size
    for i in range(2)
    for name, size in {"up_proj": (32, 48), "down_proj": (48, 32)}.items()
}


def tensors(router: bool = True) -> dict[str, torch.Tensor]:
    torch.manual_seed(4)
    found = {}
    for layer, (d_in, d_out) in LAYERS.items():
        name = f"base_model.model.{layer}"
        found[f"{name}.lora_moe_A"] = torch.randn(T + 1, d_in, R) * 0.3
        found[f"{name}.lora_moe_B"] = torch.randn(T + 1, R, d_out) * 0.3
        if router:
            found[f"{name}.lora_route.weight"] = torch.randn(T, d_in) * 0.3
            found[f"{name}.w_noise"] = torch.randn(d_in, T) * 0.3
    return found


def folder_of(path, weights: dict[str, torch.Tensor], pickled: bool = False, **settings):
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": R,
        "lora_alpha": ALPHA,
        "lora_nums": T + 1,
        "lora_dropout": 0.05,
    }
    path.mkdir(exist_ok=True)
    (path / "adapter_config.json").write_text(json.dumps(config | settings), encoding="utf-8")
    if pickled:
        torch.save(weights, path / "adapter_model.bin")
    else:
        save_file(weights, path / "adapter_model.safetensors")
    return path


class Authors(nn.Module):
    """METHOD: universal index 0 ungated, dense softmax over the others, scale on all, no noise."""

    def __init__(self, base: nn.Module, weights: dict[str, torch.Tensor], name: str, scaling: float) -> None:
        super().__init__()
        self.base, self.weights, self.name, self.scaling = base, weights, f"base_model.model.{name}", scaling

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = self.weights[f"{self.name}.lora_moe_A"], self.weights[f"{self.name}.lora_moe_B"]
        route = self.weights.get(f"{self.name}.lora_route.weight", torch.zeros(T, x.shape[-1]))
        shares = (x @ route.t()).softmax(-1)
        result = self.base(x) + self.scaling * (x @ a[0] @ b[0])
        for expert in range(T):
            result = result + self.scaling * shares[..., expert, None] * (x @ a[expert + 1] @ b[expert + 1])
        return result


def by_their_formula(
    weights: dict[str, torch.Tensor], model: nn.Module | None = None, scaling: float = ALPHA / R
) -> torch.Tensor:
    model = tiny_base() if model is None else model
    for name in {name.removeprefix("base_model.model.").rpartition(".lora_moe")[0] for name in weights} - {""}:
        parent = model.get_submodule(name.rpartition(".")[0])
        setattr(parent, name.rpartition(".")[2], Authors(model.get_submodule(name), weights, name, scaling))
    return logits(model)


@pytest.mark.parametrize("pickled", [False, True])
def test_outputs_equal_the_authors_formula_without_noise(tmp_path, pickled):
    weights = tensors()
    model = release.load(tiny_base(), folder_of(tmp_path / "a", weights, pickled))
    torch.testing.assert_close(logits(model), by_their_formula(weights), rtol=1e-5, atol=1e-5)
    assert not torch.equal(logits(model), logits(tiny_base()))


def test_rank_stabilised_scaling_is_that_of_their_configuration(tmp_path):
    weights = tensors()
    model = release.load(tiny_base(), folder_of(tmp_path / "a", weights, use_rslora=True))
    expected = by_their_formula(weights, scaling=ALPHA / R**0.5)
    torch.testing.assert_close(logits(model), expected, rtol=1e-5, atol=1e-5)


def test_it_goes_on_a_base_of_conv1d_layers(tmp_path):
    def base() -> nn.Module:
        torch.manual_seed(0)
        config = GPT2Config(vocab_size=64, n_embd=32, n_layer=1, n_head=4, bos_token_id=0, eos_token_id=1)
        return GPT2LMHeadModel(config).eval()

    weights = {}
    for name, d_in, d_out in (("c_fc", 32, 128), ("c_proj", 128, 32)):
        layer = f"base_model.model.transformer.h.0.mlp.{name}"
        weights[f"{layer}.lora_moe_A"] = torch.randn(T + 1, d_in, R) * 0.3
        weights[f"{layer}.lora_moe_B"] = torch.randn(T + 1, R, d_out) * 0.3
        weights[f"{layer}.lora_route.weight"] = torch.randn(T, d_in) * 0.3
    model = release.load(base(), folder_of(tmp_path / "a", weights))
    torch.testing.assert_close(logits(model), by_their_formula(weights, base()), rtol=1e-5, atol=1e-5)
    assert not torch.equal(logits(model), logits(base()))


def test_on_a_half_precision_base_the_adapter_keeps_its_float32_weights(tmp_path):
    weights = tensors()
    model = release.load(tiny_base(torch.bfloat16), folder_of(tmp_path / "a", weights))
    layer = model.base_model.model.get_submodule("model.layers.0.mlp.up_proj")
    theirs = "base_model.model.model.layers.0.mlp.up_proj"
    assert torch.equal(layer.experts_router["default"].weight, weights[f"{theirs}.lora_route.weight"])
    assert torch.equal(layer.experts_A["default"].weight[:R], weights[f"{theirs}.lora_moe_A"][0].t())
    found, expected = logits(model), by_their_formula(weights)
    assert found.dtype == torch.bfloat16
    assert (found.float() - expected).norm() < 0.05 * expected.norm()


def test_a_layer_of_another_kind_is_named(tmp_path):
    weights = {
        "base_model.model.model.embed_tokens.lora_moe_A": torch.ones(T + 1, 64, R),
        "base_model.model.model.embed_tokens.lora_moe_B": torch.ones(T + 1, R, 32),
    }
    with pytest.raises(UserError, match=r"'model\.embed_tokens' of the base model.*not on Embedding"):
        release.load(tiny_base(), folder_of(tmp_path / "a", weights), spread_evenly=True)


def test_saved_in_our_layout_it_loads_again_bit_for_bit(tmp_path):
    model = release.load(tiny_base(), folder_of(tmp_path / "a", tensors()))
    model.save_pretrained(tmp_path / "ours")
    assert torch.equal(logits(PeftModel.from_pretrained(tiny_base(), tmp_path / "ours").eval()), logits(model))


def test_the_noise_comes_along_for_further_training(tmp_path):
    weights = tensors()
    model = release.load(tiny_base(), folder_of(tmp_path / "a", weights))
    layer = model.base_model.model.get_submodule("model.layers.0.mlp.up_proj")
    assert torch.equal(
        layer.experts_noise["default"].weight, weights["base_model.model.model.layers.0.mlp.up_proj.w_noise"].t()
    )
    assert layer.noise["default"]


def test_a_missing_router_is_refused_unless_even_shares_are_accepted(tmp_path):
    weights = tensors(router=False)
    folder = folder_of(tmp_path / "a", weights)
    with pytest.raises(UserError, match=r"4 of 4 layers have no router.*spread_evenly=True"):
        release.load(tiny_base(), folder)
    model = release.load(tiny_base(), folder, spread_evenly=True)
    torch.testing.assert_close(logits(model), by_their_formula(weights), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("base_model.model.model.layers.0.mlp.up_proj.lora_moe_B"), "has no lora_moe_B"),
        (
            lambda w: w.update({"base_model.model.model.layers.9.mlp.up_proj.lora_moe_A": torch.ones(4, 32, 4)}),
            "no router",
        ),
        (
            lambda w: w.update({"base_model.model.model.layers.0.mlp.up_proj.lora_A.weight": torch.ones(4, 32)}),
            "no tensor of the authors",
        ),
        (
            lambda w: w.update({"base_model.model.model.layers.0.mlp.up_proj.lora_moe_A": torch.ones(4, 31, 4)}),
            r"\[4, 31, 4\], and \[4, 32, 4\] is wanted",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named_and_the_base_stays_as_it_was(tmp_path, change, message):
    weights = tensors()
    change(weights)
    base = tiny_base()
    with pytest.raises(UserError, match=message):
        release.load(base, folder_of(tmp_path / "a", weights))
    assert torch.equal(logits(base), logits(tiny_base()))


def test_another_base_is_told_by_the_layer_that_it_lacks(tmp_path):
    with pytest.raises(UserError, match=r"no layer 'model\.layers\.0\.mlp"):
        release.load(nn.Sequential(nn.Linear(2, 2)), folder_of(tmp_path / "a", tensors()))


def test_folders_that_are_no_adapter_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"no adapter_config\.json"):
        release.load(tiny_base(), tmp_path)
    (tmp_path / "adapter_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="cannot read this as JSON"):
        release.load(tiny_base(), tmp_path)
    (tmp_path / "adapter_config.json").write_text('{"r": 8}', encoding="utf-8")
    with pytest.raises(UserError, match="lora_alpha"):
        release.load(tiny_base(), tmp_path)
    (tmp_path / "adapter_config.json").write_text('{"r": 4, "lora_alpha": 8}', encoding="utf-8")
    with pytest.raises(UserError, match="no adapter weights"):
        release.load(tiny_base(), tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot read these weights"):
        release.load(tiny_base(), tmp_path)


class Bomb:
    def __reduce__(self):
        return (print, ("this ran",))


def test_a_pickle_with_code_is_not_run(tmp_path, capsys):
    (tmp_path / "adapter_config.json").write_text('{"r": 4, "lora_alpha": 8}', encoding="utf-8")
    torch.save({"a": Bomb()}, tmp_path / "adapter_model.bin")
    with pytest.raises(UserError, match="holds more than tensors"):
        release.load(tiny_base(), tmp_path)
    assert "this ran" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [[torch.ones(2)], torch.ones(2), {"step": 3}])
def test_a_pickle_of_something_else_than_tensors_by_name_is_refused(tmp_path, content):
    (tmp_path / "adapter_config.json").write_text('{"r": 4, "lora_alpha": 8}', encoding="utf-8")
    torch.save(content, tmp_path / "adapter_model.bin")
    with pytest.raises(UserError, match="no adapter weights: tensors by name are wanted"):
        release.load(tiny_base(), tmp_path)
