"""What a step costs: real tokens, time and memory, and the batches that it was made of."""

from __future__ import annotations

import resource
import time
from typing import Any

import torch
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState


class Meter(TrainerCallback, ExportableState):  # type: ignore[misc]
    """Counts what goes through the model while it trains; works with every trainer of transformers.

    Padding does not count, nor do forward passes without gradients (a reference, a measurement). The time is that of
    the steps with their data loading; saving and measuring do not count.
    """

    def __init__(self) -> None:
        self.tokens = 0
        """Seen since the first step of the phase, by all processes, as of the last log"""
        self.tokens_per_second = 0.0
        """Between the last two logs"""
        self.batches: list[dict[str, torch.Tensor]] = []
        """What this process has put through the model in this step, one entry a micro-batch"""
        self._fresh: Any = 0
        self._busy = 0.0
        self._mark = time.perf_counter()
        self._begin: float | None = None
        self._first = 0
        self._hook: Any = None

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"args": {}, "attributes": {"tokens": self.tokens}}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start to look on, at the step where the training (or a resumed one) begins."""
        self.tokens = restored(self, state).get("tokens", 0)
        self._first = state.global_step
        self._hook = kwargs["model"].register_forward_pre_hook(self._see, with_kwargs=True)
        self._begin = None
        self.skip()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Forget the batches of the step before."""
        if self._begin is None:  # what is measured before the first step comes once, and says nothing of the pace
            self._begin = time.perf_counter()
        self.batches.clear()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count the time since the end of what came before this step."""
        self._busy += time.perf_counter() - self._mark
        self.skip()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Sum up what was seen since the last log."""
        if "loss" not in (logs or {}):
            return
        seen = _over_processes(self._fresh, args.device)
        self.tokens += seen
        self.tokens_per_second = seen / self._busy if self._busy > 0 else 0.0
        self._fresh, self._busy = 0, 0.0
        self.skip()

    def skip(self) -> None:
        """What was done since the last step is no training."""
        self._mark = time.perf_counter()

    def seconds_left(self, state: Any) -> float | None:
        """Time to the last step at the pace since the first step of the training (or a resumed one); None before it.

        Measurements and saving between the steps count, for they come again.
        """
        done = int(state.global_step) - self._first
        if done < 1 or self._begin is None:
            return None
        return (time.perf_counter() - self._begin) / done * float(state.max_steps - state.global_step)

    def close(self) -> None:
        """Look away; closing twice does no harm."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def _see(self, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not (module.training and torch.is_grad_enabled()):
            return
        inputs = {"input_ids": args[0], **kwargs} if args else kwargs
        names = ("input_ids", "attention_mask", "position_ids")
        kept = {name: inputs[name] for name in names if isinstance(inputs.get(name), torch.Tensor)}
        if kept.get("attention_mask", torch.empty(0)).dim() != 2:
            kept.pop("attention_mask", None)
        mask = kept.get("attention_mask")
        self._fresh = self._fresh + (kept["input_ids"].numel() if mask is None else mask.sum())
        self.batches.append(kept)


def restored(callback: Any, state: Any) -> dict[str, Any]:
    """What a checkpoint holds of a callback; nothing at the first step."""
    if not state.global_step:
        return {}
    held = state.stateful_callbacks.get(type(callback).__name__) or {}
    return dict(held.get("attributes", {}))


def peak_memory() -> int:
    """Bytes: the most that was ever allocated on the GPU, else the most that the process ever held."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _over_processes(count: Any, device: Any) -> int:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        total = torch.as_tensor(count, dtype=torch.int64, device=device).clone()
        torch.distributed.all_reduce(total)
        return int(total)
    return int(count)
