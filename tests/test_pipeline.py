"""The whole pipeline on real sources with a tiny model: from sources to report, and what its parts promise."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pediatricsgpt import graph
from pediatricsgpt.corpus.rules import rules
from pediatricsgpt.manifest import read_manifest
from pediatricsgpt.recipe import load_recipe
from pediatricsgpt.records import PEDIATRIC_TASKS, read_json_lines, read_rows
from pediatricsgpt.run import Run
from pediatricsgpt.text import key

REPOSITORY = Path(__file__).parents[1]
RECIPE = REPOSITORY / "tests/tiny.yaml"
MODELS = ("base", "cpt", "sft", "dfpo", "experts")
TRAINING_SETS = ("cpt", "sft", "experts", "preferences")


def pedgpt(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder of its own, as a user would."""
    done = subprocess.run(
        [sys.executable, "-m", "pediatricsgpt.cli", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one finished run of the tiny recipe."""
    folder = tmp_path_factory.mktemp("pipeline")
    pedgpt(folder, "run", str(RECIPE))
    return folder / "runs/tiny"


def _rows(run: Path, name: str) -> list[dict[str, Any]]:
    return read_rows(run / "corpus" / name / "rows.parquet")


def _validation(run: Path, name: str) -> list[dict[str, Any]]:
    """The rows of a set by which its phase is watched."""
    path = run / "corpus" / name / "validation.parquet"
    return read_rows(path) if path.is_file() else []


def _copy(finished: Path, tmp_path: Path) -> Path:
    """A copy of the run to play with; the command is run in the returned folder."""
    shutil.copytree(finished, tmp_path / "runs/tiny")
    return tmp_path


def _worked(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Names of the steps that a run worked on."""
    lines = (line for line in done.stdout.splitlines() if line.startswith("["))
    return [line.split("]")[1].split(",")[0].strip() for line in lines]


def test_every_step_is_done_and_the_report_is_there(finished: Path) -> None:
    steps = ["corpus/curated", "corpus/card", *MODELS, *(f"evaluation/{model}" for model in MODELS)]
    assert all(read_manifest(finished / step) for step in steps)
    assert (finished / "report.html").stat().st_size > 10_000
    assert not list(finished.rglob("*.partial"))


def test_the_second_run_does_nothing_and_says_so(finished: Path) -> None:
    start = time.perf_counter()
    done = pedgpt(finished.parents[1], "run", str(RECIPE))
    assert "nothing to do" in done.stdout
    assert _worked(done) == []
    assert time.perf_counter() - start < 20  # a hang, not a slow machine; the figure itself is in docs/performance.md


def test_a_changed_sft_setting_redoes_sft_and_what_follows_only(finished: Path) -> None:
    recipe = load_recipe(RECIPE, ["sft.trainer.learning_rate=2.0e-3"])
    work = Run(recipe, RECIPE.parent, finished, graph.build(recipe, RECIPE.parent), Console(quiet=True))
    redone = {state.node.name for state in work.states(work.nodes) if state.status != "done"}
    evaluations = {f"evaluation/{model}" for model in ("sft", "dfpo", "experts")}
    assert redone == {"sft", "corpus/preferences", "dfpo", "experts", *evaluations}


def test_a_changed_preference_setting_leaves_cpt_and_sft(finished: Path, tmp_path: Path) -> None:
    folder = _copy(finished, tmp_path)
    change = "corpus.build.preferences.medical_pairs=6"
    worked = _worked(pedgpt(folder, "run", str(RECIPE), "--set", change))
    assert worked == ["corpus/preferences", "dfpo", "evaluation/dfpo", "experts", "evaluation/experts"]


def test_two_folders_give_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    pedgpt(tmp_path, "run", str(RECIPE), "--until", "experts")
    again = tmp_path / "runs/tiny"
    files = sorted(path.relative_to(again) for path in again.rglob("*") if path.suffix in (".parquet", ".safetensors"))
    assert len(files) == 7 + 7 + 4 + 5  # sources, corpus, validation of four sets, models
    assert [str(file) for file in files if (again / file).read_bytes() != (finished / file).read_bytes()] == []


def test_kept_and_rejected_is_read_at_every_step(finished: Path) -> None:
    for folder in (finished / "corpus/sources").iterdir():
        counts = json.loads((folder / "manifest.json").read_text())["counts"]
        assert counts["kept"] + counts["rejected"] == counts["read"] > 0
        assert counts["rejected"] == len(list(read_json_lines(folder / "rejects.jsonl")))
        assert counts["rows_used"] + counts["rows_rejected"] == counts["rows"]
    for counts in json.loads((finished / "corpus/curated/counts.json").read_text()).values():
        assert counts["kept"] + counts["rejected"] == counts["read"]
        assert sum(counts["reasons"].values()) == counts["rejected"]
    records = len(read_rows(finished / "corpus/curated/records.parquet"))
    made = {name: _counts(finished, name) for name in ("instructions", "preferences", "cpt")}
    for name in ("instructions", "preferences"):
        counts = made[name]
        assert counts["kept"] + counts["rejected"] == counts["read"] > 0
        assert counts["kept"] == len(_rows(finished, name)) + len(_validation(finished, name))
        assert counts["rejected"] == len(list(read_json_lines(finished / "corpus" / name / "rejects.jsonl")))
    counts = made["instructions"]
    assert counts["texts"] + counts["dialogues"] + counts["preference_pairs"] == records
    counts = made["preferences"]
    assert counts["prompts"] == counts["prompts_asked"] + counts["prompts_too_long"] + counts["prompts_not_drawn"]
    assert counts["read"] == counts["prompts_asked"] + counts["safety_pairs"] + made["instructions"]["preference_pairs"]
    counts = made["cpt"]
    assert counts["texts"] == counts["texts_used"] + counts["texts_without_medicine"]
    left_out = counts["left_out_behaviour"] + counts["left_out_budget"]
    assert counts["instructions"] == counts["instructions_used"] + left_out


def _counts(run: Path, name: str) -> dict[str, Any]:
    """The counts of a step of the corpus."""
    counts: dict[str, Any] = json.loads((run / "corpus" / name / "manifest.json").read_text())["counts"]
    assert all(isinstance(value, int) for value in counts.values())
    return counts


def test_every_instruction_row_has_its_place(finished: Path) -> None:
    rows = _rows(finished, "instructions")
    pediatric = {row["id"] for row in rows if row["split"] == "train" and row["task"] in PEDIATRIC_TASKS}
    placed = [*pediatric, *(row["id"] for name in ("sft", "held_out") for row in _rows(finished, name))]
    placed += [row["id"] for row in _validation(finished, "sft")]
    # but those that a test set holds
    placed += [row["row"]["id"] for _, row in read_json_lines(finished / "corpus/sft/rejects.jsonl")]
    assert sorted(placed) == sorted(row["id"] for row in rows)


def test_the_preference_pairs_are_in_the_statistics_and_the_report(finished: Path) -> None:
    shown = pedgpt(finished.parents[1], "corpus", "stats", str(finished)).stdout
    assert "sides of the preference pairs" in shown
    found = json.loads(pedgpt(finished.parents[1], "corpus", "stats", str(finished), "--json").stdout)
    assert found["sets"]["preferences"]["rows"] == len(_rows(finished, "preferences"))
    assert "Sides of the preference pairs" in (finished / "report.html").read_text(encoding="utf-8")


def test_no_held_out_group_is_in_any_training_set(finished: Path) -> None:
    held_out = {row["group"] for row in _rows(finished, "held_out")}
    assert len(held_out) > 10
    for name in TRAINING_SETS:
        rows = _rows(finished, name)
        assert rows
        assert held_out.isdisjoint(row["group"] for row in rows)
        assert {row["split"] for row in rows} == {"train"}


def test_no_held_out_answer_stands_in_any_training_text(finished: Path) -> None:
    """By content, whatever the groups say; the demo's corpus is checked in `corpus/test_build_instructions.py`."""
    turns = [turn for row in _rows(finished, "held_out") for turn in row["messages"]]
    note: str = rules("questions")["classical_note"]  # ours, before what an old book says
    answers = [key(turn["content"].removeprefix(note)) for turn in turns if turn["role"] == "assistant"]
    long = [answer for answer in answers if len(answer) >= 40]
    assert len(long) > 20
    texts = [row["text"] for row in _rows(finished, "cpt")]
    texts += [
        turn["content"] for name in ("sft", "experts") for row in _rows(finished, name) for turn in row["messages"]
    ]
    pairs = _rows(finished, "preferences")
    texts += [turn["content"] for row in pairs for turn in (*row["prompt"], *row["chosen"], *row["rejected"])]
    trained = "\n".join(map(key, texts))
    assert [answer for answer in long if answer in trained] == []


def test_every_row_has_its_whole_provenance(finished: Path) -> None:
    for name in (*TRAINING_SETS, "held_out"):
        for row in _rows(finished, name):
            source = row["source"]
            assert row["id"]
            assert row["group"]
            assert row["parents"]
            assert row["steps"]
            assert all(source[field] for field in ("name", "kind", "file", "licence", "consent", "purpose"))
            assert len(source["file_hash"]) == 64
            assert any(value is not None for value in source["locator"].values())
            assert all(step["teacher"] in ("none", "sft") for step in row["steps"])


def test_show_leads_a_row_back_to_its_line(finished: Path) -> None:
    row = next(row for row in _rows(finished, "sft") if row["source"]["name"] == "dialogues")
    shown = pedgpt(finished.parents[1], "corpus", "show", str(finished), "--id", row["id"]).stdout
    locator = row["source"]["locator"]
    assert f"row {locator['row']}" in shown
    assert row["source"]["file"] in shown
    assert "teacher: none" in shown
    entry = json.loads((REPOSITORY / "tests" / row["source"]["file"]).read_text())[locator["row"] - 1]
    question = entry.get("instruct") or (entry["history"][0][0] if entry["history"] else entry["instruction"])
    assert question.strip()[:10] in shown


def test_phase_4_and_phase_2_differ_in_data_as_the_method_says(finished: Path) -> None:
    second = {row["task"] for row in _rows(finished, "sft")}
    fourth = [row["task"] for row in _rows(finished, "experts")]
    assert {"general", "safety", "self"} == second
    assert set(fourth) == {*PEDIATRIC_TASKS, "general"}
    assert len({fourth.count(task) for task in PEDIATRIC_TASKS}) == 1


def test_low_answers_are_the_sft_models_own(finished: Path) -> None:
    # The last step of every row of a training set is decontamination.
    medical = [row for row in _rows(finished, "preferences") if row["steps"][-2]["name"] == "low_answer"]
    assert len(medical) >= 4
    assert {row["steps"][-2]["teacher"] for row in medical} == {"sft"}
    sources = {row["id"]: row for row in _rows(finished, "instructions")}
    assert all(row["chosen"] == sources[row["parents"][0]]["messages"][-1:] for row in medical)


def test_every_model_is_measured_on_the_same_items(finished: Path) -> None:
    found = [
        [row for _, row in read_json_lines(finished / f"evaluation/{model}/predictions.jsonl")] for model in MODELS
    ]
    assert len({tuple(row["id"] for row in rows) for rows in found}) == 1
    assert {row["task"] for row in found[0]} == set(PEDIATRIC_TASKS)
    losses = [json.loads((finished / f"evaluation/{model}/held_out_loss.json").read_text()) for model in MODELS]
    assert len({(loss["rows"], loss["tokens"]) for loss in losses}) == 1
    assert losses[1]["mean"] < losses[0]["mean"]
    assert all(loss["low"] <= loss["mean"] <= loss["high"] for loss in losses)


def test_preview_shows_that_answers_and_their_ends_carry_loss(finished: Path) -> None:
    shown = pedgpt(finished.parents[1], "preview", str(RECIPE), "sft", "-n", "3").stdout
    assert "[<|im_end|>]" in shown
    assert "[<|im_start|>]" not in shown
    for phase in ("cpt", "dfpo", "experts"):
        assert "tokens carry loss" in pedgpt(finished.parents[1], "preview", str(RECIPE), phase, "-n", "1").stdout


def test_generate_score_and_chat_work_on_a_phase_folder(finished: Path, tmp_path: Path) -> None:
    data = tmp_path / "questions.jsonl"
    data.write_text(json.dumps({"question": "孩子发烧怎么办？", "reference": "先量体温。"}, ensure_ascii=False) + "\n")
    out, scores = tmp_path / "out.jsonl", tmp_path / "scores.json"
    model = str(finished / "experts")
    pedgpt(tmp_path, "generate", model, "--data", str(data), "--out", str(out), "--max-new-tokens", "4")
    table = pedgpt(tmp_path, "score", str(out), "--json", str(scores)).stdout
    assert "rouge-l" in table
    assert json.loads(scores.read_text())["n"] == 1
    said = pedgpt(tmp_path, "chat", model, "--ask", "你好", "--max-new-tokens", "4")
    assert "120" in said.stderr


def test_a_copied_run_answers_with_its_own_models(finished: Path, tmp_path: Path) -> None:
    """The adapter's file names the base by the path that it was trained at, and that one may still be there."""
    shutil.copytree(finished, tmp_path / "copy")
    pedgpt(tmp_path, "chat", "copy/experts", "--ask", "你好", "--max-new-tokens", "2")
    (tmp_path / "copy/dfpo/model.safetensors").unlink()
    said = pedgpt(tmp_path, "chat", "copy/experts", "--ask", "你好", check=False)
    assert said.returncode == 2
    assert "copy/dfpo: no weights" in said.stderr


def _kill_when(folder: Path, ready: Callable[[], bool], *arguments: str) -> None:
    """Start a run, wait for a moment of it, and kill it without warning."""
    with subprocess.Popen(
        [sys.executable, "-m", "pediatricsgpt.cli", "run", str(RECIPE), *arguments],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 300
        while not ready():
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


@pytest.mark.check
def test_killed_in_corpus_sft_and_evaluation_it_finishes_with_the_same_weights(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "runs/tiny"
    _kill_when(tmp_path, (run / "corpus/curated.partial").is_dir)
    assert not (run / "corpus/curated").exists()
    checkpoints = run / "sft.partial/checkpoints"
    _kill_when(tmp_path, lambda: (checkpoints / "checkpoint-4/trainer_state.json").is_file())
    assert read_manifest(run / "cpt")
    assert not (run / "sft").exists()
    # With another recipe it is neither gone on with nor thrown away.
    refused = pedgpt(tmp_path, "run", str(RECIPE), "--set", "sft.trainer.learning_rate=0.5", check=False)
    assert refused.returncode == 2
    assert "a checkpoint of step" in refused.stderr
    assert "trainer.learning_rate" in refused.stderr
    assert checkpoints.is_dir()
    answers = run / "evaluation/sft.partial/predictions.jsonl.answers"
    _kill_when(tmp_path, lambda: answers.is_file() and answers.stat().st_size > 0)
    assert read_manifest(run / "sft")
    assert not (run / "dfpo").exists()
    pedgpt(tmp_path, "run", str(RECIPE))
    for model in ("sft", "dfpo", "experts"):
        weights = next((finished / model).glob("*model.safetensors"))
        assert (run / model / weights.name).read_bytes() == weights.read_bytes(), model
    for model in MODELS:
        name = f"evaluation/{model}/predictions.jsonl"
        assert (run / name).read_bytes() == (finished / name).read_bytes(), model
