"""The output head of a causal LM, a chunk of positions at a time: what losses without logits of everything share."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

_WHOLE = (torch.nn.Parameter, torch.Tensor, FakeTensor)  # the last one in an estimate
# Logits that exist at one time: few enough for a CPU's cache, enough for a GPU's many cores.
CHUNK_LOGITS = {"cpu": 1 << 22, "cuda": 1 << 27}


def base_of(model: Any) -> Any:
    """The causal LM itself, of an adapter around one too."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def teach(base: Any, mark: str, asked: str, answer: Callable[..., Any]) -> None:
    """Let a causal LM answer calls that have the keyword `asked` by `answer(model, ...)`; others stay as they are.

    It has to happen inside the model's own `forward`: DDP, FSDP2 and DeepSpeed wrap that call.

    Args:
        base: a causal LM of transformers; changed in place, once for each `mark`.
        mark: the attribute that remembers it.
        asked: the keyword that such a call has.
        answer: is given the model and the call's arguments, without `labels`.
    """
    if getattr(base, mark, False):
        return
    own = base.__dict__.get("forward")  # where something else (accelerate's hooks) has been here before

    @functools.wraps(type(base).forward)
    def forward(self: Any, *args: Any, **inputs: Any) -> Any:
        if inputs.get(asked) is None:
            # Not a method bound once and for all: it would stay the original's when the model is copied.
            return own(*args, **inputs) if own else type(self).forward(self, *args, **inputs)
        inputs.pop("labels", None)
        return answer(self, *args, **inputs)

    setattr(base, mark, True)
    base.forward = types.MethodType(forward, base)


@dataclass(frozen=True, slots=True)
class OutputHead:
    """The head of a model with what the model does to its logits."""

    module: Any
    scale: float
    cap: float | None
    size: int
    """Positions in a chunk"""

    @classmethod
    def of(cls, model: Any, device: str) -> OutputHead:
        """The head as it is now: FSDP2 and PEFT replace it after a model was made."""
        config = model.config.get_text_config()
        size = max(64, CHUNK_LOGITS.get(device, 1 << 24) // config.vocab_size)
        return cls(model.get_output_embeddings(), *_scale_and_cap(config), size)

    @property
    def is_plain(self) -> bool:
        """Whether it is `x W + b` with weights that lie here whole: no adapter, no quantisation, no shards."""
        return _is_plain(self.module)

    def fused(self, function: Any, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """`function` of a plain head: hidden states, weight, bias, targets, scale, cap, chunk."""
        tensors = [hidden, self.module.weight, self.module.bias]
        if not torch.is_grad_enabled():  # inside, weights would still ask for the gradients that are made on the way
            tensors = [None if one is None else one.detach() for one in tensors]
        found: torch.Tensor = function.apply(*tensors, targets, self.scale, self.cap, self.size)
        return found

    def by_call(self, hidden: torch.Tensor, targets: torch.Tensor, reduction: str) -> list[torch.Tensor]:
        """The cross-entropy of each chunk through the head's own call, computed again in the backward pass."""
        size = self.size
        if distributed.is_initialized():
            # Calling the head may gather its shards from all processes, so that all must call it equally often: once.
            size = max(size, len(targets))

        def of_chunk(part: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
            logits = self.module(part).float() * self.scale
            logits = torch.tanh(logits / self.cap) * self.cap if self.cap else logits
            return functional.cross_entropy(logits, wanted, reduction=reduction)

        chunks = zip(hidden.split(size), targets.split(size), strict=True)
        return [checkpoint(of_chunk, part, wanted, use_reentrant=False) for part, wanted in chunks]


def _is_plain(head: Any) -> bool:
    """Whether the head is `x W + b` with weights that lie here whole: no adapter, no quantisation, no shards."""
    hooks = head._forward_hooks or head._forward_pre_hooks or head._backward_hooks or head._backward_pre_hooks
    weights = [weight for weight in (getattr(head, "weight", None), getattr(head, "bias", None)) if weight is not None]
    local = all(type(weight) in _WHOLE and not hasattr(weight, "ds_id") for weight in weights)
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


def loss_to_gradient(logits: torch.Tensor, targets: torch.Tensor, scale: float, cap: float | None) -> torch.Tensor:
    """Summed loss of a chunk; `logits` [n, vocabulary] float32 become the gradient for what the head gave out."""
    slope = None
    if scale != 1.0:
        logits.mul_(scale)
    if cap:
        logits.div_(cap).tanh_()
        slope = 1.0 - logits.square()
        logits.mul_(cap)
    column = targets[:, None]
    wanted = logits.gather(1, column)
    largest, whole = exponentials(logits)
    loss = (largest + whole.log() - wanted).sum()
    logits.div_(whole)
    logits.scatter_add_(1, column, logits.new_full((1, 1), -1.0).expand(len(targets), 1))
    if slope is not None:
        logits.mul_(slope)
    if scale != 1.0:
        logits.mul_(scale)
    return loss


def exponentials(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn `logits` [n, vocabulary] into exp(logits - largest) in place, without a copy as `logsumexp` makes two.

    Returns:
        the largest of each row and the sum of its exponentials, both [n, 1]; the normaliser is largest + log(sum).
    """
    largest = logits.amax(1, keepdim=True)
    return largest, logits.sub_(largest).exp_().sum(1, keepdim=True)


class Gradients:
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
    ) -> Gradients:
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
