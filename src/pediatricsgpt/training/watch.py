"""What ends a training that cannot succeed: values that are not finite, a loss that runs away, no memory left.

Each ends with one line that says what to try, and nothing is lost: the last checkpoint stays, and the batch that did it
is kept for people to read.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import statistics
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from pediatricsgpt.errors import UserError
from pediatricsgpt.manifest import write_atomically
from pediatricsgpt.records import read_rows
from pediatricsgpt.training.checkpoints import newest_whole
from pediatricsgpt.training.held_out import sequences_of
from pediatricsgpt.training.meter import Meter, peak_memory, restored

OFFENDING = "offending_batch.json"
_KNOWN = 10
"""Logged losses before a median means anything"""
_REMEMBERED = 50
_TIMES = 3
"""Logged losses in a row that must lie too high"""
_NAMED_ROWS = 4
_GIB = 1 << 30
# How the allocators of a CPU say it; those of GPUs raise an error of their own.
_ALLOCATORS = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")


class TrainingFailed(UserError):
    """A training that did not succeed: one line as any other, but no mistake of the input; the command exits with 1."""

    exit_code = 1


class Watch(TrainerCallback, ExportableState):  # type: ignore[misc]
    """Stops a phase whose gradients or losses are not finite, or whose loss runs away."""

    def __init__(self, data: Path, folder: Path, checkpoints: Path, tokenizer: Any, factor: float | None, meter: Meter):
        """Look at a training.

        Args:
            data: the rows that are trained on, by which the ids of a batch's rows are found.
            folder: of the phase; the offending batch goes there.
            checkpoints: where the trainer saves.
            tokenizer: to show what the batch says.
            factor: how many times its running median a loss may be; None lets it run.
            meter: knows the batches of the present step.
        """
        self.losses: list[float] = []
        self.high = 0
        self._data, self._folder, self._checkpoints = data, folder, checkpoints
        self._tokenizer, self._factor, self._meter = tokenizer, factor, meter

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"args": {}, "attributes": {"losses": list(self.losses), "high": self.high}}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Remember the losses before a kill."""
        held = restored(self, state)
        self.losses, self.high = list(held.get("losses", [])), held.get("high", 0)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Look at the gradients before they reach the weights.

        In float16 a gradient overflows now and then, and the trainer leaves that step out; there the loss says it.
        """
        norm = _gradient_norm(kwargs["model"])
        if not args.fp16 and not math.isfinite(norm):
            self._stop(f"the gradient is not finite ({norm})", state.global_step + 1, args)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Look at the mean loss since the last log."""
        if "loss" not in (logs or {}):
            return
        loss = float((logs or {})["loss"])
        norm = float((logs or {}).get("grad_norm", 0.0))
        if not math.isfinite(loss) or not (math.isfinite(norm) or args.fp16):
            self._stop(f"loss {loss:.4g} or gradient norm {norm:.4g} is not finite", state.global_step, args)
        self._look_for_divergence(loss, state, args)

    def _look_for_divergence(self, loss: float, state: Any, args: Any) -> None:
        usual = statistics.median(self.losses) if len(self.losses) >= _KNOWN else math.inf
        if self._factor is None or not 0 < self._factor * usual < loss:
            self.high = 0
            self.losses = [*self.losses, loss][-_REMEMBERED:]
            return
        self.high += 1
        if self.high >= _TIMES:
            reason = f"the loss runs away: {loss:.4g}, more than divergence_factor {self._factor:g} times its median "
            self._stop(f"{reason}{usual:.4g}, {_TIMES} logged times in a row", state.global_step, args)

    def _stop(self, reason: str, step: int, args: Any) -> None:
        rows = documents(self._meter.batches)
        ids = row_ids(rows, self._data, self._tokenizer)
        name = OFFENDING if args.process_index == 0 else f"{args.process_index}-{OFFENDING}"
        held = [
            {"id": id_, "tokens": len(row), "input_ids": row, "text": self._tokenizer.decode(row)}
            for id_, row in zip(ids, rows, strict=True)
        ]
        batch = {"step": step, "reason": reason, "learning_rate": args.learning_rate, "rows": held}
        write_atomically(self._folder / name, json.dumps(batch, ensure_ascii=False, indent=1))
        raise TrainingFailed(
            f"stopped at step {step}: {reason}. {_kept(self._checkpoints)}. Try a trainer.learning_rate below "
            f"{args.learning_rate:g}, {'trainer.bf16: false (float32)' if args.bf16 or args.fp16 else 'more warm-up'}, "
            f"or look at the {len(rows)} rows of the batch ({_named(ids)})",
            self._folder / name,
        )


