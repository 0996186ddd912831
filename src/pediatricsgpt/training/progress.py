"""What a person sees while a phase trains: a bar with loss, speed, time left and memory; quiet off a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from transformers import TrainerCallback

from pediatricsgpt.training.meter import Meter, peak_memory

_GIB = 1 << 30


class ProgressBar(TrainerCallback):
    """A rich progress bar over optimiser steps; off a terminal, one line for every tenth of the training."""

    def __init__(self, name: str, console: Console, meter: Meter) -> None:
        self._name = name
        self._console = console
        self._meter = meter
        self._progress: Progress | None = None
        self._task: Any = None
        self._said = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the bar at the step where the training (or a resumed one) begins."""
        if not state.is_world_process_zero:
            return
        self._said = 10 * state.global_step // max(1, state.max_steps)
        if state.global_step:
            self._console.print(f"  {self._name}: resuming at step {state.global_step} of {state.max_steps}")
        if self._console.is_terminal:
            columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn())
            self._progress = Progress(*columns, TextColumn("{task.fields[said]}"), console=self._console)
            self._progress.start()
            self._task = self._progress.add_task(
                self._name, total=state.max_steps, completed=state.global_step, said=""
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move the bar."""
        if self._progress is not None:
            self._progress.update(self._task, completed=state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Show the latest loss, and what the steps cost."""
        loss = (logs or {}).get("loss")
        if loss is None or not state.is_world_process_zero:
            return
        tenth = 10 * state.global_step // max(1, state.max_steps)
        if self._progress is not None:
            self._progress.update(self._task, said=self._said_of(float(loss), state))
        elif tenth > self._said:
            self._said = tenth
            step = f"step {state.global_step}/{state.max_steps}"
            self._console.print(
                f"  {self._name}: {step}, {self._said_of(float(loss), state)}", highlight=False, soft_wrap=True
            )

    def _said_of(self, loss: float, state: Any) -> str:
        parts = [f"loss {loss:.3f}", f"{self._meter.tokens_per_second:,.0f} tokens/s"]
        left = self._meter.seconds_left(state)
        if left is not None and state.global_step < state.max_steps:
            parts.append(f"{duration(left)} left")
        return ", ".join([*parts, f"{peak_memory() / _GIB:.1f} GiB"])

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close the bar."""
        self.close()

    def close(self) -> None:
        """Give the terminal back; closing twice does no harm."""
        if self._progress is not None:
            self._progress.stop()


def duration(seconds: float) -> str:
    """A time to wait, for people: 40 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
