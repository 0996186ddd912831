"""The evaluation room's part of a run: models by folder, by address and by answers given elsewhere, from end to end."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from pediatricsgpt import graph
from pediatricsgpt.evaluation.report import write_report
from pediatricsgpt.recipe import Comparison, Recipe, load_any, load_recipe
from pediatricsgpt.records import read_json_lines, write_json_lines
from pediatricsgpt.run import Run
from tests.openai_server import OpenAIServer

REPOSITORY = Path(__file__).parents[1]
BENCHMARK = REPOSITORY / "examples/benchmarks"
ROOM = "evaluation"
DOCTORS = [
    {
        "id": f"q{place}",
        "dimension": "safety",
        "left": "GPT-4",
        "right": "folder",
        "verdict": "right" if place == 3 else "left",
        "rater": "doctor-1",
        "order": 0,
        "repeat": 0,
        "raw": "",
    }
    for place in range(8)
]


def _answer(body: Mapping[str, Any]) -> str:
    """A grader to whom every criterion is met, a judge who prefers 甲, and a doctor, by what is asked for."""
    form = json.dumps(body.get("response_format"))
    if "criteria_met" in form:
        return json.dumps({"explanation": "有", "criteria_met": True})
    if "correctness" in form:
        return json.dumps(dict.fromkeys(("usefulness", "correctness", "consistency", "fluency"), "甲"))
    return "请问孩子多大了？"


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(answer=_answer) as running:
        yield running


def _settings(server: OpenAIServer, model_folder: Path) -> dict[str, Any]:
    judge = {"base_url": server.base_url, "model": "judge", "temperature": 0}
    return {
        "benchmarks": [{"name": "cmd", "path": str(BENCHMARK / "cmd.json"), "departments": ["儿科"]}],
        "models": [
            {"name": "GPT-4", "answers": {"cmd": str(BENCHMARK / "answers/gpt-4.jsonl")}},
            {"name": "folder", "model": str(model_folder)},
            {"name": "address", "api": {"base_url": server.base_url, "model": "doctor"}},
        ],
        "max_new_tokens": 4,
        "judge": {"judges": [judge], "max_items": 3},
        "rubrics": {"judge": judge, "max_items": 1},
        "consultations": {"max_cards": 1, "max_turns": 2},
        "panel": "doctors.jsonl",
    }


def _run(tmp_path: Path, evaluation: Mapping[str, Any]) -> Run:
    write_json_lines(tmp_path / "doctors.jsonl", DOCTORS)
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({"name": "x", "threads": 1, "evaluation": evaluation}), encoding="utf-8")
    recipe = load_any(path)
    assert isinstance(recipe, Comparison)
    run = Run(recipe, tmp_path, tmp_path / "runs/x", graph.build(recipe, tmp_path), Console(quiet=True))
    run.folder.mkdir(parents=True, exist_ok=True)
    run.write_recipe()
    return run


def _done(run: Run) -> set[str]:
    return {name.removeprefix(f"{ROOM}/") for name in run.execute(run.nodes)}


def test_models_of_every_kind_are_compared_and_only_what_changed_is_done_again(
    server: OpenAIServer, model_folder: Path, tmp_path: Path
) -> None:
    settings = _settings(server, model_folder)
    run = _run(tmp_path, settings)
    asked = {f"{kind}/{name}" for kind in ("rubrics", "consultations") for name in ("folder", "address")}
    judged = {"judge/GPT-4-vs-folder", "judge/GPT-4-vs-address"}
    assert _done(run) == {f"benchmarks/cmd/{name}" for name in ("GPT-4", "folder", "address")} | asked | judged | {
        "panel"
    }
    requests = len(server.requests)

    said = {
        name: [row for _, row in read_json_lines(run.path(f"{ROOM}/benchmarks/cmd/{name}") / "predictions.jsonl")]
        for name in ("GPT-4", "folder", "address")
    }
    assert len(said["GPT-4"]) == len(said["address"]) == 14
    assert {row["prediction"] for row in said["address"]} == {"请问孩子多大了？"}
    assert {row["id"] for row in said["folder"]} <= {row["id"] for row in said["GPT-4"]}
    found = json.loads((run.path(f"{ROOM}/judge/GPT-4-vs-address") / "judge.json").read_text(encoding="utf-8"))
    # Whoever stands first is preferred: both orders contradict each other every time.
    assert all(one["tie"]["mean"] == one["flip_rate"]["mean"] == 1.0 for one in found["dimensions"].values())
    assert not found["headline"]["allowed"]
    doctors = json.loads((run.path(f"{ROOM}/panel") / "panel.json").read_text(encoding="utf-8"))
    assert (doctors["dimensions"]["safety"]["win"]["mean"], doctors["dimensions"]["safety"]["n"]) == (7 / 8, 8)
    page = write_report(run.folder).read_text(encoding="utf-8")
    assert all(name in page for name in ("GPT-4", "folder", "address"))

    assert _done(_run(tmp_path, settings)) == set()
    stricter = {**settings, "judge": {**settings["judge"], "strip_markdown": False}}
    assert _done(_run(tmp_path, stricter)) == judged
    longer = {**settings, "consultations": {"max_cards": 1, "max_turns": 1}}
    again = _done(_run(tmp_path, longer))
    assert {name for name in again if name.startswith("consultations")} == {name for name in asked if "consult" in name}
    assert not any(name.startswith(("benchmarks", "rubrics")) for name in again)
    assert {path.parent for path in run.folder.rglob("asked")} == {run.folder}
    assert len(server.requests) < 2 * requests  # what was paid for is not asked again


def test_a_run_of_its_own_models_measures_them_on_benchmarks_beside_peers() -> None:
    recipe = load_recipe(
        REPOSITORY / "tests/tiny.yaml",
        [
            "evaluation.benchmarks=[medkqa, {name: cmd, path: ../examples/benchmarks/cmd.json}]",
            "evaluation.own_models=[base, experts]",
            "evaluation.models=[{name: peer, answers: {cmd: ../examples/benchmarks/answers/gpt-4.jsonl}},"
            " {name: other, api: {base_url: 'http://127.0.0.1:1/v1', model: m}}]",
            "evaluation.judge={judges: [{base_url: 'http://127.0.0.1:1/v1', model: j}]}",
            "evaluation.consultations={}",
        ],
    )
    nodes = {node.name.removeprefix(f"{ROOM}/"): node for node in graph.build(recipe, REPOSITORY / "tests")}
    assert {name for name in nodes if name.startswith("benchmarks")} == {
        "benchmarks/held_out/other",
        *(f"benchmarks/cmd/{name}" for name in ("base", "experts", "peer", "other")),
    }
    assert nodes["benchmarks/cmd/experts"].inputs == ("experts", "dfpo")
    assert nodes["judge/experts-vs-peer"].inputs == (
        f"{ROOM}/benchmarks/cmd/experts",
        f"{ROOM}/benchmarks/cmd/peer",
    )
    assert f"{ROOM}/experts" in nodes["judge/experts-vs-other"].inputs
    assert set(nodes["contamination/cmd"].inputs) == {
        f"corpus/{name}" for name in ("cpt", "sft", "preferences", "experts")
    }
    assert {name for name in nodes if name.startswith("consultations")} == {
        f"consultations/{name}" for name in ("base", "experts", "other")
    }
    assert "judge" not in json.dumps(nodes["experts"].settings)  # a changed judge trains nothing again


def test_what_judges_graders_and_caregivers_cost_at_most_is_said_before_anything_starts(
    server: OpenAIServer, model_folder: Path, tmp_path: Path
) -> None:
    settings = _settings(server, model_folder)
    caregiver = {"base_url": server.base_url, "model": "mother", "max_tokens": 10}
    settings["consultations"]["caregiver"] = caregiver
    run = _run(tmp_path, settings)
    assert isinstance(run.recipe, Comparison)
    judge, grader, mother = graph.evaluation_graph.cost_lines(run.recipe, tmp_path)
    # two pairs, three items, both orders; one rubric item of two models; one card, two turns, two models
    assert judge.startswith("judge (judge): at most 12 requests")
    grades = [
        len((run.path(f"{ROOM}/rubrics/{name}") / "grades.jsonl").read_text().splitlines()) for name in _asked(run)
    ]
    assert grader.startswith(f"grader of rubrics (judge): at most {sum(grades)} requests")
    assert mother.startswith("caregiver (mother): at most 4 requests")
    assert mother.split(", ")[1].endswith("40 out")


def _asked(run: Run) -> tuple[str, str]:
    """The models that answer themselves, after they have."""
    run.execute(run.nodes)
    return "folder", "address"


def test_a_judge_s_validation_is_taken_over_before_it_judges() -> None:
    changes = [
        "evaluation.models=[{name: other, api: {base_url: 'http://127.0.0.1:1/v1', model: m}}]",
        "evaluation.judge={judges: [{base_url: 'http://127.0.0.1:1/v1', model: j}], validation: v.json}",
    ]
    nodes = graph.build(load_recipe(REPOSITORY / "tests/tiny.yaml", changes), REPOSITORY / "tests")
    names = [node.name for node in nodes]
    judged = next(node for node in nodes if node.name == f"{ROOM}/judge/experts-vs-other")
    assert f"{ROOM}/validation" in judged.inputs
    assert names.index(f"{ROOM}/validation") < names.index(judged.name)


def test_what_a_model_is_measured_on_alone_decides_about_its_answers() -> None:
    def settings(*changes: str) -> Any:
        recipe = load_recipe(REPOSITORY / "tests/tiny.yaml", changes)
        assert isinstance(recipe, Recipe)
        return next(node.settings for node in graph.build(recipe, REPOSITORY / "tests") if node.name == f"{ROOM}/sft")

    assert settings("evaluation.consultations={}", "evaluation.own_models=[base]") == settings()
    assert settings("evaluation.max_new_tokens=9") != settings()
