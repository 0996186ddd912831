"""The experts' arithmetic as one autograd function: their outputs are added in place, and almost nothing is kept.

With x the clean input of N tokens, x' the same after dropout, W0 x already in `result`:

    R = x' A^T                       [N, (T+1) r]   what every expert makes of a token
    g = softmax(x W_g^T + eps * softplus(x W_n^T))  [N, T], float32
    H = R * s [1, g]                 [N, (T+1) r]   the gates act in rank space
    y = result + H B^T               [N, d_out]     added in place

The backward pass is written out because autograd would keep H and both factors of each product, and would add three
tensors of the size of the input. Products are taken in the type of `result`, whatever type the weights are stored in;
router, noise, softmax and their gradients are float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from pediatricsgpt.experts.balance import Balance

NUMBERS_AT_ONCE = {"cpu": 2**18}
"""Numbers of x that are widened to float32 together for the router: on a CPU as many as stay in its cache"""
NUMBERS_ELSEWHERE = 2**26


def gates(
    x: Tensor, router: Tensor, noise: Tensor | None = None, eps: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """The share of each specific expert for each token, and what the noise's gradient needs.

    Args:
        x: [N, d_in], of any floating type.
        router: W_g [T, d_in], and `noise` W_n [T, d_in].
        eps: standard normal [N, T]; without it there is no noise.

    Returns:
        g [N, T] in float32, its rows sum to 1; d(logits)/d(x W_n^T) [N, T], or None without noise.
    """
    if eps is None or noise is None:
        return _in_float32(x, router).softmax(dim=-1), None
    logits, raw = _in_float32(x, torch.cat((router.float(), noise.float()))).chunk(2, dim=-1)
    return (logits + eps * F.softplus(raw)).softmax(dim=-1), eps * torch.sigmoid(raw)


class ExpertsFunction(torch.autograd.Function):
    """y = result + s * ( B_u A_u x' + sum_j g_j(x) B_j A_j x' ); see the module for shapes and symbols."""

    @staticmethod
    def forward(
        ctx: Any,
        result: Tensor,
        x: Tensor,
        dropped: Tensor | None,
        frozen: Tensor | None,
        down: Tensor,
        up: Tensor,
        router: Tensor,
        noise: Tensor | None,
        eps: Tensor | None,
        scaling: float,
        balance: Balance | None,
    ) -> tuple[Tensor, Tensor]:
        """Add the experts to `result` in place.

        Args:
            result: [N, d_out], the frozen layer's output; overwritten.
            x: [N, d_in], clean.
            dropped: [N, d_in] after dropout, or None where that is x itself.
            frozen: W0 [d_out, d_in] if `result` was computed from x without a graph: its part of the gradient by x is
                then taken here, where the experts' part is added to it in place. None: autograd does it.
            down: A [(T+1) r, d_in]; up: B [d_out, (T+1) r]; router, noise: [T, d_in]; eps: [N, T] or None.
            balance: adds the gradient of the load-balance loss, or None.

        Returns:
            `result`, and the gates [N, T] (not differentiable).
        """
        dtype = result.dtype
        with autocast_off(x.device.type):
            shares, through_noise = gates(x, router, noise, eps)
            ranks = (x if dropped is None else dropped).to(dtype) @ down.to(dtype).t()
            result.addmm_(_gated(ranks, shares, scaling), up.to(dtype).t())
        ctx.save_for_backward(x, dropped, frozen, down, up, router, noise, ranks, shares, through_noise)
        ctx.scaling, ctx.balance = scaling, balance
        ctx.mark_dirty(result)
        ctx.mark_non_differentiable(shares)
        return result, shares

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of result, x, dropped x, A, B, router and noise; the frozen layer's own is `grad` itself."""
        x, dropped, frozen, down, up, router, noise, ranks, shares, through_noise = ctx.saved_tensors
        _, wants_x, wants_dropped, _, wants_down, wants_up, wants_router, wants_noise, *_ = ctx.needs_input_grad
        dtype, scaling = ranks.dtype, ctx.scaling
        grad = grad.to(dtype)
        with autocast_off(x.device.type):
            grad_up = (grad.t() @ _gated(ranks, shares, scaling)).to(up.dtype) if wants_up else None
            grad_gated = grad @ up.to(dtype)
            grad_ranks = _gated(grad_gated, shares, scaling)
            grad_logits = _through_softmax(grad_gated, ranks, shares, scaling, ctx.balance)
            routed = grad_logits if through_noise is None else torch.cat((grad_logits, grad_logits * through_noise), 1)
            weights = router if through_noise is None else torch.cat((router.float(), noise.float()))

            inputs = x if dropped is None else dropped
            grad_down = (grad_ranks.t() @ inputs.to(dtype)).to(down.dtype) if wants_down else None
            grad_routed = _weight_in_float32(routed, x) if wants_router or wants_noise else None
            grad_x = grad_dropped = None
            if dropped is not None and wants_dropped:
                grad_dropped = (grad_ranks @ down.to(dtype)).to(dropped.dtype)
            if wants_x:
                first, second = [routed.to(dtype)], [weights.to(dtype)]
                if dropped is None:
                    first, second = [grad_ranks, *first], [down.to(dtype), *second]
                left, right = torch.cat(first, 1), torch.cat(second)
                grad_x = left @ right if frozen is None else (grad @ frozen.to(dtype)).addmm_(left, right)
                grad_x = grad_x.to(x.dtype)
        grad_router = grad_noise = None
        if grad_routed is not None:
            grad_router = grad_routed[: len(router)].to(router.dtype)
            if through_noise is not None:
                grad_noise = grad_routed[len(router) :].to(noise.dtype)
        return grad, grad_x, grad_dropped, None, grad_down, grad_up, grad_router, grad_noise, None, None, None


