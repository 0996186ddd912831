"""Rows as tokens that a phase can train on, and the account of what became of the others."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy

from pediatricsgpt.models.encode import IGNORED, Encoded
from pediatricsgpt.training.batches import Piece
from pediatricsgpt.training.sets import Item, Label
from pediatricsgpt.training.token_rows import Ints, TokenRows, TokenWriter


class Filling:
    """A pool that is being written, and what became of the rows that are not in it."""

    def __init__(self, sink: Any, labelled: bool, rows: int, held_out: int) -> None:
        """Begin.

        Args:
            sink: a pyarrow output stream.
            labelled: whether labels differ from ids.
            rows: that will be looked at.
            held_out: that are not, because they are not to be trained on.
        """
        self.counts: Counter[str] = Counter(rows=rows, too_long=0, without_loss=0)
        self.longest = 0
        """Tokens of the longest row that did not fit"""
        self._held_out = held_out
        self._labels: dict[Label, int] = {}
        self._writer = TokenWriter(sink, labelled)

    def add(self, encoded: Encoded, item: Item) -> None:
        """Take a row in, or count it as one without a token to learn."""
        if not any(label != IGNORED for label in encoded.labels[1:]):
            self.counts["without_loss"] += 1
            return
        number = self._labels.setdefault(item.label, len(self._labels))
        self._writer.add(encoded, number, str(item.row.get("id") or item.where))

    def close(self) -> None:
        """Write the rest, and the account."""
        labels = [dataclasses.asdict(label) for label in self._labels]
        account = {"counts": self.counts, "longest": self.longest, "held_out": self._held_out, "labels": labels}
        self._writer.close(account)


class Pool:
    """Rows that can be trained on, and what became of the others."""

    def __init__(self, rows: TokenRows) -> None:
        """Open what `Filling` wrote."""
        self.rows = rows
        self.counts: Counter[str] = Counter(rows.account["counts"])
        self.longest: int = rows.account["longest"]
        """Tokens of the longest row that did not fit"""
        self.held_out: int = rows.account["held_out"]
        """Rows that were not looked at, because they are not to be trained on"""
        self.labels = [Label(**label) for label in rows.account["labels"]]
        """The different ones; which one a row has is said by `rows.names`"""

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens of each row."""
        found: list[int] = self.rows.lengths.tolist()
        return found

    def places(self, name_of: Callable[[Label], str | None], once: bool = False) -> dict[str, list[int]]:
        """Places of the rows of each part; with `once`, of several with the same id the first."""
        names = [name_of(label) for label in self.labels]
        ids = self.rows.ids() if once else map(str, range(len(self.rows)))
        found: dict[str, list[int]] = {}
        seen: set[str] = set()
        for place, (number, id_) in enumerate(zip(self.rows.names.tolist(), ids, strict=True)):
            name = names[number]
            if name is not None and not (once and id_ in seen):
                if once:
                    seen.add(id_)
                found.setdefault(name, []).append(place)
        return found


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a pass has: of each piece the row, its tokens, and those that carry loss."""

    rows: Ints
    tokens: Ints
    carrying: Ints

    @classmethod
    def of(cls, pool: Pool, parts: Sequence[Piece] | None) -> Drawn:
        """The pieces that were drawn; None is every row once."""
        if parts is None:
            return cls(numpy.arange(len(pool.rows)), pool.rows.lengths, pool.rows.carrying)
        rows, starts, stops = numpy.array(parts, dtype=numpy.int64).reshape(-1, 3).T
        tokens = stops - starts
        if pool.rows.all_carry:
            return cls(rows, tokens, tokens)
        carrying = pool.rows.carrying[rows]
        for place in numpy.flatnonzero(tokens != pool.rows.lengths[rows]).tolist():
            labels = pool.rows[rows[place]]["labels"][starts[place] : stops[place]]
            carrying[place] = sum(label != IGNORED for label in labels)
        return cls(rows, tokens, carrying)

    def by(self, pool: Pool, kind: str) -> dict[str, dict[str, int | float]]:
        """What each form, task, source or set gives to a pass: different rows, tokens, tokens with loss, share."""
        names = sorted({getattr(label, kind) for label in pool.labels})
        number_of = numpy.array([names.index(getattr(label, kind)) for label in pool.labels], dtype=numpy.int64)
        own = number_of[pool.rows.names[self.rows]]
        rows = numpy.bincount(number_of[pool.rows.names[numpy.unique(self.rows)]], minlength=len(names))
        # Sums of whole numbers in float64 are exact up to 2^53.
        tokens = numpy.bincount(own, self.tokens, len(names))
        carrying = numpy.bincount(own, self.carrying, len(names))
        whole = max(int(tokens.sum()), 1)
        return {
            name: {
                "rows": int(rows[number]),
                "tokens": int(tokens[number]),
                "loss_tokens": int(carrying[number]),
                "share_percent": round(100 * int(tokens[number]) / whole, 2),
            }
            for number, name in enumerate(names)
            if rows[number]
        }


def notes_of(pool: Pool, counts: Mapping[str, Any], max_length: int) -> list[str]:
    """What a person should know of what was left out or cut."""
    notes = []
    rows, longest = counts["rows"], f"the longest has {pool.longest} tokens"
    if cut := counts.get("cut"):
        notes.append(
            f"{cut} of {rows} rows are longer than max_length {max_length} and cut behind a whole answer: "
            f"{counts['cut_turns']} turns, {counts['cut_tokens']} tokens ({longest})"
        )
    if left := counts["too_long"]:
        what = "not even their first answer fits" if cut else "raise it, or set too_long: cut"
        notes.append(f"{left} of {rows} rows are longer than max_length {max_length} and left out ({longest}); {what}")
    if left := counts["without_loss"]:
        notes.append(
            f"{left} of {rows} rows have nothing to learn (no assistant turn, or a text of one token) and are left out"
        )
    if left := counts.get("left_out_mixture"):
        notes.append(f"{left} of {rows} rows belong to no part of the mixture and are left out")
    if left := counts.get("not_drawn"):
        notes.append(f"{left} of {rows} rows are not drawn in this pass")
    if left := counts.get("left_out_held_out"):
        notes.append(f"{left} rows of your own sets have another split than train and are left out")
    return notes
