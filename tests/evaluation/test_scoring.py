from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.metrics import METRICS, score
from pediatricsgpt.evaluation.scoring import render_table, score_file

ROWS = [
    {"prediction": "多喝水", "reference": "多喝水，休息", "task": "medkqa", "department": "儿科", "model": "a"},
    {"prediction": "口服布洛芬", "reference": "口服布洛芬混悬液", "task": "trerecom", "model": "a"},
    {"prediction": "", "reference": "观察精神状态", "task": "medkqa", "department": "[red]儿科", "model": "a"},
]


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "predictions.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS), encoding="utf-8")
    return file


def test_overall_and_group_scores_are_those_of_their_items(path):
    report = score_file(path)
    pairs = [(row["prediction"], row["reference"]) for row in ROWS]
    assert report.overall == score(pairs)
    assert report.groups["task"] == {"medkqa": score([pairs[0], pairs[2]]), "trerecom": score([pairs[1]])}


def test_items_without_a_label_stay_visible_and_absent_fields_make_no_group(path):
    report = score_file(path)
    assert {name: scores.n for name, scores in report.groups["department"].items()} == {
        "(none)": 1,
        "[red]儿科": 1,
        "儿科": 1,
    }
    assert set(report.groups) == {"task", "department"}
    assert score_file(path, by=("task",)).groups.keys() == {"task"}


def test_empty_items_are_counted_everywhere(path):
    report = score_file(path)
    assert (report.overall.empty, report.groups["task"]["medkqa"].empty) == (1, 1)
    assert "1 of 3 items have an empty prediction or reference and score 0" in report.warnings
    assert "task medkqa: 1 of 2 items have an empty prediction or reference and score 0" in report.warnings


def test_mixed_models_are_warned_of(path):
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({**ROWS[0], "model": "b"}, ensure_ascii=False))
    report = score_file(path, "char")
    assert report.models == ["a", "b"]
    assert report.warnings[0] == "the file mixes the predictions of 2 models (a, b) in every mean"


def test_report_as_json_has_n_interval_and_signature(path):
    report = score_file(path)
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain["signature"] == report.overall.signature
    assert (plain["n"], plain["empty"], plain["profile"]) == (3, 1, "paper")
    assert list(plain["metrics"]) == list(METRICS)
    assert plain["metrics"]["gleu"].keys() == {"mean", "low", "high", "n"}
    assert plain["groups"]["task"]["medkqa"]["n"] == 2


def render(report, **options):
    console = Console(file=io.StringIO(), width=160)
    console.print(render_table(report, **options))
    return console.file.getvalue()


def test_table_shows_each_mean_with_interval_and_n(path):
    report = score_file(path)
    shown = render(report)
    gleu = report.overall.summary["gleu"]
    assert f"{gleu.mean:.2f} [{gleu.low:.1f}, {gleu.high:.1f}]" in shown
    for words in ("medkqa", "trerecom", "pedgpt-metrics:1|profile:paper"):
        assert words in shown
    cells = [line.split("│")[1:-1] for line in shown.splitlines() if "│" in line]
    assert [[cell.strip() for cell in line] for line in cells[:2]] == [["n", "3", "2", "1"], ["empty", "1", "1", "0"]]


def test_table_shows_group_names_as_they_are(path):
    assert "[red]儿科" in render(score_file(path), by="department")


def test_unknown_group_field_is_refused(path):
    with pytest.raises(UserError, match="cannot group by 'tsk'; possible are task, department, age_band"):
        score_file(path, by=("tsk",))
