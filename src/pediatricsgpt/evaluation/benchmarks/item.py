"""What is asked, what a benchmark is, and which of its items are taken."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pediatricsgpt.records import Message, content_id

Kind = Literal["free", "essay", "case", "choice", "true_false", "pairing", "selection"]
FREE: tuple[Kind, ...] = ("free", "essay", "case")
"""Kinds that are answered in free words and scored against a reference"""
CHOSEN: tuple[Kind, ...] = ("choice", "true_false", "pairing")
"""Kinds whose answer is one of, or some of, given options"""
_PREDICTED = ("id", "messages", "reference", "task", "department", "age_band", "group")


@dataclass(slots=True)
class Item:
    """A dialogue up to the question, and the answer that its source gives.

    `messages` hold the question alone: options and the words of a prompt are put around it when it is asked.
    """

    id: str
    messages: list[Message]
    reference: str | None = None
    task: str | None = None
    department: str | None = None
    age_band: str | None = None
    group: str | None = None
    """Document or question that several items come from; intervals draw whole groups"""
    options: dict[str, str] | None = None
    """Letter -> text of what can be chosen; of true or false statements 对 and 错 stand for themselves"""
    key: tuple[str, ...] | None = None
    """The right letters; of a pairing the right letter of each question, in their order"""
    candidates: list[tuple[str, bool]] | None = None
    """Answers of which the right ones are to be found: (text, is right)"""
    kind: Kind = "free"
    subject: str | None = None
    """What the benchmark's authors sort its items by: an examination's subject, a group of diseases"""

    @property
    def question(self) -> str:
        """What the last turn asks."""
        return self.messages[-1]["content"]

    @property
    def case(self) -> str:
        """What intervals draw: the group, or the item itself where it has none."""
        return self.group or self.id

    def prediction(self, answer: str, model: str) -> dict[str, Any]:
        """One line of a predictions file, as the data contract has it; what is not known is left out."""
        row = {**{name: getattr(self, name) for name in _PREDICTED}, "prediction": answer, "model": model}
        return {name: value for name, value in row.items() if value is not None}


@dataclass(slots=True)
class Tally:
    """Rows of a benchmark's files: those that became items, and why others did not. Kept + dropped = read, always."""

    items: list[Item] = field(default_factory=list)
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    _ids: set[str] = field(default_factory=set)
    _contents: set[str] = field(default_factory=set)

    @property
    def read(self) -> int:
        """Rows that were read."""
        return self.kept + self.dropped.total()

    def keep(self, item: Item, rows: int = 1) -> None:
        """Take an item that `rows` rows say, unless it was there already."""
        values = (item.messages, item.reference, item.options, item.key, item.candidates, item.department)
        content = content_id(values)
        if content in self._contents:
            self.drop("the same row again", rows)
        elif item.id in self._ids:
            self.drop("an id that another row has", rows)
        else:
            self._contents.add(content)
            self._ids.add(item.id)
            self.items.append(item)
            self.kept += rows

    def drop(self, reason: str, rows: int = 1) -> None:
        """Count rows that are left out."""
        self.dropped[reason] += rows


@dataclass(slots=True)
class Benchmark:
    """The items that a model is measured on, and all that a reader needs to know of where they come from."""

    name: str
    """In the results: its label, or what it is"""
    kind_of: str
    """What it is: cmd, webmedqa, …"""
    title: str
    path: Path
    items: list[Item]
    home: str
    licence: str
    citation: str
    file_hash: str
    version: str
    """Of the way in which the files are read; it changes with what is kept and how it is joined"""
    read: int
    kept: int
    dropped: dict[str, int]
    left_out: dict[str, int]
    """Good items that were not asked for: of other departments, or beyond the number wanted"""
    known_ids: frozenset[str]
    """Ids of all good items, those that were left out too"""

    @property
    def kinds(self) -> dict[str, int]:
        """How many items of each kind there are."""
        return dict(sorted(Counter(item.kind for item in self.items).items()))

    def as_dict(self) -> dict[str, Any]:
        """What `benchmark.json` says, but for the prompt."""
        own = ("title", "home", "licence", "citation", "file_hash", "version", "read", "kept", "dropped", "left_out")
        values = {name: getattr(self, name) for name in own}
        return {"benchmark": self.name, "kind_of": self.kind_of, **values, "items": len(self.items)} | {
            "kinds": self.kinds
        }


def asked(text: str) -> list[Message]:
    """A dialogue of one question."""
    return [Message(role="user", content=text)]


def item_id(*content: Any) -> str:
    """An id from what an item says, for files that number nothing."""
    return content_id(list(content))


def spread(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows in the order of a hash, one of each group before the second of any: no book fills a test by itself."""
    return [rows[place] for place in _spread([(row["id"], row["group"]) for row in rows])]


def spread_items(items: Sequence[Item]) -> list[Item]:
    """Items in that order."""
    return [items[place] for place in _spread([(item.id, item.case) for item in items])]


def _spread(names: Sequence[tuple[str, str]]) -> list[int]:
    """The places of (id, group) in the order that `spread` describes."""
    seen: Counter[str] = Counter()
    placed = []
    for key, place in sorted((by_hash(name), place) for place, (name, _) in enumerate(names)):
        group = names[place][1]
        placed.append((seen[group], key, place))
        seen[group] += 1
    return [place for _, _, place in sorted(placed)]


def by_hash(text: str) -> str:
    """A key that sorts ids in an order that has nothing to do with where they come from."""
    return hashlib.sha256(text.encode()).hexdigest()
