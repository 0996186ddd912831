"""The loss of next tokens without logits of everything: hidden states first, the output head where loss is carried.

Logits of all positions are the largest tensor of a training step (tokens x vocabulary, twice over in float32), and in
supervised fine-tuning a good part of them, those of the questions, is thrown away. Here the head sees the positions
that carry loss, a chunk at a time; a chunk's logits are gone before the next chunk comes.
"""

from __future__ import annotations

import functools
import types
from typing import Any

import torch
from torch import distributed
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers.modeling_outputs import CausalLMOutput

from pediatricsgpt.errors import UserError

# Logits that exist at one time: few enough for a CPU's cache, enough for a GPU's many cores.
_CHUNK_LOGITS = {"cpu": 1 << 22, "cuda": 1 << 27}
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
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if getattr(base, _MARK, False):
        return
    if getattr(base.config.get_text_config(), "output_router_logits", False):
        raise UserError(f"{type(base).__name__} adds a routing loss of its own; set output_router_logits to false")
    own = base.__dict__.get("forward")  # where something else (accelerate's hooks) has been here before

    @functools.wraps(type(base).forward)
    def forward(self: Any, *args: Any, loss_positions: Any = None, targets: Any = None, **inputs: Any) -> Any:
        if targets is None:
            # Not a method bound once and for all: it would stay the original's when the model is copied.
            return own(*args, **inputs) if own else type(self).forward(self, *args, **inputs)
        inputs.pop("labels", None)
        hidden = self.base_model(*args, **inputs).last_hidden_state
        # The head is looked up at every call: FSDP2 and PEFT replace it afterwards.
        return CausalLMOutput(loss=summed_loss(self, hidden[0, loss_positions], targets))

    setattr(base, _MARK, True)
    base.forward = types.MethodType(forward, base)


def summed_loss(model: Any, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Sum of the negative log-likelihoods of `targets` under the model's output head.

    Args:
        model: the causal LM whose head, scale and soft cap count.
        hidden: [n, width], last hidden states.
        targets: [n] token ids.

    Returns:
        a float32 scalar; 0, with a gradient of 0, where n is 0.
    """
    head = model.get_output_embeddings()
    scale, cap = _scale_and_cap(model.config.get_text_config())
    size = max(64, _CHUNK_LOGITS.get(hidden.device.type, 1 << 24) // model.config.get_text_config().vocab_size)
    if _is_plain(head):
        loss: torch.Tensor = _FusedHead.apply(hidden, head.weight, head.bias, targets, scale, cap, size)
        return loss
    if distributed.is_initialized():
        # Calling the head may gather its shards from all processes, so that all must call it equally often: once.
        size = max(size, len(targets))
    parts = zip(hidden.split(size), targets.split(size), strict=True)
    return torch.stack([_rematerialised(head, part, wanted, scale, cap) for part, wanted in parts]).sum()


def _rematerialised(
    head: torch.nn.Module, hidden: torch.Tensor, targets: torch.Tensor, scale: float, cap: float | None
) -> torch.Tensor:
    """The loss of a chunk through the head's own call, computed again in the backward pass instead of kept."""

    def loss(part: torch.Tensor) -> torch.Tensor:
        logits = head(part).float() * scale
        return functional.cross_entropy(torch.tanh(logits / cap) * cap if cap else logits, targets, reduction="sum")

    result: torch.Tensor = checkpoint(loss, hidden, use_reentrant=False)
    return result


def _is_plain(head: Any) -> bool:
    """Whether the head is `x W + b` with weights that lie here whole: no adapter, no quantisation, no shards."""
    hooks = head._forward_hooks or head._forward_pre_hooks or head._backward_hooks or head._backward_pre_hooks
    weights = [weight for weight in (getattr(head, "weight", None), getattr(head, "bias", None)) if weight is not None]
    local = all(
        type(weight) in (torch.nn.Parameter, torch.Tensor) and not hasattr(weight, "ds_id") for weight in weights
    )
    return type(head) is torch.nn.Linear and local and not hooks


def _scale_and_cap(config: Any) -> tuple[float, float | None]:
    """What the model does to the logits of its head: a factor and a soft cap (Gemma, Cohere, Granite, Falcon-H1)."""
    cap = getattr(config, "final_logit_softcapping", None)
    for name in ("logit_scale", "output_multiplier", "lm_head_multiplier"):
        if getattr(config, name, None) is not None:
            return float(getattr(config, name)), cap
    divisor = getattr(config, "logits_scaling", None)
    if divisor is None:
        return 1.0, cap
    return (float(divisor) if config.model_type == "hyperclovax" else 1.0 / float(divisor)), cap


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
            grads = _Gradients.like(hidden, weight, bias, ctx.needs_input_grad, dtype)
            matrix, shift = weight.to(dtype), None if bias is None else bias.to(dtype)
            total = hidden.new_zeros((), dtype=torch.float32)
            for start in range(0, len(targets), size):
                part, wanted = hidden[start : start + size].to(dtype), targets[start : start + size]
                logits = functional.linear(part, matrix, shift).float()
                total += _loss_to_gradient(logits, wanted, scale, cap)
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


def _loss_to_gradient(logits: torch.Tensor, targets: torch.Tensor, scale: float, cap: float | None) -> torch.Tensor:
    """Summed loss of a chunk; `logits` [n, vocabulary] float32 become the gradient for what the head gave out."""
    slope = None
    if scale != 1.0:
        logits.mul_(scale)
    if cap:
        logits.div_(cap).tanh_()
        slope = 1.0 - logits.square()
        logits.mul_(cap)
    column = targets[:, None]
    normaliser = logits.logsumexp(1, keepdim=True)
    loss = (normaliser - logits.gather(1, column)).sum()
    logits.sub_(normaliser).exp_()
    logits.scatter_add_(1, column, logits.new_full((1, 1), -1.0).expand(len(targets), 1))
    if slope is not None:
        logits.mul_(slope)
    if scale != 1.0:
        logits.mul_(scale)
    return loss


class _Gradients:
    """Gradients of hidden states, weight and bias, those that are asked for."""

    def __init__(self, hidden: torch.Tensor | None, weight: torch.Tensor | None, bias: torch.Tensor | None) -> None:
        self.hidden, self.weight, self.bias = hidden, weight, bias

    @classmethod
    def like(
        cls,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        wanted: tuple[bool, ...],
        dtype: torch.dtype,
    ) -> _Gradients:
        """Empty ones; those of the weights are summed over chunks in float32."""
        return cls(
            torch.empty_like(hidden, dtype=dtype) if wanted[0] else None,
            torch.zeros_like(weight, dtype=torch.float32) if wanted[1] else None,
            torch.zeros_like(bias, dtype=torch.float32) if bias is not None and wanted[2] else None,
        )

    def add(self, grad: torch.Tensor, hidden: torch.Tensor, matrix: torch.Tensor, start: int) -> None:
        """Take in a chunk: the gradient of its logits [n, vocabulary] and its hidden states."""
        if self.hidden is not None:
            torch.mm(grad, matrix, out=self.hidden[start : start + len(hidden)])
        if self.weight is not None:
            if grad.dtype == torch.float32:
                self.weight.addmm_(grad.t(), hidden)
            else:
                self.weight += grad.t() @ hidden
        if self.bias is not None:
            self.bias += grad.sum(0, dtype=torch.float32)
