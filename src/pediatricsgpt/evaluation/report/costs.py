"""What was paid for measuring: judges, rubrics and caregivers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pediatricsgpt.evaluation.report import consultations, judge, rubrics
from pediatricsgpt.evaluation.report.files import RunFiles
from pediatricsgpt.evaluation.report.tables import Column, Table

_FIELDS = ("requests", "cached", "input_tokens", "output_tokens", "money")


def costs(run: RunFiles) -> Table | None:
    """Requests, tokens and money by purpose; None where nothing was asked of an endpoint.

    Raises:
        UserError: a file is damaged.
    """
    found = [*judge.costs(run), *rubrics.costs(run), *consultations.costs(run)]
    if not found:
        return None
    columns = [
        Column("what for", "head"),
        Column("requests sent", "count"),
        Column("answers from the cache", "count"),
        Column("tokens in", "count"),
        Column("tokens out", "count"),
        Column("money", "count"),
        Column("currency"),
    ]
    rows = [[what, *(_number(counts, field) for field in _FIELDS), counts.get("currency")] for what, counts in found]
    note = "Money as the settings price tokens; a dash where no price was given."
    return Table("costs", "What measuring took 评测开销", columns, rows, note)


def _number(counts: Mapping[str, Any], field: str) -> int | float | None:
    value = counts.get(field)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
