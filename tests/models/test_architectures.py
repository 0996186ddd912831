"""The experts on the families of base models that transformers has, each as a small model with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import nn
from transformers import AutoModelForCausalLM

from pediatricsgpt.experts import ExpertsConfig, ExpertsLinear, get_peft_model
from tests.fixtures import tiny_config

GROUPED = {"num_key_value_heads": 2, "head_dim": 8}
MIXTURE = {**GROUPED, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
LATENT = {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    "num_key_value_heads": 4,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "qwen2": {"num_key_value_heads": 2},
    "qwen3": GROUPED,
    "llama": {"num_key_value_heads": 2},
    "mistral": {"num_key_value_heads": 2, "sliding_window": 6},
    "glm": GROUPED,
    "glm4": GROUPED,
    "internlm3": GROUPED,
    "minicpm3": LATENT,
}
SPLIT, FUSED = {"gate_proj", "up_proj", "down_proj"}, {"gate_up_proj", "down_proj"}


def small(family: str, **more: Any) -> Any:
    """A model of two layers; the same weights at every call."""
    ends = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = tiny_config(family, **{"vocab_size": 99, "max_position_embeddings": 64, **ends, **more})
    torch.manual_seed(4)
    return AutoModelForCausalLM.from_config(config).eval()


def ids() -> torch.Tensor:
    return torch.randint(3, 99, (2, 12), generator=torch.Generator().manual_seed(6))


def with_experts(model: Any, targets: str) -> Any:
    """An adapter whose weights are all random, so that it changes the outputs."""
    adapted = get_peft_model(model, ExpertsConfig(r=2, target_modules=targets, task_type="CAUSAL_LM")).eval()
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "experts_" in name:
                weight.normal_(std=0.1, generator=generator)  # more would saturate the routers
    return adapted


def expert_layers(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, ExpertsLinear)]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_linear_layer_of_the_feed_forward_networks_gets_experts(family: str) -> None:
    base = small(family, **FAMILIES[family])
    inside = [name for name, module in base.named_modules() if isinstance(module, nn.Linear) and ".mlp." in name]
    found = expert_layers(with_experts(base, "ffn"))
    assert sorted(name.removeprefix("base_model.model.") for name in found) == sorted(inside)
    assert {name.split(".")[-1] for name in found} == (FUSED if family.startswith("glm") else SPLIT)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_linear_layer_of_the_attention_gets_experts(family: str) -> None:
    base = small(family, **FAMILIES[family])
    inside = [name for name, module in base.named_modules() if isinstance(module, nn.Linear) and ".self_attn." in name]
    found = expert_layers(with_experts(base, "attention"))
    assert inside
    assert sorted(name.removeprefix("base_model.model.") for name in found) == sorted(inside)


@pytest.mark.parametrize("family", FAMILIES)
def test_experts_change_the_outputs_and_come_back_from_disk_to_the_bit(family: str, tmp_path: Path) -> None:
    with torch.no_grad():
        before = small(family, **FAMILIES[family])(ids()).logits
        adapted = with_experts(small(family, **FAMILIES[family]), "ffn")
        changed = adapted(ids()).logits
        adapted.save_pretrained(tmp_path)
        loaded = PeftModel.from_pretrained(small(family, **FAMILIES[family]), str(tmp_path)).eval()
        assert (changed - before).abs().max() > 1e-3
        assert torch.equal(loaded(ids()).logits, changed)
        with adapted.disable_adapter():
            assert torch.equal(adapted(ids()).logits, before)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_with_experts_generates_what_its_logits_say(family: str) -> None:
    adapted = with_experts(small(family, **FAMILIES[family]), "ffn")
    prompt = ids()[:1, :5]
    options: dict[str, Any] = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    answer = adapted.generate(input_ids=prompt, attention_mask=torch.ones_like(prompt), **options)
    with torch.no_grad():
        best = adapted(answer).logits.argmax(-1)
    assert answer.shape == (1, 11)
    assert answer[0, 5:].tolist() == best[0, 4:-1].tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_reach_every_expert(family: str) -> None:
    adapted = with_experts(small(family, **FAMILIES[family]), "ffn").train()
    adapted(input_ids=ids(), labels=ids()).loss.backward()
    gradients = {name: weight.grad for name, weight in adapted.named_parameters() if weight.requires_grad}
    assert gradients
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients.values())


def test_a_mixture_whose_feed_forward_networks_are_fused_tensors_is_refused() -> None:
    with pytest.raises(ValueError, match=r"fused expert tensors, not linear layers; use target_modules: attention"):
        get_peft_model(small("qwen3_moe", **MIXTURE), ExpertsConfig(target_modules="ffn"))


def test_a_mixture_gets_experts_on_its_dense_linear_layers(tmp_path: Path) -> None:
    dense = {**MIXTURE, "mlp_only_layers": [1]}
    with pytest.warns(UserWarning, match=r"1 dense feed-forward networks get experts, 1 that are fused"):
        adapted = with_experts(small("qwen3_moe", **dense), "ffn")
    assert {name.split("layers.")[1].rsplit(".", 1)[0] for name in expert_layers(adapted)} == {"1.mlp"}
    with torch.no_grad():
        before, changed = small("qwen3_moe", **dense)(ids()).logits, adapted(ids()).logits
        adapted.save_pretrained(tmp_path)
        loaded = PeftModel.from_pretrained(small("qwen3_moe", **dense), str(tmp_path)).eval()
        assert (changed - before).abs().max() > 1e-3
        assert torch.equal(loaded(ids()).logits, changed)


def test_a_mixture_gets_experts_on_its_attention(tmp_path: Path) -> None:
    adapted = with_experts(small("qwen3_moe", **MIXTURE), "attention")
    assert {name.split(".")[-1] for name in expert_layers(adapted)} == {"q_proj", "k_proj", "v_proj", "o_proj"}
    with torch.no_grad():
        changed = adapted(ids()).logits
        adapted.save_pretrained(tmp_path)
        loaded = PeftModel.from_pretrained(small("qwen3_moe", **MIXTURE), str(tmp_path)).eval()
        assert torch.equal(loaded(ids()).logits, changed)
