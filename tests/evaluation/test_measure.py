"""A model on a benchmark: a local one, one at an address, and answers that were given elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pediatricsgpt.endpoint import Endpoint, TeacherSettings
from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.benchmarks import Benchmark, load_benchmark
from pediatricsgpt.evaluation.measure import adopt, measure, workload
from pediatricsgpt.evaluation.settings import BenchmarkSettings, EvaluationSettings
from pediatricsgpt.models.answers import Unanswered
from pediatricsgpt.models.engine import Engine, Sampling
from pediatricsgpt.models.remote import RemoteEngine
from pediatricsgpt.records import write_json_lines
from tests.openai_server import Fault, OpenAIServer

SAMPLING = Sampling(max_new_tokens=8)
SETTINGS = EvaluationSettings(metrics="char")
OPTIONS = {"A": "肺炎", "B": "哮喘"}
CANDIDATES = [{"text": "量体温", "right": True}, {"text": "手术", "right": False}]


def questions(folder: Path, **settings: Any) -> Benchmark:
    """Nine questions of the user's own: free ones, choices, candidates."""
    free = [
        {"id": f"f{n}", "question": f"宝宝发热{n}天", "reference": "请量体温", "department": "儿科"} for n in range(4)
    ]
    chosen = [{"id": f"c{n}", "question": f"病例{n}，诊断", "options": OPTIONS, "key": "AB"[n % 2]} for n in range(3)]
    several = {"id": "s", "question": "治疗", "options": OPTIONS, "key": "AB"}
    picked = {"id": "p", "question": "发热怎么办", "candidates": CANDIDATES}
    write_json_lines(folder / "own.jsonl", [*free, *chosen, several, picked])
    return load_benchmark(BenchmarkSettings(name="own", path="own.jsonl", **settings), folder)


def results(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text("utf-8") for path in sorted(folder.iterdir())}


def test_a_local_model_answers_chooses_and_selects(loaded: Any, tmp_path: Path) -> None:
    benchmark = questions(tmp_path)
    done: list[int] = []
    counts = measure(Engine(loaded, SAMPLING), loaded, benchmark, tmp_path / "out", SETTINGS, "base", done.append)
    assert set(results(tmp_path / "out")) == {
        "benchmark.json",
        "predictions.jsonl",
        "scores.json",
        "item_scores.jsonl",
        "choices.json",
        "choices.jsonl",
        "selection.json",
        "selection.jsonl",
    }
    assert sum(done) == workload(benchmark, likelihood=True) == 4 + 4 + 3 + 1
    asked = {name: counts[name] for name in ("items", "items_too_long", "free", "choices", "likelihoods", "selection")}
    assert asked == {"items": 9, "items_too_long": 0, "free": 4, "choices": 4, "likelihoods": 3, "selection": 1}
    choices = json.loads((tmp_path / "out" / "choices.json").read_text("utf-8"))
    assert choices["by_likelihood"]["accuracy"]["n"] == 3
    assert choices["by_letter"]["accuracy"]["n"] == 4
    about = json.loads((tmp_path / "out" / "benchmark.json").read_text("utf-8"))
    assert about["kinds"] == {"choice": 4, "free": 4, "selection": 1}
    assert about["prompt"]["name"] == "choice-zh"
    scores = json.loads((tmp_path / "out" / "scores.json").read_text("utf-8"))
    assert (scores["n"], scores["path"]) == (4, "predictions.jsonl")


@pytest.mark.parametrize("steps", [1, 5, 9])
def test_a_killed_measurement_goes_on_and_ends_alike(loaded: Any, tmp_path: Path, steps: int) -> None:
    benchmark = questions(tmp_path)
    engine = Engine(loaded, SAMPLING, batch_size=2)
    measure(engine, loaded, benchmark, tmp_path / "whole", SETTINGS, "base")
    left = [steps]

    def kill(count: int) -> None:
        left[0] -= count
        if left[0] <= 0:
            raise KeyboardInterrupt

    folder = tmp_path / "killed"
    with pytest.raises(KeyboardInterrupt):
        measure(engine, loaded, benchmark, folder, SETTINGS, "base", kill)
    kept = sum(len(path.read_text("utf-8").splitlines()) - 1 for path in folder.glob("*.answers"))
    assert kept >= steps
    first: list[int] = []
    measure(engine, loaded, benchmark, folder, SETTINGS, "base", first.append)
    assert results(folder) == results(tmp_path / "whole")


