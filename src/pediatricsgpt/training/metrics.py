"""The log of a phase: one JSON line for each logged step, written as it goes; event files for TensorBoard if asked."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from pediatricsgpt.curves import METRICS
from pediatricsgpt.errors import require_extra
from pediatricsgpt.manifest import write_atomically
from pediatricsgpt.records import read_json_lines
from pediatricsgpt.training.meter import Meter, peak_memory

TENSORBOARD = "tensorboard"
"""Folder of the event files, in that of the phase"""
_MIB = 1 << 20
# TRL's own count begins anew after a kill; ours does not.
_LEFT_OUT = ("num_tokens", "epoch")


class Metrics(TrainerCallback):  # type: ignore[misc]
    """Writes `metrics.jsonl` in the folder of a phase.

    A line has step, epoch, tokens so far, loss, learning_rate, grad_norm, what else the trainer logs, held-out losses
    where they were measured, tokens_per_second and memory_mb; null is what was not finite. The last two and nothing
    else differ between a run that was killed and resumed and one that was not.
    """

    def __init__(self, folder: Path, meter: Meter, tensorboard: bool = False) -> None:
        """Name the folder.

        Raises:
            UserError: TensorBoard is asked for and cannot be written.
        """
        self._folder = folder
        self._meter = meter
        self._held: dict[str, float] = {}
        self._file: Any = None
        self._events: Any = None
        self._writer_class = _event_writer() if tensorboard else None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Cut the log back to the step where the training begins, and go on writing there."""
        if not state.is_world_process_zero:
            return
        path = self._folder / METRICS
        cut_back(path, state.global_step)
        self._file = path.open("a", encoding="utf-8")
        if self._writer_class is not None:
            events = self._folder / TENSORBOARD
            if not state.global_step:
                shutil.rmtree(events, ignore_errors=True)
            # What was written behind the step that is resumed is told to be void.
            self._events = self._writer_class(str(events), purge_step=state.global_step + 1)

    def add(self, values: dict[str, float]) -> None:
        """Values for the line of the present step, which is to be logged."""
        self._held |= values

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Write what the trainer logs after a step; its summary at the end is no step."""
        if "loss" not in (logs or {}):
            return
        own = {name: value for name, value in (logs or {}).items() if name not in _LEFT_OUT}
        cost = {
            "tokens_per_second": round(self._meter.tokens_per_second, 1),
            "memory_mb": peak_memory() // _MIB,
        }
        self.write(state, {**own, **self._held, **cost})
        self._held = {}

    def write(self, state: Any, values: dict[str, Any]) -> None:
        """Write a line for the present step."""
        if self._file is None:
            return
        line = {"step": state.global_step, "epoch": state.epoch, "tokens": self._meter.tokens, **values}
        held = {name: None if _is_endless(value) else value for name, value in line.items()}
        self._file.write(json.dumps(held, ensure_ascii=False, allow_nan=False) + "\n")
        self._file.flush()
        for name, value in line.items() if self._events is not None else ():
            if name != "step" and isinstance(value, int | float):
                self._events.add_scalar(name, value, state.global_step)

    def close(self) -> None:
        """Write what is still to be written; closing twice does no harm."""
        for opened in (self._file, self._events):
            if opened is not None:
                opened.close()
        self._file = self._events = None


def _is_endless(value: Any) -> bool:
    """Whether JSON has no word for it."""
    return isinstance(value, float) and not math.isfinite(value)


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The log of a phase.

    Raises:
        UserError: a line is damaged.
    """
    path = folder / METRICS
    return [line for _, line in read_json_lines(path)] if path.is_file() else []


def cut_back(path: Path, step: int) -> None:
    """Keep the lines up to a step; what a kill left of a half-written line goes too."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        try:
            whole = line.endswith("\n") and json.loads(line)["step"] <= step
        except (ValueError, KeyError, TypeError):
            whole = False
        if not whole or not step:  # a training that begins has no log yet
            break
        kept.append(line)
    write_atomically(path, "".join(kept))


def _event_writer() -> Any:
    try:
        from tensorboardX import SummaryWriter  # type: ignore[import-untyped]
    except ImportError as error:
        raise require_extra("tensorboard", error) from error
    return SummaryWriter
