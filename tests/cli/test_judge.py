"""`pedgpt judge` from outside: what is printed, what is refused in one line, and that a second run pays nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from pediatricsgpt.cli.endpoints import settings_of
from pediatricsgpt.cli.judge import judge
from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.judge.verdicts import read_verdicts
from tests.evaluation.judge import planted
from tests.openai_server import Fault, OpenAIServer

PASSED = {"passed": True, "against": "doctors.csv", "passed_on": "overall"}
FAILED = {"passed": False, "against": "doctors.csv", "bar": "passes above 0.2"}
app = typer.Typer()
app.command()(judge)


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(planted.judge(planted.perfect)) as running:
        yield running


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """The answers of two models to eight questions; the first one is always better."""
    paths = []
    pair = planted.pair(8, better=1.0)
    for side, model in enumerate(pair.models):
        path = tmp_path / f"{model}.jsonl"
        rows = [
            {
                "id": question.id,
                "messages": list(question.messages),
                "prediction": question.answers[side],
                "model": model,
                "department": question.department,
            }
            for question in pair.questions
        ]
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        paths.append(str(path))
    return paths


def run(*arguments: str, **others: Any) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"}, **others)


def refused(*arguments: str) -> str:
    done = run(*arguments)
    assert isinstance(done.exception, UserError), done.output
    return str(done.exception)


def at(server: OpenAIServer, out: Path) -> list[str]:
    return ["--api", server.base_url, "--model", "richter", "--out", str(out)]


def test_the_figures_are_printed_and_a_second_run_pays_nothing(
    server: OpenAIServer, files: list[str], tmp_path: Path
) -> None:
    done = run(*files, *at(server, tmp_path / "out"), "--by", "department")
    assert done.exit_code == 0, done.output
    assert "judge richter: 16 requests, about" in done.stderr
    told = json.loads((tmp_path / "out/judge.json").read_text(encoding="utf-8"))["dimensions"]["usefulness"]["win"]
    # What eight items that all say the same leave open
    assert told == {"mean": 1.0, "low": pytest.approx(0.025 ** (1 / 8)), "high": 1.0, "n": 8}
    assert "usefulness" in done.stdout
    assert "net wins of ours by department" in done.stdout
    assert "no headline: richter was never validated" in done.stdout
    assert "warning: no question has a reference answer" in done.stderr
    assert len(server.requests) == 16
    again = run(*files, *at(server, tmp_path / "out"), "--json")
    assert len(server.requests) == 16
    assert "0 requests (16 more are paid for already)" in again.stderr
    found = json.loads(again.stdout)
    assert found == json.loads((tmp_path / "out/judge.json").read_text(encoding="utf-8"))
    assert found["costs"]["cached"] == found["costs"]["requests"] == 16
    assert len(read_verdicts(tmp_path / "out/verdicts.jsonl")) == 64


def test_an_estimate_asks_nothing_and_writes_nothing(server: OpenAIServer, files: list[str], tmp_path: Path) -> None:
    done = run(*files, *at(server, tmp_path / "out"), "--estimate", "--price-input", "4", "--repeats", "2")
    assert done.exit_code == 0
    assert "judge richter: 32 requests, about" in done.stderr
    assert "at most 0." in done.stderr
    assert server.requests == []
    assert not (tmp_path / "out").exists()


def test_what_costs_money_is_agreed_to_first(server: OpenAIServer, files: list[str], tmp_path: Path) -> None:
    priced = [*files, *at(server, tmp_path / "out"), "--price-output", "8"]
    assert "agree with --yes" in refused(*priced)
    assert server.requests == []
    assert run(*priced, "--yes").exit_code == 0
    assert len(server.requests) == 16
    assert run(*priced).exit_code == 0  # paid for already


def test_judges_may_stand_in_a_file_and_options_change_it(
    server: OpenAIServer, files: list[str], tmp_path: Path
) -> None:
    with OpenAIServer(planted.judge(planted.perfect)) as second:
        judges = [{"base_url": one.base_url, "model": name} for one, name in ((server, "one"), (second, "two"))]
        path = tmp_path / "judge.yaml"
        path.write_text(yaml.safe_dump({"judges": judges, "max_items": 6, "validation": "v.json"}))
        (tmp_path / "v.json").write_text(json.dumps({"judges": {"one": PASSED, "two": FAILED}}))
        done = run(*files, "--settings", str(path), "--out", str(tmp_path / "out"), "--max-items", "3", "--one-order")
        assert done.exit_code == 0, done.output
        assert (len(server.requests), len(second.requests)) == (3, 3)
    assert "3 questions of 8 common ones (--max-items)" in done.stderr
    assert "raters agree on fluency in 100 [100, 100] % of 3 items" in done.stdout
    assert "no headline: two did not pass its validation" in done.stdout
    assert "in one order only" in done.stderr
    path.write_text(yaml.safe_dump({"judges": judges, "repeat": 2}))
    assert "repeats" in refused(*files, "--settings", str(path), "--out", str(tmp_path / "out"))
    assert "leave one of the two out" in refused(*files, "--settings", str(path), *at(server, tmp_path / "out"))


def test_a_teacher_of_the_run_may_not_judge_it(server: OpenAIServer, files: list[str], tmp_path: Path) -> None:
    moved = []
    for name, file in zip(("sft", "base"), files, strict=True):
        folder = tmp_path / "runs/x/evaluation" / name
        folder.mkdir(parents=True)
        moved.append(str(Path(file).rename(folder / "predictions.jsonl")))
    teacher = {"base_url": "http://10.0.0.1/v1", "model": "Richter", "temperature": 0.3}
    recipe = {"name": "x", "corpus": {"build": {"distill": {"teacher": teacher}}}}
    (tmp_path / "runs/x/recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert "wrote training data" in refused(*moved, *at(server, tmp_path / "out"))
    reason = "只有它可以在院内使用"
    done = run(*moved, *at(server, tmp_path / "out"), "--may-be-teacher", reason)
    assert done.exit_code == 0, done.output
    assert reason in done.stderr
    assert json.loads((tmp_path / "out/judge.json").read_text(encoding="utf-8"))["judges"][0]["reason"] == reason
    measured = {"name": "x", "evaluation": {"judge": {"judges": [teacher]}}}
    (tmp_path / "runs/x/recipe.yaml").write_text(yaml.safe_dump(measured))
    assert run(*moved, *at(server, tmp_path / "out")).exit_code == 0
    assert "wrote training data" in refused(*moved, *at(server, tmp_path / "out"), "--teacher", "RICHTER")


def test_a_server_that_is_down_is_said_in_one_line_and_loses_nothing(
    server: OpenAIServer, files: list[str], tmp_path: Path
) -> None:
    right = server.answer

    def answer(body: Any) -> str:
        if len(server.requests) == 5:
            server.script += [Fault(status=401)] * 20
        return right(body)

    server.answer = answer
    said = refused(*files, *at(server, tmp_path / "out"), "--concurrency", "1")
    assert said.startswith("judge richter: ")
    assert "\n" not in said
    server.script.clear()
    before = len(server.requests)
    assert run(*files, *at(server, tmp_path / "out")).exit_code == 0
    assert len(server.requests) - before == 11


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--api", "https://judge.invalid/v1"], "--api: https://judge.invalid/v1 is not on this machine"),
        (["--names", "one"], "--names: expected two names"),
        (["--by", "age_band"], "--by: no question says its age_band"),
        (["--by", "weather"], "--by: strata are by task, department, age_band"),
        (["--validation", "none.json"], "none.json: cannot be read"),
        (["--key-env", "NO_SUCH_KEY"], "NO_SUCH_KEY"),
        (["--api", "ftp://x"], "--api: 'ftp://x' is no address"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_asked(
    server: OpenAIServer, files: list[str], tmp_path: Path, change: list[str], message: str
) -> None:
    assert message in refused(*files, *at(server, tmp_path / "out"), *change)
    assert server.requests == []


def test_different_questions_are_intersected_on_request(server: OpenAIServer, files: list[str], tmp_path: Path) -> None:
    kept = Path(files[1]).read_text(encoding="utf-8").splitlines()[2:]
    Path(files[1]).write_text("\n".join(kept), encoding="utf-8")
    assert "6 are common, 2 (q0000, q0001) only in" in refused(*files, *at(server, tmp_path / "out"))
    done = run(*files, *at(server, tmp_path / "out"), "--intersect")
    assert "6 questions; 2 that only A and 0 that only B answered" in done.stderr
    assert len(server.requests) == 12


def test_an_endpoint_needs_an_address_and_a_model() -> None:
    with pytest.raises(UserError, match="--api: an address is needed"):
        settings_of(None, "x")
    with pytest.raises(UserError, match="--model: which model"):
        settings_of("http://127.0.0.1:1/v1", None)
    with pytest.raises(UserError, match="--temperature: "):
        settings_of("http://127.0.0.1:1/v1", "x", temperature=9.0)
    made = settings_of("http://127.0.0.1:1/v1/", "x", "KEY", True, 7, budget_tokens=5)
    assert (made.base_url, made.key_env, made.allow_external, made.concurrency, made.budget_tokens) == (
        "http://127.0.0.1:1/v1",
        "KEY",
        True,
        7,
        5,
    )


def test_a_disk_that_takes_no_byte_is_told_in_one_line(server: OpenAIServer, files: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pediatricsgpt.cli", "judge", *files, *at(server, tmp_path / "out")]
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 0; exec "$@"', "bash", *command], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 2
    assert "a file would be larger than is allowed here" in done.stderr
    assert "bug" not in done.stderr
    assert server.requests == []
