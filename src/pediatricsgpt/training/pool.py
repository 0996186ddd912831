"""Rows as tokens that a phase can train on, and the account of what became of the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pediatricsgpt.models.encode import IGNORED, Encoded
from pediatricsgpt.training.batches import Piece
from pediatricsgpt.training.sets import Item, Label


@dataclass(slots=True)
class Pool:
    """Rows that can be trained on, and what became of the others."""

    rows: list[dict[str, list[int]]] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    longest: int = 0
    """Tokens of the longest row that did not fit"""

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row."""
        return [len(row["input_ids"]) for row in self.rows]

    def add(self, encoded: Encoded, item: Item) -> None:
        """Take a row in, or count it as one without a token to learn."""
        if not any(label != IGNORED for label in encoded.labels[1:]):
            self.counts["without_loss"] += 1
            return
        self.rows.append({"input_ids": encoded.input_ids, "labels": encoded.labels})
        self.labels.append(item.label)
        self.ids.append(str(item.row.get("id") or item.where))

    def places(self, name_of: Callable[[Label], str | None], once: bool = False) -> dict[str, list[int]]:
        """Places of the rows of each part; with `once`, of several with the same id the first."""
        found: dict[str, list[int]] = {}
        seen: set[str] = set()
        for place, label in enumerate(self.labels):
            name = name_of(label)
            if name is not None and not (once and self.ids[place] in seen):
                seen.add(self.ids[place])
                found.setdefault(name, []).append(place)
        return found


def carrying(pool: Pool, piece: Piece) -> int:
    """Tokens of a piece that carry loss."""
    return sum(label != IGNORED for label in pool.rows[piece.row]["labels"][piece.start : piece.stop])


def by(pool: Pool, sizes: Sequence[tuple[int, int, int]], kind: str) -> dict[str, dict[str, int | float]]:
    """What each form, task, source or set gives to a pass: different rows, tokens, tokens with loss, share."""
    rows: dict[str, set[int]] = {}
    tokens: Counter[str] = Counter()
    loss: Counter[str] = Counter()
    for row, size, carrying in sizes:
        name = getattr(pool.labels[row], kind)
        rows.setdefault(name, set()).add(row)
        tokens[name] += size
        loss[name] += carrying
    whole = max(tokens.total(), 1)
    return {
        name: {
            "rows": len(rows[name]),
            "tokens": tokens[name],
            "loss_tokens": loss[name],
            "share_percent": round(100 * tokens[name] / whole, 2),
        }
        for name in sorted(tokens)
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
    if left := counts.get("left_out_mixture"):
        notes.append(f"{left} of {rows} rows belong to no part of the mixture and are left out")
    if left := counts.get("left_out_held_out"):
        notes.append(f"{left} rows of your own sets have another split than train and are left out")
    return notes
