"""Precision and recall on labelled sentences do not fall below what was measured and written down."""

from __future__ import annotations

import json

import pytest

from tests.facts.score import RECORDED, Counts, score, sentences, wilson


def test_the_sentences_are_what_they_are_said_to_be() -> None:
    rows = list(sentences())
    assert len(rows) == len({row["text"] for row in rows}) == 300
    assert sum(row["split"] == "blind" for row in rows) == 200
    assert len({row["source"] for row in rows}) >= 6
    assert sum(not row["facts"] for row in rows) >= 60
    assert {row["licence"] for row in rows} == {"MIT", "Apache-2.0", "government document"}


@pytest.mark.parametrize("split", ["development", "blind"])
def test_precision_and_recall_hold(split: str) -> None:
    recorded = {kind: Counts(**counts) for kind, counts in json.loads(RECORDED.read_text("utf-8"))[split].items()}
    measured = score(split)
    for kind in recorded:
        assert measured[kind].labelled == recorded[kind].labelled
        assert measured[kind].precision >= recorded[kind].precision, kind
        assert measured[kind].recall >= recorded[kind].recall, kind


def test_wilson_intervals_agree_with_the_textbook() -> None:
    low, high = wilson(8, 10)
    assert (round(low, 4), round(high, 4)) == (0.4902, 0.9433)
    assert wilson(0, 0) == (0.0, 1.0)
