"""Items of a benchmark that stand in a training set, and the scores without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pediatricsgpt.evaluation.report import words
from pediatricsgpt.evaluation.report.files import RunFiles, expected
from pediatricsgpt.evaluation.report.tables import Column, Table
from pediatricsgpt.evaluation.statistics import Interval, bootstrap_mean, cases_of

_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Contamination:
    """What of one benchmark was found in training sets."""

    items: int
    found: frozenset[str]
    """Items that stand in any training set"""
    table: Table
    examples: Sequence[tuple[str, str, str, str]]
    """(training set, kind, item, excerpt)"""


def contamination(run: RunFiles, benchmark: str) -> Contamination | None:
    """Of one benchmark; None where it was not checked.

    Raises:
        UserError: the file is damaged.
    """
    name = f"evaluation/contamination/{benchmark}/contamination.json"
    report = run.json(name)
    if report is None:
        return None
    with expected(run.folder / name):
        sets = report["sets"]
        total = int(report["items"])
        rows = [
            [
                one,
                int(found["items_matched"]),
                int(found["items_matched"]) / total if total else None,
                int(found["rows_matched"]),
                *(int(found["by_kind"].get(kind, 0)) for kind in ("exact", "overlap", "near")),
            ]
            for one, found in sets.items()
        ]
        ids = frozenset(str(item) for found in sets.values() for item in found["ids"])
        examples = [
            (str(one["set"]), str(one["kind"]), str(one["item"]), str(one["excerpt"]))
            for one in report.get("examples", [])[:_EXAMPLES]
        ]
        note = _note(report)
    columns = [
        Column("training set", "head"),
        Column("items found", "count"),
        Column("share of items", "share"),
        Column("training rows", "count"),
        *(Column(kind, "count") for kind in ("exact", "overlap", "near")),
    ]
    caption = (
        f"Items of {words.benchmark(benchmark)} that stand in a training set (n = {total:,} items) 训练集中出现的测试题"
    )
    return Contamination(total, ids, Table(f"{benchmark}-contamination", caption, columns, rows, note), examples)


def _note(report: Mapping[str, Any]) -> str:
    """By what an item counts as found, and what the search cannot see."""
    settings, unchecked = report.get("settings") or {}, int(report.get("unchecked") or 0)
    said = []
    if {"ngram", "overlap", "threshold"} <= settings.keys():
        said.append(
            f"Found: at least {float(settings['overlap']):.0%} of a side's {settings['ngram']}-grams of characters "
            f"stand in a row, or both are {float(settings['threshold']):.0%} alike."
        )
    if unchecked:
        said.append(f"{unchecked:,} of the items are too short or too common to be looked for; they count as clean.")
    said.append("Smaller parts, and texts with many changed characters, are not found: clean is no proof.")
    return " ".join(said)


def clean(
    values: Mapping[str, float], found: Contamination | None, groups: Mapping[str, str] | None = None
) -> Interval | None:
    """The mean of the items that stand in no training set; None where all or none of the items do.

    Args:
        values: of each item.
        found: what training sets hold.
        groups: item id -> its case, of items of which several belong to one.
    """
    if found is None or not found.found & values.keys():
        return None
    left = {item: value for item, value in values.items() if item not in found.found}
    cases = cases_of([(groups or {}).get(item) for item in left])
    return bootstrap_mean(list(left.values()), groups=cases) if left else None


def matched(ids: Sequence[str], found: Contamination | None) -> int | None:
    """How many of some items stand in a training set; None where that was not checked."""
    return None if found is None else len(found.found & set(ids))
