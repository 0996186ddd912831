"""`pedgpt generate` from outside: what is written, what is refused, and that nothing is lost on the way."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pediatricsgpt.cli import app
from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.judge.questions import read_pair
from tests.openai_server import Body, Fault, OpenAIServer

DOWN = Fault(status=503, headers={"Retry-After": "0"})
LEAST = ["--max-new-tokens", "4"]


def _echo(body: Body) -> str:
    return f"答{body['messages'][-1]['content']}"


def _data(folder: Path, count: int) -> Path:
    path = folder / "q.jsonl"
    rows = [{"id": f"i{n}", "question": f"问{n}", "reference": f"答问{n}", "department": "儿科"} for n in range(count)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _arguments(data: Path, out: Path, *others: str) -> list[str]:
    return ["generate", "--data", str(data), "--out", str(out), *others]


def _address(server: OpenAIServer, *others: str) -> list[str]:
    return ["--api", server.base_url, "--model", "peer", *others]


def _done(arguments: list[str]) -> Result:
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 0, (found.output, found.exception)
    return found


def _refused(arguments: list[str]) -> UserError:
    found = CliRunner().invoke(app, arguments)
    assert isinstance(found.exception, UserError), (found.output, found.exception)
    return found.exception


def _begin(arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pediatricsgpt.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )


def _run(arguments: list[str]) -> tuple[int, str, str]:
    process = _begin(arguments)
    said, error = process.communicate(timeout=500)
    return process.returncode, said, error


def test_answers_of_an_address_are_a_predictions_file(tmp_path: Path) -> None:
    out = tmp_path / "o.jsonl"
    with OpenAIServer(_echo) as server:
        found = _done(_arguments(_data(tmp_path, 9), out, *_address(server, "--price-output", "1000000")))
    assert [(row["id"], row["prediction"], row["reference"]) for row in _rows(out)] == [
        (f"i{n}", f"答问{n}", f"答问{n}") for n in range(9)
    ]
    assert {(row["model"], row["department"]) for row in _rows(out)} == {("peer", "儿科")}
    assert "9 answers: " in found.output
    assert "9 requests, 0 answers from before" in found.output
    assert "27.0000 CNY" in found.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.jsonl", "o.jsonl.paid", "q.jsonl"]


def _given(folder: Path, answers: dict[str, str], name: str = "peer.jsonl") -> Path:
    path = folder / name
    rows = [{"id": item, "prediction": answer} for item, answer in answers.items()]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def _joined(data: Path, out: Path, given: Path, *others: str) -> list[str]:
    return _arguments(data, out, "--benchmark", "own", "--answers", str(given), *others)


def test_answers_that_were_given_elsewhere_become_a_predictions_file_that_all_commands_read(tmp_path: Path) -> None:
    data = _data(tmp_path, 6)
    given = _given(tmp_path, {**{f"i{n}": f"别人{n}" for n in range(5, -1, -1)}, "x": "other"})
    found = _done(_joined(data, tmp_path / "o.jsonl", given))
    assert "6 answers of peer, 1 to items that the benchmark lacks: " in found.output
    rows = sorted(_rows(tmp_path / "o.jsonl"), key=lambda row: str(row["id"]))
    told = [(row["id"], row["prediction"], row["reference"], row["department"]) for row in rows]
    assert told == [(f"i{n}", f"别人{n}", f"答问{n}", "儿科") for n in range(6)]
    assert [row["messages"] for row in rows] == [[{"role": "user", "content": f"问{n}"}] for n in range(6)]
    _done(_joined(data, tmp_path / "p.jsonl", given, "--model", "他人", "--max-items", "4"))
    assert {row["model"] for row in _rows(tmp_path / "p.jsonl")} == {"他人"}
    assert len(_rows(tmp_path / "p.jsonl")) == 4
    _done(["score", str(tmp_path / "o.jsonl")])
    pair = read_pair(tmp_path / "o.jsonl", tmp_path / "p.jsonl", intersect=True)
    assert (pair.models, len(pair.questions)) == (("peer", "他人"), 4)


def test_items_without_a_given_answer_are_left_out_only_on_request(tmp_path: Path) -> None:
    data, given = _data(tmp_path, 4), _given(tmp_path, {"i0": "别人", "i2": ""})
    assert "2 of 4 items of own have no answer" in _refused(_joined(data, tmp_path / "o.jsonl", given)).message
    found = _done(_joined(data, tmp_path / "o.jsonl", given, "--allow-missing"))
    assert "2 answers of peer, 1 empty, 2 items have none" in " ".join(found.output.split())
    assert {row["id"] for row in _rows(tmp_path / "o.jsonl")} == {"i0", "i2"}


def test_given_answers_that_cannot_be_meant_are_refused(tmp_path: Path) -> None:
    data, given = _data(tmp_path, 2), _given(tmp_path, {"i0": "甲", "i1": "乙"})
    before = given.read_bytes()
    assert "leave one of the two out" in _refused(_joined(data, tmp_path / "o", given, "runs/demo/sft")).message
    assert "leave one of the two out" in _refused(_joined(data, tmp_path / "o", given, "--api", "http://x/v1")).message
    without = _refused(_arguments(data, tmp_path / "o", "--answers", str(given)))
    assert without.where == "--benchmark"
    assert _refused(_joined(data, given, given)).where == "--out"
    assert given.read_bytes() == before
    empty = _refused(_joined(data, tmp_path / "o", _given(tmp_path, {}, "empty.jsonl")))
    assert empty.message.startswith("the file is empty")
    assert "no such file of answers" in _refused(_joined(data, tmp_path / "o", tmp_path / "none")).message
    assert _refused([*_arguments(data, tmp_path / "o", "m"), "--allow-missing"]).where == "--allow-missing"
    assert not (tmp_path / "o").exists()


def test_a_benchmarks_file_without_its_name_is_told_how_to_be_read(tmp_path: Path) -> None:
    data, out = tmp_path / "q.json", tmp_path / "o.jsonl"
    data.write_text(' [\n {"id": "1", "question": "问", "reference": "答"}]', encoding="utf-8")
    assert "--benchmark" in _refused(_arguments(data, out, "--api", "http://127.0.0.1:9/v1", "--model", "m")).message


def test_how_long_a_server_may_take_can_be_said(tmp_path: Path) -> None:
    with OpenAIServer(_echo) as server:
        asked = []
        for seconds in ("1", "30"):
            server.script.append(Fault(wait=1.3))
            data, out = _data(tmp_path, 1), tmp_path / f"{seconds}.jsonl"
            _done(_arguments(data, out, *_address(server, "--timeout", seconds)))
            asked.append(len(server.requests))
    assert asked == [2, 3]


def test_a_question_that_the_server_refuses_is_named_and_asked_again(tmp_path: Path) -> None:
    data, out = _data(tmp_path, 6), tmp_path / "o.jsonl"
    with OpenAIServer(_echo) as server:
        server.script += [Fault(), Fault(status=400, text="content filter")]
        error = _refused(_arguments(data, out, *_address(server, "--concurrency", "1")))
        assert error.exit_code == 1
        assert "1 of 6 prompts got no answer (the first, i1: server refused: 400 content filter)" in error.message
        assert "--failed-as-empty" in error.message
        assert not out.exists()
        server.script.append(Fault(status=400, text="content filter"))
        found = _done(_arguments(data, out, *_address(server, "--failed-as-empty")))
        assert "6 answers, 1 without an answer, counted as empty" in found.output
        assert _rows(out)[1]["failed"] == "server refused: 400 content filter"
        assert _rows(out)[1]["prediction"] == ""
        assert len(server.requests) == 7
        _done(_arguments(data, out, *_address(server)))
        assert len(server.requests) == 8
        assert "failed" not in _rows(out)[1]


def test_answers_that_say_nothing_or_are_cut_off_are_counted(tmp_path: Path) -> None:
    with OpenAIServer(_echo) as server:
        server.script += [Fault(text=""), Fault(finish_reason="length"), Fault(finish_reason="length")]
        found = _done(_arguments(_data(tmp_path, 5), tmp_path / "o.jsonl", *_address(server)))
    assert "5 answers, 1 empty, 2 cut off at 256 tokens: " in found.output
    assert [bool(row.get("cut_off")) for row in _rows(tmp_path / "o.jsonl")].count(True) == 2


def test_fewer_items_are_some_of_the_more_in_the_files_order(tmp_path: Path) -> None:
    data = _data(tmp_path, 30)
    with OpenAIServer(_echo) as server:
        found = []
        for count in (5, 12):
            out = tmp_path / f"{count}.jsonl"
            _done(_arguments(data, out, *_address(server), "--max-items", str(count)))
            found.append([int(row["id"][1:]) for row in _rows(out)])
    assert [len(places) for places in found] == [5, 12]
    assert all(places == sorted(places) for places in found)
    assert set(found[0]) < set(found[1])
    assert found[0] != list(range(5))


def test_a_question_with_options_is_asked_as_in_an_examination_and_its_letter_read(tmp_path: Path) -> None:
    rows = [
        {"id": f"c{n}", "question": f"第{n}题", "options": {"A": "甲", "B": "乙", "C": "丙"}, "key": "B"}
        for n in range(6)
    ]
    data, out = tmp_path / "q.jsonl", tmp_path / "o.jsonl"
    data.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    with OpenAIServer(lambda body: "说不清" if "第0题" in body["messages"][-1]["content"] else "答案：B。") as server:
        found = _done(_arguments(data, out, *_address(server), "--benchmark", "own"))
        assert all("B. 乙" in body["messages"][-1]["content"] for body in server.requests)
    told = {row["id"]: (row["by_letter"], row["right"], row["prediction"]) for row in _rows(out)}
    assert told == {"c0": (None, False, "说不清"), **{f"c{n}": (["B"], True, "答案：B。") for n in range(1, 6)}}
    assert "right by letter: 83.3%" in found.output
    assert "n = 6; 1 unreadable" in found.output


def test_ids_that_stand_in_several_lines_are_told_before_they_are_paid_for(tmp_path: Path) -> None:
    data = _data(tmp_path, 2)
    data.write_text(data.read_text(encoding="utf-8") * 2, encoding="utf-8")
    with OpenAIServer(_echo) as server:
        found = _done(_arguments(data, tmp_path / "o.jsonl", *_address(server)))
    assert "2 ids stand in several lines (the first: i0)" in found.output
    assert len(_rows(tmp_path / "o.jsonl")) == 4


def test_one_model_is_named_and_no_more(tmp_path: Path) -> None:
    data, out = _data(tmp_path, 1), tmp_path / "o.jsonl"
    assert "name one model" in _refused(_arguments(data, out)).message
    assert "name one model" in _refused(_arguments(data, out, "some/model", "--api", "http://127.0.0.1:1/v1")).message
    assert str(_refused(_arguments(data, out, "some/model", "--model", "x"))).startswith("--model: ")
    assert _refused(_arguments(data, out, "--api", "http://127.0.0.1:1/v1")).where == "--model"


def test_nothing_leaves_the_machine_without_leave(tmp_path: Path) -> None:
    far = ["--api", "http://192.0.2.1/v1", "--model", "far"]
    error = _refused(_arguments(_data(tmp_path, 1), tmp_path / "o.jsonl", *far))
    assert "is not on this machine" in error.message
    assert "--allow-external" in error.message
    assert [path.name for path in tmp_path.iterdir()] == ["q.jsonl"]


def test_a_key_that_is_not_there_is_told_without_a_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with OpenAIServer(_echo) as server:
        arguments = _arguments(_data(tmp_path, 1), tmp_path / "o.jsonl", *_address(server, "--key-env", "NO_SUCH_KEY"))
        assert "NO_SUCH_KEY is not set" in _refused(arguments).message
        assert server.requests == []


def test_a_benchmark_that_is_none_is_answered_with_the_nearest(tmp_path: Path) -> None:
    arguments = _arguments(_data(tmp_path, 1), tmp_path / "o.jsonl", "some/model", "--benchmark", "webmedqs")
    assert str(_refused(arguments)) == "--benchmark: no benchmark 'webmedqs'; did you mean webmedqa?"


def test_a_second_process_on_the_same_file_is_refused(tmp_path: Path, model_folder: Path) -> None:
    data, out = _data(tmp_path, 2), tmp_path / "o.jsonl"
    with (tmp_path / "o.jsonl.answers").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "another process" in _refused(_arguments(data, out, str(model_folder), *LEAST)).message
    _done(_arguments(data, out, str(model_folder), *LEAST))


def test_the_same_seed_gives_the_same_answers(tmp_path: Path, model_folder: Path) -> None:
    data = _data(tmp_path, 5)
    found = []
    for name, options in {
        "a": ["--seed", "1"],
        "b": ["--seed", "1", "--batch-size", "2"],
        "c": ["--seed", "2"],
    }.items():
        out = tmp_path / f"{name}.jsonl"
        _done(_arguments(data, out, str(model_folder), *LEAST, "--temperature", "2", *options))
        found.append([row["prediction"] for row in _rows(out)])
    assert found[0] == found[1] != found[2]


def test_dialogues_beyond_the_window_are_left_out_only_on_request(tmp_path: Path, model_folder: Path) -> None:
    data, out = _data(tmp_path, 2), tmp_path / "o.jsonl"
    with data.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"id": "long", "question": "发烧" * 300}) + "\n")
    arguments = _arguments(data, out, str(model_folder), *LEAST)
    assert "1 of 3 dialogues are longer than the model's window (the first: long)" in _refused(arguments).message
    assert "1 left out, longer than the window" in _done([*arguments, "--skip-too-long"]).output
    assert [row["id"] for row in _rows(out)] == ["i0", "i1"]


@pytest.mark.check
def test_an_address_that_goes_down_at_item_3000_of_5000_costs_nothing(tmp_path: Path) -> None:
    data, out, whole = _data(tmp_path, 5000), tmp_path / "o.jsonl", tmp_path / "whole.jsonl"
    with OpenAIServer(_echo) as server:
        server.script += [*[Fault()] * 3000, *[DOWN] * 5000]
        address = _address(server, "--concurrency", "16")
        code, _, error = _run(_arguments(data, out, *address))
        assert code == 2
        *told, line = [line for line in error.splitlines() if line.strip()]
        assert all(one.endswith("trying again") for one in told)
        assert line.startswith("error: peer: ")
        assert "does not answer" in line
        assert not out.exists()
        assert sum(server.answered.values()) == 3000
        server.script.clear()
        before = len(server.requests)
        code, said, error = _run(_arguments(data, out, *address))
        assert code == 0, error
        assert len(server.requests) - before == 2000
        assert set(server.answered.values()) == {1}
        assert "5000 answers: " in said
        _run(_arguments(data, whole, *address))
    assert out.read_bytes() == whole.read_bytes()
    assert [row["prediction"] for row in _rows(out)] == [f"答问{n}" for n in range(5000)]


@pytest.mark.check
@pytest.mark.parametrize("order", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, order: signal.Signals) -> None:
    data, out = _data(tmp_path, 600), tmp_path / "o.jsonl"
    with OpenAIServer(_echo) as server:
        process = _begin(_arguments(data, out, *_address(server)))
        while len(server.requests) < 300:
            time.sleep(0.01)
        process.send_signal(order)
        _, error = process.communicate(timeout=60)
        assert process.returncode == (130 if order == signal.SIGINT else -order)
        assert "Traceback" not in error
        answered = sum(server.answered.values())
        assert answered < 600
        code, _, error = _run(_arguments(data, out, *_address(server)))
        assert code == 0, error
        asked = Counter(body["messages"][-1]["content"] for body in server.requests)
        assert len(asked) == 600
        assert sum(asked.values()) <= 600 + 4  # no more than was on its way
    assert [row["prediction"] for row in _rows(out)] == [f"答问{n}" for n in range(600)]


@pytest.mark.check
def test_a_second_process_at_the_same_time_leaves_the_first_alone(tmp_path: Path) -> None:
    data, out = _data(tmp_path, 40), tmp_path / "o.jsonl"
    with OpenAIServer(_echo) as server:
        server.script += [Fault(wait=1)] * 40
        first = _begin(_arguments(data, out, *_address(server)))
        while not server.requests:
            time.sleep(0.01)
        code, _, error = _run(_arguments(data, out, *_address(server)))
        assert code == 2
        assert len(error.strip().splitlines()) == 1
        assert "another" in error
        first.communicate(timeout=60)
        assert first.returncode == 0
    assert len(_rows(out)) == 40
