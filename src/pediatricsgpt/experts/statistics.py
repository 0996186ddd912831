"""Which experts a model uses, by layer and task: the shares that its routers give while it reads texts.

    statistics = RoutingStatistics()
    for task, batch in batches:
        with statistics.watching(model, task):
            model(**batch)
    statistics.rows()

Costs one small sum per layer and batch, and nothing at all when nobody watches.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pediatricsgpt.experts.layer import ExpertsLinear
from pediatricsgpt.experts.tuner import ExpertsModel


@dataclass(slots=True)
class Share:
    """How one layer of one adapter shares the tokens of one task among its specific experts."""

    task: str
    layer: str
    adapter: str
    tokens: int
    shares: list[float]
    """[T], the mean gate of each specific expert; they sum to 1"""
    first: list[float]
    """[T], the part of the tokens for which this expert has the largest gate"""
    entropy: float
    """Mean entropy of the gates by token, over log T: 1 is even, 0 is one expert alone"""


class RoutingStatistics:
    """Sums of gates by task, layer and adapter; padding does not count."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str, str], Tensor] = {}

    @contextmanager
    def watching(self, model: nn.Module, task: str) -> Iterator[None]:
        """Count every forward pass of `model` in here for `task`. Generation counts prompt and answer alike.

        Under gradient checkpointing a pass runs twice and counts twice: the shares stay right, the tokens double.

        Raises:
            ValueError: the model has no experts.
        """
        tuner = next((module for module in model.modules() if isinstance(module, ExpertsModel)), None)
        if tuner is None:
            raise ValueError("this model has no universal-specific experts, so there is no routing to watch")
        for name, module in tuner.model.named_modules():
            if isinstance(module, ExpertsLinear):
                module.name = name

        def watch(layer: str, adapter: str, gates: Tensor, mask: Tensor | None) -> None:
            self._add((task, layer, adapter), gates, mask)

        before, tuner.routing.watch = tuner.routing.watch, watch
        try:
            yield
        finally:
            tuner.routing.watch = before

    def _add(self, key: tuple[str, str, str], gates: Tensor, mask: Tensor | None) -> None:
        gates = gates.detach()
        weight = torch.ones(len(gates), device=gates.device) if mask is None else mask.float()
        first = nn.functional.one_hot(gates.argmax(dim=-1), gates.shape[-1]).float()
        entropy = torch.special.entr(gates).sum(dim=-1, keepdim=True)
        columns = torch.cat((gates, first, entropy, torch.ones_like(entropy)), dim=-1)
        total = (weight @ columns).double()  # stays on the device: reading it here would wait for every layer
        self._sums[key] = self._sums[key] + total if key in self._sums else total

    def rows(self) -> list[Share]:
        """One row by task, layer and adapter, in the order in which they were first seen."""
        return [_share(*key, total.tolist()) for key, total in self._sums.items()]

    def by_task(self) -> dict[str, list[float]]:
        """The paper's figure: the mean gate of each specific expert by task, over all layers and tokens; sums to 1.

        Where several adapters were at work, each has an entry of its own, `task (adapter)`: experts of different
        adapters have nothing in common.
        """
        several = len({adapter for _, _, adapter in self._sums}) > 1
        shares: dict[str, list[list[float]]] = {}
        for row in self.rows():
            if row.tokens:
                shares.setdefault(f"{row.task} ({row.adapter})" if several else row.task, []).append(row.shares)
        return {
            name: [sum(column) / len(layers) for column in zip(*layers, strict=True)] for name, layers in shares.items()
        }

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values, for a file."""
        rows = [{name: getattr(row, name) for name in Share.__slots__} for row in self.rows()]
        return {"by_task": self.by_task(), "layers": rows}


def _share(task: str, layer: str, adapter: str, total: list[float]) -> Share:
    experts = (len(total) - 2) // 2
    tokens = total[-1] or 1.0
    even = torch.log(torch.tensor(float(experts))).item() or 1.0
    return Share(
        task=task,
        layer=layer,
        adapter=adapter,
        tokens=round(total[-1]),
        shares=[value / tokens for value in total[:experts]],
        first=[value / tokens for value in total[experts : 2 * experts]],
        entropy=total[-2] / tokens / even,
    )
