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
    assert {"Sources: sft", "Departments: sft", "儿科", "Characters a row: sft", "Dropped by clean"} <= set(shown)
    assert "too short" in shown


def test_rare_values_are_joined_not_hidden() -> None:
    counted = {"sets": {}, "rejects": {"clean": {f"reason {n:02}": 1 for n in range(30)}}}
    shown = texts(statistics_svg(counted))
    assert "16 others" in shown
    assert "16 (53.3 %)" in shown


def test_odd_names_stay_text() -> None:
    counted = {"sets": {}, "rejects": {"<b>": {'a & b <script> "x"': 2}}}
    assert 'a & b <script> "x"' in texts(statistics_svg(counted))


def test_every_length_is_in_one_range() -> None:
    lengths = [0, 49, 50, 199, 200, 1599, 1600, 9999]
    counted = histogram(lengths)
    assert sum(counted.values()) == len(lengths)
    assert counted["0–49"] == 2
    assert counted["1600 and more"] == 2
