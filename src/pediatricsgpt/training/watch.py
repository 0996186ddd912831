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
import unicodedata
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from pediatricsgpt.errors import UserError
from pediatricsgpt.manifest import write_atomically
from pediatricsgpt.models.encode import Encoded
from pediatricsgpt.records import read_json_lines, read_rows
from pediatricsgpt.training.checkpoints import newest_whole
from pediatricsgpt.training.held_out import sequences_of
from pediatricsgpt.training.meter import Meter, peak_memory, restored

OFFENDING = "offending_batch.json"
_KNOWN = 10
"""Logged losses before a median means anything"""
_REMEMBERED = 50
_TIMES = 3
"""Logged losses in a row that must lie too high"""
_RISE = 0.5
"""Nats that a loss must rise by, unless it rises above its start: five times next to nothing is next to nothing"""
_NAMED_ROWS = 4
_GIB = 1 << 30
PRECOMPUTED_INSTEAD = "reference: precomputed (no second model in memory)"
ADAPTER_INSTEAD = "reference: adapter (no second model, and gradients and optimiser for the adapter alone)"
# How the allocators of a CPU say it; those of GPUs raise an error of their own.
_ALLOCATORS = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")


class TrainingFailed(UserError):
    """A training that did not succeed: one line as any other, but no mistake of the input; the command exits with 1."""

    exit_code = 1


class Watch(TrainerCallback, ExportableState):  # type: ignore[misc]
    """Stops a phase whose gradients or losses are not finite, or whose loss runs away."""

    def __init__(
        self,
        data: Path,
        folder: Path,
        checkpoints: Path,
        tokenizer: Any,
        factor: float | None,
        meter: Meter,
        own: Sequence[Path] = (),
    ) -> None:
        """Look at a training.

        Args:
            data: the rows that are trained on, by which those of a batch are found.
            folder: of the phase; the offending batch goes there.
            checkpoints: where the trainer saves.
            tokenizer: to show what the batch says.
            factor: how many times its running median a loss may be; None lets it run.
            meter: knows the batches of the present step.
            own: files of the user's own that are trained on too.
        """
        self.start = math.inf
        """The first loss"""
        self.losses: list[float] = []
        self.high = 0
        self._data, self._own, self._folder, self._checkpoints = data, own, folder, checkpoints
        self._tokenizer, self._factor, self._meter = tokenizer, factor, meter

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        start = None if math.isinf(self.start) else self.start
        return {"args": {}, "attributes": {"start": start, "losses": list(self.losses), "high": self.high}}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Remember the losses before a kill."""
        held = restored(self, state)
        self.losses, self.high = list(held.get("losses", [])), held.get("high", 0)
        self.start = math.inf if held.get("start") is None else held["start"]

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
        self.start = loss if math.isinf(self.start) else self.start
        rises = loss - usual > _RISE or loss > self.start
        if self._factor is None or not (0 < self._factor * usual < loss and rises):
            self.high = 0
            self.losses = [*self.losses, loss][-_REMEMBERED:]
            return
        self.high += 1
        if self.high >= _TIMES:
            reason = f"the loss runs away: {loss:.4g}, more than divergence_factor {self._factor:g} times its median "
            self._stop(f"{reason}{usual:.4g}, {_TIMES} logged times in a row", state.global_step, args)

    def _stop(self, reason: str, step: int, args: Any) -> None:
        rows = documents(self._meter.batches)
        origins = origins_of(rows, self._data, self._tokenizer, self._own)
        name = OFFENDING if args.process_index == 0 else f"{args.process_index}-{OFFENDING}"
        held = [
            {**origin._asdict(), "tokens": len(row), "input_ids": row, "text": self._tokenizer.decode(row)}
            for origin, row in zip(origins, rows, strict=True)
        ]
        batch = {"step": step, "reason": reason, "learning_rate": args.learning_rate, "rows": held}
        write_atomically(self._folder / name, json.dumps(batch, ensure_ascii=False, indent=1))
        raise TrainingFailed(
            f"stopped at step {step}: {reason}. {_kept(self._checkpoints)}. Try a trainer.learning_rate below "
            f"{args.learning_rate:g}, {'trainer.bf16: false (float32)' if args.bf16 or args.fp16 else 'more warm-up'}, "
            f"or look at the {len(rows)} rows of the batch ({_named(origins)})",
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


class Origin(NamedTuple):
    """The row that a document was made of; nothing where none is found."""

    id: str | None = None
    where: str | None = None
    """File and line, of a row of the user's own"""


