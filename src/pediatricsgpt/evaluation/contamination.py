"""Which items of a benchmark stand in the sets that a model was trained on.

The decision is that of decontamination (`corpus.decontaminate`): shared character n-grams and near-duplicates, where
phrases of many test items and templates of many training rows count for nothing. A score of such items measures memory;
so it is shown beside the score of the others.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pediatricsgpt import text as chinese
from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.benchmarks import Item
from pediatricsgpt.manifest import write_atomically
from pediatricsgpt.records import SchemaName

if TYPE_CHECKING:
    from pediatricsgpt.corpus.decontaminate import Index, Match

CONTAMINATION = "contamination.json"
MatchKind = Literal["exact", "overlap", "near"]
KINDS: tuple[MatchKind, ...] = ("exact", "overlap", "near")
"""Strongest first. exact: one side of the item, the question or the answer, stands in the row letter by letter;
overlap: so large a part of it; near: the row is the side with changes everywhere"""
_EXAMPLES = 5  # of each kind in each set
_BATCH = 2048
_READ: dict[SchemaName, tuple[str, ...]] = {
    "cpt": ("id", "text"),
    "instruction": ("id", "messages"),
    "preference": ("id", "prompt", "chosen", "rejected"),
}

Row = Mapping[str, Any]
Sides = tuple[str, str]


def contamination(
    benchmark: str, items: Sequence[Item], training_sets: Mapping[str, Path], settings: Any
) -> dict[str, Any]:
    """Look for every item of a benchmark in every training set.

    Args:
        benchmark: its name.
        items: their ids differ.
        training_sets: Parquet files of the data contract (`cpt`, `instruction` or `preference`) by their names.
        settings: `DecontaminateSettings` of the corpus: length of n-grams, and what makes a match.

    Returns:
        `benchmark`, `items`, those `unchecked` (too short or too common to be looked for); `sets`: of each its `rows`,
        the `items_matched` by their strongest kind (`by_kind`) and their `ids`, and `rows_matched`; the `settings`; and
        `examples`.

    Raises:
        UserError: a training set is missing or none of the data contract.
    """
    from pediatricsgpt.corpus.decontaminate import build_index

    index = build_index({benchmark: map(_sides_of_item, items)}, settings)
    keys = {item.id: tuple(map(chinese.key, _sides_of_item(item)[1:])) for item in items}
    found = {name: _search(index, keys, path) for name, path in training_sets.items()}
    return {
        "benchmark": benchmark,
        "items": len(items),
        "unchecked": index.unchecked[benchmark],
        "sets": {name: account.as_dict([item.id for item in items]) for name, account in found.items()},
        "settings": {name: getattr(settings, name) for name in ("ngram", "overlap", "threshold")},
        "examples": [{**example, "set": name} for name, account in found.items() for example in account.examples()],
    }


def write_contamination(folder: Path, found: Mapping[str, Any]) -> Path:
    """Write what `contamination` gave into a folder; the file's path."""
    path = folder / CONTAMINATION
    write_atomically(path, json.dumps(found, ensure_ascii=False, indent=1) + "\n")
    return path


@dataclass(slots=True)
class _Account:
    """The matches of one training set, row by row."""

    rows: int = 0
    matched: int = 0
    _kinds: dict[str, MatchKind] = field(default_factory=dict)
    _examples: dict[MatchKind, list[dict[str, Any]]] = field(default_factory=lambda: {kind: [] for kind in KINDS})

    def add(self, row_id: str, matches: Sequence[tuple[Match, MatchKind]]) -> None:
        """Count a row with its matches."""
        self.rows += 1
        self.matched += bool(matches)
        for match, kind in matches:
            before = self._kinds.get(match.test_id)
            if before is None or KINDS.index(kind) < KINDS.index(before):
                self._kinds[match.test_id] = kind
            if len(self._examples[kind]) < _EXAMPLES:
                told = {"side": match.side, "score": float(match.score), "excerpt": match.excerpt}
                self._examples[kind].append({"item": match.test_id, "row": row_id, "kind": kind, **told})

    def as_dict(self, ids: Sequence[str]) -> dict[str, Any]:
        """Plain values; the ids in the items' order."""
        counts = Counter(self._kinds.values())
        return {
            "rows": self.rows,
            "items_matched": len(self._kinds),
            "rows_matched": self.matched,
            "by_kind": {kind: counts[kind] for kind in KINDS},
            "ids": [identity for identity in ids if identity in self._kinds],
        }

    def examples(self) -> Iterator[dict[str, Any]]:
        """Some matches of each kind, in the order of the rows."""
        for kind in KINDS:
            yield from self._examples[kind]


def _sides_of_item(item: Item) -> tuple[str, str, str]:
    """Id, what the item asks, what it answers: the reference, the right candidates, or else the right options."""
    said = [turn["content"] for turn in item.messages if turn["role"] == "assistant"]
    right = [item.reference] if item.reference else [text for text, is_right in item.candidates or () if is_right]
    if not right and item.options and item.key:
        right = [item.options[letter] for letter in item.key if letter in item.options]
    asked = "\n".join(turn["content"] for turn in item.messages if turn["role"] == "user")
    return item.id, asked, "\n".join([*said, *right])


def _search(index: Index, keys: Mapping[str, Sequence[str]], path: Path) -> _Account:
    index = index.without_common(_frequencies(index, path))
    account = _Account()
    for rows in _batches(path):
        sides = _sides_of_rows(rows)
        for row, own, matches in zip(rows, sides, index.matches_of(sides), strict=True):
            account.add(row["id"], [(match, _kind(match, keys[match.test_id], own)) for match in matches])
    return account


def _frequencies(index: Index, path: Path) -> Any:
    """In how many different rows each n-gram stands: a text that a set holds twenty times is no template."""
    seen: set[bytes] = set()
    counts = index.frequencies([])
    for rows in _batches(path):
        sides = {_digest(each): each for each in _sides_of_rows(rows)}
        counts = counts + index.frequencies([each for name, each in sides.items() if name not in seen])
        seen.update(sides)
    return counts


def _digest(sides: Sides) -> bytes:
    return hashlib.blake2b("\0".join(sides).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _kind(match: Match, keys: Sequence[str], row: Sides) -> MatchKind:
    side = row[0] if match.row_side == "question" else row[1]
    if keys[match.side == "answer"] in chinese.key(side):
        return "exact"
    return "near" if match.how == "near" else "overlap"


def _sides_of_rows(rows: Sequence[Row]) -> list[Sides]:
    from pediatricsgpt.corpus.decontaminate import row_sides

    return list(map(row_sides, rows))


def _batches(path: Path) -> Iterator[list[dict[str, Any]]]:
    """The rows, some at a time, with no more columns than are looked at.

    Raises:
        UserError: the file is missing, is no Parquet file, or its columns are those of none of these contracts.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise UserError("no such file", path)
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise UserError(f"not a Parquet file ({error})", path) from error
    with file:
        columns = next((names for names in _READ.values() if set(names) <= set(file.schema_arrow.names)), None)
        if columns is None:
            raise UserError(f"no training set: it has the columns of none of {', '.join(_READ)}", path)
        for batch in file.iter_batches(_BATCH, columns=list(columns)):
            yield batch.to_pylist()
