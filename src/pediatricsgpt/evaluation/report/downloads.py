"""The data of a table or figure as CSV inside the page: the link holds what is shown and needs no network."""

from __future__ import annotations

import base64
import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

from pediatricsgpt.evaluation.statistics import Difference, Interval

PARTS = ("mean", "low", "high", "n")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_address(header: Sequence[Any], rows: Iterable[Sequence[Any]]) -> str:
    """CSV as a `data:` address; an interval fills four cells.

    It begins with a mark of UTF-8, without which spreadsheets misread Chinese.
    """
    written = io.StringIO()
    lines = [header, *([cell for value in row for cell in plain(value)] for row in rows)]
    csv.writer(written, lineterminator="\r\n").writerows([[_safe(cell) for cell in line] for line in lines])
    data = written.getvalue().encode("utf-8-sig", "replace")
    return f"data:text/csv;charset=utf-8;base64,{base64.b64encode(data).decode('ascii')}"


def with_parts(title: str) -> list[str]:
    """The headings of an interval's four cells."""
    return [f"{title} {part}".strip() for part in PARTS]


def plain(value: Any) -> list[Any]:
    """The values of a cell: an interval is four of them."""
    if isinstance(value, Interval | Difference):
        return [value.mean, value.low, value.high, value.n]
    if isinstance(value, tuple):
        return [each for one in value for each in plain(one)]
    return ["" if value is None else value]


def file_name(name: str) -> str:
    """A name without anything that some system does not take."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.")[:80] + ".csv"


def _safe(cell: Any) -> Any:
    """A text that a spreadsheet would take for a formula is quoted: what models and files say is never trusted."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
