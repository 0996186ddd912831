"""Documents of a packed sequence never see each other, and each is computed as if it were alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch import nn

from pediatricsgpt.errors import UserError
from pediatricsgpt.models.segments import NAME, Segments, segment_attention, use_segments
from tests.fixtures import SHAPE

LENGTHS = (5, 1, 12, 9)
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "Qwen2": ("Qwen2", {}),
    "Qwen2, half of its layers with a window": (
        "Qwen2",
        {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1},
    ),
    "Qwen3": ("Qwen3", {"head_dim": 16}),
    "Llama": ("Llama", {}),
    "Mistral with a window": ("Mistral", {"sliding_window": 6}),
    "Qwen3-MoE": (
        "Qwen3Moe",
        {"head_dim": 16, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
    ),
    "GLM": ("Glm", {"head_dim": 16, "pad_token_id": 0}),
}


def model_of(name: str) -> Any:
    """A small random model in evaluation mode."""
    kind, own = ARCHITECTURES[name]
    transformers.set_seed(3)
    config = getattr(transformers, f"{kind}Config")(**SHAPE, **own)
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    with torch.no_grad():  # small initial weights would hide who sees whom
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape) * 0.1)
    return model


def documents(seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(1, 97, (length,), generator=generator) for length in LENGTHS]


def packed_logits(model: Any, parts: list[torch.Tensor]) -> list[torch.Tensor]:
    places = torch.cat([torch.arange(len(part)) for part in parts])[None]
    logits = model(input_ids=torch.cat(parts)[None], position_ids=places, use_cache=False).logits[0]
    return list(logits.split([len(part) for part in parts]))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_packed_document_has_the_logits_it_has_alone(name: str) -> None:
    model, parts = model_of(name), documents()
    alone = [model(input_ids=part[None]).logits[0] for part in parts]  # by transformers' own attention
    use_segments(model)
    for ours, own in zip(packed_logits(model, parts), alone, strict=True):
        torch.testing.assert_close(ours, own, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_another_document_changes_nothing_to_the_bit(name: str) -> None:
    model, parts = model_of(name), documents()
    use_segments(model)
    before = packed_logits(model, parts)
    parts[2] = documents(seed=1)[2]
    after = packed_logits(model, parts)
    assert [torch.equal(*pair) for pair in zip(before, after, strict=True)] == [True, True, False, True]


def test_gradients_are_those_of_the_documents_alone() -> None:
    model, parts = model_of("Qwen2"), documents()
    sum(model(input_ids=part[None]).logits.square().sum() for part in parts).backward()
    alone = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    use_segments(model)
    sum(logits.square().sum() for logits in packed_logits(model, parts)).backward()
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.grad, alone[name], rtol=1e-4, atol=1e-5 * float(alone[name].abs().max()))


def test_no_mask_of_all_by_all_is_built() -> None:
    model = model_of("Llama")
    seen = []
    layer = model.model.layers[0].self_attn
    layer.register_forward_pre_hook(lambda _, args, kwargs: seen.append(kwargs["attention_mask"]), with_kwargs=True)
    use_segments(model)
    packed_logits(model, documents())
    assert isinstance(seen[0], Segments)
    assert seen[0].lengths == LENGTHS
    assert seen[0].bounds.tolist() == [0, 5, 6, 18, 27]


def test_padded_batches_and_generation_stay_as_they_were() -> None:
    model, parts = model_of("Qwen3"), documents()
    ids = torch.stack([functional_pad(part) for part in parts])
    asked = {"input_ids": ids, "attention_mask": (ids != 0).long()}
    before = model(**asked).logits, model.generate(**asked, max_new_tokens=4, do_sample=False)
    use_segments(model)
    torch.testing.assert_close(model(**asked).logits, before[0])
    assert torch.equal(model.generate(**asked, max_new_tokens=4, do_sample=False), before[1])


def functional_pad(part: torch.Tensor) -> torch.Tensor:
    return nn.functional.pad(part, (max(LENGTHS) - len(part), 0))


def test_gradient_checkpointing_keeps_documents_apart() -> None:
    model, parts = model_of("Qwen2").train(), documents()
    use_segments(model)
    gradients = []
    for enable in (model.gradient_checkpointing_disable, model.gradient_checkpointing_enable):
        enable()
        model.zero_grad()
        packed_logits(model, parts)[2].square().sum().backward()
        gradients.append([weight.grad.clone() for weight in model.parameters()])
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))


def test_a_saved_model_does_not_ask_for_our_attention(tmp_path: Any) -> None:
    model = model_of("Qwen2")
    use_segments(model)
    model.save_pretrained(tmp_path)
    assert NAME not in (tmp_path / "config.json").read_text()


def test_a_model_that_mixes_tokens_in_another_way_is_refused() -> None:
    config = transformers.MambaConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, state_size=4)
    with pytest.raises(UserError, match=r"MambaForCausalLM .* keep packed documents apart"):
        use_segments(transformers.MambaForCausalLM(config))


def test_what_would_change_the_scores_is_refused() -> None:
    query = torch.randn(1, 2, 4, 8)
    segments = Segments(torch.tensor([0, 2, 4], dtype=torch.int32), (2, 2))
    with pytest.raises(ValueError, match="softcap"):
        segment_attention(nn.Identity(), query, query, query, segments, softcap=30.0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["Qwen2", "Mistral with a window", "Llama"])
def test_the_kernel_of_a_gpu_agrees_with_documents_alone(name: str) -> None:
    model = model_of(name).to("cuda", torch.bfloat16)
    parts = [part.cuda() for part in documents()]
    alone = [model(input_ids=part[None]).logits[0] for part in parts]
    use_segments(model)
    places = torch.cat([torch.arange(len(part)) for part in parts])[None].cuda()
    logits = model(input_ids=torch.cat(parts)[None], position_ids=places, use_cache=False).logits[0]
    for ours, own in zip(logits.split(LENGTHS), alone, strict=True):
        torch.testing.assert_close(ours, own, rtol=5e-2, atol=5e-2)
