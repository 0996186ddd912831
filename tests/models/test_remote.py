"""A model at an address as one that answers: real requests to a server that fails in real ways."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pediatricsgpt.endpoint import Endpoint, TeacherSettings
from pediatricsgpt.errors import UserError
from pediatricsgpt.models.answers import CutOff, Prompt, Unanswered, answer_all
from pediatricsgpt.models.engine import Engine, Sampling
from pediatricsgpt.models.remote import RemoteEngine, open_model
from pediatricsgpt.records import Message
from tests.openai_server import Body, Fault, OpenAIServer

SAMPLING = Sampling(max_new_tokens=50)


def _echo(body: Body) -> str:
    return f"答{body['messages'][-1]['content']}"


def _prompts(count: int) -> list[list[Message]]:
    return [[Message(role="user", content=f"问{number}")] for number in range(count)]


def _settings(server: OpenAIServer, **given: Any) -> TeacherSettings:
    return TeacherSettings(**{"base_url": server.base_url, "model": "peer", "retry_pause": 0.01, **given})


def _all(engine: Any, prompts: Sequence[Sequence[Message]], done: Sequence[int] = ()) -> dict[int, str]:
    return {index: answer for group in engine.answers(prompts, done) for index, answer in group}


@pytest.mark.parametrize("concurrency", [1, 3])
def test_every_prompt_gets_its_own_answer_however_many_are_on_their_way(tmp_path: Path, concurrency: int) -> None:
    with OpenAIServer(_echo) as server:
        server.script += [Fault(wait=0.05 * (place % 2)) for place in range(6)]
        with open_model(_settings(server, concurrency=concurrency), SAMPLING, cache_folder=tmp_path) as (engine, model):
            assert model is None
            assert _all(engine, _prompts(12), done=[4]) == {n: f"答问{n}" for n in range(12) if n != 4}
        assert server.most_at_once <= concurrency
        assert {body["max_tokens"] for body in server.requests} == {50}
        assert {body["temperature"] for body in server.requests} == {0.0}


def test_one_engine_answers_again_and_again(tmp_path: Path) -> None:
    """As in a consultation, turn by turn."""
    with OpenAIServer(_echo) as server, open_model(_settings(server), SAMPLING, cache_folder=tmp_path) as (engine, _):
        assert [_all(engine, _prompts(count)) for count in (2, 0, 3)][-1] == {n: f"答问{n}" for n in range(3)}
        assert len(server.requests) == 3  # what is paid for is not asked again


def test_equal_prompts_are_paid_once(tmp_path: Path) -> None:
    with OpenAIServer(_echo) as server, open_model(_settings(server), SAMPLING, cache_folder=tmp_path) as (engine, _):
        assert _all(engine, [*_prompts(2), *_prompts(2)]) == {0: "答问0", 1: "答问1", 2: "答问0", 3: "答问1"}
        assert len(server.requests) == 2


def test_a_refused_prompt_is_told_after_all_others_were_answered(tmp_path: Path) -> None:
    with OpenAIServer(_echo) as server:
        server.script += [Fault(), Fault(status=400, text="content filter")]
        given = _settings(server, concurrency=1)
        with open_model(given, SAMPLING, cache_folder=tmp_path / "paid") as (engine, _):
            prompts = [Prompt(f"q{n}", messages) for n, messages in enumerate(_prompts(5))]
            with pytest.raises(
                Unanswered, match=r"1 of 5 prompts got no answer .*q1: server refused: 400 content filter"
            ):
                answer_all(engine, prompts, tmp_path / "a.jsonl")
            assert answer_all(engine, prompts, tmp_path / "a.jsonl") == [f"答问{n}" for n in range(5)]
        assert len(server.requests) == 6


def test_empty_and_cut_off_answers_are_answers_and_thoughts_are_none(tmp_path: Path) -> None:
    texts = ["", "多喝水", "<think>想</think>就诊", "想过了</think>观察", "<think>还在想"]
    with OpenAIServer() as server:
        server.script += [
            Fault(text=text, finish_reason="length" if n % 3 == 1 else "stop") for n, text in enumerate(texts)
        ]
        with open_model(_settings(server, concurrency=1), SAMPLING, cache_folder=tmp_path) as (engine, _):
            found = _all(engine, _prompts(5))
    assert found == dict(enumerate(["", "多喝水", "就诊", "观察", ""]))
    assert [isinstance(found[n], CutOff) for n in range(5)] == [False, True, False, False, True]


def test_a_server_that_goes_down_costs_nothing_that_was_answered(tmp_path: Path) -> None:
    prompts = [Prompt(str(n), messages) for n, messages in enumerate(_prompts(60))]
    down = [Fault(status=503)] * 200
    with OpenAIServer(_echo) as server:
        server.script += [Fault()] * 30 + down
        given = _settings(server, concurrency=3, retries=1, retry_pause=0.001)
        with open_model(given, SAMPLING, cache_folder=tmp_path / "paid") as (engine, _):
            with pytest.raises(UserError, match="does not answer") as error:
                answer_all(engine, prompts, tmp_path / "a.jsonl")
            assert error.value.where == "peer"
        server.script.clear()
        (tmp_path / "a.jsonl").write_bytes(b"")  # even without this file
        asked = len(server.requests)
        with open_model(given, SAMPLING, cache_folder=tmp_path / "paid") as (engine, _):
            assert answer_all(engine, prompts, tmp_path / "a.jsonl") == [f"答问{n}" for n in range(60)]
        assert len(server.requests) - asked == 30
        assert set(server.answered.values()) == {1}


def test_a_spent_budget_ends_it_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    prompts = [Prompt(str(n), messages) for n, messages in enumerate(_prompts(20))]
    with OpenAIServer(_echo) as server:
        for budget, ends in ((100, True), (3000, False)):
            given = _settings(server, budget_tokens=budget)
            with open_model(given, SAMPLING, cache_folder=tmp_path / "paid") as (engine, _):
                if ends:
                    with pytest.raises(UserError, match=r"budget allows no further request: [1-9]"):
                        answer_all(engine, prompts, tmp_path / "a.jsonl")
                else:
                    assert len(answer_all(engine, prompts, tmp_path / "a.jsonl")) == 20
        assert set(server.answered.values()) == {1}


def test_who_stops_listening_leaves_nothing_running(tmp_path: Path) -> None:
    with OpenAIServer(_echo) as server:
        server.script += [*[Fault()] * 70, *[Fault(wait=20)] * 10]
        begun = time.monotonic()
        with open_model(_settings(server), SAMPLING, cache_folder=tmp_path) as (engine, _):
            for group in engine.answers(_prompts(75)):
                assert len(group) > 1
                break
            server.script.clear()
            assert len(_all(engine, _prompts(3))) == 3
        assert time.monotonic() - begun < 10


def test_text_leaves_the_machine_only_with_leave_and_for_text_that_may(tmp_path: Path) -> None:
    far = TeacherSettings(base_url="http://192.0.2.1/v1", model="far", retries=0, timeout=0.2)
    with pytest.raises(UserError, match="nothing leaves it"), open_model(far, SAMPLING, cache_folder=tmp_path):
        pass
    allowed = far.model_copy(update={"allow_external": True})
    for deidentified, said in ((False, "must not leave this machine"), (True, "no connection|time-out|got no answer")):
        with (
            open_model(allowed, SAMPLING, cache_folder=tmp_path, deidentified=deidentified) as (engine, _),
            pytest.raises(UserError, match=said),
        ):
            _all(engine, _prompts(1))


def test_the_system_turn_stands_before_dialogues_that_have_none(tmp_path: Path) -> None:
    with OpenAIServer(_echo) as server:
        given = _settings(server, temperature=0.0, max_tokens=50, concurrency=1)
        with RemoteEngine(Endpoint(given, tmp_path), SAMPLING, system="你是儿科医生。") as engine:
            own = [Message(role="system", content="另一个"), *_prompts(1)[0]]
            _all(engine, [_prompts(1)[0], own])
        assert [body["messages"][0]["content"] for body in server.requests] == ["你是儿科医生。", "另一个"]


def test_answers_drawn_with_another_seed_are_not_taken(tmp_path: Path) -> None:
    with OpenAIServer(_echo) as server:
        signatures = []
        for seed in (1, 2, 1):
            drawn = Sampling(50, temperature=0.7, seed=seed)
            with open_model(_settings(server), drawn, cache_folder=tmp_path) as (engine, _):
                _all(engine, _prompts(1))
                signatures.append(engine.signature)
        assert len(server.requests) == 2
        assert signatures[0] == signatures[2] != signatures[1]


def test_a_penalty_that_cannot_be_sent_is_refused_and_the_cache_is_free_again(tmp_path: Path) -> None:
    with OpenAIServer(_echo) as server:
        penalised = Sampling(50, repetition_penalty=1.1)
        with pytest.raises(UserError, match="penalty"), open_model(_settings(server), penalised, cache_folder=tmp_path):
            pass
        with open_model(_settings(server), SAMPLING, cache_folder=tmp_path):
            pass


@dataclass(frozen=True)
class Named:
    name: str = "m"
    model: str | None = None
    api: TeacherSettings | None = None


def test_a_model_is_opened_as_the_recipe_names_it(model_folder: Path, tmp_path: Path) -> None:
    with open_model(Named(model=model_folder.name), SAMPLING, folder=model_folder.parent) as (engine, loaded):
        assert isinstance(engine, Engine)
        assert loaded is not None
    with (
        OpenAIServer(_echo) as server,
        open_model(Named(api=_settings(server)), SAMPLING, cache_folder=tmp_path) as one,
    ):
        assert isinstance(one[0], RemoteEngine)
    with pytest.raises(UserError, match="m: this model's answers were given elsewhere"), open_model(Named(), SAMPLING):
        pass
