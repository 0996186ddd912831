"""Log-probabilities of answers without logits of everything, differentiable: what a loss over whole answers needs.

A preference loss knows the weight of a token only when both answers of its pair are summed up. So the logits of a chunk
are made twice, forward and backward, and never kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from transformers.utils import ModelOutput

from pediatricsgpt.models.segments import sharing_prompts
from pediatricsgpt.training.output_head import Gradients, OutputHead, base_of, exponentials, loss_to_gradient, teach

_MARK = "_answers_with_log_probabilities"


@dataclass
class AnswerOutput(ModelOutput):  # type: ignore[misc]
    """What a model says of answers."""

    log_probabilities: torch.Tensor | None = None
    """[n] float32, of each wanted token"""


def add_log_probabilities(model: Any) -> None:
    """Teach a causal LM to answer `model(..., answer_positions=, answer_targets=)`; other calls stay as they are.

    `answer_positions` [n] are places of a packed sequence, `answer_targets` [n] the tokens that follow there, and
    `prompts`, where given, the shared prompts of `segments.sharing_prompts`. It is computed inside the model's own
    `forward`, which DDP, FSDP2 and DeepSpeed wrap. The answer is an `AnswerOutput`.

    Args:
        model: a causal LM of transformers, or an adapter around one; changed in place.
    """

    def answer(
        own: Any, *args: Any, answer_positions: Any, answer_targets: Any, prompts: Any = None, **inputs: Any
    ) -> Any:
        with sharing_prompts(prompts):
            hidden = own.base_model(*args, **inputs).last_hidden_state
        return AnswerOutput(log_probabilities=log_probabilities(own, hidden[0, answer_positions], answer_targets))

    teach(base_of(model), _MARK, "answer_targets", answer)


def log_probabilities(model: Any, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Log-probability of each target under the model's output head.

    Args:
        model: the causal LM whose head, scale and soft cap count.
        hidden: [n, width], last hidden states.
        targets: [n] token ids.

    Returns:
        [n] float32.
    """
    head = OutputHead.of(model, hidden.device.type)
    if head.is_plain:
        return head.fused(_Head, hidden, targets)
    return -torch.cat(head.by_call(hidden, targets, "none"))


class _Head(torch.autograd.Function):  # type: ignore[misc]
    """Head and log-softmax; a chunk's logits are made anew for the backward pass."""

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
        ctx.save_for_backward(hidden, weight, bias, targets)
        ctx.how = scale, cap, size, dtype
        found = hidden.new_empty(len(targets), dtype=torch.float32)
        with torch.autocast(device, enabled=False):
            matrix, shift = weight.to(dtype), None if bias is None else bias.to(dtype)
            for start in range(0, len(targets), size):
                logits = functional.linear(hidden[start : start + size].to(dtype), matrix, shift).float().mul_(scale)
                if cap:
                    logits.div_(cap).tanh_().mul_(cap)
                column = targets[start : start + size, None]
                chosen = logits.gather(1, column)
                largest, whole = exponentials(logits)
                found[start : start + size] = (chosen - largest - whole.log())[:, 0]
        return found

    @staticmethod
    def backward(ctx: Any, *outer: torch.Tensor) -> Any:
        hidden, weight, bias, targets = ctx.saved_tensors
        scale, cap, size, dtype = ctx.how
        with torch.autocast(hidden.device.type, enabled=False):
            grads = Gradients.like(hidden, weight, bias, ctx.needs_input_grad, dtype)
            matrix, shift = weight.to(dtype), None if bias is None else bias.to(dtype)
            for start in range(0, len(targets), size):
                part = hidden[start : start + size].to(dtype)
                logits = functional.linear(part, matrix, shift).float()
                loss_to_gradient(logits, targets[start : start + size], scale, cap)
                logits.mul_(outer[0][start : start + size, None]).neg_()  # of the loss, so of minus what is answered
                grads.add(logits.to(dtype), part, matrix, start)
        return (
            None if grads.hidden is None else grads.hidden.to(hidden.dtype),
            None if grads.weight is None else grads.weight.to(weight.dtype),
            None if grads.bias is None or bias is None else grads.bias.to(bias.dtype),
            *[None] * 4,
        )
