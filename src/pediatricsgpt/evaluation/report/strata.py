"""Scores by department, task and age band: weakest first, drawn and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pediatricsgpt.evaluation.report import models, words
from pediatricsgpt.evaluation.report.files import expected
from pediatricsgpt.evaluation.report.plots import Dots, dots
from pediatricsgpt.evaluation.report.tables import Column, Table, interval
from pediatricsgpt.evaluation.scoring import SMALL
from pediatricsgpt.evaluation.statistics import Interval

METRIC = "rouge-l"
PEDIATRICS = "儿科"

Strata = Mapping[str, Sequence[Interval | None]]
"""Value of a label -> an interval for each model"""


def by_stratum(scored: Mapping[str, Mapping[str, Any]], field: str, where: Path) -> dict[str, list[Interval | None]]:
    """ROUGE-L of every model by the values of a label, weakest first.

    Args:
        scored: model -> what its `scores.json` says.
        field: `task`, `department` or `age_band`.
        where: the folder of the models' folders, for errors.

    Raises:
        UserError: a file is not in the form of this version.
    """
    found: dict[str, list[Interval | None]] = {}
    for place, (model, one) in enumerate(scored.items()):
        with expected(where / model / "scores.json"):
            for value, group in one["groups"].get(field, {}).items():
                row = found.setdefault(str(value), [None] * len(scored))
                row[place] = interval(group["metrics"][METRIC])
    return weakest_first(list(scored), found)


def weakest_first(names: Sequence[str], found: Strata) -> dict[str, list[Interval | None]]:
    """Strata in the order of our last model's means, or the first model's where none is ours."""
    place = names.index(decides(names)) if names else 0

    def mean(value: str) -> tuple[bool, float, str]:
        here = found[value][place] if found[value] else None
        return here is None, here.mean if here else 0.0, value

    return {value: list(found[value]) for value in sorted(found, key=mean)}


def decides(names: Sequence[str]) -> str:
    """The model by whose means strata are ordered: our last one, or the first where none is ours."""
    return models.ours(names) or names[0]


def order_note(names: Sequence[str]) -> str:
    """A sentence about the order of strata."""
    return f"Weakest of {words.model(decides(names))} first 最弱者在前." if names else ""


def strata(benchmark: str, field: str, names: Sequence[str], found: Strata) -> Dots | None:
    """The drawing of one label's strata."""
    title = f"{words.benchmark(benchmark)}: ROUGE-L by {words.field(field)}"
    note = f"Mean times 100 with 95 % interval. {order_note(names)}"
    return dots(title, f"{benchmark}-{field}", names, found, note)


def department_table(benchmark: str, names: Sequence[str], found: Strata) -> Table | None:
    """ROUGE-L by department with pediatrics apart, on top; None where the items have no departments."""
    if not found or set(found) == {"(none)"}:
        return None
    order = sorted(found, key=lambda value: not value.startswith(PEDIATRICS))
    columns = [
        Column("department", "head"),
        Column("n", "count"),
        *(Column(words.model(name), "points") for name in names),
    ]
    rows: list[list[Any]] = [
        [value, max((one.n for one in found[value] if one), default=0), *found[value]] for value in order
    ]
    caption = (
        f"{words.benchmark(benchmark)}: ROUGE-L by department, pediatrics apart, then weakest first 按科室，儿科单列"
    )
    first = {place for place, value in enumerate(order) if value.startswith(PEDIATRICS)}
    return Table(f"{benchmark}-departments", caption, columns, rows, few([row[1] for row in rows]), frozenset(first))


def few(counts: Sequence[int]) -> str:
    """A note where groups are so small that their intervals are too narrow."""
    small = sum(n < SMALL for n in counts)
    if not small:
        return ""
    return f"{small} of {len(counts)} groups have fewer than {SMALL} items: their intervals are too narrow 样本过少."
