"""Rows of the training sets against an index of test sets: what goes, what stays, and the leakage report."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pediatricsgpt.corpus.decontaminate.index import Index, Match
from pediatricsgpt.corpus.decontaminate.test_sets import turn_sides
from pediatricsgpt.corpus.settings import DecontaminateSettings
from pediatricsgpt.records import Locator, Reject, Step

STEP = Step("decontaminate", 2)
_BATCH = 2048
_FIRST = 3

Row = Mapping[str, Any]


def decontaminate(
    rows: Sequence[Row],
    index: Index,
    settings: DecontaminateSettings,
    training_set: str = "train",
    unread: Mapping[str, Sequence[Reject]] | None = None,
) -> tuple[list[dict[str, Any]], list[Reject], dict[str, Any]]:
    """Check the rows of one training set.

    Args:
        rows: of the schemas `cpt`, `instruction` or `preference`, also mixed; they stay as they are.
        index: over all test sets.
        settings: whether matching rows are removed, and how many pairs are listed.
        training_set: its name in the report.
        unread: by test set, what of it could not be read (`TestSet.rejects`), so that the report says so.

    Returns:
        Kept rows, with this step behind their others, and rejects, together as many as there were rows; and the report:
        see `Leakage.as_dict`.

    Raises:
        ValueError: `unread` names a test set that the index does not hold.
    """
    index = index.without_common(_frequencies(rows, index))
    account = Leakage(training_set, index, settings.max_pairs, settings.remove, unread or {})
    kept: list[dict[str, Any]] = []
    rejects: list[Reject] = []
    for batch in _batches(rows):
        for row, matches in zip(batch, index.matches_of(list(map(row_sides, batch))), strict=True):
            account.add(row["id"], matches)
            if matches and settings.remove:
                source = row["source"]
                where = f"{source['file']}, {Locator(**source['locator'])}"
                rejects.append(Reject("decontaminate", _reason(matches), where, dict(row)))
            else:
                kept.append({**row, "steps": [*row["steps"], STEP.as_dict()]})
    return kept, rejects, account.as_dict()


def _frequencies(rows: Sequence[Row], index: Index) -> Any:
    """In how many different rows each n-gram stands: one that is there many times says nothing more."""
    seen: set[bytes] = set()
    counts = index.frequencies([])
    for batch in _batches(rows):
        sides = {_digest(each): each for each in map(row_sides, batch)}
        counts = counts + index.frequencies([each for name, each in sides.items() if name not in seen])
        seen.update(sides)
    return counts


def _batches(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    return (rows[begin : begin + _BATCH] for begin in range(0, len(rows), _BATCH))


def _digest(sides: tuple[str, str]) -> bytes:
    """Sixteen bytes that stand for a row's text: those of millions of rows must fit into memory."""
    return hashlib.blake2b("\0".join(sides).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def row_sides(row: Row) -> tuple[str, str]:
    """Question side and answer side of a training row; a plain text is all answer, without a question.

    Both answers of a preference pair are its answer side.
    """
    if "prompt" in row:
        return turn_sides([*row["prompt"], *row["chosen"], *row["rejected"]])
    return turn_sides(row["messages"]) if "messages" in row else ("", row["text"])


def _reason(matches: Sequence[Match]) -> str:
    best = max(matches, key=lambda match: match.score)
    found = f"{best.side} of {best.test_id}: {best.how} {best.score:.2f}"
    return f"in test set {best.test_set}: {found}, “{best.excerpt}”"


@dataclass(slots=True)
class Leakage:
    """An account of the matches of one training set, row by row."""

    training_set: str
    index: Index
    max_pairs: int
    remove: bool = True
    unread: Mapping[str, Sequence[Reject]] = field(default_factory=dict)
    rows: int = 0
    matched: int = 0
    pairs: int = 0
    _listed: list[dict[str, Any]] = field(default_factory=list)
    _rows: Counter[str] = field(default_factory=Counter)
    _items: dict[str, set[str]] = field(default_factory=dict)
    _kinds: dict[str, Counter[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.unread) - set(self.index.items)):
            raise ValueError(f"what could not be read is of no test set of the index: {', '.join(unknown)}")

    def add(self, row_id: str, matches: Sequence[Match]) -> None:
        """Count a row with its matches."""
        self.rows += 1
        self.matched += bool(matches)
        self.pairs += len(matches)
        self._rows.update({match.test_set for match in matches})
        for match in matches:
            self._items.setdefault(match.test_set, set()).add(match.test_id)
            self._kinds.setdefault(match.test_set, Counter())[f"{match.side}, {match.how}"] += 1
            if len(self._listed) < self.max_pairs:
                self._listed.append({"row": row_id, **asdict(match)})

    def as_dict(self) -> dict[str, Any]:
        """Plain values.

        `rows`, `matched_rows`; for each test set its `items`, those `unchecked` (too short or too common), how many
        more could not be read (`unread`, and of the first ones place and reason, `unread_first`), the `matched_rows` of
        the training set, how many of them were `removed`, the `matched_items` with their `share`, and `pairs` by side
        and kind of match; `pairs` as a list, as far as it is kept, and `pairs_total`.
        """
        test_sets = {name: self._of_set(name) for name in self.index.items}
        return {
            "training_set": self.training_set,
            "rows": self.rows,
            "matched_rows": self.matched,
            "test_sets": test_sets,
            "pairs_total": self.pairs,
            "pairs": self._listed,
        }

    def _of_set(self, name: str) -> dict[str, Any]:
        items, matched = self.index.items[name], len(self._items.get(name, ()))
        unread = self.unread.get(name, ())
        return {
            "items": items,
            "unchecked": self.index.unchecked[name],
            "unread": len(unread),
            "unread_first": [f"{reject.where}: {reject.reason}" for reject in unread[:_FIRST]],
            "matched_rows": self._rows[name],
            "removed": self._rows[name] if self.remove else 0,
            "matched_items": matched,
            "share": matched / items if items else 0.0,
            "pairs": dict(sorted(self._kinds.get(name, Counter()).items())),
        }
