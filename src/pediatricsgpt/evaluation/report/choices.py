"""Multiple choice by likelihood and by the letter that was written, and the choice of the right answer among five."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pediatricsgpt.evaluation.report import models, words
from pediatricsgpt.evaluation.report.contamination import Contamination, clean, matched
from pediatricsgpt.evaluation.report.files import BENCHMARKS, RunFiles, expected
from pediatricsgpt.evaluation.report.paired_table import paired
from pediatricsgpt.evaluation.report.plots import Dots, dots
from pediatricsgpt.evaluation.report.singles import groups_of, unequal
from pediatricsgpt.evaluation.report.strata import order_note, weakest_first
from pediatricsgpt.evaluation.report.tables import Column, Table, axis_of, interval
from pediatricsgpt.evaluation.statistics import Interval

_WAYS = {"by_likelihood": "by likelihood", "by_letter": "by letter"}

Values = Mapping[str, Mapping[str, float]]
"""Item id -> what was measured -> value 0..1"""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is shown of one kind of choosing; nothing where nobody chose."""

    table: Table | None = None
    changes: Table | None = None
    """Paired differences, in percentage points"""
    notes: Sequence[str] = ()
    """What could not be measured"""
    plots: Sequence[Dots | None] = ()
    warnings: Sequence[tuple[str, str]] = ()


def choices(run: RunFiles, benchmark: str, names: Sequence[str], leaked: Contamination | None) -> Chosen:
    """Questions with options: the share of right choices by likelihood and by letter.

    Raises:
        UserError: a file is damaged.
    """
    found = models.results_of(run, f"{BENCHMARKS}/{benchmark}", names, "choices.json")
    if not found:
        return Chosen()
    values = {model: _values(run, benchmark, model, "choices.jsonl", _right) for model in found}
    cases = _cases(run, benchmark, values)
    rows, notes = [], []
    for model, one in found.items():
        with expected(run.folder / BENCHMARKS / benchmark / model / "choices.json"):
            rows.append(_choice_row(run, model, one, values[model], leaked, cases))
            if one.get("why_no_likelihood"):
                notes.append(f"{words.model(model)}: no likelihood, {one['why_no_likelihood']}")
    drawn = axis_of([one for row in rows for one in (row[2], row[5])])
    shown = [[*row[:3], row[2] or row[5], *row[3:]] for row in rows]
    columns = [
        Column("model", "head"),
        Column("n", "count"),
        Column("accuracy by likelihood", "share"),
        Column("accuracy", "range", drawn),
        Column("points by likelihood", "value"),
        Column("by lot 随机水平", "share"),
        Column("accuracy by letter", "share"),
        Column("points by letter", "value"),
        Column("no letter to read", "count"),
        *([Column("items in training", "count")] if leaked else []),
        *(Column(f"{said}, clean items", "share") for said in _WAYS.values() if leaked),
    ]
    caption = f"{words.benchmark(benchmark)}: share of right choices with 95 % interval 选择题正确率"
    note = (
        "By likelihood: the option that the model finds most probable. By letter: the letter that it wrote; an answer "
        "without one counts as wrong. The two are not to be compared with each other: by likelihood, and by lot, stand "
        "for the questions with one right option alone."
    )
    return Chosen(
        Table(f"{benchmark}-choices", caption, columns, shown, note),
        _changes(f"{benchmark}-choices-changes", benchmark, values, tuple(_WAYS.values()), cases),
        notes,
        _drawings(run, benchmark, found),
        unequal(values),
    )


def selections(run: RunFiles, benchmark: str, names: Sequence[str], leaked: Contamination | None) -> Chosen:
    """Choosing the right answer among candidates by likelihood.

    Raises:
        UserError: a file is damaged.
    """
    rows = []
    found = models.results_of(run, f"{BENCHMARKS}/{benchmark}", names, "selection.json")
    values = {model: _values(run, benchmark, model, "selection.jsonl", _ranked) for model in found}
    cases = _cases(run, benchmark, values)
    for model, one in found.items():
        with expected(run.folder / BENCHMARKS / benchmark / model / "selection.json"):
            accuracy, by_lot = interval(one["accuracy"]), one.get("chance") or {}
            row = [models.named(run, model), int(one["n"]), accuracy, accuracy, by_lot.get("accuracy")]
            row += [interval(one["mrr"]), by_lot.get("mrr")]
        if leaked:
            row += [matched(list(values[model]), leaked), clean(_one(values[model], "accuracy"), leaked, cases)]
        rows.append(row)
    if not rows:
        return Chosen()
    columns = [
        Column("model", "head"),
        Column("n", "count"),
        Column("accuracy", "share"),
        Column("accuracy ", "range", axis_of([row[2] for row in rows])),
        Column("by lot", "share"),
        Column("MRR", "value"),
        Column("MRR by lot", "value"),
        *([Column("items in training", "count"), Column("accuracy, clean items", "share")] if leaked else []),
    ]
    caption = f"{words.benchmark(benchmark)}: the right answer among candidates, by likelihood 答案选择"
    note = "MRR: mean of 1 / rank of the right answer, between 0 and 1."
    return Chosen(
        Table(f"{benchmark}-selection", caption, columns, rows, note),
        _changes(f"{benchmark}-selection-changes", benchmark, values, ("accuracy", "MRR"), cases),
        warnings=unequal(values),
    )


