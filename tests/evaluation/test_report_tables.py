"""Cells, downloads and drawings of the report."""

from __future__ import annotations

from pediatricsgpt.evaluation.report.downloads import csv_address, file_name
from pediatricsgpt.evaluation.report.plots import MOST_ROWS, dots
from pediatricsgpt.evaluation.report.tables import Column, Table, shown
from pediatricsgpt.evaluation.statistics import Interval

from .page import Page


def test_a_table_is_downloaded_with_every_interval_in_four_cells_and_without_its_drawings() -> None:
    value = Interval(0.5, 0.4, 0.6, 9)
    columns = [Column("model", "head"), Column("score", "share"), Column("score ", "range"), Column("n", "count")]
    table = Table("a/b", "caption", columns, [[("x", ""), value, value, 9], [("y", "elsewhere"), None, None, None]])
    found = Page(f'<a download="{table.file}" href="{table.data}">x</a>')
    assert found.csv("a-b.csv") == [
        ["model", "answers", "score mean", "score low", "score high", "score n", "n"],
        ["x", "", "0.5", "0.4", "0.6", "9", "9"],
        ["y", "elsewhere", "", "", "", "", ""],
    ]
    assert (table.value("x", "score"), table.value("z", "score"), table.value("x", "none")) == (value, None, None)


def test_a_download_cannot_hold_a_formula_and_has_a_safe_name() -> None:
    found = Page(f'<a download="a.csv" href="{csv_address(["=1+1", "n"], [["+cmd", -3], ["文", 0.5]])}">x</a>')
    assert found.csv("a.csv") == [["'=1+1", "n"], ["'+cmd", "-3"], ["文", "0.5"]]
    assert file_name("../../a b/儿科:*?") == "a-b-儿科.csv"


def test_cells_show_intervals_with_real_minus_signs() -> None:
    assert shown(Interval(-0.191, -0.4, 0.02, 5), "value") == ("\u22120.19", "\u22120.40 – 0.02")
    assert shown(Interval(0.5, 0.4, 0.6, 5), "share") == ("50.0 %", "40.0 – 60.0")
    assert shown(None, "share") == ("–", "")
    assert shown(0.0004, "p") == ("< 0.001", "")
    assert shown(Interval(float("nan"), 0.0, 0.0, 1), "points") == ("not finite", "")


def test_dots_stay_inside_and_say_what_is_not_drawn() -> None:
    strata = {f"s{n}": [Interval(n, n - 1, n + 1, 9), None] for n in range(MOST_ROWS + 3)}
    plot = dots("title", "name", ["a", "b"], strata)
    assert plot is not None
    assert len(plot.rows) == MOST_ROWS
    assert "3 more are in the data." in plot.note
    assert all(plot.left <= mark.low <= mark.high <= plot.width for row in plot.rows for mark in row.marks)
    assert dots("title", "name", ["a"], {"one": [Interval(1, 0, 2, 3)]}) is None
    assert "s0: a 0.0" in plot.spoken
