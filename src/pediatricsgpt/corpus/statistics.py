"""What is in the sets of a corpus, in numbers."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pediatricsgpt.corpus.execute import ranked
from pediatricsgpt.records import Reject

Row = Mapping[str, Any]
LABELS = ("task", "family", "department", "age_band", "form", "aspect", "split")
_LENGTHS = (50, 100, 200, 400, 800, 1600)
_PERCENTILES = (5, 25, 50, 75, 95, 100)


def statistics(sets: Mapping[str, Iterable[Row]], rejects: Iterable[Reject] = ()) -> dict[str, Any]:
    """Counts of every set and of what was rejected, as plain values for JSON. Everything is gone through once.

    Args:
        sets: rows by the name of their set; CPT, instruction and preference rows alike.
        rejects: of all steps.
    """
    steps: dict[str, Counter[str]] = {}
    for reject in rejects:
        steps.setdefault(reject.step, Counter())[reject.reason.split(":")[0]] += 1
    return {
        "sets": {name: _set_statistics(rows) for name, rows in sets.items()},
        "rejects": {step: ranked(found) for step, found in steps.items()},
    }


def _set_statistics(rows: Iterable[Row]) -> dict[str, Any]:
    lengths, ids, groups = array("q"), set(), set()
    counted: dict[str, Counter[str]] = {name: Counter() for name in ("turns", *LABELS, "source", "licence", "teacher")}
    for row in rows:
        lengths.append(_length(row))
        ids.add(row["id"])
        groups.add(row["group"])
        for name, values in _values(row):
            counted[name].update(values)
    ordered = sorted(lengths)
    always = {"turns", "source", "licence", "teacher"}
    return {
        "rows": len(ordered),
        "distinct": len(ids),
        "groups": len(groups),
        "characters": sum(ordered),
        "length": percentiles(ordered),
        "lengths": histogram(ordered),
        **{name: ranked(values) for name, values in counted.items() if values or name in always},
    }


def _values(row: Row) -> Iterator[tuple[str, list[str]]]:
    """What is counted of a row, by name."""
    if "messages" in row:
        yield "turns", [str(_answers(row))]
    yield from ((label, [str(row[label])]) for label in LABELS if label in row)
    yield "source", [row["source"]["name"]]
    yield "licence", [row["source"]["licence"]]
    yield "teacher", _teachers(row)


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
