"""Scoring a predictions file: overall, and by task, department and age band where the file says them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation import statistics
from pediatricsgpt.evaluation.metrics import (
    METRICS,
    Scores,
    check_profile,
    count,
    is_corpus,
    monotonicity_warnings,
    summarise,
)
from pediatricsgpt.evaluation.predictions import (
    LABELS,
    PREDICTIONS,
    Prediction,
    by_id,
    first_few,
    read_ids,
    read_predictions,
)
from pediatricsgpt.evaluation.statistics import Interval
from pediatricsgpt.manifest import write_atomically
from pediatricsgpt.records import write_json_lines

if TYPE_CHECKING:
    from rich.table import Table

SCORES = "scores.json"
ITEM_SCORES = "item_scores.jsonl"
"""What lies in the folder of a model that answered something"""

NO_LABEL = "(none)"
"""The group of items that lack a label which others of the file have, so that the groups add up to all items"""

WEAKEST_BY = "rouge-l"
"""The metric by which groups are ordered, the weakest first"""

SMALL = 30
"""Groups with fewer items are marked: a percentile interval of so few is too narrow"""

_STRATA_METRICS = ("rouge-1", "rouge-l", "bleu-4", "gleu")


@dataclass(frozen=True)
class ScoreReport:
    """Scores of one predictions file."""

    path: str
    profile: str
    models: list[str]
    """Names of the models that the file says wrote the predictions"""
    overall: Scores
    groups: dict[str, dict[str, Scores]]
    """Field (`task`, `department`, `age_band`) -> its values in the file, weakest first by `WEAKEST_BY` -> scores;
    absent fields have no entry"""
    warnings: list[str]
    """Warnings about the file, about all items, and about groups of which the order of BLEU is broken"""
    items: list[Prediction] = field(repr=False, compare=False)
    """What was scored, in the order of `overall.per_sample`"""

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
            "weakest_by": WEAKEST_BY,
            "warnings": self.warnings,
        }

    def item_rows(self) -> Iterator[dict[str, Any]]:
        """One row per item: id, labels that it has, and every metric, 0..1."""
        for item, scores in zip(self.items, self.overall.per_sample, strict=True):
            labels = {name: getattr(item, name) for name in LABELS if getattr(item, name) is not None}
            yield {"id": item.id, **labels, **scores}


def score_file(
    path: str | Path,
    profile: str = "paper",
    by: Sequence[str] = LABELS,
    progress: Callable[[int, int], None] | None = None,
    ids: str | Path | None = None,
    intersect: bool = False,
) -> ScoreReport:
    """Score a file of predictions.

    Args:
        path: JSON lines with `prediction` and `reference`; see `read_predictions`.
        profile: one of `PROFILES`.
        by: the fields to group by, of `task`, `department` and `age_band`.
        progress: told (items done, items in all) now and then.
        ids: a file with the ids that the predictions must have, for example a benchmark's items; None takes any.
        intersect: score what `ids` and the file have in common instead of refusing a difference.

    Raises:
        UserError: the file, the profile or a field to group by is not as it must be, or the ids are not those.
    """
    check_profile(profile)
    _check_fields(by)
    items = read_predictions(path)
    if ids is None:
        return score_items(path, items, profile, by, progress)
    expected = read_ids(ids)
    chosen, warnings = _expected(items, expected, path, Path(ids), intersect)
    return score_items(path, chosen, profile, by, progress, warnings)


def score_items(
    path: str | Path,
    items: Sequence[Prediction],
    profile: str = "paper",
    by: Sequence[str] = LABELS,
    progress: Callable[[int, int], None] | None = None,
    warnings: Sequence[str] = (),
) -> ScoreReport:
    """Score predictions that are read already; see `score_file`. `warnings` are put before those found here.

    Raises:
        UserError: there is no prediction, the profile is unknown, or a field to group by is.
    """
    check_profile(profile)
    _check_fields(by)
    counted = count([(item.prediction, item.reference) for item in items], profile, progress)
    overall = summarise(counted, groups=cases_of(items))
    groups = {name: _grouped(items, overall, name) for name in by}
    groups = {name: found for name, found in groups.items() if found}
    models = sorted({item.model for item in items if item.model is not None})
    found = [*warnings, *_warnings(models, overall, groups)]
    return ScoreReport(str(path), profile, models, overall, groups, found, list(items))


def cases_of(items: Sequence[Prediction]) -> list[str] | None:
    """`statistics.cases_of` of their groups."""
    return statistics.cases_of([item.group for item in items])


def write_scores(folder: Path, profile: str) -> None:
    """Score the predictions that lie in a folder: `scores.json` and `item_scores.jsonl` beside them."""
    report = score_file(folder / PREDICTIONS, profile=profile)
    write_item_scores(folder / ITEM_SCORES, report)
    told = report.to_dict() | {"path": PREDICTIONS}
    write_atomically(folder / SCORES, json.dumps(told, ensure_ascii=False, indent=1))


def write_item_scores(path: Path, report: ScoreReport) -> None:
    """Write the scores of each item as JSON lines; a reader never sees half of the file."""
    partial = path.with_name(path.name + ".partial")
    try:
        write_json_lines(partial, report.item_rows())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def render_table(report: ScoreReport, by: str | None = "task") -> Table:
    """Metrics as rows; all items and the groups of one field as columns; each cell `12.34 [10.1, 14.2]`."""
    from rich.table import Table
    from rich.text import Text

    columns = {"all": report.overall, **(report.groups.get(by, {}) if by else {})}
    table = Table(title=Text(f"{report.path} (profile {report.profile})"), caption=Text(_caption(report)))
    table.add_column("metric", no_wrap=True)
    for name in columns:
        table.add_column(Text(name), justify="right")
    table.add_row("n", *(str(scores.n) for scores in columns.values()))
    table.add_row("empty", *(str(scores.empty) for scores in columns.values()), end_section=True)
    for metric in METRICS:
        table.add_row(metric, *(Text(_cell(scores.summary[metric])) for scores in columns.values()))
    return table


def render_groups(report: ScoreReport, field: str) -> Table:
    """The groups of one field as rows, the weakest first; those with few items are marked."""
    from rich.table import Table
    from rich.text import Text

    caption = f"weakest first by {WEAKEST_BY} · x100 [95 % interval] · * fewer than {SMALL} items: too few to rely on"
    table = Table(title=Text(f"by {field}"), caption=Text(caption))
    table.add_column(field)
    for name in ("n", "empty", *_STRATA_METRICS):
        table.add_column(name, justify="right")
    for name, scores in report.groups.get(field, {}).items():
        cells = [Text(_cell(scores.summary[metric]).replace(" [", "\n[")) for metric in _STRATA_METRICS]
        table.add_row(Text(name), f"{scores.n}{'*' if scores.n < SMALL else ''}", str(scores.empty), *cells)
    return table


def _check_fields(by: Sequence[str]) -> None:
    unknown = [name for name in by if name not in LABELS]
    if unknown:
        raise UserError(f"cannot group by '{unknown[0]}'; possible are {', '.join(LABELS)}")


def _expected(
    items: Sequence[Prediction], ids: Sequence[str], path: str | Path, ids_file: Path, intersect: bool
) -> tuple[list[Prediction], list[str]]:
    """The predictions of the expected ids in their order, and what is to be said about the others."""
    answered = by_id(items)
    missing = [name for name in ids if name not in answered]
    known = set(ids)
    unknown = [name for name in answered if name not in known]
    if not missing and not unknown:
        return [answered[name] for name in ids], []
    said = [f"{len(missing)} of its ids are missing ({first_few(missing)})"] if missing else []
    said += [f"{len(unknown)} ids are not in it ({first_few(unknown)})"] if unknown else []
    text = f"the items of {ids_file} were not all answered, or others were: {'; '.join(said)}"
    if not intersect:
        raise UserError(f"{text}; --intersect scores the common ones", path)
    common = [answered[name] for name in ids if name in answered]
    if not common:
        raise UserError(f"no id in common with {ids_file}: nothing to score", path)
    return common, [f"{text}; {len(common)} common items are scored"]


def _grouped(items: Sequence[Prediction], overall: Scores, name: str) -> dict[str, Scores]:
    """Scores of each value of a field, the weakest first; nothing if no item has the field."""
    members: dict[str, list[int]] = {}
    for index, item in enumerate(items):
        members.setdefault(getattr(item, name) or NO_LABEL, []).append(index)
    if set(members) == {NO_LABEL}:
        return {}
    found = {value: _subset(items, overall, members[value]) for value in sorted(members)}
    return dict(sorted(found.items(), key=lambda group: group[1].summary[WEAKEST_BY].mean))


def _subset(items: Sequence[Prediction], overall: Scores, members: Sequence[int]) -> Scores:
    return summarise(overall.counted.subset(members), groups=cases_of([items[index] for index in members]))


def _warnings(models: Sequence[str], overall: Scores, groups: dict[str, dict[str, Scores]]) -> list[str]:
    found = []
    if len(models) > 1:
        found.append(f"the file mixes the predictions of {len(models)} models ({', '.join(models)}) in every mean")
    found.extend(overall.warnings)
    for name, scores_by_name in groups.items():
        for value, scores in scores_by_name.items():
            found.extend(f"{name} {value}: {warning}" for warning in monotonicity_warnings(_means(scores)))
    return found


def _means(scores: Scores) -> dict[str, float]:
    return {name: interval.mean for name, interval in scores.summary.items()}


def _scores_dict(scores: Scores) -> dict[str, Any]:
    metrics = {name: dataclasses.asdict(interval) for name, interval in scores.summary.items()}
    return {"n": scores.n, "empty": scores.empty, "small": scores.n < SMALL, "metrics": metrics}


def _cell(interval: Interval) -> str:
    return f"{interval.mean:.2f} [{interval.low:.1f}, {interval.high:.1f}]"


def _caption(report: ScoreReport) -> str:
    what = "of all items as one text" if is_corpus(report.profile) else "mean"
    return f"{what}, x100 [95 % interval]"