def _gated(ranks: Tensor, shares: Tensor, scaling: float) -> Tensor:
    """R * s [1, g]: [N, (T+1) r], the universal expert's share is always 1."""
    with_universal = F.pad(shares, (1, 0), value=1.0) * scaling
    experts = with_universal.shape[-1]
    each = ranks.unflatten(-1, (experts, -1))
    return (each * with_universal.to(ranks.dtype).unsqueeze(-1)).flatten(-2)


def _through_softmax(
    grad_gated: Tensor, ranks: Tensor, shares: Tensor, scaling: float, balance: Balance | None
) -> Tensor:
    """The loss's gradient by the router's logits: [N, T] in float32."""
    experts = shares.shape[-1] + 1
    products = (grad_gated * ranks).unflatten(-1, (experts, -1))
    grad_shares = products[:, 1:].sum(dim=-1, dtype=torch.float32) * scaling
    if balance is not None:
        grad_shares = grad_shares + balance.gradient(shares)
    return shares * (grad_shares - (grad_shares * shares).sum(dim=-1, keepdim=True))


def _widened(x: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """x [N, d] in float32, some tokens at a time, with their places; the pieces share one buffer."""
    if x.dtype == torch.float32:
        yield slice(None), x
        return
    tokens = max(32, NUMBERS_AT_ONCE.get(x.device.type, NUMBERS_ELSEWHERE) // x.shape[1])
    buffer = torch.empty(min(tokens, len(x)), x.shape[1], device=x.device)
    for start in range(0, len(x), tokens):
        part = x[start : start + tokens]
        yield slice(start, start + len(part)), buffer[: len(part)].copy_(part)


def _in_float32(x: Tensor, weight: Tensor) -> Tensor:
    """x W^T in float32 for x [N, d_in] of any type, without a float32 copy of all of x: [N, rows of W]."""
    weight = weight.float()
    result = weight.new_empty(len(weight), len(x))  # products with W on the left are twice as fast on a CPU
    for tokens, part in _widened(x):
        result[:, tokens] = weight @ part.t()
    return result.t()


def _weight_in_float32(grad: Tensor, x: Tensor) -> Tensor:
    """grad^T x in float32, for grad [N, k] in float32 and x [N, d_in] of any type: [k, d_in]."""
    total = grad.new_zeros(grad.shape[1], x.shape[1])
    for tokens, part in _widened(x):
        total.addmm_(grad[tokens].t(), part)
    return total


def autocast_off(device_type: str) -> AbstractContextManager[Any]:
    """Full precision inside mixed-precision training; devices without autocast (meta) need nothing."""
    if torch.amp.is_autocast_available(device_type):
        off: AbstractContextManager[Any] = torch.autocast(device_type, enabled=False)
        return off
    return nullcontext()
