from __future__ import annotations

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from pediatricsgpt.cli import app
from pediatricsgpt.errors import UserError

ROWS = [
    {"id": "a", "prediction": "多喝水", "reference": "多喝水，休息", "task": "medkqa", "department": "儿科"},
    {"id": "b", "prediction": "口服布洛芬", "reference": "口服布洛芬混悬液", "task": "trerecom"},
]


@pytest.fixture
def folder(tmp_path):
    other = [{**row, "prediction": "休息"} for row in ROWS]
    for name, rows in {"a": ROWS, "b": other, "less": ROWS[:1], "twice": [*ROWS, ROWS[0]], "empty": []}.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf-8")
    (tmp_path / "null.jsonl").write_text('{"prediction": null, "reference": "a"}\n')
    (tmp_path / "gb.jsonl").write_bytes((tmp_path / "a.jsonl").read_bytes().decode().encode("gb18030"))
    return tmp_path


def pedgpt(folder, *arguments):
    command = [sys.executable, "-m", "pediatricsgpt.cli", "score", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def refused(folder, monkeypatch, *arguments) -> str:
    """What the user reads; as the command line prints it, without the start of a process."""
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(app, ["score", *arguments])
    assert isinstance(result.exception, UserError), result.output
    assert result.output == ""
    return str(result.exception)


def test_one_file_gives_figures_groups_items_and_json(folder):
    done = pedgpt(folder, "a.jsonl", "--by", "task", "--items", "items.jsonl", "--json", "out.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "rouge-l" in done.stdout
    assert "by task" in done.stdout
    assert "by department" not in done.stdout
    found = json.loads((folder / "out.json").read_text("utf-8"))
    assert found["metrics"]["rouge-l"]["n"] == 2
    items = [json.loads(line) for line in (folder / "items.jsonl").read_text("utf-8").splitlines()]
    assert [item["id"] for item in items] == ["a", "b"]


def test_two_files_are_compared(folder):
    done = pedgpt(folder, "a.jsonl", "b.jsonl", "--metric", "rouge-l", "--json", "out.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "a against b" in done.stdout
    assert "no verdict" in done.stdout
    found = json.loads((folder / "out.json").read_text("utf-8"))
    assert [row["metric"] for row in found["comparisons"]] == ["rouge-l"]


def test_common_items_are_taken_on_request(folder):
    done = pedgpt(folder, "a.jsonl", "less.jsonl", "--intersect")
    assert done.returncode == 0
    assert "compared on the 1 common ones" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.jsonl", "less.jsonl"], "less.jsonl lacks 1 (b)"),
        (["twice.jsonl"], "twice.jsonl:3: the id 'a' occurs twice, first in line 1"),
        (["null.jsonl"], "null.jsonl:1: the field 'prediction' must be text, not null"),
        (["gb.jsonl"], "gb.jsonl:1: not UTF-8 but probably GB18030"),
        (["empty.jsonl"], "empty.jsonl: the file is empty"),
        (["a.jsonl", "--ids", "less.jsonl"], "1 ids are not in it (b)"),
        (["a.jsonl", "--profile", "papr"], "unknown metric profile 'papr'"),
        (["a.jsonl", "--by", "tsk"], "cannot group by 'tsk'"),
        (["a.jsonl", "--metric", "gleu"], "give a second file"),
        (["a.jsonl", "--intersect"], "give a second file or --ids"),
        (["a.jsonl", "b.jsonl", "--items", "x.jsonl"], "--items take one predictions file"),
        (["a.jsonl", "nothere.jsonl"], "nothere.jsonl: no such file"),
    ],
)
def test_bad_input_is_one_line_that_says_what_and_where(folder, monkeypatch, arguments, words):
    said = refused(folder, monkeypatch, *arguments)
    assert words in said
    assert "\n" not in said


def test_an_error_is_one_line_without_a_traceback(folder):
    done = pedgpt(folder, "twice.jsonl")
    expected = "error: twice.jsonl:3: the id 'a' occurs twice, first in line 1; keep one\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)


def test_a_field_that_was_asked_for_and_is_not_there_is_said(folder):
    assert "no item has the field 'age_band'" in pedgpt(folder, "a.jsonl", "--by", "age_band").stderr
