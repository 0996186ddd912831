"""Pairs in packed sequences, the prompt once or twice: each answer as if it were alone, forward and backward."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from pediatricsgpt.models.segments import sharing_prompts, use_segments
from pediatricsgpt.training.preference.batches import batch, pieces
from pediatricsgpt.training.preference.log_probabilities import add_log_probabilities
from pediatricsgpt.training.preference.trainer import answers, can_share
from tests.models.test_segments import ARCHITECTURES, model_of

SIZES = ((5, 7, 9), (12, 1, 3), (3, 8, 1), (1, 1, 1), (9, 4, 4))
WEIGHTS = torch.arange(1.0, 11.0).view(5, 2)  # unlike for each answer, so that gradients cannot change places


def _pairs() -> list[dict[str, list[int]]]:
    generator = torch.Generator().manual_seed(1)
    names = ("prompt_ids", "chosen_ids", "rejected_ids")
    return [
        {name: torch.randint(1, 97, (n,), generator=generator).tolist() for name, n in zip(names, sizes, strict=True)}
        for sizes in SIZES
    ]


def _alone(model: Any) -> torch.Tensor:
    """Each answer by the model's own logits."""
    found = []
    for pair in _pairs():
        for side in ("chosen_ids", "rejected_ids"):
            prompt, answer = pair["prompt_ids"], pair[side]
            logits = model(input_ids=torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
            found.append(logits[torch.arange(len(prompt) - 1, len(prompt) + len(answer) - 1), answer].sum())
    return torch.stack(found).view(-1, 2)


def _gradients(model: Any, values: torch.Tensor) -> list[torch.Tensor]:
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    found = torch.autograd.grad((values * WEIGHTS).sum(), weights, allow_unused=True)
    return [torch.zeros_like(weight) if grad is None else grad for grad, weight in zip(found, weights, strict=True)]


def _assert_alike(model: Any, share: bool, wanted: torch.Tensor, gradients: list[torch.Tensor]) -> None:
    found = answers(model, batch(_pairs(), range(5), share))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    for one, other in zip(_gradients(model, found), gradients, strict=True):
        assert float((one - other).abs().max()) <= 1e-5 * max(float(other.abs().max()), 1.0)


@pytest.mark.parametrize("share", [True, False], ids=["shared", "apart"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_answers_and_gradients_are_those_of_each_alone(name: str, share: bool) -> None:
    model = model_of(name)
    wanted = _alone(model)
    gradients = _gradients(model, wanted)
    use_segments(model)
    add_log_probabilities(model)
    _assert_alike(model, share, wanted, gradients)
    assert can_share(model)


@pytest.mark.parametrize("share", [True, False], ids=["shared", "apart"])
def test_the_same_with_gradient_checkpointing_and_an_adapted_head(share: bool) -> None:
    config = LoraConfig(r=2, target_modules=["q_proj", "lm_head"], init_lora_weights=False)
    model = get_peft_model(model_of("Llama"), config)
    wanted = _alone(model)
    gradients = _gradients(model, wanted)
    use_segments(model)
    add_log_probabilities(model)
    model.train()
    model.enable_input_require_grads()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    _assert_alike(model, share, wanted, gradients)


def test_a_shared_prompt_lies_there_once() -> None:
    pairs = _pairs()
    for share, times in ((True, 1), (False, 2)):
        tokens = sum(times * prompt + chosen + rejected for prompt, chosen, rejected in SIZES)
        assert batch(pairs, range(5), share)["input_ids"].shape == (1, tokens)
        assert sum(piece.stop for piece in pieces(pairs, share)) == tokens


def test_a_batch_without_pairs_has_a_gradient_of_zero() -> None:
    model = model_of("Qwen2")
    use_segments(model)
    add_log_probabilities(model)
    found = answers(model, batch([], [], True))
    assert found.shape == (0, 2)
    found.sum().backward()
    assert all(weight.grad is None or not weight.grad.any() for weight in model.parameters())


def test_prompts_told_for_other_documents_are_refused() -> None:
    model = model_of("Qwen2")
    use_segments(model)
    ids, places = torch.arange(1, 9)[None], torch.tensor([[0, 1, 2, 3, 0, 1, 2, 3]])
    with sharing_prompts((0, 2, 0)), pytest.raises(ValueError, match="3 packed documents"):
        model(input_ids=ids, position_ids=places, use_cache=False)
    assert model(input_ids=ids, position_ids=places, use_cache=False).logits.isfinite().all()


def test_a_model_that_cannot_share_is_found_out() -> None:
    from pediatricsgpt.models.baichuan import BaichuanConfig
    from pediatricsgpt.models.baichuan.modelling import BaichuanForCausalLM

    torch.manual_seed(0)
    config = BaichuanConfig(
        vocab_size=97,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        position_embedding="alibi",
    )
    model = BaichuanForCausalLM(config).eval()
    use_segments(model)
    add_log_probabilities(model)
    assert not can_share(model)
