"""Answers graded by criteria with points, in HealthBench's form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pediatricsgpt.evaluation.report import models, words
from pediatricsgpt.evaluation.report.files import RunFiles, expected
from pediatricsgpt.evaluation.report.paired_table import paired
from pediatricsgpt.evaluation.report.plots import Dots, dots
from pediatricsgpt.evaluation.report.singles import unequal
from pediatricsgpt.evaluation.report.strata import few, order_note, weakest_first
from pediatricsgpt.evaluation.report.tables import Column, Table, axis_of, interval
from pediatricsgpt.evaluation.statistics import Interval

FOLDER = "evaluation/rubrics"
_WEAKEST = 12
_CHANGES = (
    "Change of the score on the same items (paired), before means are clipped, in percentage points 配对差值（百分点）"
)


@dataclass(frozen=True, slots=True)
class Rubrics:
    """What is shown of the grading."""

    sets: list[str]
    warnings: list[tuple[str, str]]
    """(model, what must be known of its figures), the set's own note with them"""
    scores: Table
    changes: Table | None
    """Paired differences of the score, in percentage points"""
    themes: Dots | None
    theme_table: Table | None
    strata: list[Table]
    """By task, department and age band, where items have them"""
    vetoes: Table | None
    """Veto criteria that struck"""
    criteria: list[Table]
    """Of each model the criteria that it fails most, heaviest first"""


def rubrics(run: RunFiles) -> Rubrics | None:
    """The grading of all models; None where none was graded.

    Raises:
        UserError: a file is damaged.
    """
    found = models.results(run, FOLDER, "rubrics.json")
    if not found:
        return None
    rows, sets, criteria, warnings = [], [], [], []
    themes: dict[str, list[Interval | None]] = {}
    for place, (model, one) in enumerate(found.items()):
        with expected(run.folder / FOLDER / model / "rubrics.json"):
            score, vetoed = interval(one["score"]), one["vetoed"]
            row = [model, _judge(one["judge"]), int(one["n"]), score, score, interval(one["raw_points"])]
            rows.append(
                [*row, int(vetoed["items"]), interval(vetoed["share"]), int(one["invalid"]), one.get("unscored")]
            )
            kept = one["rubric_set"]
            sets.append(f"{kept['name']} {kept['version']} ({str(kept['sha256'])[:12]}, {kept['licence']})")
            criteria.append(_criteria(model, one["criteria"]))
            said = dict.fromkeys([str(kept.get("note") or ""), *map(str, one.get("warnings") or ())])
            warnings += [(model, warning) for warning in said if warning]
            for theme, each in one["themes"].items():
                themes.setdefault(theme, [None] * len(found))[place] = interval(each["score"], 100.0)
    columns = [
        Column("model", "head"),
        Column("judge"),
        Column("n", "count"),
        Column("score", "share"),
        Column("score ", "range", axis_of([row[3] for row in rows])),
        Column("points", "value"),
        Column("items with a veto", "count"),
        Column("share with a veto", "share"),
        Column("not readable", "count"),
        Column("items without a score", "count"),
    ]
    note = (
        "Score: points reached over the positive points that there are; a veto takes an item to 0 or below; means are "
        "clipped to 0 and 100 %."
    )
    ordered = weakest_first(list(found), themes)
    title = "Score by theme, per cent 按主题得分"
    singles = {model: _singles(run, model, one) for model, one in found.items()}
    warnings += unequal(singles)
    return Rubrics(
        list(dict.fromkeys(sets)),
        warnings,
        Table("rubrics", "Score by criteria with points 按评分标准得分", columns, rows, note),
        paired("rubrics-changes", _CHANGES, singles, models.against(found), ("score",)),
        dots(title, "rubrics-themes-plot", list(found), ordered, order_note(list(found))),
        _by("rubrics-themes", title, "theme", ordered, list(found)) if themes else None,
        _strata(run, found),
        _vetoes(run, found),
        [one for one in criteria if one.rows],
    )