def test_items_that_do_not_fit_the_window_are_counted(loaded: Any, tmp_path: Path) -> None:
    rows = [
        {"id": "long", "question": "长" * 500, "reference": "答"},
        {"id": "short", "question": "短", "reference": "答"},
    ]
    write_json_lines(tmp_path / "own.jsonl", rows)
    benchmark = load_benchmark(BenchmarkSettings(name="own", path="own.jsonl"), tmp_path)
    done: list[int] = []
    counts = measure(Engine(loaded, SAMPLING), loaded, benchmark, tmp_path / "out", SETTINGS, "base", done.append)
    assert (counts["items"], counts["items_too_long"], sum(done)) == (1, 1, 2)
    write_json_lines(tmp_path / "own.jsonl", rows[:1])
    benchmark = load_benchmark(BenchmarkSettings(name="own", path="own.jsonl"), tmp_path)
    with pytest.raises(UserError, match="no item of own fits the window of base"):
        measure(Engine(loaded, SAMPLING), loaded, benchmark, tmp_path / "none", SETTINGS, "base")


def test_a_model_at_an_address_is_asked_and_has_no_likelihoods(tmp_path: Path) -> None:
    benchmark = questions(tmp_path)
    with OpenAIServer(answer=lambda body: "经过分析，答案是A。") as server:
        given = TeacherSettings(base_url=server.base_url, model="peer", max_tokens=8, temperature=0.0)
        with RemoteEngine(Endpoint(given, tmp_path / "cache"), SAMPLING) as engine:
            counts = measure(engine, None, benchmark, tmp_path / "out", SETTINGS, "peer")
    choices = json.loads((tmp_path / "out" / "choices.json").read_text("utf-8"))
    assert choices["by_likelihood"] is None
    assert "endpoint" in choices["why_no_likelihood"]
    assert choices["by_letter"]["accuracy"]["mean"] == 2 / 4  # c0 and c2; not c1, and not the one with two right ones
    assert (choices["by_letter"]["unreadable"], counts["selection"]) == (0, 0)
    assert not (tmp_path / "out" / "selection.json").exists()


def test_what_a_server_will_not_answer_is_said_or_counted_as_empty(tmp_path: Path) -> None:
    benchmark = questions(tmp_path, departments=["儿科"])
    refused = Fault(status=400, text="content policy")
    with OpenAIServer(answer=lambda body: "请量体温") as server:
        server.script.append(refused)
        given = TeacherSettings(base_url=server.base_url, model="peer", max_tokens=8, temperature=0.0, concurrency=1)
        with RemoteEngine(Endpoint(given, tmp_path / "cache"), SAMPLING) as engine:
            with pytest.raises(Unanswered, match="1 of 4 prompts got no answer"):
                measure(engine, None, benchmark, tmp_path / "out", SETTINGS, "peer")
            server.script.append(refused)
            counts = measure(engine, None, benchmark, tmp_path / "out", SETTINGS, "peer", failed_as_empty=True)
    assert counts == {"items": 4, "items_too_long": 0, "free": 4, "cut_off": 0, "failed": 1}
    assert json.loads((tmp_path / "out" / "scores.json").read_text("utf-8"))["empty"] == 1


def answers(folder: Path, *left_out: str, **more: str) -> Path:
    rows = [{"id": f"f{n}", "prediction": "请量体温"} for n in range(4)]
    rows += [{"id": name, "prediction": "答案：A"} for name in ("c0", "c1", "c2", "s", "p")]
    kept = [row for row in rows if row["id"] not in left_out]
    write_json_lines(folder / "peer.jsonl", [*kept, *({"id": name, "prediction": said} for name, said in more.items())])
    return folder / "peer.jsonl"


def test_given_answers_are_scored_by_our_references(tmp_path: Path) -> None:
    counts = adopt(answers(tmp_path, z="别的"), questions(tmp_path), tmp_path / "out", SETTINGS, "peer")
    assert counts == {"items": 9, "missing": 0, "unknown": 1, "not_asked": 0}
    scores = json.loads((tmp_path / "out" / "scores.json").read_text("utf-8"))
    assert (scores["n"], scores["models"], scores["metrics"]["rouge-1"]["mean"]) == (4, ["peer"], pytest.approx(100.0))
    choices = json.loads((tmp_path / "out" / "choices.json").read_text("utf-8"))
    assert choices["by_letter"]["accuracy"]["mean"] == 2 / 4
    assert choices["why_no_likelihood"] == "the answers were given elsewhere"