def documents(batches: Sequence[dict[str, torch.Tensor]]) -> list[list[int]]:
    """The token ids of each document in these batches, without padding.

    Args:
        batches: each with `input_ids` [rows, length], and `attention_mask` where rows are padded or `position_ids`
            (which begin anew at each document) where several lie in one row.
    """
    found: list[list[int]] = []
    for batch in batches:
        ids, mask, places = batch["input_ids"], batch.get("attention_mask"), batch.get("position_ids")
        for number, row in enumerate(ids):
            if mask is not None:
                found.append(row[mask[number].bool()].tolist())
            elif places is not None:
                own = places[min(number, len(places) - 1)]  # a second answer to a prompt begins behind 0
                starts = [0, *((own.diff() != 1).nonzero()[:, 0] + 1).tolist()]
                found += [row[start:stop].tolist() for start, stop in zip(starts, [*starts[1:], len(row)], strict=True)]
            else:
                found.append(row.tolist())
    return found


def row_ids(rows: Sequence[Sequence[int]], data: Path, tokenizer: Any) -> list[str | None]:
    """The id of the row that each document was made of, a piece of a long text included; None where none has it."""
    wanted = {number: array("i", row).tobytes() for number, row in enumerate(rows)}
    found: dict[int, str] = {}
    for row in read_rows(data):
        whole = [array("i", one.input_ids).tobytes() for one in sequences_of(row, tokenizer)]
        for number in [number for number, piece in wanted.items() if any(_holds(ids, piece) for ids in whole)]:
            found[number] = row["id"]
            del wanted[number]
        if not wanted:
            break
    return [found.get(number) for number in range(len(rows))]


def _holds(whole: bytes, piece: bytes) -> bool:
    place = whole.find(piece)
    while place > 0 and place % array("i").itemsize:
        place = whole.find(piece, place + 1)
    return place >= 0


def _gradient_norm(model: torch.nn.Module) -> float:
    """Of what lies in this process; 0 where something else holds the gradients (DeepSpeed)."""
    grads = [weight.grad for weight in model.parameters() if weight.grad is not None]
    local = [grad.to_local() if hasattr(grad, "to_local") else grad for grad in grads]
    return float(torch.nn.utils.get_total_norm(local)) if local else 0.0


def _kept(checkpoints: Path) -> str:
    last = newest_whole(checkpoints)
    return f"The last good checkpoint is {last}" if last else "There is no checkpoint before it"


def _named(ids: Sequence[str | None]) -> str:
    known = list(dict.fromkeys(id_ for id_ in ids if id_))
    more = f" and {len(known) - _NAMED_ROWS} more" if len(known) > _NAMED_ROWS else ""
    return (", ".join(known[:_NAMED_ROWS]) + more) or "ids unknown"


@contextlib.contextmanager
def out_of_memory(max_length: int, args: Any) -> Iterator[None]:
    """Turn what an allocator raises into one line with numbers and with what to change.

    Args:
        max_length: of the phase, in tokens.
        args: the training arguments.

    Raises:
        TrainingFailed: there was not enough memory.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if not is_out_of_memory(error):
            raise
        batch, parts = args.per_device_train_batch_size, args.gradient_accumulation_steps
        gpu = torch.cuda.is_available()
        where = "the GPU" if gpu else "this machine"
        raise TrainingFailed(
            f"out of memory: a batch of {batch} x {max_length} = {batch * max_length:,} tokens needs more than "
            f"{peak_memory() / _GIB:.1f} of the {_total_memory() / _GIB:.1f} GiB of {where}; set "
            + " or ".join(_remedies(batch, parts, max_length, args))
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocator, of a GPU or of the system, had nothing left to give."""
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or (isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _ALLOCATORS))


def _remedies(batch: int, parts: int, max_length: int, args: Any) -> list[str]:
    found = []
    if batch > 1:
        same = f"trainer.gradient_accumulation_steps: {parts * 2} (the same result, slower)"
        found.append(f"trainer.per_device_train_batch_size: {batch // 2} with {same}")
    if not args.activation_checkpointing:
        found.append("trainer.activation_checkpointing: true (a third more time)")
    return [*found, f"max_length: {max_length // 2}"]


def _total_memory() -> int:
    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
