"""Checkpoints that are whole or not there: sealed when everything is on the disk, removed under another name."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from pediatricsgpt.errors import UserError
from pediatricsgpt.manifest import write_atomically
from pediatricsgpt.training.meter import Meter

STATE = "trainer_state.json"
_SEAL = "whole.json"
_PREFIX = "checkpoint-"


class Checkpoints(TrainerCallback):  # type: ignore[misc]
    """Seals what the trainer saved, then removes all but the newest and the best.

    It also has each step logged at which something is saved, so that the means of a log never reach across the step at
    which a killed run goes on. It must stand behind every callback that asks for saving.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The best checkpoint lies beside the one that is resumed, wherever the folder was when it was written."""
        self._point_to_best(args, state)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Log what is saved, and the last step."""
        if control.should_save or control.should_training_stop or state.global_step >= state.max_steps:
            control.should_log = True

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The same where the trainer saves or logs once an epoch."""
        if args.save_strategy == SaveStrategy.EPOCH or args.logging_strategy == IntervalStrategy.EPOCH:
            control.should_log = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Seal the new checkpoint once every process has written its part; only then do older ones go."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.barrier()
        self._point_to_best(args, state)
        if state.is_world_process_zero:
            folder = Path(args.output_dir)
            newest = _folder_of(folder, state.global_step)
            seal(newest)
            best = _folder_of(folder, state.best_global_step) if state.best_global_step else None
            for checkpoint in _all(folder):
                if checkpoint not in (newest, best):
                    remove(checkpoint)
        self._meter.skip()

    def _point_to_best(self, args: Any, state: Any) -> None:
        if state.best_global_step:
            state.best_model_checkpoint = str(_folder_of(Path(args.output_dir), state.best_global_step))


def seal(checkpoint: Path) -> None:
    """Say that a checkpoint is whole: names and sizes of its files, which lie on the disk by then."""
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != _SEAL)
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sizes = {path.relative_to(checkpoint).as_posix(): path.stat().st_size for path in files}
    write_atomically(checkpoint / _SEAL, json.dumps(sizes, indent=1))


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint is sealed, and everything is still there."""
    try:
        sizes = json.loads((checkpoint / _SEAL).read_text(encoding="utf-8"))
        return STATE in sizes and all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def newest_whole(folder: Path) -> Path | None:
    """The newest whole checkpoint."""
    return next(filter(is_whole, reversed(_all(folder))), None)


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint; what a kill or a full disk left half-written is removed."""
    for checkpoint in _all(folder):
        if not is_whole(checkpoint):
            remove(checkpoint)
    return newest_whole(folder)


def check_processes(checkpoint: Path, processes: int) -> None:
    """A checkpoint says which packs are done by how many processes have had theirs.

    Raises:
        UserError: another number of processes wrote it.
    """
    written = len(list(checkpoint.glob("rng_state*.pth")))  # one for each
    if written and written != processes:
        raise UserError(
            f"{written} processes trained up to this checkpoint, and now there are {processes}: some rows would come "
            f"twice and others never; start {written}, or delete the checkpoint to begin anew",
            checkpoint,
        )


def state_of(checkpoint: Path) -> dict[str, Any]:
    """What the trainer and its callbacks were at, when it was written."""
    state: dict[str, Any] = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    return state


def sibling(checkpoint: Path, step: int) -> Path:
    """The checkpoint of another step."""
    return _folder_of(checkpoint.parent, step)


def remove(folder: Path) -> None:
    """Delete a folder under another name: killed half-way, what is left is taken for nothing that it is not."""
    if folder.exists():
        condemned = folder.with_name(f"removing-{folder.name}")
        shutil.rmtree(condemned, ignore_errors=True)
        folder.rename(condemned)
        shutil.rmtree(condemned, ignore_errors=True)


def _folder_of(folder: Path, step: int) -> Path:
    return folder / f"{_PREFIX}{step}"


def _all(folder: Path) -> list[Path]:
    """Every checkpoint, the oldest first."""
    found = [path for path in folder.glob(f"{_PREFIX}*") if path.name.removeprefix(_PREFIX).isdecimal()]
    return sorted(found, key=lambda path: int(path.name.removeprefix(_PREFIX)))