def test_answers_to_items_that_are_not_asked_are_no_fault(tmp_path: Path) -> None:
    benchmark = questions(tmp_path, departments=["儿科"])
    counts = adopt(answers(tmp_path), benchmark, tmp_path / "out", SETTINGS, "peer")
    assert counts == {"items": 4, "missing": 0, "unknown": 0, "not_asked": 5}


def test_missing_answers_are_refused_or_counted(tmp_path: Path) -> None:
    path, benchmark = answers(tmp_path, "f1", "c0"), questions(tmp_path)
    with pytest.raises(UserError, match="2 of 9 items of own have no answer: "):
        adopt(path, benchmark, tmp_path / "out", SETTINGS, "peer")
    counts = adopt(path, benchmark, tmp_path / "out", SETTINGS, "peer", allow_missing=True)
    assert (counts["items"], counts["missing"]) == (7, 2)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"id": "f0", "prediction": "a"}, {"id": "f0", "prediction": "a"}], "1 items have more than one answer: f0"),
        ([{"id": "x", "prediction": "a"}], "none of 1 answers is to an item of own: other ids, for example x"),
        ([{"prediction": "a"}], "answer 1: field 'id' is missing"),
        ([{"id": "f0", "predicton": "a"}], "field 'prediction' is missing; there is id, predicton"),
        ([["f0"]], "must be a JSON object"),
        ([{"id": "f0", "conversation": [{"role": "patient", "content": "宝宝发热0天"}]}], "no turn of a doctor"),
        (
            [{"id": "f0", "prediction": "a", "messages": [{"role": "user", "content": "头痛"}]}],
            "1 answers are to other questions than those of the same ids: f0",
        ),
    ],
)
def test_files_of_answers_that_are_wrong_say_so(tmp_path: Path, rows: list[Any], said: str) -> None:
    write_json_lines(tmp_path / "peer.jsonl", rows)
    with pytest.raises(UserError, match=said):
        adopt(tmp_path / "peer.jsonl", questions(tmp_path), tmp_path / "out", SETTINGS, "peer")
    assert not (tmp_path / "out").exists()


def test_answers_to_a_benchmark_of_candidates_alone_are_refused(tmp_path: Path) -> None:
    path = answers(tmp_path)
    write_json_lines(tmp_path / "own.jsonl", [{"id": "p", "question": "发热怎么办", "candidates": CANDIDATES}])
    benchmark = load_benchmark(BenchmarkSettings(name="own", path="own.jsonl"), tmp_path)
    with pytest.raises(UserError, match="for answer selection by likelihood"):
        adopt(path, benchmark, tmp_path / "out", SETTINGS, "peer")


def test_of_a_dialogue_the_first_turn_of_the_doctor_is_the_answer(tmp_path: Path) -> None:
    turns = [("patient", "宝宝发热0天"), ("doctor", "请量体温"), ("patient", "谢谢"), ("doctor", "不客气")]
    row = {"id": "f0", "conversation": [{"role": role, "content": said} for role, said in turns]}
    (tmp_path / "peer.json").write_text(json.dumps([row], ensure_ascii=False), encoding="utf-8")
    adopt(tmp_path / "peer.json", questions(tmp_path), tmp_path / "out", SETTINGS, "peer", allow_missing=True)
    (line,) = (tmp_path / "out" / "predictions.jsonl").read_text("utf-8").splitlines()
    assert json.loads(line)["prediction"] == "请量体温"


@pytest.mark.parametrize("model", ["DISC-MedLLM", "bianque-v2", "huatuo-chat", "gpt-4"])
def test_the_real_answers_of_peers_to_the_questions_of_cmd(shared: Path, tmp_path: Path, model: str) -> None:
    path = shared / f"data/benchmarks/disc_eval/dialogues_{model}_cmd.json"
    samples = shared / "data/benchmarks"
    for departments, items, others in ((None, 84, 0), (["儿科"], 14, 70)):
        settings = BenchmarkSettings(name="cmd", path="cmd_samples.json", departments=departments)
        benchmark = load_benchmark(settings, samples)
        counts = adopt(path, benchmark, tmp_path / str(items), SETTINGS, model)
        assert counts == {"items": items, "missing": 0, "unknown": 1, "not_asked": others}
        scores = json.loads((tmp_path / str(items) / "scores.json").read_text("utf-8"))
        assert (scores["n"], scores["metrics"]["rouge-1"]["n"]) == (items, items)
