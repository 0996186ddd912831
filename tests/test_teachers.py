"""A run with a teacher from the outside: a real server on loopback, paid answers, a budget, and what must not leave."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pediatricsgpt.corpus_graph import PASSES
from pediatricsgpt.records import read_json_lines, read_rows
from pediatricsgpt.teachers import FOLDER
from pediatricsgpt.training_sets import ROWS
from tests.corpus.test_build_teacher import faithful
from tests.openai_server import Fault, OpenAIServer
from tests.test_cli import TOKENIZER, _pedgpt, _refused

INSTRUCTIONS = Path("runs/x/corpus/instructions")
GROUNDS = {"licence": "CC0", "consent": "no personal data", "purpose": "tests"}
GUIDELINE = """儿童腺病毒肺炎诊疗规范

一、临床表现
起病急骤，高热持续7天以上，伴有频繁咳嗽和喘憋，部分患儿出现呼吸困难。

二、治疗
轻症患儿以休息和补液为主，不推荐常规使用抗菌药物，高热时口服对乙酰氨基酚每次10mg/kg。
"""


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(faithful) as running:
        yield running


@pytest.fixture
def recipe(server: OpenAIServer, tmp_path: Path) -> Path:
    """A recipe of one guideline and a few dialogues, with the server as teacher."""
    (tmp_path / "guideline.txt").write_text(GUIDELINE, encoding="utf-8")
    turns = [
        [
            {"role": "user", "content": f"宝宝{age}岁，咳嗽3天，没有发热，怎么办？"},
            {"role": "assistant", "content": said},
        ]
        for age, said in ((2, "注意休息，多喝水，3天不好转来复诊。"), (5, "不需要抗生素，观察呼吸，发热就诊。"))
    ]
    lines = (json.dumps({"messages": each}, ensure_ascii=False) for each in turns)
    (tmp_path / "dialogues.jsonl").write_text("\n".join(lines), encoding="utf-8")
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "head_dim": 8}
    model = {"init": {**shape, "num_attention_heads": 1, "num_key_value_heads": 1}, "tokenizer": str(TOKENIZER)}
    sources = [
        {"name": "guideline", "kind": "guideline", "path": "guideline.txt", **GROUNDS},
        {"name": "dialogues", "kind": "conversation", "path": "dialogues.jsonl", **GROUNDS},
    ]
    corpus = {"sources": sources, "deidentify": {"floor_names": 0}}  # how good that is, is not the question here
    teacher = {"base_url": server.base_url, "model": "lehrer-7b", "retry_pause": 0.01, "concurrency": 1}
    return write(tmp_path, {"name": "x", "teacher": teacher, "corpus": corpus, "model": model})


def write(folder: Path, recipe: dict[str, Any]) -> Path:
    path = folder / "r.yaml"
    path.write_text(yaml.safe_dump(recipe, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return path


def run(recipe: Path, *changes: str) -> Any:
    sets = [part for change in changes for part in ("--set", change)]
    return _pedgpt(recipe.parent, "run", "r.yaml", "--until", "corpus/instructions", *sets)


def taught(recipe: Path) -> list[dict[str, Any]]:
    rows = read_rows(recipe.parent / INSTRUCTIONS / ROWS)
    return [row for row in rows if any(step["teacher"] == "lehrer-7b" for step in row["steps"])]


def test_rows_name_their_teacher_and_every_pass_is_kept(recipe: Path) -> None:
    done = run(recipe)
    assert done.returncode == 0, done.stderr
    assert {row["family"] for row in taught(recipe)} == {"specialised", "conversation"}
    for row in taught(recipe):
        assert any(step["prompt_hash"] for step in row["steps"])
    passes = [row for _, row in read_json_lines(recipe.parent / INSTRUCTIONS / PASSES)]
    assert {one["teacher"] for one in passes} == {"lehrer-7b"}
    assert "role play requests" in done.stdout


def test_a_step_that_is_done_again_pays_for_nothing_again(recipe: Path, server: OpenAIServer) -> None:
    run(recipe)
    asked, before = len(server.requests), taught(recipe)
    done = _pedgpt(recipe.parent, "run", "r.yaml", "--until", "corpus/instructions", "--from", "corpus/instructions")
    assert done.returncode == 0, done.stderr
    assert len(server.requests) == asked > 0
    assert taught(recipe) == before


def test_a_spent_budget_stops_in_one_line_and_a_larger_one_goes_on(recipe: Path, server: OpenAIServer) -> None:
    done = run(recipe, "teacher.budget_tokens=3000")
    assert done.returncode == 2
    assert done.stderr.startswith("error: teacher: ")
    assert "budget" in done.stderr
    paid = sum(server.answered.values())
    assert run(recipe, "teacher.budget_tokens=1000000").returncode == 0
    assert paid > 0
    assert set(server.answered.values()) == {1}
    assert taught(recipe)


def test_a_failing_server_is_one_line_and_keeps_what_was_paid(recipe: Path, server: OpenAIServer) -> None:
    server.script += [Fault(), Fault(status=401)]
    done = run(recipe)
    assert done.returncode == 2
    assert len([line for line in done.stderr.splitlines() if line.strip()]) == 1
    assert list((recipe.parent / "runs/x" / FOLDER).glob("*/answers.jsonl"))
    assert run(recipe).returncode == 0


def test_a_changed_budget_changes_nothing_and_another_model_does(recipe: Path, server: OpenAIServer) -> None:
    run(recipe)
    asked = len(server.requests)
    assert "nothing to do" in run(recipe, "teacher.concurrency=2", "teacher.price_input=3").stdout
    assert run(recipe, "teacher.model=other").returncode == 0
    assert len(server.requests) == 2 * asked


def test_a_rule_can_go_without_the_teacher_of_the_recipe(recipe: Path) -> None:
    assert run(recipe, "corpus.build.role_play.teacher=none").returncode == 0
    assert {row["family"] for row in taught(recipe)} == {"conversation"}


def test_plan_says_what_the_teacher_may_cost(recipe: Path, server: OpenAIServer) -> None:
    before = " ".join(_pedgpt(recipe.parent, "plan", "r.yaml").stdout.split())
    assert "its cost is known once corpus/curated is built" in before
    _pedgpt(recipe.parent, "run", "r.yaml", "--until", "corpus/curated")
    shown = " ".join(_pedgpt(recipe.parent, "plan", "r.yaml", "--set", "teacher.price_output=8").stdout.split())
    assert "teacher of reconstruct (lehrer-7b): at most 2 requests" in shown
    assert "CNY; no budget set" in shown
    assert not server.requests


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["teacher.base_url=https://api.example.com/v1"], "is not this machine: say allow_external: true"),
        (
            [
                "teacher={base_url: 'https://a.example/v1', model: m, allow_external: true}",
                "corpus.deidentify.enabled=no",
            ],
            "must be de-identified: switch corpus.deidentify on",
        ),
        (["teacher={base_url: 'http://127.0.0.1:1/v1', model: m, key_env: NO_SUCH_KEY}"], "NO_SUCH_KEY"),
    ],
)
def test_what_must_not_leave_or_cannot_be_paid_is_refused(recipe: Path, changes: list[str], message: str) -> None:
    sets = [part for change in changes for part in ("--set", change)]
    assert message in _refused(recipe.parent, "run", "r.yaml", "--until", "corpus/instructions", *sets)
