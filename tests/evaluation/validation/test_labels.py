"""Doctors' verdicts: tables as hospitals write them, agreement among raters, their majority."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.validation.labels import read_labels, reference_of
from tests.evaluation.validation.raters import simulated_verdicts

MODELS = ("base", "sft")


def _truth(n: int, seed: int = 1) -> dict[str, int]:
    return {f"q{i}": int(better) for i, better in enumerate(np.random.default_rng(seed).integers(-1, 2, size=n))}


def _lines(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def _table(path: Path, rows: list[dict], encoding: str = "utf-8", **names: str) -> Path:
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, [names.get(name, name) for name in rows[0]])
    writer.writeheader()
    writer.writerows([{names.get(name, name): value for name, value in row.items()} for row in rows])
    path.write_bytes(buffer.getvalue().encode(encoding))
    return path


def test_csv_and_json_lines_say_the_same(tmp_path):
    rows = simulated_verdicts(_truth(20), MODELS, "safety", [0.9, 0.8])
    assert read_labels(_table(tmp_path / "a.csv", rows)) == read_labels(_lines(tmp_path / "a.jsonl", rows))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030"])
def test_a_spreadsheet_in_chinese_is_read(tmp_path, encoding):
    rows = [
        {
            "id": "q1",
            "dimension": "专业性",
            "left": "甲模型",
            "right": "乙模型",
            "verdict": "左侧更好",
            "rater": "医生一",
        },
        {"id": "q1", "dimension": "安全性", "left": "甲模型", "right": "乙模型", "verdict": "平", "rater": "医生一"},
    ]
    headings = {
        "id": "编号", "dimension": "维度", "left": "左侧模型", "right": "右侧模型", "verdict": "结论", "rater": "评审人"
    }  # fmt: skip
    found = read_labels(_table(tmp_path / "a.csv", rows, encoding, **headings))
    assert [(one.dimension, one.verdict, one.rater) for one in found] == [
        ("professionalism", "left", "医生一"),
        ("safety", "tie", "医生一"),
    ]


def test_agreement_among_raters_is_what_was_planted():
    """Raters that say the truth with skill s, else one of three at random: kappa of two of them is s * s."""
    truth = _truth(1500)
    for skill in (0.9, 0.5):
        labels = _read(simulated_verdicts(truth, MODELS, "factuality", [skill] * 3, missing=0.2))
        found = reference_of(labels, "labels").raters["factuality"]
        assert found["raters"] == 3
        for coefficient in ("kappa", "ac1", "alpha"):
            assert found[coefficient]["low"] - 0.02 <= skill * skill <= found[coefficient]["high"] + 0.02


def test_the_majority_is_nearer_to_the_truth_than_a_rater():
    truth = _truth(400)
    rows = simulated_verdicts(truth, MODELS, "correctness", [0.6] * 5)
    majority = reference_of(_read(rows), "labels").outcomes("correctness")
    alone = reference_of(_read([row for row in rows if row["rater"] == "simulated-1"]), "labels")
    right = [sum(found[f"{name}|base|sft"] == better for name, better in truth.items()) for found in (
        majority, alone.outcomes("correctness")
    )]  # fmt: skip
    assert right[0] > right[1] + 40
    assert alone.raters is None
    assert "one rater" not in alone.what  # simulated comes first


def test_without_more_than_half_it_is_a_tie():
    words = {"d1": "left", "d2": "right", "d3": "tie"}
    row = {"id": "q", "dimension": "correctness", "left": "base", "right": "sft"}
    labels = _read([{**row, "verdict": word, "rater": rater} for rater, word in words.items()])
    assert reference_of(labels, "x").outcomes("correctness") == {"q|base|sft": 0}


def test_sides_shown_do_not_matter():
    """Half of the verdicts are shown the other way round; the opinions are the same."""
    truth = _truth(50)
    one = _read(simulated_verdicts(truth, MODELS, "correctness", [1.0], seed=1))
    other = _read(simulated_verdicts(truth, MODELS, "correctness", [1.0], seed=2))
    assert [v.order for v in one] != [v.order for v in other]
    assert reference_of(one, "x").outcomes("correctness") == reference_of(other, "x").outcomes("correctness")


def test_dimensions_are_mapped_as_declared_and_no_two_onto_one():
    labels = _read(
        [
            row
            for dimension in ("professionalism", "factuality", "safety")
            for row in simulated_verdicts(_truth(5), MODELS, dimension, [1.0])
        ]
    )
    assert set(reference_of(labels, "x").pairs[0].labels) == {"correctness"}
    mapped = reference_of(labels, "x", {"factuality": "correctness", "professionalism": "usefulness"})
    assert set(mapped.pairs[0].labels) == {"correctness", "usefulness"}
    assert "professionalism is compared with usefulness" in mapped.what
    with pytest.raises(UserError, match="factuality and safety are both mapped onto correctness"):
        reference_of(labels, "x", {"factuality": "correctness", "safety": "correctness"})
    with pytest.raises(UserError, match="--map"):
        reference_of(_read(simulated_verdicts(_truth(5), MODELS, "safety", [1.0])), "x")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"verdict": "大概左边"}, "':1: '大概左边' is no verdict"),
        ({"rater": ""}, "the field 'rater' of a verdict is missing"),
        ({"right": "base"}, "left and right are the same model"),
        ({"order": 2}, "'order' is 0"),
        ({"repeat": "x"}, "'repeat' must be a whole number"),
    ],
)
def test_a_row_that_is_no_verdict_is_named(tmp_path, change, said):
    row = {"id": "q", "dimension": "safety", "left": "base", "right": "sft", "verdict": "left", "rater": "d1"}
    with pytest.raises(UserError) as caught:
        read_labels(_lines(tmp_path / "a.jsonl", [{**row, **change}]))
    assert said.removeprefix("':1: ") in str(caught.value)
    assert ":1:" in str(caught.value)


def test_files_that_are_no_labels_are_refused(tmp_path):
    row = {"id": "q", "dimension": "safety", "left": "base", "right": "sft", "verdict": "left", "rater": "d1"}
    with pytest.raises(UserError, match=r":2: d1 has already given a verdict on safety of q on line 1"):
        read_labels(_lines(tmp_path / "a.jsonl", [row, row]))
    with pytest.raises(UserError, match="column 'verdict' is missing; the table has id, dimension"):
        read_labels(_table(tmp_path / "a.csv", [{k: v for k, v in row.items() if k != "verdict"}]))
    (tmp_path / "b.csv").write_bytes(b"\x80\xff\xfe\x00")
    with pytest.raises(UserError):
        read_labels(tmp_path / "b.csv")
    with pytest.raises(UserError, match="no such file"):
        read_labels(tmp_path / "absent.csv")
    (tmp_path / "c.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="no verdict"):
        read_labels(tmp_path / "c.jsonl")


def _read(rows: list[dict]):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return read_labels(_lines(Path(folder) / "labels.jsonl", rows))