def _by(
    name: str, title: str, label: str, values: Mapping[str, Sequence[Interval | None]], names: Sequence[str]
) -> Table:
    """A row for each value of a label, with the n of the model that has most."""
    columns = [Column(label, "head"), Column("n", "count"), *(Column(model, "points") for model in names)]
    rows: list[list[Any]] = [
        [value, max((cell.n for cell in cells if cell), default=0), *cells] for value, cells in values.items()
    ]
    return Table(name, title, columns, rows, few([row[1] for row in rows]))


def _strata(run: RunFiles, found: Mapping[str, Mapping[str, Any]]) -> list[Table]:
    tables = []
    for field in ("task", "department", "age_band"):
        values: dict[str, list[Interval | None]] = {}
        for place, (model, one) in enumerate(found.items()):
            with expected(run.folder / FOLDER / model / "rubrics.json"):
                for value, each in ((one.get("strata") or {}).get(field) or {}).items():
                    values.setdefault(value, [None] * len(found))[place] = interval(each["score"], 100.0)
        if values:
            title = f"Score by {words.field(field)}, per cent"
            tables.append(_by(f"rubrics-{field}", title, field, weakest_first(list(found), values), list(found)))
    return tables


def _vetoes(run: RunFiles, found: Mapping[str, Mapping[str, Any]]) -> Table | None:
    """Which veto criteria struck in which items: each is a reason to read the answer."""
    rows = []
    for model, one in found.items():
        with expected(run.folder / FOLDER / model / "rubrics.json"):
            texts = {str(each["id"]): str(each["text"]) for each in one["criteria"]}
            for item in one.get("items") or ():
                rows += [
                    [model, str(item["id"]), texts.get(f"{item['id']}.{veto}", str(veto))] for veto in item["vetoes"]
                ]
    columns = [Column("model", "head"), Column("item"), Column("veto criterion", "wrap")]
    return Table("rubrics-vetoes", f"Vetoes that struck, {len(rows)} 一票否决", columns, rows) if rows else None


def _singles(run: RunFiles, model: str, one: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Item -> its score; items without one are left out."""
    with expected(run.folder / FOLDER / model / "rubrics.json"):
        scored = [item for item in one.get("items") or () if item["score"] is not None]
        return {str(item["id"]): {"score": float(item["score"])} for item in scored}


def _judge(found: Any) -> str:
    return f"{found['model']} at {found['base_url']}" if isinstance(found, dict) else str(found)


def _criteria(model: str, criteria: list[Mapping[str, Any]]) -> Table:
    """Points lost on average decide: a wanted criterion that is missed, or an unwanted one that is met."""

    def lost(one: Mapping[str, Any]) -> float:
        points, met = float(one["points"]), float(one["met"])
        return points * (1 - met) if points > 0 else -points * met

    known = [one for one in criteria if one["met"] is not None and int(one["n"])]
    worst = [one for one in sorted(known, key=lambda one: (-lost(one), str(one["id"]))) if lost(one) > 0][:_WEAKEST]
    columns = [
        Column("criterion", "wrap"),
        Column("points", "value"),
        Column("veto"),
        Column("met", "share"),
        Column("points lost on average", "value"),
        Column("n", "count"),
    ]
    rows = [
        [str(one["text"]), one["points"], "veto" if one["veto"] else "", float(one["met"]), lost(one), int(one["n"])]
        for one in worst
    ]
    caption = f"{model}: criteria that cost most points, {len(rows)} of {len(criteria)} 失分最多的标准"
    return Table(f"rubrics-{model}-criteria", caption, columns, rows)


def costs(run: RunFiles) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(what for, counts) of every model that was graded."""
    for model, one in models.results(run, FOLDER, "rubrics.json").items():
        with expected(run.folder / FOLDER / model / "rubrics.json"):
            if one.get("costs"):
                yield f"rubrics 评分标准: {model}", dict(one["costs"])
