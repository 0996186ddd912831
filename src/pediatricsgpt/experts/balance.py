"""The load-balance loss of the specific experts, and the gates of a forward pass for whoever watches them.

    L = coefficient * mean over layers of ( T * sum_j p_j^2 - 1 ),  p_j the mean share of expert j over the tokens

It is the squared coefficient of variation of the experts' importance (Shazeer et al., 2017, section 4), 0 when every
expert has the same share on average and T - 1 when one has all. The method itself has no such term; it is an option.

Its gradient by the gates needs the gates alone, so each layer adds it in its own backward pass. Under gradient
checkpointing, where a forward pass runs twice and the first one may keep no graph, it is so counted exactly once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Watch = Callable[[str, str, Tensor, Tensor | None], None]
"""Is given the names of a layer and an adapter, the gates [N, T] and which of the N tokens count ([N] of bool, or None
for all)"""


@dataclass(slots=True)
class Routing:
    """What the layers of one model share while it runs."""

    mask: Tensor | None = None
    """[N] of bool: the tokens of this batch that are no padding, or None if all count"""
    layers: dict[str, int] = field(default_factory=dict)
    """Adapted layers by adapter: the balance loss is their mean"""
    factor: Tensor | float = 1.0
    """What the main loss is multiplied by on its way into the backward pass (accumulation, loss scaling)"""
    values: dict[tuple[int, str], Tensor] = field(default_factory=dict)
    """What each layer (by its id) and adapter adds to the loss of the latest forward pass"""
    watch: Watch | None = None

    def valid(self, tokens: int) -> Tensor | None:
        """The mask, if it is one of this many tokens."""
        return self.mask if self.mask is not None and self.mask.numel() == tokens else None


@dataclass(slots=True)
class Balance:
    """The balance loss of one layer in one forward pass."""

    coefficient: float
    routing: Routing
    layers: int
    mask: Tensor | None

    @property
    def weight(self) -> float:
        """This layer's part of the coefficient."""
        return self.coefficient / self.layers

    def value(self, shares: Tensor) -> Tensor:
        """weight * ( T * sum_j p_j^2 - 1 ) for gates [N, T]; a number in [0, weight * (T - 1)]."""
        return self.weight * (shares.shape[-1] * self._importance(shares)[0].square().sum() - 1)

    def gradient(self, shares: Tensor) -> Tensor:
        """The gradient of the weighted loss by the gates: [N, T], float32, 0 for padding."""
        importance, tokens = self._importance(shares)
        row = 2 * shares.shape[-1] * importance / tokens * self.weight * self.routing.factor
        return row.expand_as(shares) if self.mask is None else row * self.mask.unsqueeze(-1)

    def _importance(self, shares: Tensor) -> tuple[Tensor, Tensor | int]:
        if self.mask is None:
            return shares.mean(dim=0), max(1, len(shares))
        tokens = self.mask.sum().clamp(min=1)
        return (shares * self.mask.unsqueeze(-1)).sum(dim=0) / tokens, tokens


class MainLoss(torch.autograd.Function):
    """The main loss with the balance loss added to its value; notes what its gradient is multiplied by.

    The backward pass of a model begins at its loss, so every layer finds the factor noted.
    """

    @staticmethod
    def forward(ctx: Any, loss: Tensor, balance: Tensor, routing: Routing, share: Any) -> Tensor:
        """loss + share * balance; `share` is this micro-batch's part of the step (1 if it is the whole step)."""
        ctx.routing, ctx.share = routing, share
        return loss + (balance * share).to(loss.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        """The gradient of the main loss, unchanged."""
        ctx.routing.factor = grad.detach().float() * ctx.share
        return grad, None, None, None