def origins_of(
    documents: Sequence[Sequence[int]], data: Path, tokenizer: Any, own: Sequence[Path] = ()
) -> list[Origin]:
    """The row that each document was made of, a piece of a long text included.

    Args:
        documents: token ids of each. One token tells nothing, and packs without a row have no more.
        data: rows that the corpus built.
        tokenizer: that made the ids.
        own: files of the user's own.
    """
    said = [_squeezed(tokenizer.decode(one, skip_special_tokens=True)) for one in documents]
    wanted = {number for number, one in enumerate(documents) if len(one) > 1 and said[number]}
    found: dict[int, Origin] = {}
    for origin, row in _rows(data, own):
        # To encode every row takes minutes; which of them are worth it shows in their text.
        known_by = _known_by(row)
        if "text" in row:
            likely = [number for number in wanted if said[number] in known_by[0]]
        else:
            likely = [number for number in wanted if any(one in said[number] for one in known_by)]
        if likely:
            whole = [array("i", one.input_ids).tobytes() for one in _sequences(row, tokenizer)]
            pieces = {number: array("i", documents[number]).tobytes() for number in likely}
            held = [number for number in likely if any(_holds(ids, pieces[number]) for ids in whole)]
            found |= dict.fromkeys(held, origin)
            wanted -= set(held)
        if not wanted:
            break
    return [found.get(number, Origin()) for number in range(len(documents))]


def _rows(data: Path, own: Sequence[Path]) -> Iterator[tuple[Origin, dict[str, Any]]]:
    for row in read_rows(data):
        yield Origin(row["id"]), row
    for file in own:
        lines = file.suffix == ".jsonl"
        for number, row in read_json_lines(file) if lines else enumerate(read_rows(file), 1):
            where = f"{file}:{number}" if lines else f"{file}, row {number}"
            yield Origin(str(row["id"]) if row.get("id") else None, where), row


def _known_by(row: Mapping[str, Any]) -> list[str]:
    """What a document of this row says, one of it at least; of a text, what holds what the document says."""
    if "text" in row:
        return [_squeezed(row["text"])]
    # A dialogue may be cut behind any answer, and a template may leave thoughts out of one, so the first question; a
    # second answer to a prompt lies without it.
    turns = row["messages"] if "messages" in row else row["prompt"]
    asked = next((turn for turn in turns if turn["role"] == "user"), turns[0])
    sides = [] if "messages" in row else [*row["chosen"], *row["rejected"]]
    return [_squeezed(turn["content"]) for turn in (asked, *sides)]


def _squeezed(text: str) -> str:
    """Without what tokenizers change, and without the halves of characters at the edges of a piece."""
    return "".join(unicodedata.normalize("NFKC", text).split()).strip("\N{REPLACEMENT CHARACTER}")


def _sequences(row: dict[str, Any], tokenizer: Any) -> list[Encoded]:
    try:
        return list(sequences_of(row, tokenizer))
    except (UserError, ValueError, IndexError):  # what cannot be encoded is not trained on
        return []


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


def _named(origins: Sequence[Origin]) -> str:
    known = list(dict.fromkeys(name for one in origins if (name := one.where or one.id)))
    more = f" and {len(known) - _NAMED_ROWS} more" if len(known) > _NAMED_ROWS else ""
    return (", ".join(known[:_NAMED_ROWS]) + more) or "ids unknown"


@contextlib.contextmanager
def out_of_memory(max_length: int, args: Any, reference: str | None = None) -> Iterator[None]:
    """Turn what an allocator raises in training into one line with numbers and with what to change.

    Args:
        max_length: of the phase, in tokens.
        args: the training arguments.
        reference: of preference training, whose batches are in pairs.

    Raises:
        TrainingFailed: there was not enough memory.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if not is_out_of_memory(error):
            raise
        _refuse(_batch(max_length, args, reference), _remedies(max_length, args, reference), error)


@contextlib.contextmanager
def no_memory_for(what: str, remedies: Sequence[str]) -> Iterator[None]:
    """The same of anything else that takes much memory.

    Args:
        what: needs it.
        remedies: settings of the phase, with their values.

    Raises:
        TrainingFailed: there was not enough memory.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        _refuse(what, remedies, error)


def _refuse(what: str, remedies: Sequence[str], error: BaseException) -> NoReturn:
    where = "the GPU" if torch.cuda.is_available() else "this machine"
    raise TrainingFailed(
        f"out of memory: {what} needs more than {peak_memory() / _GIB:.1f} of the {_total_memory() / _GIB:.1f} GiB of "
        f"{where}; set {' or '.join(remedies)}"
    ) from error


def _batch(max_length: int, args: Any, reference: str | None) -> str:
    batch = args.per_device_train_batch_size
    if reference is None:
        return f"a batch of {batch} x {max_length} = {batch * max_length:,} tokens"
    return f"a batch of {batch} pairs, up to {batch} x 2 x {max_length} = {2 * batch * max_length:,} tokens,"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocator, of a GPU or of the system, had nothing left to give."""
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or (isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _ALLOCATORS))


def _remedies(max_length: int, args: Any, reference: str | None) -> list[str]:
    batch, parts = args.per_device_train_batch_size, args.gradient_accumulation_steps
    found = []
    if batch > 1:
        same = f"trainer.gradient_accumulation_steps: {parts * 2} (the same result, slower)"
        found.append(f"trainer.per_device_train_batch_size: {batch // 2} with {same}")
    if not args.activation_checkpointing:
        found.append("trainer.activation_checkpointing: true (a third more time)")
    if reference == "live":
        found.append(PRECOMPUTED_INSTEAD)
    if reference in ("live", "precomputed"):
        found.append(ADAPTER_INSTEAD)
    return [*found, f"max_length: {max_length // 2}"]


def _total_memory() -> int:
    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
