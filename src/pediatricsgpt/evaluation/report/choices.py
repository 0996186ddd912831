"""Multiple choice by likelihood and by the letter that was written, and the choice of the right answer among five."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pediatricsgpt.evaluation.report import models, words
from pediatricsgpt.evaluation.report.contamination import Contamination, clean, matched
from pediatricsgpt.evaluation.report.files import RunFiles, expected
from pediatricsgpt.evaluation.report.plots import Dots, dots
from pediatricsgpt.evaluation.report.strata import order_note, weakest_first
from pediatricsgpt.evaluation.report.tables import Column, Table, axis_of, interval
from pediatricsgpt.evaluation.statistics import Interval

_FOLDER = "evaluation/benchmarks"
_WAYS = ("by_likelihood", "by_letter")


def choices(
    run: RunFiles, benchmark: str, names: Sequence[str], leaked: Contamination | None
) -> tuple[Table | None, list[str], list[Dots | None]]:
    """Table, notes on what could not be measured, and drawings of the strata; nothing where none chose.

    Raises:
        UserError: a file is damaged.
    """
    found = _files(run, benchmark, names, "choices.json")
    if not found:
        return None, [], []
    rows, notes = [], []
    for model, one in found.items():
        with expected(run.folder / _FOLDER / benchmark / model / "choices.json"):
            rows.append(_choice_row(run, benchmark, model, one, leaked))
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
        *([Column("items in training", "count"), Column("right, clean items", "share")] if leaked else []),
    ]
    caption = f"{words.benchmark(benchmark)}: share of right choices with 95 % interval 选择题正确率"
    note = (
        "By likelihood: the option that the model finds most probable. By letter: the letter that it wrote; an answer "
        "without one counts as wrong."
    )
    table = Table(f"{benchmark}-choices", caption, columns, shown, note)
    return table, notes, _drawings(run, benchmark, found)


def selections(run: RunFiles, benchmark: str, names: Sequence[str], leaked: Contamination | None) -> Table | None:
    """Choosing the right answer among candidates by likelihood; None where it was not measured.

    Raises:
        UserError: a file is damaged.
    """
    rows = []
    for model, one in _files(run, benchmark, names, "selection.json").items():
        with expected(run.folder / _FOLDER / benchmark / model / "selection.json"):
            accuracy, by_lot = interval(one["accuracy"]), one.get("chance") or {}
            row = [models.named(run, model), int(one["n"]), accuracy, accuracy, by_lot.get("accuracy")]
            row += [interval(one["mrr"]), by_lot.get("mrr")]
        if leaked:
            right = _right(run, benchmark, model, "selection.jsonl")
            row += [matched(list(right), leaked), clean(right, leaked)]
        rows.append(row)
    if not rows:
        return None
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
    return Table(f"{benchmark}-selection", caption, columns, rows, note)


def _files(run: RunFiles, benchmark: str, names: Sequence[str], file: str) -> dict[str, dict[str, Any]]:
    found = {}
    for model in names:
        name = f"{_FOLDER}/{benchmark}/{model}/{file}"
        one = run.json(name)
        if one is not None:
            with expected(run.folder / name):
                found[model] = dict(one)
    return found


def _choice_row(
    run: RunFiles, benchmark: str, model: str, one: Mapping[str, Any], leaked: Contamination | None
) -> list[Any]:
    likelihood, letter = (one.get(way) or {} for way in _WAYS)
    row: list[Any] = [models.named(run, model), int(one["n"])]
    row += [interval(likelihood.get("accuracy")), interval(likelihood.get("points")), _chance(one)]
    row += [interval(letter.get("accuracy")), interval(letter.get("points")), letter.get("unreadable")]
    if leaked:
        right = _right(run, benchmark, model, "choices.jsonl")
        row += [matched(list(right), leaked), clean(right, leaked)]
    return row


def _chance(one: Mapping[str, Any]) -> float | None:
    return float(one["chance"]) if isinstance(one.get("chance"), int | float) else None


def _right(run: RunFiles, benchmark: str, model: str, file: str) -> dict[str, float]:
    """Item id -> 1 where the choice was right (by likelihood where that was measured), else 0."""
    name = f"{_FOLDER}/{benchmark}/{model}/{file}"
    found = {}
    for line in run.stream(name):
        with expected(run.folder / name):
            if line["right"] is not None:
                found[str(line["id"])] = float(line["right"])
    return found


def _drawings(run: RunFiles, benchmark: str, found: Mapping[str, Mapping[str, Any]]) -> list[Dots | None]:
    drawn = []
    for field in ("department", "subject", "age_band", "kind"):
        values: dict[str, list[Interval | None]] = {}
        for place, (model, one) in enumerate(found.items()):
            with expected(run.folder / _FOLDER / benchmark / model / "choices.json"):
                for value, group in (one.get("strata") or {}).get(field, {}).items():
                    row = values.setdefault(value, [None] * len(found))
                    row[place] = interval(group.get("by_likelihood") or group.get("by_letter"), 100.0)
        title = f"{words.benchmark(benchmark)}: share of right choices by {words.field(field)}, per cent"
        note = f"By likelihood where it was measured, else by letter. {order_note(list(found))}"
        drawn.append(dots(title, f"{benchmark}-choices-{field}", list(found), weakest_first(list(found), values), note))
    return drawn
