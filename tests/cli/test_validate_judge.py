"""`pedgpt validate-judge` from outside: GPT-4's scores, doctors' tables, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from pediatricsgpt.cli.validate_judge import validate_judge
from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.validation.reference import read_disc
from pediatricsgpt.evaluation.validation.run import _shown
from tests.evaluation.validation.raters import judge_that, noisy, simulated_verdicts
from tests.openai_server import OpenAIServer

app = typer.Typer()
app.command()(validate_judge)
TRUTH = {f"q{i}": i % 3 - 1 for i in range(40)}


def _run(*arguments: object, ok: bool = True):
    done = CliRunner().invoke(app, [str(one) for one in arguments], env={"COLUMNS": "200"})
    if ok and done.exception:
        raise done.exception
    return done


def _labels(path: Path, skills: list[float], name: str, dimension: str = "factuality") -> Path:
    rows = simulated_verdicts(TRUTH, ("base", "sft"), dimension, skills, name=name)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_against_the_scores_of_gpt4(shared, tmp_path):
    folder, out = shared / "data" / "benchmarks" / "disc_eval", tmp_path / "judge" / "validation.json"
    out.parent.mkdir()
    reference = read_disc(folder, 40)
    labels = {pair.id: pair.labels for pair in reference.pairs}
    with OpenAIServer(answer=judge_that(noisy(labels, 0.0), _shown(reference))) as server:
        arguments = ("--against", folder, "--max-pairs", 40, "--out", out, "--api", server.base_url, "--model", "j")
        assert "80 requests" in _run(*arguments, "--estimate").output
        assert server.requests == []
        told = _run(*arguments).output
    assert "j against disc-gpt4: 40 pairs" in told
    assert "not of doctors" in told
    assert "passed on correctness; the bar: the lower bound of kappa" in told
    found = json.loads(out.read_text(encoding="utf-8"))["judges"]["j"]
    assert found["dimensions"]["correctness"]["decided"]["kappa"]["mean"] == 1.0
    assert found["costs"]["requests"] == 80


def test_doctors_and_verdicts_that_are_there(tmp_path):
    labels = _labels(tmp_path / "labels.jsonl", [0.9, 0.9, 0.8], "doctor")
    said = _labels(tmp_path / "verdicts.jsonl", [1.0], "judge", "correctness")
    out = tmp_path / "validation.json"
    told = _run("--against", labels, "--verdicts", said, "--out", out).output
    assert "the 3 raters among each other on factuality: alpha 0." in told
    assert "judge-1 against labels.jsonl: 40 pairs" in told
    # A second judge leaves the first one's entry as it is
    other = _labels(tmp_path / "other.jsonl", [0.0], "coin", "correctness")
    assert "not passed" in _run("--against", labels, "--verdicts", other, "--out", out).output
    assert json.loads(out.read_text(encoding="utf-8"))["judges"].keys() == {"judge-1", "coin-1"}


def test_simulated_raters_are_named_as_such(tmp_path):
    labels = _labels(tmp_path / "labels.jsonl", [1.0, 1.0], "simulated")
    said = _labels(tmp_path / "verdicts.jsonl", [1.0], "judge", "correctness")
    told = _run("--against", labels, "--verdicts", said, "--out", tmp_path / "validation.json").output
    assert "SIMULATED" in told
    assert "not passed" in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--against", "absent"), "no such file or folder"),
        (("--against", "."), "needs two files"),
        (("--against", "labels.jsonl"), "--answers"),
        (("--against", "labels.jsonl", "--verdicts", "labels.jsonl", "--map", "x"), "'x' is not THEIRS=OURS"),
        (("--against", "labels.jsonl", "--verdicts", "absent.jsonl"), "no such file"),
        (("--against", "labels.jsonl", "--out", "labels.jsonl"), "no validation of judges"),
        (("--against", "labels.jsonl", "--verdicts", "labels.jsonl", "--api", "http://x/v1"), "leave out --api"),
    ],
)
def test_what_is_wrong_is_one_line(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _labels(tmp_path / "labels.jsonl", [1.0], "doctor")
    done = _run(*arguments, ok=False)
    assert isinstance(done.exception, UserError)
    assert said in str(done.exception)
    assert "\n" not in str(done.exception)