def _changes(
    name: str, benchmark: str, values: Mapping[str, Values], measures: Sequence[str], cases: Mapping[str, str]
) -> Table | None:
    caption = (
        f"{words.benchmark(benchmark)}: change on the same items (paired), in percentage points 配对差值（百分点）"
    )
    return paired(name, caption, values, models.against(values), measures, cases)


def _cases(run: RunFiles, benchmark: str, values: Mapping[str, Values]) -> dict[str, str]:
    folders = {model: f"{BENCHMARKS}/{benchmark}/{model}" for model in values}
    return groups_of(run, folders.values(), {folders[model]: one.keys() for model, one in values.items()})


def _choice_row(
    run: RunFiles,
    model: str,
    one: Mapping[str, Any],
    values: Values,
    leaked: Contamination | None,
    cases: Mapping[str, str],
) -> list[Any]:
    likelihood, letter = (one.get(way) or {} for way in _WAYS)
    row: list[Any] = [models.named(run, model), int(one["n"])]
    row += [interval(likelihood.get("accuracy")), interval(likelihood.get("points")), _chance(one)]
    row += [interval(letter.get("accuracy")), interval(letter.get("points")), letter.get("unreadable")]
    if leaked:
        row.append(matched(list(values), leaked))
        row += [clean(_one(values, way), leaked, cases) for way in _WAYS.values()]
    return row


def _chance(one: Mapping[str, Any]) -> float | None:
    return float(one["chance"]) if isinstance(one.get("chance"), int | float) else None


def _values(
    run: RunFiles, benchmark: str, model: str, file: str, read: Callable[[Mapping[str, Any]], dict[str, float]]
) -> dict[str, dict[str, float]]:
    name = f"{BENCHMARKS}/{benchmark}/{model}/{file}"
    found = {}
    for line in run.stream(name):
        with expected(run.folder / name):
            found[str(line["id"])] = read(line)
    return found


def _right(line: Mapping[str, Any]) -> dict[str, float]:
    """1 where the choice was right, else 0: each way by itself, for they have different questions and meanings."""
    found = {}
    if line["by_likelihood"] is not None:
        found[_WAYS["by_likelihood"]] = float([line["by_likelihood"]] == list(line["key"]))
    if line["answer"] is not None:
        found[_WAYS["by_letter"]] = float(line["by_letter"] == list(line["key"]))
    return found


def _ranked(line: Mapping[str, Any]) -> dict[str, float]:
    return {"accuracy": float(line["right"]), "MRR": 1 / int(line["rank"])}


def _one(values: Values, measure: str) -> dict[str, float]:
    return {item: each[measure] for item, each in values.items() if measure in each}


def _drawings(run: RunFiles, benchmark: str, found: Mapping[str, Mapping[str, Any]]) -> list[Dots | None]:
    drawn = []
    for field in ("department", "subject", "age_band", "kind"):
        values: dict[str, list[Interval | None]] = {}
        for place, (model, one) in enumerate(found.items()):
            with expected(run.folder / BENCHMARKS / benchmark / model / "choices.json"):
                for value, group in (one.get("strata") or {}).get(field, {}).items():
                    row = values.setdefault(value, [None] * len(found))
                    row[place] = interval(group.get("by_likelihood") or group.get("by_letter"), 100.0)
        title = f"{words.benchmark(benchmark)}: share of right choices by {words.field(field)}, per cent"
        note = f"By likelihood where it was measured, else by letter. {order_note(list(found))}"
        drawn.append(dots(title, f"{benchmark}-choices-{field}", list(found), weakest_first(list(found), values), note))
    return drawn
