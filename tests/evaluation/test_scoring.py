from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.metrics import METRICS, score
from pediatricsgpt.evaluation.scoring import render_groups, render_table, score_file, write_item_scores

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
    assert report.warnings == ["1 of 3 items have an empty prediction or reference and score 0"]


def test_groups_come_weakest_first_and_small_ones_are_marked(tmp_path):
    rows = [{"prediction": "多喝水", "reference": "多喝水", "department": "丙"}] * 40
    rows += [{"prediction": "发热", "reference": "多喝水", "department": "乙"}] * 3
    rows += [{"prediction": "喝", "reference": "多喝水", "department": "甲"}] * 30
    report = score_file(write(tmp_path / "p.jsonl", rows), "char")
    assert list(report.groups["department"]) == ["乙", "甲", "丙"]
    small = {name: one["small"] for name, one in report.to_dict()["groups"]["department"].items()}
    assert small == {"乙": True, "甲": False, "丙": False}
    shown = render(report, render_groups, field="department")
    assert shown.index("乙") < shown.index("甲") < shown.index("丙")
    assert " 3* " in shown
    assert "40*" not in shown


def test_intervals_are_over_cases_where_the_file_has_them(tmp_path):
    texts = ["多喝水", "发热", "多休息", "喝水", "水", "热退", "退热水"]
    rows = [{"prediction": text, "reference": "多喝水退热"} for text in texts]
    alone = score_file(write(tmp_path / "a.jsonl", rows), "char").overall
    cases = [{**row, "group": f"patient {index}"} for _ in range(4) for index, row in enumerate(rows)]
    grouped = score_file(write(tmp_path / "g.jsonl", cases), "char").overall
    assert grouped.n == 28
    assert grouped.signature.endswith("|cases:7")
    assert grouped.summary["rouge-1"].low == pytest.approx(alone.summary["rouge-1"].low)
    mixed = [cases[0], cases[7], {**rows[2]}, {**rows[3]}]
    assert score_file(write(tmp_path / "m.jsonl", mixed), "char").overall.signature.endswith("|cases:3")


def test_scores_of_items_are_written_with_their_labels(path, tmp_path):
    report = score_file(path)
    write_item_scores(tmp_path / "items.jsonl", report)
    rows = [json.loads(line) for line in (tmp_path / "items.jsonl").read_text("utf-8").splitlines()]
    assert list(rows[0])[:3] == ["id", "task", "department"]
    assert "department" not in rows[1]
    assert [{name: row[name] for name in METRICS} for row in rows] == report.overall.per_sample
    assert not list(tmp_path.glob("*.partial"))


def test_expected_ids_are_held_against_the_file(tmp_path):
    rows = [{"prediction": "水", "reference": "水", "id": name} for name in "abc"]
    path = write(tmp_path / "p.jsonl", rows)
    same = write(tmp_path / "same.jsonl", [{"id": name} for name in "cab"])
    assert score_file(path, "char", ids=same).overall.n == 3
    other = write(tmp_path / "other.jsonl", [{"id": name} for name in ["b", "c", "d", "e", "f", "g"]])
    words = r"4 of its ids are missing \(d, e, f and 1 more\); 1 ids are not in it \(a\); --intersect"
    with pytest.raises(UserError, match=words) as error:
        score_file(path, "char", ids=other)
    assert error.value.where == str(path)
    common = score_file(path, "char", ids=other, intersect=True)
    assert common.overall.n == 2
    assert common.warnings[0].endswith("2 common items are scored")
    nothing = write(tmp_path / "nothing.jsonl", [{"id": "z"}])
    with pytest.raises(UserError, match="no id in common"):
        score_file(path, "char", ids=nothing, intersect=True)


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


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


def render(report, make=render_table, **options):
    console = Console(file=io.StringIO(), width=160)
    console.print(make(report, **options))
    return console.file.getvalue()


def test_table_shows_each_mean_with_interval_and_n(path):
    report = score_file(path)
    shown = render(report)
    gleu = report.overall.summary["gleu"]
    assert f"{gleu.mean:.2f} [{gleu.low:.1f}, {gleu.high:.1f}]" in shown
    for words in ("medkqa", "trerecom", "95 % interval"):
        assert words in shown
    cells = [line.split("│")[1:-1] for line in shown.splitlines() if "│" in line]
    assert [[cell.strip() for cell in line] for line in cells[:2]] == [["n", "3", "2", "1"], ["empty", "1", "1", "0"]]


def test_table_shows_group_names_as_they_are(path):
    assert "[red]儿科" in render(score_file(path), by="department")


def test_unknown_group_field_is_refused(path):
    with pytest.raises(UserError, match="cannot group by 'tsk'; possible are task, department, age_band"):
        score_file(path, by=("tsk",))
