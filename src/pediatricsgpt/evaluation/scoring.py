"""Scoring a predictions file: overall, and by task, department and age band where the file says them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.metrics import METRICS, Scores, count_empty, score, summarise
from pediatricsgpt.evaluation.predictions import LABELS, Prediction, read_predictions
from pediatricsgpt.evaluation.statistics import Interval

if TYPE_CHECKING:
    from rich.table import Table

NO_LABEL = "(none)"
"""The group of items that lack a label which others of the file have, so that the groups add up to all items"""


@dataclass(frozen=True)
class ScoreReport:
    """Scores of one predictions file."""

    path: str
    profile: str
    models: list[str]
    """Names of the models that the file says wrote the predictions"""
    overall: Scores
    groups: dict[str, dict[str, Scores]]
    """Field (`task`, `department`, `age_band`) -> its values in the file -> scores; absent fields have no entry"""
    warnings: list[str]
    """Warnings about the file, about all items and about each group"""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the single items."""
        return {
            "path": self.path,
            "profile": self.profile,
            "signature": self.overall.signature,
            "models": self.models,
            **_scores_dict(self.overall),
            "groups": {
                field: {name: _scores_dict(scores) for name, scores in groups.items()}
                for field, groups in self.groups.items()
            },
            "warnings": self.warnings,
        }


def score_file(
    path: str | Path,
    profile: str = "paper",
    by: Sequence[str] = LABELS,
    progress: Callable[[int, int], None] | None = None,
) -> ScoreReport:
    """Score a file of predictions.

    Args:
        path: JSON lines with `prediction` and `reference`; see `read_predictions`.
        profile: `paper` or `char`.
        by: the fields to group by, of `task`, `department` and `age_band`.
        progress: called with (items done, items in all) after each item.

    Raises:
        UserError: the file, the profile or a field to group by is not as it must be.
    """
    unknown = [field for field in by if field not in LABELS]
    if unknown:
        raise UserError(f"cannot group by '{unknown[0]}'; possible are {', '.join(LABELS)}")
    items = read_predictions(path)
    overall = score([(item.prediction, item.reference) for item in items], profile, progress=progress)
    groups = {field: _grouped(items, overall, field, profile) for field in by}
    groups = {field: found for field, found in groups.items() if found}
    models = sorted({item.model for item in items if item.model is not None})
    return ScoreReport(str(path), profile, models, overall, groups, _warnings(models, overall, groups))


def render_table(report: ScoreReport, by: str = "task") -> Table:
    """Metrics as rows; all items and the groups of one field as columns; each cell `12.34 [10.1, 14.2]`."""
    from rich.table import Table
    from rich.text import Text

    columns = {"all": report.overall, **report.groups.get(by, {})}
    table = Table(title=Text(f"{report.path} (profile {report.profile})"), caption=Text(_caption(report)))
    table.add_column("metric", no_wrap=True)
    for name in columns:
        table.add_column(Text(name), justify="right")
    table.add_row("n", *(str(scores.n) for scores in columns.values()))
    table.add_row("empty", *(str(scores.empty) for scores in columns.values()), end_section=True)
    for metric in METRICS:
        table.add_row(metric, *(Text(_cell(scores.summary[metric])) for scores in columns.values()))
    return table


def _grouped(items: Sequence[Prediction], overall: Scores, field: str, profile: str) -> dict[str, Scores]:
    """Scores of each value of a field, in alphabetical order; nothing if no item has the field."""
    members: dict[str, list[int]] = {}
    for index, item in enumerate(items):
        members.setdefault(getattr(item, field) or NO_LABEL, []).append(index)
    if set(members) == {NO_LABEL}:
        return {}
    return {name: _subset(items, overall, members[name], profile) for name in sorted(members)}


def _subset(items: Sequence[Prediction], overall: Scores, members: Sequence[int], profile: str) -> Scores:
    empty = count_empty([(items[index].prediction, items[index].reference) for index in members])
    return summarise([overall.per_sample[index] for index in members], empty, profile)


def _warnings(models: Sequence[str], overall: Scores, groups: dict[str, dict[str, Scores]]) -> list[str]:
    found = []
    if len(models) > 1:
        found.append(f"the file mixes the predictions of {len(models)} models ({', '.join(models)}) in every mean")
    found.extend(overall.warnings)
    for field, scores_by_name in groups.items():
        for name, scores in scores_by_name.items():
            found.extend(f"{field} {name}: {warning}" for warning in scores.warnings)
    return found


def _scores_dict(scores: Scores) -> dict[str, Any]:
    metrics = {name: dataclasses.asdict(interval) for name, interval in scores.summary.items()}
    return {"n": scores.n, "empty": scores.empty, "metrics": metrics}


def _cell(interval: Interval) -> str:
    return f"{interval.mean:.2f} [{interval.low:.1f}, {interval.high:.1f}]"


def _caption(report: ScoreReport) -> str:
    return f"mean x100 [95 % interval] · {report.overall.signature}"
