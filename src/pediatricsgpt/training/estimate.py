"""What a phase will do: tokens and steps, from its set where that is built, else from what is expected of it.

A set is prepared as the phase prepares it (mixtures, budgets, what is too long, packing), of large ones a sample.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pediatricsgpt.errors import UserError
from pediatricsgpt.training.settings import CptSettings, DfpoSettings, DialogueSettings, MixedSettings, PhaseSettings

if TYPE_CHECKING:  # a run can be planned roughly without torch
    from pediatricsgpt.training.batches import Packing, Packs, Piece
    from pediatricsgpt.training.data import Prepared
    from pediatricsgpt.training.memory import Layout

TOKENS_PER_ROW = 200
"""Of an instruction or a piece of text, where only their number or their tokens are known"""
OPERATIONS_PER_CORE = 50e9
"""Floating-point operations a second, nominal: small models in float32 on a server's CPU core reach about this"""
_SAMPLE = 2000
_PASSES = 10
_PAIR = (TOKENS_PER_ROW // 4, TOKENS_PER_ROW * 3 // 4, TOKENS_PER_ROW * 3 // 4)  # prompt and both answers


@dataclass(frozen=True, slots=True)
class SetSize:
    """How much a training set holds; `tokens` is that of one pass."""

    rows: int
    tokens: int

    @classmethod
    def of_tokens(cls, tokens: float) -> SetSize:
        """A set of which only the tokens are known."""
        return cls(max(1, round(tokens / TOKENS_PER_ROW)), round(tokens))


@dataclass(frozen=True, slots=True)
class Work:
    """What a phase puts through the model."""

    tokens: int
    """Of one pass, padding there is none; of pairs those of both answers, and of a shared prompt once"""
    packs: int
    """Micro-batches of one pass, of all processes together"""
    layout: Layout
    """The largest of them, for `memory.needs_of`"""
    counted: bool
    """Whether every row was tokenised; else a sample was, or the sources' sizes are all that is known"""
    processes: int = 1

    def steps_of_pass(self, args: Any) -> int:
        """Optimiser steps of one pass, as transformers counts them."""
        accumulated: int = args.gradient_accumulation_steps
        return max(1, math.ceil(self.packs / self.processes / accumulated))

    def steps(self, args: Any) -> int:
        """Optimiser steps of the phase."""
        if args.max_steps > 0:
            return int(args.max_steps)
        epochs: float = args.num_train_epochs
        return math.ceil(epochs * self.steps_of_pass(args))

    def trained_tokens(self, args: Any) -> int:
        """Tokens that all steps see together."""
        return round(self.tokens * self.steps(args) / self.steps_of_pass(args))


def work_of_set(path: Path, tokenizer: Any, settings: PhaseSettings, args: Any, seed: int, processes: int = 1) -> Work:
    """What a phase does with a set that is built; of more than 4,000 rows about 2,000 are tokenised.

    Args:
        path: the set that the corpus built.
        tokenizer: of the model.
        settings: of the phase, its paths absolute.
        args: its training arguments.
        seed: of the run.
        processes: that train together.

    Raises:
        UserError: the set cannot be trained on.
    """
    from pediatricsgpt.training.trainer import packs_of

    every = max(1, _rows(path, settings) // _SAMPLE)
    try:
        prepared = _prepared(path, tokenizer, settings, seed, every)
    except UserError:
        if every == 1:
            raise
        every = 1  # a part of a mixture that is rare, or a real fault
        prepared = _prepared(path, tokenizer, settings, seed, every)
    parts = _parts(prepared, settings)
    packs = packs_of(parts, args, settings.max_length, _packing(settings), processes)
    whole = Work(
        tokens=every * sum(piece.stop - piece.start for piece in parts),
        packs=every * len(packs),
        layout=[],
        counted=every == 1,
        processes=processes,
    )
    passes = math.ceil(whole.steps(args) / whole.steps_of_pass(args))
    return replace(whole, layout=_largest(packs, prepared.dataset, min(passes, _PASSES)))


def work_expected(size: SetSize, settings: PhaseSettings, args: Any, processes: int = 1) -> Work:
    """What a phase would do with a set of this size, of rows of `TOKENS_PER_ROW` tokens."""
    tokens = getattr(settings, "tokens", None) or size.tokens
    batch, longest = args.per_device_train_batch_size, settings.max_length
    row = min(TOKENS_PER_ROW, longest)
    if isinstance(settings, DfpoSettings):
        layout: list[tuple[int, ...]] = [_PAIR] * batch
    elif isinstance(settings, CptSettings):
        layout = [(longest, longest - 1)] * batch
    else:
        layout = [(row, row * 2 // 3)] * (batch * longest // row if _packing(settings) else batch)
    per_pack = batch * longest if _packing(settings) else batch * max(1, tokens / size.rows)
    return Work(tokens, math.ceil(tokens / per_pack), layout, counted=False, processes=processes)


def seconds(operations: float, cores: int) -> float:
    """Time of that many operations on this many CPU cores, at a nominal rate."""
    return operations / (OPERATIONS_PER_CORE * cores)


def _rows(path: Path, settings: PhaseSettings) -> int:
    own = [one.path for one in settings.data] if isinstance(settings, MixedSettings) else []
    return sum(map(_rows_of_file, [path, *own]))


def _rows_of_file(path: Path) -> int:
    """Rows of a file without reading them; 0 of one that cannot be read, about which the preparation will speak."""
    import pyarrow.parquet as pq

    try:
        if path.suffix == ".parquet":
            return int(pq.read_metadata(path).num_rows)
        with path.open("rb") as file:
            return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
    except (OSError, ValueError):
        return 0


def _prepared(path: Path, tokenizer: Any, settings: PhaseSettings, seed: int, every: int) -> Prepared:
    from pediatricsgpt.training.data import dialogue_set, text_set
    from pediatricsgpt.training.preference.data import preference_set

    if isinstance(settings, CptSettings):
        if settings.tokens:
            settings = settings.model_copy(update={"tokens": max(1, settings.tokens // every)})
        return text_set(path, tokenizer, settings, seed, every)
    if isinstance(settings, DialogueSettings):
        return dialogue_set(path, tokenizer, settings, seed, every)
    if isinstance(settings, DfpoSettings):
        return preference_set(path, tokenizer, settings.max_length, settings.too_long, every)
    raise TypeError(f"no phase has {type(settings).__name__}")


def _packing(settings: PhaseSettings) -> Packing | None:
    if isinstance(settings, CptSettings):
        return "bfd_split"
    return "bfd" if getattr(settings, "packing", False) else None


def _parts(prepared: Prepared, settings: PhaseSettings) -> Sequence[Piece]:
    from pediatricsgpt.training.batches import lengths_of, pieces
    from pediatricsgpt.training.preference.batches import pieces as pieces_of_pairs

    if isinstance(settings, DfpoSettings):
        return pieces_of_pairs(prepared.dataset, settings.share_prompt)
    if prepared.parts is not None:
        return prepared.parts
    return pieces(lengths_of(prepared.dataset), settings.max_length, _packing(settings) or "bfd")


def _largest(packs: Packs, rows: Any, passes: int) -> Layout:
    """The pack with most tokens (of several, with most that carry loss) that comes in so many passes."""
    laid = {piece: _laid(rows[piece.row], piece) for piece in set(packs.parts)}
    largest: Layout = []
    size = (-1, -1)
    for epoch in range(passes):
        packs.set_epoch(epoch)
        for pack in packs:
            tokens = sum(piece.stop - piece.start for piece in pack)
            if tokens < size[0]:
                continue
            layout = [laid[piece] for piece in pack]
            size, largest = max((size, largest), ((tokens, sum(one[-1] for one in layout)), layout))
    return largest


def _laid(row: Any, piece: Piece) -> tuple[int, ...]:
    from pediatricsgpt.models.encode import IGNORED

    if "prompt_ids" in row:
        return tuple(len(row[f"{part}_ids"]) for part in ("prompt", "chosen", "rejected"))
    labels = row["labels"][piece.start : piece.stop]
    return len(labels), sum(label != IGNORED for label in labels[1:])
