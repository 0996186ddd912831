"""The drawing of a corpus' statistics."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from pediatricsgpt.corpus.plots import statistics_svg
from pediatricsgpt.corpus.statistics import histogram, statistics
from pediatricsgpt.records import Reject
from tests import rows


def texts(svg: str) -> list[str]:
    return [node.text or "" for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_every_label_and_reason_is_drawn() -> None:
    counted = statistics({"sft": [rows.instruction("发烧", "量体温")]}, [Reject("clean", "too short: 3", "a")])
    shown = texts(statistics_svg(counted))
    assert {"Sources: sft", "Departments: sft", "儿科", "Characters a row: sft", "Dropped, by step and reason"} <= set(
        shown
    )
    assert "clean: too short" in shown


def test_rare_values_are_joined_not_hidden() -> None:
    counted = {"sets": {}, "rejects": {"clean": {f"reason {n:02}": 1 for n in range(30)}}}
    shown = texts(statistics_svg(counted))
    assert "6 others" in shown
    assert "6 (20.0 %)" in shown


def test_odd_names_stay_text() -> None:
    counted = {"sets": {}, "rejects": {"<b>": {'a & b <script> "x"': 2}}}
    assert '<b>: a & b <script> "x"' in texts(statistics_svg(counted))


def test_nothing_is_drawn_past_the_edge_and_panels_do_not_overlap() -> None:
    long = {f"{'很长的科室名称' * 4}{n}": 10**n for n in range(9)}
    one = {"source": long, "task": long, "department": long, "lengths": histogram([5] * 1_234_567)}
    svg = ET.fromstring(statistics_svg({"sets": {"a": one, "b": one}, "rejects": {"clean": long}}))
    width = int(svg.get("width", "0"))
    for node in svg.iter("{http://www.w3.org/2000/svg}text"):
        x, size = int(node.get("x", "0")), sum(6.6 if ord(sign) < 0x2E80 else 13.2 for sign in node.text or "")
        begin = x - size if node.get("anchor") == "end" or node.get("text-anchor") == "end" else x
        assert begin >= 0
        assert begin + size <= width
    places = [(node.get("x"), node.get("y")) for node in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert len(places) == len(set(places))


def test_a_cut_label_still_says_everything_to_who_points_at_it() -> None:
    long = "很长的科室名称" * 6
    svg = ET.fromstring(statistics_svg({"sets": {"a": {"department": {long: 1}}}, "rejects": {}}))
    assert long in [node.text for node in svg.iter("{http://www.w3.org/2000/svg}title")]


def test_a_corpus_without_anything_is_an_empty_drawing() -> None:
    assert texts(statistics_svg({"sets": {}, "rejects": {}})) == []


def test_every_length_is_in_one_range() -> None:
    lengths = [0, 49, 50, 199, 200, 1599, 1600, 9999]
    counted = histogram(lengths)
    assert sum(counted.values()) == len(lengths)
    assert counted["0–49"] == 2
    assert counted["1600 and more"] == 2
