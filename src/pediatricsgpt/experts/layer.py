"""One linear layer with a mixture of universal-specific low-rank experts.

    y = W0 x + s * ( B_u A_u x + sum_{j=1..T} g_j(x) * B_j A_j x )
    g(x) = softmax( W_g x + eps * softplus(W_n x) ),  eps ~ N(0, 1) while training, 0 otherwise

Source: PediatricsGPT (NeurIPS 2024, arXiv 2405.19266), the mixture of universal-specific experts. The universal
expert u is ungated; the gating over the T specific experts is dense and per token.

All experts are computed at once: their A stand above one another in one matrix, their B beside one another in a
second, and the gates act between the two, where a token has only (T + 1) * r numbers (`function.py`). No tensor holds
one output of size d_out per expert.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NoReturn

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor
from transformers.pytorch_utils import Conv1D

from pediatricsgpt.experts.balance import Balance, Routing
from pediatricsgpt.experts.config import ExpertsConfig
from pediatricsgpt.experts.function import ExpertsFunction, autocast_off, gates

_PLAIN = (torch.Tensor, FakeTensor)  # the latter where a step is tried without data
ROUTER_STD = 0.02
"""Standard deviation of the initial router and noise weights: near-equal gates, and noise of about softplus(0)"""

MERGE_REFUSED = (
    "a mixture of universal-specific experts cannot be merged into its base model: the gates depend on each token, "
    "so no single weight matrix gives the same outputs. Keep the adapter beside the base model and load both, "
    "or call unload() for the base model alone; merge_universal() merges the universal expert, which is exact"
)


class RouterLinear(nn.Linear):
    """The weight [T, d_in] of a linear map without bias that is stored in float32, come what may; `gates` computes it.

    A gate computed in half precision moves every expert's share, and the weights' small updates get lost in it.
    Hence `.half()`, `.to(torch.bfloat16)` and the like move this module between devices but leave its type alone.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, bias=False, dtype=torch.float32)

    def reset_parameters(self) -> None:
        """Draw the weights from N(0, ROUTER_STD^2)."""
        nn.init.normal_(self.weight, std=ROUTER_STD)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> RouterLinear:
        def in_float32(tensor: torch.Tensor) -> torch.Tensor:
            moved = fn(tensor)
            # Casting `moved` back would keep its rounding: start again from the unrounded tensor.
            return moved if moved.dtype == torch.float32 else tensor.to(moved.device, torch.float32)

        super()._apply(in_float32, recurse)
        return self


