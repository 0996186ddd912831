"""Rows to packs: what goes through the model at once, by a budget of tokens and without padding.

A pack is one sequence in which whole rows, or pieces of long ones, lie behind one another; each starts at position 0,
and `models.segments` keeps them apart. Which rows lie in which pack follows from seed and epoch alone. Every row comes
exactly once an epoch, and the number of packs is the same in every epoch, so that a step number says where one is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy
import torch
from torch.utils.data import Dataset, Sampler

from pediatricsgpt.errors import UserError
from pediatricsgpt.models.encode import IGNORED

_LIKE = 8
Packing = Literal["bfd", "bfd_split"]
Batch = dict[str, torch.Tensor]


class Piece(NamedTuple):
    """Tokens `start` to `stop` of a row."""

    row: int
    start: int
    stop: int


Pack = tuple[Piece, ...]


def pieces(lengths: Sequence[int], longest: int, packing: Packing) -> list[Piece]:
    """Rows as pieces of at most `longest` tokens.

    Args:
        lengths: tokens of each row.
        packing: `bfd` keeps rows whole; `bfd_split` cuts those that are longer, each piece being a document of its own.

    Raises:
        UserError: a row is empty, or too long to be kept whole.
    """
    found = []
    for row, length in enumerate(lengths):
        if length < 1:
            raise UserError(f"row {row} has no tokens")
        if length > longest and packing == "bfd":
            raise UserError(f"row {row} has {length} tokens, more than max_length {longest}; leave it out or split it")
        found += [Piece(row, start, min(start + longest, length)) for start in range(0, length, longest)]
    return found


def exactly(lengths: Sequence[int], tokens: int, longest: int, seed: int) -> list[Piece]:
    """Pieces that have exactly `tokens` tokens together: the rows in random order, again and again where too few.

    The last piece is cut; nothing else is.

    Raises:
        UserError: there are no tokens at all.
    """
    whole = pieces(lengths, longest, "bfd_split")
    if not whole:
        raise UserError("this set has no tokens")
    chosen: list[Piece] = []
    left, turn = tokens, 0
    while left > 0:
        for index in _random(seed, turn).permutation(len(whole)):
            piece = whole[index]
            size = min(piece.stop - piece.start, left)
            chosen.append(Piece(piece.row, piece.start, piece.start + size))
            left -= size
            if left == 0:
                break
        turn += 1
    return chosen


class Packs(Sampler[Pack]):  # type: ignore[misc]
    """The packs of an epoch, in order; `set_epoch` shuffles anew.

    Packs of nearly equal size lie behind one another in eights: process r of n takes numbers r, r + n, and so on, and
    none waits long for another. How many processes there are changes nothing of the order, so that n of them do what
    one does that accumulates n times as many.
    """

    def __init__(
        self, parts: Sequence[Piece], budget: int, *, seed: int, processes: int = 1, count: int | None = None
    ) -> None:
        """Plan the packs.

        Args:
            parts: pieces of rows, from `pieces` or `exactly`.
            budget: tokens in a pack at the most; of no meaning with `count`.
            seed: decides order and composition together with the epoch.
            count: pieces in a pack, whatever their length, instead of a budget.
            processes: the number of packs is a multiple of it, so that every process has as many as every other;
                what is missing (less than one for each process an epoch) are packs without a token of loss.

        Raises:
            UserError: there is no piece, or one is larger than the budget.
        """
        self.parts = list(parts)
        self.seed = seed
        self.processes = processes
        self.epoch = 0
        self._sizes = numpy.array([part.stop - part.start for part in self.parts], dtype=numpy.int64)
        if not self.parts:
            raise UserError("there are no rows to pack")
        self._count = count
        if count:
            return
        if self._sizes.max() > budget:
            raise UserError(f"a row of {self._sizes.max()} tokens does not fit into a pack of {budget}")
        sizes = sorted(self._sizes.tolist(), reverse=True)
        # Places in the order of falling length: the same in every epoch, rows of equal length change places.
        bins = best_fit_decreasing(sizes, budget)
        self._bins = sorted(bins, key=lambda bin_: (-sum(sizes[place] for place in bin_), bin_))

    def __len__(self) -> int:
        """Packs in an epoch, of all processes together."""
        if self._count:
            return -(-len(self.parts) // (self._count * self.processes)) * self.processes
        return len(self._bins) + -len(self._bins) % self.processes

    def set_epoch(self, epoch: int) -> None:
        """Shuffle for this epoch, which alone (with the seed) decides."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Pack]:
        """The packs of this epoch."""
        random = _random(self.seed, self.epoch)
        if self._count:
            yield from self._by_count(random.permutation(len(self.parts)).tolist(), self._count)
            return
        order = numpy.lexsort((random.permutation(len(self.parts)), -self._sizes))
        groups = [self._bins[start : start + _LIKE] for start in range(0, len(self._bins), _LIKE)]
        for number in random.permutation(len(groups)):
            for bin_ in groups[number]:
                yield tuple(self.parts[order[place]] for place in bin_)
        yield from ((),) * (len(self) - len(self._bins))

    def _by_count(self, order: list[int], count: int) -> Iterator[Pack]:
        """Rows in random order; those of a step are dealt to the processes by length."""
        for start in range(0, len(order), count * self.processes):
            step = sorted(order[start : start + count * self.processes], key=lambda index: (-self._sizes[index], index))
            for rank in range(self.processes):
                yield tuple(self.parts[index] for index in step[rank :: self.processes])


