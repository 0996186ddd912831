"""Tables of the report: one set of values that is shown, drawn and downloaded.

A section gives columns and rows; the template shows them (`tables.jinja`) and the download link holds the same values
as CSV, so that nobody copies numbers out of a picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pediatricsgpt.evaluation.report import words
from pediatricsgpt.evaluation.report.charts import Axis, axis
from pediatricsgpt.evaluation.report.downloads import csv_address, file_name, plain, with_parts
from pediatricsgpt.evaluation.statistics import Difference, Interval

Kind = Literal[
    "head", "text", "wrap", "count", "share", "points", "value", "signed", "change", "verdict", "p", "range", "stack"
]
"""How a column is shown: `share` and `stack` take shares 0..1 and show per cent, `points` values 0..100, `value` plain
numbers with two decimals, `signed` shares as a change in points, `change` values 0..100 as a change"""

_NUMBERS = {"count", "share", "points", "value", "signed", "change", "p"}
_SCALE = {"share": 100.0, "signed": 100.0}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table. `axis` is that of a `range` column."""

    title: str
    kind: Kind = "text"
    axis: Axis | None = None

    @property
    def number(self) -> bool:
        """Whether its cells stand to the right."""
        return self.kind in _NUMBERS

    @property
    def drawn(self) -> bool:
        """Whether it repeats as a picture what other columns say."""
        return self.kind == "range"


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its caption; `name` is that of the file that holds its values."""

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    note: str = ""
    marked: frozenset[int] = field(default_factory=frozenset)
    """Rows that stand out"""

    @property
    def file(self) -> str:
        """A name for the download that every system takes."""
        return file_name(self.name)

    @property
    def data(self) -> str:
        """Its values as a `data:` address with CSV."""
        header, *rows = self._csv()
        return csv_address(header, rows)

    @staticmethod
    def head(row: Sequence[Any]) -> str:
        """What a row is about."""
        return str(row[0][0] if isinstance(row[0], tuple) else row[0])

    def value(self, head: str, title: str) -> Any:
        """The value in a row and column by their names; None where there is none."""
        places = [place for place, column in enumerate(self.columns) if column.title == title and not column.drawn]
        return next((row[places[0]] for row in self.rows if places and self.head(row) == head), None)

    def _csv(self) -> Iterator[list[Any]]:
        columns = [column for column in self.columns if not column.drawn]
        places = [place for place, column in enumerate(self.columns) if not column.drawn]
        widths = [max((len(plain(row[place])) for row in self.rows), default=1) for place in places]
        yield [
            title
            for column, width in zip(columns, widths, strict=True)
            for title in _titles(column.title, column.kind, width)
        ]
        for row in self.rows:
            cells: list[Any] = []
            for place, width in zip(places, widths, strict=True):
                values = plain(row[place])
                cells += values + [""] * (width - len(values))
            yield cells


def _titles(title: str, kind: str, width: int) -> list[str]:
    if width == 1:
        return [title]
    if kind == "head":
        return [title, "answers"]
    if kind == "stack":
        return [each for name in ("win", "tie", "loss") for each in with_parts(name)]
    return with_parts(title.strip())


def shown(value: Any, kind: Kind) -> tuple[str, str]:
    """What a cell shows, and what stands small below it."""
    if value is None:
        return "–", ""
    scale = _SCALE.get(kind, 1.0)
    match value, kind:
        case (name, said), "head":
            return str(name), str(said)
        case ((Interval() | Difference()), ("signed" | "change")):
            places = 1 if kind == "signed" else 2
            ends = f"{words.signed(value.low * scale, places)} … {words.signed(value.high * scale, places)}"
            return words.signed(value.mean * scale), ends
        case ((Interval() | Difference()), ("share" | "points" | "value")):
            if not math.isfinite(value.mean):
                return "not finite", ""
            places, unit = (1, " %") if kind == "share" else (2, "")
            fine = 2 if kind == "value" else 1
            ends = f"{value.low * scale:.{fine}f} – {value.high * scale:.{fine}f}"
            return f"{value.mean * scale:.{places}f}{unit}".replace("-", "−"), ends.replace("-", "−")
        case ((int() | float()), "p"):
            return ("< 0.001" if value < 0.001 else f"{value:.3f}"), ""
        case ((int() | float()), "share"):
            return words.percent(value), ""
        case ((int() | float()), ("count" | "value")):
            return words.number(value).replace("-", "−"), ""
    return str(value), ""


def interval(found: Mapping[str, Any] | None, times: float = 1.0) -> Interval | None:
    """An interval as files hold it; None where they hold none.

    Raises:
        KeyError, TypeError, ValueError: it is not in that form.
    """
    if found is None:
        return None
    mean, low, high = (times * float(found[name]) for name in ("mean", "low", "high"))
    return Interval(mean, low, high, int(found["n"]))


def axis_of(values: Sequence[Any], zero: bool = False) -> Axis | None:
    """An axis that holds all intervals among some values."""
    return axis([(one.low, one.high) for one in values if isinstance(one, Interval | Difference)], zero)