class ExpertsLinear(nn.Module, BaseTunerLayer):  # PEFT takes layers named *Linear* into its `all-linear`
    """A frozen linear layer with the experts of one or more adapters on top; each adapter has its own router.

    For adapter `a`, in order universal, specific 1, ..., specific T:
    `experts_A.a.weight` [(T+1) r, d_in] and `experts_B.a.weight` [d_out, (T+1) r], of which rows and columns
    0..r-1 are the universal expert; `experts_router.a.weight` and `experts_noise.a.weight` [T, d_in], in float32.

    Args:
        base_layer: an `nn.Linear` (or a quantised subclass of it) or a transformers `Conv1D`.
        adapter_name: the first adapter.
        config: its settings.
        routing: what the layers of one model share; a layer by itself makes its own.

    Raises:
        TypeError: the base layer is of another kind.
    """

    # `forward` uses the weights of modules that it does not call. DeepSpeed ZeRO-3 notices and gathers them. It must
    # not be told that this is a leaf (`_z3_leaf`): it takes the gradients of a leaf too early where x needs none.

    adapter_layer_names = ("experts_A", "experts_B", "experts_router", "experts_noise")
    other_param_names = ("experts_dropout", "num_experts", "scaling", "noise", "balance_coefficient")

    def __init__(
        self, base_layer: nn.Module, adapter_name: str, config: ExpertsConfig, routing: Routing | None = None
    ) -> None:
        super().__init__()
        self.routing = routing or Routing()
        self.name = ""
        self.base_layer = base_layer
        self.in_features, self.out_features = linear_shape(self.get_base_layer())
        self.experts_A = nn.ModuleDict()
        self.experts_B = nn.ModuleDict()
        self.experts_router = nn.ModuleDict()
        self.experts_noise = nn.ModuleDict()
        self.experts_dropout = nn.ModuleDict()
        self.num_experts: dict[str, int] = {}
        self.scaling: dict[str, float] = {}
        self.noise: dict[str, bool] = {}
        self.balance_coefficient: dict[str, float] = {}
        self.frozen_peft_weight_names: dict[str, tuple[str, ...]] = {}
        self.merged_adapters: list[str] = []
        self._active_adapter: str | list[str] = adapter_name
        self.update_layer(adapter_name, config)

    def update_layer(self, adapter_name: str, config: ExpertsConfig) -> None:
        """Add the experts and the router of one adapter; with its zero B they change no output yet."""
        ranks = (config.num_experts + 1) * config.r
        self.num_experts[adapter_name] = config.num_experts
        self.scaling[adapter_name] = config.scaling
        self.noise[adapter_name] = config.noise
        self.balance_coefficient[adapter_name] = config.balance_coefficient
        if adapter_name not in self.experts_A:
            self.routing.layers[adapter_name] = self.routing.layers.get(adapter_name, 0) + 1
        self.experts_dropout[adapter_name] = nn.Dropout(config.dropout) if config.dropout > 0 else nn.Identity()
        self.experts_A[adapter_name] = nn.Linear(self.in_features, ranks, bias=False)
        self.experts_B[adapter_name] = nn.Linear(ranks, self.out_features, bias=False)
        self.experts_router[adapter_name] = RouterLinear(self.in_features, config.num_experts)
        self.experts_noise[adapter_name] = RouterLinear(self.in_features, config.num_experts)
        # The fan-in of the stacked A is d_in, as that of each expert: one call initialises every expert like LoRA.
        nn.init.kaiming_uniform_(self.experts_A[adapter_name].weight, a=math.sqrt(5))
        nn.init.zeros_(self.experts_B[adapter_name].weight)
        if not config.noise:
            # Weights that no loss reaches must not count as trainable: decay moves them, and DDP waits for them.
            self.frozen_peft_weight_names[adapter_name] = ("experts_noise",)
        super()._move_adapter_to_device_of_base_layer(adapter_name)  # to the base's type, too: PEFT's convention
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def delete_adapter(self, adapter_name: str) -> None:
        """Forget one adapter, if this layer has it; PEFT calls this on every layer."""
        if adapter_name in self.experts_A:
            self.routing.layers[adapter_name] -= 1
        super().delete_adapter(adapter_name)

    def gates(self, x: torch.Tensor, adapter_name: str) -> torch.Tensor:
        """The share of each specific expert for each token.

        Args:
            x: the layer's input [..., d_in], without dropout.
            adapter_name: whose router.

        Returns:
            [..., T] in float32; the last dimension sums to 1. Random only while training with `noise`.
        """
        flat = x.reshape(-1, x.shape[-1])
        router, noise = self.experts_router[adapter_name].weight, self.experts_noise[adapter_name].weight
        with autocast_off(x.device.type):
            shares, _ = gates(flat, router, noise, self._eps(flat, adapter_name))
        return shares.reshape(*x.shape[:-1], -1)

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The base layer's output plus that of the active adapters: [..., d_in] -> [..., d_out], type kept."""
        active = [] if self.disable_adapters else [name for name in self.active_adapters if name in self.experts_A]
        if not active:
            return self.base_layer(x, *args, **kwargs)
        flat = x.reshape(-1, x.shape[-1])
        frozen = self._frozen_weight(flat)
        with torch.set_grad_enabled(torch.is_grad_enabled() and frozen is None):
            result = self.base_layer(flat, *args, **kwargs)
        if not self._may_overwrite(result):
            result = result.clone()
        for adapter_name in active:
            result = self._add_experts(result, flat, frozen, adapter_name)
            frozen = None  # its part of the gradient is taken once
        return result.reshape(*x.shape[:-1], -1)

    def _add_experts(
        self, result: torch.Tensor, x: torch.Tensor, frozen: torch.Tensor | None, adapter_name: str
    ) -> torch.Tensor:
        """Add s * ( B_u A_u x + sum_j g_j(x) B_j A_j x ) of one adapter in place: x [N, d_in], result [N, d_out]."""
        dropout = self.experts_dropout[adapter_name]
        drops = self.training and isinstance(dropout, nn.Dropout)
        eps = self._eps(x, adapter_name)
        balance = self._balance(adapter_name, len(x))
        result, shares = ExpertsFunction.apply(
            result,
            x,
            dropout(x) if drops else None,
            frozen,
            self.experts_A[adapter_name].weight,
            self.experts_B[adapter_name].weight,
            self.experts_router[adapter_name].weight,
            None if eps is None else self.experts_noise[adapter_name].weight,
            eps,
            self.scaling[adapter_name],
            balance,
        )
        if balance is not None:
            self.routing.values[id(self), adapter_name] = balance.value(shares)
        if self.routing.watch is not None:
            self.routing.watch(self.name, adapter_name, shares, self.routing.valid(len(x)))
        return result

    def _eps(self, x: torch.Tensor, adapter_name: str) -> torch.Tensor | None:
        """Standard normal [N, T] while training with noise."""
        if not (self.training and self.noise[adapter_name]):
            return None
        return torch.randn(len(x), self.num_experts[adapter_name], device=x.device, dtype=torch.float32)

    def _balance(self, adapter_name: str, tokens: int) -> Balance | None:
        coefficient = self.balance_coefficient[adapter_name]
        if not self.training or coefficient == 0:
            return None
        return Balance(coefficient, self.routing, self.routing.layers[adapter_name], self.routing.valid(tokens))

    def _frozen_weight(self, x: torch.Tensor) -> torch.Tensor | None:
        """W0 [d_out, d_in] where the experts' function can do the frozen layer's backward pass along with its own."""
        base = self.base_layer
        watched = not _computes_alone(base) or base._backward_hooks or base._backward_pre_hooks
        if watched or type(base.weight.data) not in _PLAIN or any(weight.requires_grad for weight in base.parameters()):
            return None
        return base.weight if torch.is_grad_enabled() and x.requires_grad else None

    def _may_overwrite(self, result: torch.Tensor) -> bool:
        """Whether nobody else can hold the base layer's output: nobody has seen it, and it is no view of another."""
        return _computes_alone(self.base_layer) and not result._is_view()

    def universal_update(self, adapter_name: str) -> torch.Tensor:
        """s * B_u A_u, what the universal expert adds to the weight: [d_out, d_in] in float32."""
        down, up = self.experts_A[adapter_name].weight, self.experts_B[adapter_name].weight
        r = down.shape[0] // (self.num_experts[adapter_name] + 1)
        return self.scaling[adapter_name] * (up[:, :r].float() @ down[:r].float())

    def merge_universal(self, adapter_name: str) -> None:
        """Move the universal expert into the base weight; its B becomes zero. Call it under `torch.no_grad()`."""
        base = self.get_base_layer()
        update = self.universal_update(adapter_name)
        update = update.t() if isinstance(base, Conv1D) else update
        base.weight.copy_(base.weight.float() + update)
        up = self.experts_B[adapter_name].weight
        up[:, : up.shape[1] // (self.num_experts[adapter_name] + 1)] = 0

    def _move_adapter_to_device_of_base_layer(self, adapter_name: str, device: torch.device | None = None) -> None:
        # PEFT calls this once it has assigned loaded weights (low_cpu_mem_usage), and its own version casts them to
        # the base's type: float32 experts on a bfloat16 base would come back rounded.
        target = device or self._get_base_layer_device_and_dtype(self.get_base_layer())[0]
        for name in self.adapter_layer_names:
            experts = getattr(self, name)
            if adapter_name in experts and not any(weight.is_meta for weight in experts[adapter_name].parameters()):
                experts[adapter_name].to(target)

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> NoReturn:
        """Not possible for gates that depend on the token.

        Raises:
            NotImplementedError: always, with the reason.
        """
        raise NotImplementedError(MERGE_REFUSED)

    def unmerge(self) -> NoReturn:
        """Nothing is ever merged, see `merge`.

        Raises:
            NotImplementedError: always, with the reason.
        """
        raise NotImplementedError(MERGE_REFUSED)


def _computes_alone(layer: nn.Module) -> bool:
    """Whether a call is x W^T + b and no more: no hook and no patched `forward` sees or changes anything."""
    hooked = layer._forward_hooks or layer._forward_pre_hooks
    return type(layer) is nn.Linear and not hooked and "forward" not in layer.__dict__


def linear_shape(layer: nn.Module) -> tuple[int, int]:
    """(d_in, d_out) of a layer that can carry experts.

    Raises:
        TypeError: it is of another kind.
    """
    if isinstance(layer, Conv1D):
        d_in, d_out = layer.weight.shape
        return d_in, d_out
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    raise TypeError(f"experts can be put on nn.Linear and Conv1D layers, not on {type(layer).__name__}")
