"""`pedgpt compare` from outside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pediatricsgpt.cli import app
from pediatricsgpt.errors import UserError
from pediatricsgpt.records import write_json_lines


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    found = []
    for model, answer in (("ours", "建议立即就医"), ("peer", "建议尽快就医")):
        rows = [
            {"id": f"q{n}", "messages": [{"role": "user", "content": f"发热{n}天？"}], "reference": "建议尽快就医"}
            | {"prediction": answer, "model": model, "department": "儿科"}
            for n in range(30)
        ]
        write_json_lines(tmp_path / f"{model}.jsonl", rows)
        found.append(tmp_path / f"{model}.jsonl")
    return found


def ran(*arguments: Any, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["compare", *map(str, arguments)], env={"COLUMNS": "160"})
    assert done.exit_code == code, done.output
    return done.output


def refused(*arguments: Any) -> str:
    done = CliRunner().invoke(app, ["compare", *map(str, arguments)])
    assert isinstance(done.exception, UserError), done.output
    return str(done.exception)


def test_a_page_with_all_questions_is_written(files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    assert f"30 questions: {out}" in ran(*files, "--out", out)
    html = out.read_text("utf-8")
    assert html.count('"i":"q') == 30
    assert "建议立即就医" in html


def test_one_question_is_printed_with_every_answer_and_no_page(files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    text = ran(*files, "--id", "q7", "--out", out)
    assert "发热7天？" in text
    assert "发热8天？" not in text
    assert "建议⟦立即⟧就医" in text
    assert "⟦尽快" not in text
    assert not out.exists()


def test_a_search_prints_what_holds_the_text_up_to_a_limit(files: list[Path]) -> None:
    text = ran(*files, "--search", "尽快", "--limit", 3)
    assert text.count("发热") == 3
    assert "3 of 30 questions; --limit prints more" in text


def test_json_holds_texts_and_differences(files: list[Path]) -> None:
    (found,) = json.loads(ran(*files, "--id", "q2", "--json"))
    assert found["answers"]["ours"] == {"text": "建议立即就医", "differs": ["立即"]}
    assert len(json.loads(ran(*files, "--json", "--department", "儿科"))) == 30


def test_what_does_not_exist_is_refused(files: list[Path], tmp_path: Path) -> None:
    assert "--id q99: none of the 30 questions has it" in refused(*files, "--id", "q99")
    assert "none of the 30 questions fits" in refused(*files, "--search", "没有")
    assert "--against huatuo: no such model; there are reference, ours, peer" in refused(*files, "--against", "huatuo")
    assert "--benchmark cmd" in refused(*files, "--benchmark", "cmd")
    assert "no answers here" in refused(tmp_path)
    assert "give one run's folder" in refused(tmp_path, files[0])
    assert "the same file is given twice" in refused(files[0], files[0])
    assert "no such file" in refused(tmp_path / "our.jsonl", files[0])
    assert "this is a folder" in refused(*files, "--out", tmp_path)


def test_different_questions_are_compared_only_where_asked_for(files: list[Path], tmp_path: Path) -> None:
    files[1].write_text("".join(files[1].read_text("utf-8").splitlines(keepends=True)[5:]), encoding="utf-8")
    assert "lacks 5 (q0, q1, q2 and 2 more); --intersect compares the 25 common ones" in refused(*files)
    text = ran(*files, "--intersect", "--out", tmp_path / "page.html")
    assert "25 questions (5 that not all files hold are left out)" in text
