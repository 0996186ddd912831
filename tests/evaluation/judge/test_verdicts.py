"""A verdict says the same after being written and read; a file that holds something else is refused with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.judge.verdicts import read_verdicts, write_verdicts
from tests.evaluation.judge.planted import A, B, verdict


def test_verdicts_survive_the_file(tmp_path: Path) -> None:
    said = [
        verdict("q1", 0, "left", raw="甲更好", task="medkqa", left_characters=10, right_characters=7, group="case 1"),
        verdict("q1", 1, "invalid", raw="我觉得都不错"),
        verdict("q2", 0, "tie", asked=False),
    ]
    write_verdicts(tmp_path / "v.jsonl", said)
    assert read_verdicts(tmp_path / "v.jsonl") == said


def test_a_verdict_knows_whom_it_prefers_in_either_order() -> None:
    assert [verdict("q", order, "left").better_for(A) for order in (0, 1)] == [1, -1]
    assert [verdict("q", order, "right").better_for(B) for order in (0, 1)] == [1, -1]
    assert verdict("q", 0, "tie").better_for(A) == 0
    assert verdict("q", 0, "invalid").better_for(A) is None
    lengths = {"left_characters": 30, "right_characters": 10}
    assert [verdict("q", order, "tie", **lengths).advantage_of(A) for order in (0, 1)] == [20, -20]
    assert verdict("q", 0, "tie").advantage_of(A) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"verdict": "better"}, "'better' is no verdict"),
        ({"rater": None}, "'rater' of a verdict is missing"),
        ({"right": A}, "the same model"),
        ({"order": 2}, "'order' is 0"),
        ({"repeat": -1}, "whole number"),
        ({"left_characters": "9"}, "whole number"),
        ({}, "already given a verdict on usefulness of q1 on line 1"),
        ({"id": "q2", "right": "others"}, "the file began with ours and theirs"),
    ],
)
def test_what_is_no_verdict_is_refused_with_its_line(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    row = verdict("q1", 0, "left").as_dict()
    path = tmp_path / "v.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in (row, {**row, **change})))
    with pytest.raises(UserError) as caught:
        read_verdicts(path)
    assert message in str(caught.value)
    assert f"{path}:2" in str(caught.value)
