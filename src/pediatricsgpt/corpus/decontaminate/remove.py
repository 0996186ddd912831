"""Rows of the training sets against an index of test sets: what goes, what stays, and the leakage report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pediatricsgpt.corpus.decontaminate.index import Index, Match
from pediatricsgpt.corpus.decontaminate.test_sets import turn_sides
from pediatricsgpt.corpus.settings import DecontaminateSettings
from pediatricsgpt.records import Locator, Record, Reject, Step

STEP = Step("decontaminate", 1)
_BATCH = 2048

Row = Mapping[str, Any]


def decontaminate(
    rows: Sequence[Row], index: Index, settings: DecontaminateSettings, training_set: str = "train"
) -> tuple[list[Row], list[Reject], dict[str, Any]]:
    """Check the rows of one training set.

    Args:
        rows: of the schemas `cpt`, `instruction` or `preference`, also mixed.
        index: over all test sets.
        settings: whether matching rows are removed, and how many pairs are listed.
        training_set: its name in the report.

    Returns:
        Kept rows and rejects, together as many as there were rows, and the report: see `Leakage.as_dict`.
    """
    index = index.without_common(_frequencies(rows, index))
    account = Leakage(training_set, index, settings.max_pairs)
    kept: list[Row] = []
    rejects: list[Reject] = []
    for begin in range(0, len(rows), _BATCH):
        batch = rows[begin : begin + _BATCH]
        for row, matches in zip(batch, index.matches_of(list(map(row_sides, batch))), strict=True):
            account.add(row["id"], matches)
            if matches and settings.remove:
                source = row["source"]
                where = f"{source['file']}, {Locator(**source['locator'])}"
                rejects.append(Reject("decontaminate", _reason(matches), where, dict(row)))
            else:
                kept.append(row)
    return kept, rejects, account.as_dict()


def _frequencies(rows: Sequence[Row], index: Index) -> Any:
    batches = (rows[begin : begin + _BATCH] for begin in range(0, len(rows), _BATCH))
    return sum((index.frequencies(list(map(row_sides, batch))) for batch in batches), start=index.frequencies([]))


def screen(records: Sequence[Record], index: Index) -> tuple[list[Record], list[Reject]]:
    """Remove the records of a batch that hold test items; what becomes of one does not depend on the others.

    Give it an index that knows what is common: the `frequencies` of all batches, then `without_common`.
    """
    kept: list[Record] = []
    rejects: list[Reject] = []
    for record, matches in zip(records, index.matches_of(list(map(record_sides, records))), strict=True):
        if matches:
            where = f"{record.source.file}, {record.source.locator}"
            rejects.append(Reject("decontaminate", _reason(matches), where, record.as_dict()))
        else:
            record.steps.append(STEP)
            kept.append(record)
    return kept, rejects


def leakage(
    training_sets: Mapping[str, Iterable[Row]], index: Index, settings: DecontaminateSettings
) -> dict[str, dict[str, Any]]:
    """The report on several training sets, by their names; nothing is removed."""
    only_report = settings.model_copy(update={"remove": False})
    return {name: decontaminate(list(rows), index, only_report, name)[2] for name, rows in training_sets.items()}


def row_sides(row: Row) -> tuple[str, str]:
    """Question side and answer side of a training row; a plain text is all answer, without a question.

    Both answers of a preference pair are its answer side.
    """
    if "prompt" in row:
        return turn_sides([*row["prompt"], *row["chosen"], *row["rejected"]])
    return turn_sides(row["messages"]) if "messages" in row else ("", row["text"])


def record_sides(record: Record) -> tuple[str, str]:
    """As `row_sides`, of a record."""
    if record.shape == "text":
        return "", record.text
    return turn_sides([*record.messages, *record.chosen, *record.rejected])


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
    rows: int = 0
    matched: int = 0
    pairs: int = 0
    _listed: list[dict[str, Any]] = field(default_factory=list)
    _rows: Counter[str] = field(default_factory=Counter)
    _items: dict[str, set[str]] = field(default_factory=dict)
    _kinds: dict[str, Counter[str]] = field(default_factory=dict)

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

        `rows`, `matched_rows`; for each test set its `items`, those `unchecked` (too short or too common), the
        `matched_rows` of the training set, the `matched_items` with their `share`, and `pairs` by side and kind of
        match; `pairs` as a list, as far as it is kept, and `pairs_total`.
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
        return {
            "items": items,
            "unchecked": self.index.unchecked[name],
            "matched_rows": self._rows[name],
            "matched_items": matched,
            "share": matched / items if items else 0.0,
            "pairs": dict(sorted(self._kinds.get(name, Counter()).items())),
        }
