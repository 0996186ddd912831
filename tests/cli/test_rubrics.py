"""`pedgpt rubrics` from outside: questions out, answers graded, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pediatricsgpt.cli.rubrics import app
from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.rubrics.forms import chosen, load_rubrics
from tests.evaluation.rubrics import graders
from tests.openai_server import OpenAIServer

ITEMS = chosen(load_rubrics(), 2)
CRITERIA = sum(len(item.criteria) for item in ITEMS)


def _run(*arguments: object, ok: bool = True):
    done = CliRunner().invoke(app, [str(one) for one in arguments], env={"COLUMNS": "200"})
    if ok and done.exception:
        raise done.exception
    return done


def _predictions(folder: Path, **more: str) -> Path:
    """Answers to two items that meet all that is good."""
    path = folder / "sft.jsonl"
    rows = [
        {
            "id": item.id,
            "prediction": graders.answer_meeting(one.text for one in item.criteria if one.points > 0),
            **more,
        }
        for item in ITEMS
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_questions_out_answers_graded_and_nothing_paid_twice(tmp_path):
    questions = tmp_path / "items.jsonl"
    assert "48 questions" in _run("items", "--out", questions).output
    assert len(questions.read_text(encoding="utf-8").splitlines()) == 48
    out = tmp_path / "graded"
    with OpenAIServer(answer=graders.perfect) as server:
        arguments = ("grade", _predictions(tmp_path, model="sft"), "--max-items", 2, "--out", out)
        reach = ("--api", server.base_url, "--model", "grader")
        estimate = _run(*arguments, *reach, "--price-input", 2, "--estimate").output
        assert "2 items; grader " in estimate
        assert f": {CRITERIA} requests" in estimate
        assert "CNY" in estimate
        assert server.requests == []
        told = _run(*arguments, *reach).output
        asked = len(server.requests)
        again = _run(*arguments, *reach).output
        assert len(server.requests) == asked
    assert "sft, graded by grader; 2 items" in told
    assert "score            1.000 (0.158 to 1.000, n = 2)" in told  # 0.158: 0.025 ** (1 / 2)
    assert "未经医生审核" in told
    assert "0 requests (" in again
    found = json.loads((out / "rubrics.json").read_text(encoding="utf-8"))
    assert (found["model"], found["judge"]["model"], found["n"]) == ("sft", "grader", 2)


def test_what_costs_money_is_not_paid_without_a_word(tmp_path):
    with OpenAIServer(answer=graders.perfect) as server:
        reach = ("--api", server.base_url, "--model", "grader", "--price-output", 8)
        arguments = ("grade", _predictions(tmp_path), "--max-items", 2, "--out", tmp_path / "out", *reach)
        done = _run(*arguments, ok=False)
        assert isinstance(done.exception, UserError)
        assert "--yes" in str(done.exception)
        assert server.requests == []
        assert "2 items" in _run(*arguments, "--yes").output
        assert len(server.requests) == CRITERIA


@pytest.mark.parametrize("command", [("list",), ("show", "danger-battery"), ("check",)])
def test_wherever_rubrics_are_shown_it_says_that_nobody_reviewed_them(command):
    assert "未经医生审核" in _run(*command).output


def test_an_item_shows_points_vetoes_and_sources():
    told = _run("show", "drug-codeine").output
    assert "+10  no: 明确说不能给孩子用含可待因的止咳药  [veto]" in told
    assert "C  国家药监局 2018年第63号公告" in told


def test_the_list_can_be_read_by_a_script():
    found = json.loads(_run("list", "--json").output)
    assert len(found["items"]) == 48
    assert found["licence"] == "Apache-2.0"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "danger-batery"), "did you mean danger-battery?"),
        (("check", "--rubrics", "absent.yaml"), "no such file"),
        (("items", "--out", "absent/items.jsonl"), "cannot be written"),
        (("grade", "absent.jsonl", "--api", "http://127.0.0.1:1/v1", "--model", "m"), "no such file"),
        (("grade", "absent.jsonl"), "an address is needed"),
    ],
)
def test_what_is_wrong_is_one_line(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = _run(*arguments, ok=False)
    assert isinstance(done.exception, UserError)
    assert said in str(done.exception)
    assert "\n" not in str(done.exception)
