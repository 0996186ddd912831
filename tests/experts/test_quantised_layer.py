"""One layer on a quantised linear (bitsandbytes): autograd's gradients through the same kernels, and who may use it."""

from __future__ import annotations

import bitsandbytes
import pytest
import torch
from torch import nn
from transformers import Qwen3ForCausalLM

from pediatricsgpt.errors import UserError
from pediatricsgpt.experts import ExpertsConfig, get_peft_model, release
from tests.experts import test_release as theirs
from tests.experts.test_layer import D_IN, D_OUT, in_one_piece, make_layer
from tests.experts.test_tuner import FFN, logits, make_visible
from tests.fixtures import tiny_config

BITS = [4, 8]
WIDTH = 64


def quantised(layer: nn.Linear, bits: int) -> nn.Module:
    """The same layer in 4 (nf4) or 8 bits."""
    sizes = (layer.in_features, layer.out_features, layer.bias is not None)
    if bits == 4:
        made = bitsandbytes.nn.Linear4bit(*sizes, compute_dtype=torch.float32, quant_type="nf4")
    else:
        made = bitsandbytes.nn.Linear8bitLt(*sizes, has_fp16_weights=False)
    made.load_state_dict(layer.state_dict())
    return made.to("cpu").requires_grad_(False)  # the move is what quantises


def tiny_quantised(bits: int) -> nn.Module:
    """A base of widths that the kernels take, its feed-forward networks quantised."""
    torch.manual_seed(0)
    config = tiny_config("qwen3", vocab_size=64, hidden_size=WIDTH, intermediate_size=2 * WIDTH, head_dim=16)
    model = Qwen3ForCausalLM(config)
    for layer in model.model.layers:
        for name in FFN:
            setattr(layer.mlp, name, quantised(getattr(layer.mlp, name), bits))
    return model.eval()  # the kernels of evaluation round otherwise than those of training


@pytest.mark.parametrize("bits", BITS)
def test_output_and_every_gradient_equal_those_of_autograd(bits):
    base = quantised(nn.Linear(D_IN, D_OUT), bits)
    stored = base.weight.detach().clone()
    layer = make_layer(base=base, r=4, noise=False).train()
    layer.experts_A.float()
    layer.experts_B.float()
    x = torch.randn(3, 7, D_IN, requires_grad=True)
    weights = {"x": x} | {name: weight for name, weight in layer.named_parameters() if weight.requires_grad}
    assert len(weights) == 1 + 3
    result, expected = layer(x), in_one_piece(layer, x, ExpertsConfig(r=4, noise=False))
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)
    target = torch.randn_like(result)
    ours, wanted = (torch.autograd.grad((y * target).sum(), list(weights.values())) for y in (result, expected))
    for name, gradient, right in zip(weights, ours, wanted, strict=True):
        torch.testing.assert_close(gradient, right, rtol=1e-4, atol=1e-4, msg=name)
    assert torch.equal(layer.base_layer.weight, stored)


@pytest.mark.parametrize("bits", BITS)
def test_merging_the_universal_expert_into_quantised_weights_is_refused(bits):
    model = get_peft_model(tiny_quantised(bits), ExpertsConfig(r=2, task_type="CAUSAL_LM")).eval()
    make_visible(model)
    expected = logits(model)
    with pytest.raises(NotImplementedError, match="needs plain weights"):
        model.base_model.merge_universal()
    assert torch.equal(logits(model), expected)


@pytest.mark.parametrize("bits", BITS)
def test_the_authors_adapter_goes_on_a_quantised_base(bits, tmp_path):
    name = "base_model.model.model.layers.0.mlp.up_proj"
    torch.manual_seed(4)
    weights = {
        f"{name}.lora_moe_A": torch.randn(theirs.T + 1, WIDTH, theirs.R) * 0.3,
        f"{name}.lora_moe_B": torch.randn(theirs.T + 1, theirs.R, 2 * WIDTH) * 0.3,
        f"{name}.lora_route.weight": torch.randn(theirs.T, WIDTH) * 0.3,
    }
    model = release.load(tiny_quantised(bits), theirs.folder_of(tmp_path / "a", weights))
    found, expected = logits(model), theirs.by_their_formula(weights, tiny_quantised(bits))
    # 8 bits round each layer's input as well, where a last bit may fall on either side.
    assert (found - expected).norm() < 1e-2 * expected.norm()
    assert (found - logits(tiny_quantised(bits))).norm() > 0.1 * expected.norm()
    weights[f"{name}.lora_moe_A"] = torch.ones(4, 31, 4)
    with pytest.raises(UserError, match=r"\[4, 31, 4\], and \[4, 64, 4\] is wanted"):
        release.load(tiny_quantised(bits), theirs.folder_of(tmp_path / "b", weights))