def best_fit_decreasing(sizes: Sequence[int], budget: int) -> list[list[int]]:
    """Fill bins: each item, from the largest on, goes where least room is left behind it.

    Args:
        sizes: falling.
        budget: room of a bin.

    Returns:
        the places of the items in each bin.
    """
    bins: list[list[int]] = []
    by_room: dict[int, list[int]] = {}
    rooms = 0  # bit r is set where some bin has room r left
    for place, size in enumerate(sizes):
        fitting = rooms >> size
        if fitting:
            room = (fitting & -fitting).bit_length() - 1 + size
            number = by_room[room].pop()
            if not by_room[room]:
                rooms ^= 1 << room
            bins[number].append(place)
        else:
            room, number = budget, len(bins)
            bins.append([place])
        left = room - size
        by_room.setdefault(left, []).append(number)
        rooms |= 1 << left
    return bins


def _random(seed: int, turn: int) -> numpy.random.Generator:
    return numpy.random.default_rng([seed, turn])


@dataclass(slots=True)
class PackedRows(Dataset[Batch]):  # type: ignore[misc]
    """Rows of token ids and labels, read by packs."""

    rows: Any
    """A sequence of mappings with `input_ids` and `labels`, such as a `datasets.Dataset`"""
    packs: Packs
    """Which tokens lie together"""

    def __len__(self) -> int:
        """Rows."""
        return len(self.rows)

    def set_epoch(self, epoch: int) -> None:
        """Pass an epoch on to the packs: a data loader that resumes on several processes knows its data set alone."""
        self.packs.set_epoch(epoch)

    def __getitem__(self, pack: Pack) -> Batch:
        """The batch of a pack; one token that carries no loss where the pack is empty."""
        documents = [self._part(piece) for piece in pack]
        return batch(documents or [(self.rows[0]["input_ids"][:1], [IGNORED])])

    def _part(self, piece: Piece) -> tuple[Sequence[int], Sequence[int]]:
        row = self.rows[piece.row]
        return row["input_ids"][piece.start : piece.stop], row["labels"][piece.start : piece.stop]


def batch(documents: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Batch:
    """Documents behind one another as tensors.

    Args:
        documents: token ids and labels of each; a label of -100 carries no loss, and the first token of a document has
            nothing before it to be told from.

    Returns:
        `input_ids` and `position_ids` [1, tokens]; `labels` [1, tokens] as the trainer counts them: at each token the
        one that follows it in the same document, or -100; `loss_positions` [n], the places of those that follow.
    """
    ids = [token for tokens, _ in documents for token in tokens]
    following = [label for _, labels in documents for label in (*labels[1:], IGNORED)]
    labels = torch.tensor([following])
    return {
        "input_ids": torch.tensor([ids]),
        "position_ids": torch.cat([torch.arange(len(tokens)) for tokens, _ in documents])[None],
        "labels": labels,
        "shift_labels": labels,  # transformers counts these as they are
        "loss_positions": (labels[0] != IGNORED).nonzero()[:, 0],
    }


def single(batches: Sequence[Batch]) -> Batch:
    """What a data loader of one pack at a time collates."""
    (only,) = batches
    return only


def lengths_of(rows: Any) -> list[int]:
    """Tokens of each row."""
    column = rows["input_ids"] if hasattr(rows, "column_names") else [row["input_ids"] for row in rows]
    return [len(ids) for ids in column]
