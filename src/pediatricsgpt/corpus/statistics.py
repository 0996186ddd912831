"""What is in the sets of a corpus, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pediatricsgpt.corpus.execute import reasons
from pediatricsgpt.records import Reject

Row = Mapping[str, Any]
LABELS = ("task", "family", "department", "age_band", "form", "aspect", "split")
_LENGTHS = (50, 100, 200, 400, 800, 1600)
_PERCENTILES = (5, 25, 50, 75, 95, 100)


def statistics(sets: Mapping[str, Sequence[Row]], rejects: Sequence[Reject] = ()) -> dict[str, Any]:
    """Counts of every set and of what was rejected, as plain values for JSON.

    Args:
        sets: rows by the name of their set; CPT, instruction and preference rows alike.
        rejects: of all steps.
    """
    steps: dict[str, list[Reject]] = {}
    for reject in rejects:
        steps.setdefault(reject.step, []).append(reject)
    return {
        "sets": {name: _set_statistics(rows) for name, rows in sets.items()},
        "rejects": {step: reasons(found) for step, found in steps.items()},
    }


def _set_statistics(rows: Sequence[Row]) -> dict[str, Any]:
    lengths = sorted(_length(row) for row in rows)
    counted = {label: _counted(row[label] for row in rows) for label in LABELS if rows and label in rows[0]}
    return {
        "rows": len(rows),
        "distinct": len({row["id"] for row in rows}),
        "groups": len({row["group"] for row in rows}),
        "characters": sum(lengths),
        "length": percentiles(lengths),
        "lengths": histogram(lengths),
        "turns": _counted(_answers(row) for row in rows if "messages" in row),
        **counted,
        "source": _counted(row["source"]["name"] for row in rows),
        "licence": _counted(row["source"]["licence"] for row in rows),
        "teacher": _counted(teacher for row in rows for teacher in _teachers(row)),
    }


def _counted(values: Iterable[Any]) -> dict[str, int]:
    """How often each value occurs, most frequent first."""
    counter = Counter(map(str, values))
    return dict(sorted(counter.items(), key=lambda item: (-item[1], item[0])))


def _length(row: Row) -> int:
    """A row's characters, all of its sides together."""
    if "text" in row:
        return len(row["text"])
    sides = ("messages",) if "messages" in row else ("prompt", "chosen", "rejected")
    return sum(len(turn["content"]) for side in sides for turn in row[side])


def _answers(row: Row) -> int:
    return sum(turn["role"] == "assistant" for turn in row["messages"])


def _teachers(row: Row) -> list[str]:
    """The models that wrote something in a row; `none` where rules alone did."""
    return sorted({step["teacher"] for step in row["steps"]} - {"none"}) or ["none"]


def percentiles(lengths: Iterable[int]) -> dict[str, int]:
    """The 5th to the 100th percentile of lengths by name; none of no lengths."""
    ordered = sorted(lengths)
    return {f"p{share}": _percentile(ordered, share) for share in _PERCENTILES} if ordered else {}


def histogram(lengths: Iterable[int]) -> dict[str, int]:
    """How many lengths lie in each of the ranges up to 50, 100, 200 … characters; empty ranges too."""
    bounds = [(low, high) for low, high in zip((0, *_LENGTHS), (*_LENGTHS, None), strict=True)]
    names = [f"{low}–{high - 1}" if high else f"{low} and more" for low, high in bounds]
    counted = dict.fromkeys(names, 0)
    for length in lengths:
        place = next(place for place, (_, high) in enumerate(bounds) if high is None or length < high)
        counted[names[place]] += 1
    return counted


def _percentile(ordered: Sequence[int], share: int) -> int:
    """The smallest length that at least `share` percent of the rows do not exceed (nearest rank)."""
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)]
