"""Geometry of the charts: numbers in, positions out. The templates draw them, so that every label is escaped there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pediatricsgpt.evaluation.report.downloads import csv_address, file_name
from pediatricsgpt.evaluation.statistics import Difference, Interval

Point = tuple[float, float]

WIDTH, HEIGHT = 380, 214
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 10, 36
_MAX_POINTS = 240
_PADDING = 0.06
_MOST_TICKS = 5


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis."""

    place: float
    label: str


@dataclass(frozen=True, slots=True)
class Line:
    """One curve: an SVG path and the circle at its end."""

    name: str
    path: str
    end: Point
    last: float


@dataclass(frozen=True, slots=True)
class LineChart:
    """Curves over training steps, in a drawing of `WIDTH` x `HEIGHT`."""

    title: str
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    zero: float | None
    """Where zero lies, if it is inside"""
    note: str
    """What was done to the values before drawing"""
    data: str
    """All logged values as CSV, those too that are not drawn"""

    @property
    def file(self) -> str:
        """A name for the download."""
        return file_name(self.title)

    width = WIDTH
    height = HEIGHT
    left = _LEFT
    right = WIDTH - _RIGHT
    bottom = HEIGHT - _BOTTOM


@dataclass(frozen=True, slots=True)
class Axis:
    """A horizontal axis for dots with intervals; places are per cent of its width."""

    low: float
    high: float
    ticks: tuple[Tick, ...]
    zero: float | None

    def holds(self, interval: Interval | Difference) -> bool:
        """Whether an interval can be drawn: a model that diverged has none."""
        return all(map(math.isfinite, (interval.mean, interval.low, interval.high)))

    def place(self, value: float) -> float:
        """Where a value lies, in per cent of the width."""
        return round(100 * (value - self.low) / (self.high - self.low), 2)


def line_chart(title: str, series: Mapping[str, Sequence[Point]]) -> LineChart | None:
    """Curves of (step, value); None where there is no finite value.

    Values that are not finite are left out; more than 240 are averaged in equal runs. Both is said in `note`.
    """
    finite = {name: [point for point in points if math.isfinite(point[1])] for name, points in series.items()}
    dropped = sum(map(len, series.values())) - sum(map(len, finite.values()))
    drawn = {name: _averaged(points) for name, points in finite.items() if points}
    if not drawn:
        return None
    steps = [step for points in drawn.values() for step, _ in points]
    values = [value for points in drawn.values() for _, value in points]
    first, last = min(steps), max(steps)
    low, high = _padded(min(values), max(values))

    def place(point: Point) -> Point:
        return _scaled(point[0], first, last, _LEFT, WIDTH - _RIGHT), _scaled(
            point[1], low, high, HEIGHT - _BOTTOM, _TOP
        )

    return LineChart(
        title,
        tuple(_line(name, points, [place(point) for point in points]) for name, points in drawn.items()),
        tuple(Tick(place((step, low))[0], label) for step, label in _ticks(first, last, whole=True)),
        tuple(Tick(place((first, value))[1], label) for value, label in _ticks(low, high)),
        place((first, 0))[1] if low < 0 < high else None,
        _note(dropped, max(map(len, finite.values()))),
        csv_address(
            ["curve", "step", "value"], [[name, *point] for name, points in series.items() for point in points]
        ),
    )


def axis(intervals: Sequence[Point], zero: bool = False) -> Axis | None:
    """An axis that holds all (low, high) intervals, and zero if asked; None where there is none."""
    bounds = [bound for interval in intervals for bound in interval if math.isfinite(bound)]
    if not bounds:
        return None
    low, high = _padded(min([*bounds, *([0.0] if zero else [])]), max([*bounds, *([0.0] if zero else [])]))
    empty = Axis(low, high, (), None)
    ticks = tuple(Tick(empty.place(value), label) for value, label in _ticks(low, high))
    return Axis(low, high, ticks, empty.place(0) if low < 0 < high else None)


def _line(name: str, points: Sequence[Point], placed: Sequence[Point]) -> Line:
    path = "M" + "L".join(f"{x:g} {y:g}" for x, y in placed)
    return Line(name, path, placed[-1], points[-1][1])


def _averaged(points: Sequence[Point]) -> list[Point]:
    """At most `_MAX_POINTS` points: means over equal runs of neighbours."""
    size = math.ceil(len(points) / _MAX_POINTS)
    if size <= 1:
        return list(points)
    runs = [points[start : start + size] for start in range(0, len(points), size)]
    return [(run[-1][0], sum(value for _, value in run) / len(run)) for run in runs]


def _note(dropped: int, longest: int) -> str:
    parts = []
    if dropped:
        parts.append(f"{dropped} logged values are not finite and are left out")
    if longest > _MAX_POINTS:
        parts.append(f"each point is the mean of {math.ceil(longest / _MAX_POINTS)} logged values")
    return "; ".join(parts)


def _padded(low: float, high: float) -> Point:
    """Bounds with some air; equal ones are set apart."""
    if high - low < 1e-9:
        room = abs(high) * 0.1 or 1.0
        return low - room, high + room
    room = (high - low) * _PADDING
    return low - room, high + room


def _scaled(value: float, low: float, high: float, start: float, end: float) -> float:
    part = (value - low) / (high - low) if high > low else 0.5
    return round(start + part * (end - start), 1)


def _ticks(low: float, high: float, whole: bool = False) -> list[tuple[float, str]]:
    """Round values (1, 2 or 5 times a power of ten) between the bounds, with their labels."""
    if high <= low:
        return [(low, f"{low:g}")]
    rough = (high - low) / _MOST_TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    size = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    if whole:
        size = max(1.0, size)
    places = max(0, -math.floor(math.log10(size) + 1e-9))
    multiples = range(math.ceil(low / size - 1e-9), math.floor(high / size + 1e-9) + 1)
    return [(index * size, f"{index * size:,.{places}f}".replace("-", "−")) for index in multiples]
