"""What operations of PyTorch keep alive and how many floating-point operations they are, while they are done."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import flop_registry


class Ledger(TorchDispatchMode):  # type: ignore[misc]
    """Adds up the storages that operations make, until they are gone, and the floating-point operations."""

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        """Bytes alive now"""
        self.peak = 0
        """The most that was ever alive"""
        self.static = 0
        """Of what is alive, weights and what the optimiser keeps; set from outside"""
        self.gradients = 0
        """Of what is alive, gradients of weights that are complete"""
        self.most_beside = 0
        """The most that was alive beside those two"""
        self.operations = 0
        """Floating-point operations so far, of products and attention"""
        self._sizes: dict[int, int] = {}
        self._complete: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do the operation and look at what came out."""
        found = function(*args, **(kwargs or {}))
        # PyTorch's own counter of them follows modules too, which keeps tensors alive.
        if count := flop_registry.get(function._overloadpacket):
            self.operations += count(*args, **(kwargs or {}), out_val=found)
        for value in tree_iter(found):
            if isinstance(value, torch.Tensor):
                self._add(value.untyped_storage())
        return found

    def complete(self, weight: torch.Tensor) -> None:
        """This weight's gradient is there, and is none of what is beside."""
        if weight.grad is not None and id(weight) not in self._complete:
            self._complete.add(id(weight))
            self.gradients += weight.grad.untyped_storage().nbytes()

    def drop_gradients(self) -> None:
        """All gradients are gone."""
        self._complete.clear()
        self.gradients = 0

    def _add(self, storage: Any) -> None:
        key = storage._cdata
        if key in self._sizes:
            return
        self._sizes[key] = size = storage.nbytes()
        weakref.finalize(storage, self._gone, key)
        self.live += size
        self.peak = max(self.peak, self.live)
        self.most_beside = max(self.most_beside, self.live - self.static - self.gradients)

    def _gone(self, key: int) -> None:
        self.live -= self._sizes.pop(key, 0)
