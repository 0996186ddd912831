"""Dots with intervals by stratum: one row a department, task or age band, one mark a model; weakest row first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pediatricsgpt.evaluation.report import words
from pediatricsgpt.evaluation.report.charts import Tick, axis
from pediatricsgpt.evaluation.report.downloads import PARTS, csv_address, file_name
from pediatricsgpt.evaluation.statistics import Interval

MOST_ROWS = 24
_LEFT, _WIDTH, _TOP, _GAP, _STEP = 220, 700, 24, 7, 9
_LABEL = 27  # columns of a row's name, in which a Chinese character takes two

# Drawn around (0, 0), so that models can be told apart without colours.
_SHAPES = (
    "M{x} {y}m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z",
    "M{x} {y}m-3.5 -3.5h7v7h-7Z",
    "M{x} {y}m0 -4.6l4.4 7.8h-8.8Z",
    "M{x} {y}m0 -5l5 5l-5 5l-5 -5Z",
    "M{x} {y}m0 4.6l-4.4 -7.8h8.8Z",
    "M{x} {y}m-4.5 -1.5h3v-3h3v3h3v3h-3v3h-3v-3h-3Z",
)


@dataclass(frozen=True, slots=True)
class Mark:
    """One model's mean and interval in a row; `colour` is the model's number."""

    colour: int
    y: float
    low: float
    high: float
    path: str


@dataclass(frozen=True, slots=True)
class Row:
    """One stratum."""

    name: str
    n: int
    y: float
    middle: float
    marks: Sequence[Mark]


@dataclass(frozen=True, slots=True)
class Dots:
    """The whole drawing; places are in its own units."""

    title: str
    note: str
    models: Sequence[str]
    rows: Sequence[Row]
    ticks: Sequence[Tick]
    height: float
    spoken: str
    """What a screen reader says instead"""
    file: str
    data: str

    width, left, top = _WIDTH, _LEFT, _TOP

    def marker(self, model: int, x: float, y: float) -> str:
        """The path of a model's mark at a place."""
        return marker(model, x, y)


def marker(model: int, x: float, y: float) -> str:
    """The path of the mark of model number `model` at a place."""
    return _SHAPES[model % len(_SHAPES)].format(x=x, y=y)


def dots(
    title: str, name: str, models: Sequence[str], strata: Mapping[str, Sequence[Interval | None]], note: str = ""
) -> Dots | None:
    """A drawing of strata; None where fewer than two have a value.

    Args:
        title: what is drawn, with its unit.
        name: of the file to download, without its ending.
        models: one for each interval of a stratum.
        strata: name -> an interval for each model, in the order in which they are drawn.
        note: how the values were made.
    """
    values = [one for row in strata.values() for one in row if one and _finite(one)]
    scale = axis([(one.low, one.high) for one in values])
    if scale is None or len(strata) < 2:
        return None
    drawn = list(strata.items())[:MOST_ROWS]

    def place(value: float) -> float:
        return round(_LEFT + (_WIDTH - _LEFT - 8) * (value - scale.low) / (scale.high - scale.low), 1)

    rows = []
    y = float(_TOP)
    for stratum, intervals in drawn:
        marks = [
            Mark(number, at, place(one.low), place(one.high), marker(number, place(one.mean), at))
            for number, one in enumerate(intervals)
            if one and _finite(one)
            for at in [y + _GAP + _STEP / 2 + number * _STEP]
        ]
        height = 2 * _GAP + max(len(models), 1) * _STEP
        most = max((one.n for one in intervals if one), default=0)
        rows.append(Row(_label(stratum), most, y, y + height / 2, marks))
        y += height
    left = len(strata) - len(drawn)
    said = " ".join(filter(None, [note, f"{left} more are in the data." if left else ""]))
    ticks = [Tick(round(_LEFT + (_WIDTH - _LEFT - 8) * tick.place / 100, 1), tick.label) for tick in scale.ticks]
    data = csv_address(["stratum", "model", *PARTS], _lines(models, strata))
    return Dots(title, said, models, rows, ticks, y + 6, _spoken(title, models, drawn), file_name(name), data)


def _finite(one: Interval) -> bool:
    return all(map(math.isfinite, (one.mean, one.low, one.high)))


def _lines(models: Sequence[str], strata: Mapping[str, Sequence[Interval | None]]) -> list[list[object]]:
    return [
        [stratum, model, one]
        for stratum, intervals in strata.items()
        for model, one in zip(models, intervals, strict=True)
        if one
    ]


def _label(stratum: str) -> str:
    english, chinese = words.label(stratum)
    text = f"{english} {chinese}".strip()
    while sum(2 if sign > "\u2e80" else 1 for sign in text) > _LABEL:
        text = text.removesuffix("…")[:-1] + "…"
    return text


def _spoken(title: str, models: Sequence[str], drawn: Sequence[tuple[str, Sequence[Interval | None]]]) -> str:
    parts = []
    for stratum, intervals in drawn:
        said = [f"{words.model(model)} {one.mean:.1f}" for model, one in zip(models, intervals, strict=True) if one]
        parts.append(f"{words.label(stratum)[0]}: {', '.join(said)}")
    return f"{title}. {'; '.join(parts)}. The table says the same."
