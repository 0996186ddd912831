"""The loss of next tokens without logits of everything: hidden states first, the output head where loss is carried.

Logits of all positions are the largest tensor of a training step (tokens x vocabulary, twice over in float32), and in
supervised fine-tuning a good part of them, those of the questions, is thrown away. Here the head sees the positions
that carry loss, a chunk at a time; a chunk's logits are gone before the next chunk comes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from transformers.modeling_outputs import CausalLMOutput

from pediatricsgpt.errors import UserError
from pediatricsgpt.training.output_head import Gradients, OutputHead, base_of, loss_to_gradient, teach

_MARK = "_answers_with_token_loss"


def add_token_loss(model: Any) -> None:
    """Teach a causal LM to answer `model(..., loss_positions=, targets=)` with a loss; other calls stay as they are.

    The loss has to be computed inside the model's own `forward`: DDP, FSDP2 and DeepSpeed wrap that call.
    The answer is a `CausalLMOutput` whose `loss` is the **sum** of the negative log-likelihoods, in float32.

    Args:
        model: a causal LM of transformers, or an adapter around one; changed in place.

    Raises:
        UserError: the model adds another term to its loss (a mixture of experts that balances its routers).
    """
    base = base_of(model)
    if getattr(base.config.get_text_config(), "output_router_logits", False):
        raise UserError(f"{type(base).__name__} adds a routing loss of its own; set output_router_logits to false")

    def answer(own: Any, *args: Any, loss_positions: Any, targets: Any, **inputs: Any) -> Any:
        hidden = own.base_model(*args, **inputs).last_hidden_state
        return CausalLMOutput(loss=summed_loss(own, hidden[0, loss_positions], targets))

    teach(base, _MARK, "targets", answer)


def summed_loss(model: Any, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Sum of the negative log-likelihoods of `targets` under the model's output head.

    Args:
        model: the causal LM whose head, scale and soft cap count.
        hidden: [n, width], last hidden states.
        targets: [n] token ids.

    Returns:
        a float32 scalar; 0, with a gradient of 0, where n is 0.
    """
    head = OutputHead.of(model, hidden.device.type)
    if head.is_plain:
        return head.fused(_FusedHead, hidden, targets)
    return torch.stack(head.by_call(hidden, targets, "sum")).sum()


class _FusedHead(torch.autograd.Function):  # type: ignore[misc]
    """Head and cross-entropy at once: the gradients are made while a chunk's logits are there, which is only once."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        scale: float,
        cap: float | None,
        size: int,
    ) -> torch.Tensor:
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
        ctx.dtypes = hidden.dtype, weight.dtype
        with torch.autocast(device, enabled=False):
            grads = Gradients.like(hidden, weight, bias, ctx.needs_input_grad, dtype)
            matrix, shift = weight.to(dtype), None if bias is None else bias.to(dtype)
            total = hidden.new_zeros((), dtype=torch.float32)
            for start in range(0, len(targets), size):
                part, wanted = hidden[start : start + size].to(dtype), targets[start : start + size]
                logits = functional.linear(part, matrix, shift).float()
                total += loss_to_gradient(logits, wanted, scale, cap)
                grads.add(logits.to(dtype), part, matrix, start)
        ctx.grads = grads
        return total

    @staticmethod
    def backward(ctx: Any, *outer: torch.Tensor) -> Any:
        (factor,) = outer
        grads, (hidden_dtype, weight_dtype) = ctx.grads, ctx.dtypes
        ctx.grads = None  # used up: they are scaled in place
        hidden, weight, bias = (
            None if grad is None else grad.mul_(factor) for grad in (grads.hidden, grads.weight, grads.bias)
        )
        return (
            None if hidden is None else hidden.to(hidden_dtype),
            None if weight is None else weight.to(weight_dtype),
            None if bias is None else bias.to(weight_dtype),
            *[None] * 4,
        )
