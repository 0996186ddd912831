"""Answers graded by criteria with points, in HealthBench's form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pediatricsgpt.evaluation.compare.questions import sorted_models
from pediatricsgpt.evaluation.report import models
from pediatricsgpt.evaluation.report.files import RunFiles, expected
from pediatricsgpt.evaluation.report.plots import Dots, dots
from pediatricsgpt.evaluation.report.strata import order_note, weakest_first
from pediatricsgpt.evaluation.report.tables import Column, Table, axis_of, interval
from pediatricsgpt.evaluation.statistics import Interval

FOLDER = "evaluation/rubrics"
_WEAKEST = 12


@dataclass(frozen=True, slots=True)
class Rubrics:
    """What is shown of the grading."""

    sets: list[str]
    scores: Table
    themes: Dots | None
    theme_table: Table | None
    criteria: list[Table]
    """Of each model the criteria that it fails most, heaviest first"""


def rubrics(run: RunFiles) -> Rubrics | None:
    """The grading of all models; None where none was graded.

    Raises:
        UserError: a file is damaged.
    """
    found = _files(run)
    if not found:
        return None
    rows, sets, criteria = [], [], []
    themes: dict[str, list[Interval | None]] = {}
    for place, (model, one) in enumerate(found.items()):
        with expected(run.folder / FOLDER / model / "rubrics.json"):
            score, vetoed = interval(one["score"]), one["vetoed"]
            row = [model, _judge(one["judge"]), int(one["n"]), score, score, interval(one["raw_points"])]
            rows.append([*row, int(vetoed["items"]), interval(vetoed["share"]), int(one["invalid"])])
            kept = one["rubric_set"]
            sets.append(f"{kept['name']} {kept['version']} ({str(kept['sha256'])[:12]}, {kept['licence']})")
            criteria.append(_criteria(model, one["criteria"]))
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
    ]
    note = (
        "Score: points reached over the positive points that there are; a veto takes an item to 0 or below; means are "
        "clipped to 0 and 100 %."
    )
    ordered = weakest_first(list(found), themes)
    title = "Score by theme, per cent 按主题得分"
    table = Table(
        "rubrics-themes",
        title,
        [Column("theme", "head"), *(Column(model, "points") for model in found)],
        [[theme, *values] for theme, values in ordered.items()],
    )
    return Rubrics(
        list(dict.fromkeys(sets)),
        Table("rubrics", "Score by criteria with points 按评分标准得分", columns, rows, note),
        dots(title, "rubrics-themes-plot", list(found), ordered, order_note(list(found))),
        table if themes else None,
        [one for one in criteria if one.rows],
    )


def _files(run: RunFiles) -> dict[str, dict[str, Any]]:
    names = [path.parent.name for path in (run.folder / FOLDER).glob("*/rubrics.json")]
    names = sorted_models([name for name in names if not name.endswith((".partial", ".old"))], models.order(run))
    found = {}
    for name in names:
        with expected(run.folder / FOLDER / name / "rubrics.json"):
            found[name] = dict(run.json(f"{FOLDER}/{name}/rubrics.json"))
    return found


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
    for model, one in _files(run).items():
        with expected(run.folder / FOLDER / model / "rubrics.json"):
            if one.get("costs"):
                yield f"rubrics 评分标准: {model}", dict(one["costs"])
