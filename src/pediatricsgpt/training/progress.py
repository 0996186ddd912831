"""What a person sees while a phase trains: a progress bar with the loss, quiet when there is no terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback


class ProgressBar(TrainerCallback):
    """A rich progress bar over optimiser steps; off a terminal, one line for every tenth of the training."""

    def __init__(self, name: str, console: Console) -> None:
        self._name = name
        self._console = console
        self._progress: Progress | None = None
        self._task: Any = None
        self._said = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the bar at the step where the training (or a resumed one) begins."""
        self._said = 10 * state.global_step // max(1, state.max_steps)
        if state.global_step:
            self._console.print(f"  {self._name}: resuming at step {state.global_step} of {state.max_steps}")
        if self._console.is_terminal:
            columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._progress = Progress(*columns, TextColumn("{task.fields[loss]}"), console=self._console)
            self._progress.start()
            self._task = self._progress.add_task(
                self._name, total=state.max_steps, completed=state.global_step, loss=""
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move the bar."""
        if self._progress is not None:
            self._progress.update(self._task, completed=state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Show the latest loss."""
        loss = (logs or {}).get("loss")
        if loss is None:
            return
        tenth = 10 * state.global_step // max(1, state.max_steps)
        if self._progress is not None:
            self._progress.update(self._task, loss=f"loss {float(loss):.3f}")
        elif tenth > self._said:
            self._said = tenth
            self._console.print(f"  {self._name}: step {state.global_step}/{state.max_steps}, loss {float(loss):.3f}")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close the bar."""
        self.close()

    def close(self) -> None:
        """Give the terminal back; closing twice does no harm."""
        if self._progress is not None:
            self._progress.stop()
