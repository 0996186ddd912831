"""An endpoint asks once, pays once, keeps what it paid for, and lets nothing leave the machine."""

from __future__ import annotations

import asyncio
import email.utils
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from pediatricsgpt.endpoint import (
    Answer,
    AnswerCache,
    Budget,
    BudgetReached,
    Endpoint,
    Failure,
    Request,
    TeacherSettings,
    estimate,
    tokens_of,
)
from pediatricsgpt.errors import UserError
from tests import openai_server
from tests.openai_server import Fault, OpenAIServer, _completion


class Pair(BaseModel):
    question: str
    answer: str


GOOD = '{"question": "什么是肺炎？", "answer": "肺部的炎症。"}'


def echo(body: Any) -> str:
    return f"答：{body['messages'][-1]['content']}"


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(echo) as running:
        yield running


def settings(server: OpenAIServer, **changed: Any) -> TeacherSettings:
    return TeacherSettings(**{"base_url": server.base_url, "model": "teacher", "retry_pause": 0.01, **changed})


def ask(text: str, **fields: Any) -> Request:
    return Request([{"role": "user", "content": text}], **fields)


def asks(count: int) -> list[Request]:
    return [ask(f"问题{number}") for number in range(count)]


def test_answers_come_in_the_order_of_the_requests_and_no_more_at_once_than_allowed(server, tmp_path) -> None:
    server.script += [Fault(wait=0.3), Fault(wait=0.1), Fault(wait=0.2)]
    seen: list[int] = []
    with Endpoint(settings(server, concurrency=3), tmp_path) as endpoint:
        answers = endpoint.ask_all(asks(12), lambda place, _: seen.append(place))
        assert [answer.text for answer in answers] == [f"答：问题{n}" for n in range(12)]
        assert endpoint.usage.requests == 12
        assert endpoint.usage.tokens == sum(tokens_of(f"问题{n}") + tokens_of(f"答：问题{n}") for n in range(12))
    assert sorted(seen) == list(range(12))
    assert 1 < server.most_at_once <= 3


def test_a_paid_answer_is_never_paid_again(server, tmp_path) -> None:
    with Endpoint(settings(server), tmp_path) as endpoint:
        first = endpoint.ask_all([*asks(5), *asks(5)])
    assert len(server.requests) == 5
    with Endpoint(settings(server), tmp_path) as endpoint:
        again = endpoint.ask_all(asks(5))
        assert (endpoint.usage.requests, endpoint.usage.cached, endpoint.usage.tokens) == (0, 5, 0)
    assert [answer.text for answer in again] == [answer.text for answer in first[:5]]
    assert all(answer.cached for answer in again)
    assert len(server.requests) == 5


@pytest.mark.parametrize("changed", [{"temperature": 0.9}, {"model": "other"}, {"max_tokens": 7}])
def test_another_way_of_asking_is_another_request(server, tmp_path, changed) -> None:
    for given in ({}, changed):
        with Endpoint(settings(server, **given), tmp_path) as endpoint:
            endpoint.ask_all([ask("问题")])
    assert len(server.requests) == 2


def test_one_question_can_be_asked_in_an_event_loop(server, tmp_path) -> None:
    async def both() -> Any:
        endpoint = Endpoint(settings(server), tmp_path)
        answers = await asyncio.gather(*(endpoint.complete(ask(text).messages) for text in ("甲", "乙")))
        await endpoint.aclose()
        return answers

    assert [answer.text for answer in asyncio.run(both())] == ["答：甲", "答：乙"]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500),
        Fault(status=503),
        Fault(status=429),
        Fault(cut="before"),
        Fault(cut="within"),
        Fault(wait=3.0),
    ],
    ids=lambda fault: f"{fault.status}{fault.cut}{fault.wait or ''}",
)
def test_a_failed_request_is_tried_again(server, tmp_path, fault) -> None:
    server.script += [fault, fault]
    with Endpoint(settings(server, timeout=1.5, concurrency=1), tmp_path) as endpoint:
        (answer,) = endpoint.ask_all([ask("问题")])
        assert answer.text == "答：问题"
        assert (endpoint.usage.requests, endpoint.usage.retried) == (3, 2)


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_all_requests_wait_as_long_as_the_server_asks(server, tmp_path, form) -> None:
    after = "1" if form == "seconds" else email.utils.formatdate(time.time() + 2, usegmt=True)
    server.script += [Fault(status=429, headers={"Retry-After": after})]
    with Endpoint(settings(server, concurrency=1), tmp_path) as endpoint:
        endpoint.ask_all(asks(2))
    assert server.times[1] - server.times[0] >= 0.95


def test_the_rate_limit_is_kept(server, tmp_path) -> None:
    with Endpoint(settings(server, requests_per_minute=1200), tmp_path) as endpoint:
        endpoint.ask_all(asks(10))
    assert server.times[-1] - server.times[0] >= 9 * 0.05 * 0.8


def test_a_request_that_keeps_failing_fails_alone(server, tmp_path) -> None:
    server.script += [Fault(status=500)] * 3
    with Endpoint(settings(server, retries=2, concurrency=1), tmp_path) as endpoint:
        bad, good = endpoint.ask_all(asks(2))
        assert bad == Failure("server failed: status 500, 3 times")
        assert good.text == "答：问题1"
        assert endpoint.usage.failed == 1
        assert endpoint.ask_all(asks(1))[0].text == "答：问题0"  # nothing was paid for: it may be asked again


def test_a_server_that_fails_again_and_again_stops_the_run(server, tmp_path) -> None:
    server.script += [Fault(status=500)] * 100
    with (
        Endpoint(settings(server, retries=0, concurrency=1), tmp_path) as endpoint,
        pytest.raises(UserError, match=r"does not answer \(status 500"),
    ):
        endpoint.ask_all(asks(50))
    assert len(server.requests) == 8


def test_a_server_that_is_not_there_is_named(tmp_path) -> None:
    with OpenAIServer() as gone:
        given = settings(gone, retries=1)
    with Endpoint(given, tmp_path) as endpoint, pytest.raises(UserError, match="does not answer") as error:
        endpoint.ask_all(asks(3))
    assert given.base_url in str(error.value)


def test_a_refused_request_fails_with_the_servers_words(server, tmp_path) -> None:
    server.script += [Fault(status=400, text="maximum context length is 2048 tokens")]
    with Endpoint(settings(server, concurrency=1), tmp_path) as endpoint:
        bad, good = endpoint.ask_all(asks(2))
    assert bad == Failure("server refused: 400 maximum context length is 2048 tokens")
    assert good.text == "答：问题1"


@pytest.mark.parametrize(
    "text",
    [GOOD, f"好的，结果如下：\n```json\n{GOOD}\n```", f"<think>先想{{一}}想</think>{GOOD}", f"{GOOD}\n希望有帮助！"],
)
def test_structured_answers_are_read(server, tmp_path, text) -> None:
    server.answer = lambda body: text
    with Endpoint(settings(server), tmp_path) as endpoint:
        (answer,) = endpoint.ask_all([ask("问题", schema=Pair)])
    assert answer.value == Pair(question="什么是肺炎？", answer="肺部的炎症。")
    assert server.requests[0]["response_format"]["json_schema"]["schema"] == Pair.model_json_schema()


def test_a_server_without_structured_output_is_asked_without_it(tmp_path) -> None:
    with OpenAIServer(lambda body: GOOD, structured=False) as server:
        with Endpoint(settings(server, concurrency=3), tmp_path) as endpoint:
            answers = endpoint.ask_all([ask(f"问题{n}", schema=Pair) for n in range(9)])
        assert all(isinstance(answer.value, Pair) for answer in answers)
        assert sum("response_format" not in body for body in server.requests) == 9
        assert sum("response_format" in body for body in server.requests) <= 3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"question": "什么是肺炎？", "answ', "broken JSON: "),
        ("肺炎是肺部的炎症。", "broken JSON: "),
        ('{"question": "什么是肺炎？"}', "wrong schema: answer: Field required"),
        ('{"question": 3, "answer": "甲"}', "wrong schema: question: "),
        ("{" * 5000 + "}" * 5000, "broken JSON: "),
        (f'{{"question": {"7" * 5000}}}', "broken JSON: an integer too long to be read"),
    ],
)
def test_a_wrong_form_is_asked_for_once_more_then_fails_with_its_reason(server, tmp_path, text, reason) -> None:
    server.answer = lambda body: text
    for _ in range(2):  # the second time, both answers come from the cache
        with Endpoint(settings(server), tmp_path) as endpoint:
            (failed,) = endpoint.ask_all([ask("问题", schema=Pair)])
        assert isinstance(failed, Failure)
        assert failed.reason.startswith(reason)
        assert len(server.requests) == 2
    assert "上一次的输出不合要求" in server.requests[1]["messages"][-1]["content"]
    server.answer = lambda body: GOOD
    with Endpoint(settings(server, repairs=2), tmp_path) as endpoint:
        (mended,) = endpoint.ask_all([ask("问题", schema=Pair)])
    assert isinstance(mended, Answer)
    assert len(server.requests) == 3


def test_a_server_that_names_the_bound_otherwise_is_asked_so(tmp_path) -> None:
    with OpenAIServer(echo, bound="max_completion_tokens") as server:
        with Endpoint(settings(server, max_tokens=77, concurrency=4), tmp_path) as endpoint:
            assert [answer.text for answer in endpoint.ask_all(asks(9))] == [f"答：问题{n}" for n in range(9)]
        assert sum(body.get("max_completion_tokens") == 77 for body in server.requests) == 9


def test_a_structured_answer_that_was_cut_off_is_not_paid_twice(server, tmp_path) -> None:
    server.script += [Fault(finish_reason="length", text='{"question": "什么')]
    with Endpoint(settings(server), tmp_path) as endpoint:
        (failed,) = endpoint.ask_all([ask("问题", schema=Pair)])
    assert isinstance(failed, Failure)
    assert failed.reason.startswith("answer cut off at max_tokens: broken JSON")
    assert len(server.requests) == 1


def test_what_a_model_thinks_aloud_is_no_answer(server, tmp_path) -> None:
    server.answer = lambda body: "<think>家长很着急。</think>\n请别着急。"
    with Endpoint(settings(server), tmp_path) as endpoint:
        assert endpoint.ask_all([ask("问题")])[0].text == "请别着急。"


def test_endless_text_is_bounded_and_not_paid_again(server, tmp_path) -> None:
    server.script += [Fault(endless=True)]
    for _ in range(2):
        with Endpoint(settings(server, max_tokens=100), tmp_path) as endpoint:
            (failed,) = endpoint.ask_all([ask("问题")])
        assert failed == Failure(f"endless answer: more than {100 * 32 + 65536} bytes")
    assert len(server.requests) == 1
    assert server.requests[0]["max_tokens"] == 100


def test_an_answer_that_was_cut_off_says_so(server, tmp_path) -> None:
    server.script += [Fault(finish_reason="length", usage=False)]
    with Endpoint(settings(server), tmp_path) as endpoint:
        (answer,) = endpoint.ask_all([ask("问题")])
        assert not answer.finished
        assert endpoint.usage.estimated == 1
        assert endpoint.usage.output_tokens == tokens_of("答：问题")


def rounds(endpoint: Endpoint) -> dict[int, str]:
    """What one run answers of a hundred requests before its budget is spent."""
    try:
        done = dict(enumerate(endpoint.ask_all(asks(100))))
    except BudgetReached as reached:
        done = reached.done
    return {place: answer.text for place, answer in done.items()}


@pytest.mark.parametrize(
    "prices", [{"budget_tokens": 400}, {"budget_money": 0.4, "price_input": 1000, "price_output": 1000}]
)
def test_the_budget_stops_cleanly_and_a_later_run_goes_on(server, tmp_path, prices) -> None:
    given = settings(server, concurrency=4, max_tokens=60, **prices)
    answered: dict[int, str] = {}
    while len(answered) < 100:
        with Endpoint(given, tmp_path) as endpoint:
            now = rounds(endpoint)
            assert endpoint.usage.tokens <= 400
            assert len(now) == endpoint.usage.cached + endpoint.usage.requests
        assert answered.items() < now.items()
        answered = now
    assert answered == {n: f"答：问题{n}" for n in range(100)}
    assert len(server.requests) == 100


@pytest.mark.parametrize(
    "prices", [{"budget_tokens": 400}, {"budget_money": 0.4, "price_input": 1000, "price_output": 1000}]
)
def test_endpoints_that_share_a_budget_pay_no_more_than_it_together(server, tmp_path, prices) -> None:
    given = settings(server, concurrency=2, max_tokens=60, **prices)
    budget = Budget(given)
    with Endpoint(given, tmp_path / "a", budget) as first, Endpoint(given, tmp_path / "b", budget) as second:
        first.ask_all(asks(20))
        with pytest.raises(BudgetReached) as reached:
            second.ask_all(asks(100))
        assert first.usage.tokens > 0
        assert second.usage.tokens > 0
        assert first.usage.tokens + second.usage.tokens == budget.usage.tokens == reached.value.usage.tokens <= 400
        assert first.usage.requests + second.usage.requests == len(server.requests)
        assert first.usage.money + second.usage.money == pytest.approx(budget.usage.money)


def test_endpoints_of_one_event_loop_wait_for_each_others_reservations(server, tmp_path) -> None:
    """Both questions fit one after the other only, because each is reserved for at its most."""
    given = settings(server, max_tokens=60, budget_tokens=110)
    budget = Budget(given)
    server.script += [Fault(wait=0.3)]

    async def both() -> Any:
        endpoints = [Endpoint(given, tmp_path / name, budget) for name in "ab"]
        questions = [endpoint.complete(ask("甲").messages) for endpoint in endpoints]
        answers = await asyncio.wait_for(asyncio.gather(*questions), 10)
        for endpoint in endpoints:
            await endpoint.aclose()
        return answers

    assert [answer.text for answer in asyncio.run(both())] == ["答：甲", "答：甲"]
    assert server.most_at_once == 1


def test_a_budget_is_not_shared_by_other_settings(server, tmp_path) -> None:
    with pytest.raises(ValueError, match="same settings"):
        Endpoint(settings(server), tmp_path, Budget(settings(server, budget_tokens=5)))


@pytest.mark.parametrize(
    "usage",
    [
        [],
        "12",
        7,
        None,
        {"prompt_tokens": "3", "completion_tokens": 4},
        {"prompt_tokens": 3, "completion_tokens": True},
    ],
    ids=str,
)
def test_an_odd_account_of_the_server_is_none_and_the_answer_is_kept(server, tmp_path, monkeypatch, usage) -> None:
    def odd(*given: Any) -> dict[str, Any]:
        return {**_completion(*given), "usage": usage}

    monkeypatch.setattr(openai_server, "_completion", odd)
    for estimated in (1, 0):  # the second time it comes from the cache
        with Endpoint(settings(server), tmp_path) as endpoint:
            (answer,) = endpoint.ask_all([ask("问题")])
            assert (answer.text, answer.output_tokens) == ("答：问题", tokens_of("答：问题"))
            assert endpoint.usage.estimated == estimated
    assert len(server.requests) == 1


def test_what_it_will_cost_is_an_upper_bound(server, tmp_path) -> None:
    given = settings(server, price_input=2.0, price_output=8.0, max_tokens=50)
    cost = estimate([*asks(10), *asks(10)], given)
    assert cost.requests == 10
    assert cost.money == pytest.approx((cost.input_tokens * 2 + cost.output_tokens * 8) / 1e6)
    with Endpoint(given, tmp_path) as endpoint:
        endpoint.ask_all(asks(10))
        assert 0 < endpoint.usage.tokens <= cost.input_tokens + cost.output_tokens


@pytest.mark.parametrize(
    "url",
    ["https://api.example.com/v1", "http://10.0.0.3:8000/v1", "http://127.0.0.1.example.com/v1", "http://0.0.0.0/v1"],
)
def test_no_text_leaves_the_machine_without_leave(tmp_path, url) -> None:
    with pytest.raises(UserError, match="allow_external"):
        Endpoint(TeacherSettings(base_url=url, model="m"), tmp_path)
    with (
        Endpoint(TeacherSettings(base_url=url, model="m", allow_external=True, retries=0), tmp_path) as endpoint,
        pytest.raises(UserError, match="not de-identified"),
    ):
        endpoint.ask_all([ask("甲", deidentified=True), ask("乙")])
    assert endpoint.usage.requests == 0


@pytest.mark.parametrize("url", ["http://localhost:1/v1", "http://127.8.0.1:1/v1", "http://[::1]:1/v1"])
def test_this_machine_is_known(url) -> None:
    assert not TeacherSettings(base_url=url, model="m").external


@pytest.mark.parametrize("url", ["127.0.0.1:8000/v1", "ftp://localhost/v1", "http://user:key@localhost/v1", ""])
def test_an_address_that_is_none_is_refused(url) -> None:
    with pytest.raises(ValidationError):
        TeacherSettings(base_url=url, model="m")


def test_no_proxy_carries_loopback_text_away(server, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with Endpoint(settings(server), tmp_path) as endpoint:
        assert endpoint.ask_all([ask("问题")])[0].text == "答：问题"


def test_the_key_comes_from_the_environment_and_stays_out_of_the_cache(tmp_path, monkeypatch) -> None:
    with OpenAIServer(echo, key="sk-geheim") as server:
        given = settings(server, key_env="TEACHER_KEY")
        monkeypatch.delenv("TEACHER_KEY", raising=False)
        with pytest.raises(UserError, match="TEACHER_KEY is not set"):
            Endpoint(given, tmp_path)
        monkeypatch.setenv("TEACHER_KEY", "sk-falsch")
        with Endpoint(given, tmp_path) as endpoint, pytest.raises(UserError, match="key is not accepted"):
            endpoint.ask_all(asks(3))
        monkeypatch.setenv("TEACHER_KEY", "sk-geheim")
        with Endpoint(given, tmp_path) as endpoint:
            assert endpoint.ask_all([ask("问题")])[0].text == "答：问题"
    assert not any(b"sk-geheim" in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


CLIENT = """
import sys
from pathlib import Path
from pediatricsgpt.endpoint import Endpoint, Request, TeacherSettings
settings = TeacherSettings(base_url=sys.argv[1], model="teacher", concurrency=2)
requests = [Request([{"role": "user", "content": f"问题{n}"}]) for n in range(40)]
with Endpoint(settings, Path(sys.argv[2])) as endpoint:
    endpoint.ask_all(requests, lambda place, _: print(place, flush=True))
"""


def test_a_killed_client_pays_for_nothing_twice(server, tmp_path) -> None:
    server.script += [Fault(wait=0.02)] * 200
    command = [sys.executable, "-c", CLIENT, server.base_url, str(tmp_path)]
    received: set[str] = set()
    kills: list[tuple[int, set[str]]] = []
    for lines in (10, 20):  # the second one begins with what is paid for
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(lines):
            received.add(f"问题{int(process.stdout.readline())}")
        os.kill(process.pid, signal.SIGKILL)
        received |= {f"问题{int(line)}" for line in process.stdout if line.strip()}
        process.wait()
        process.stdout.close()
        time.sleep(0.3)  # what was on its way arrives at the server
        kills.append((len(server.requests), set(received)))
    with Endpoint(settings(server, concurrency=2), tmp_path) as endpoint:
        answers = endpoint.ask_all(asks(40))
        assert endpoint.usage.cached >= len(received) >= 20
    assert [answer.text for answer in answers] == [f"答：问题{n}" for n in range(40)]
    for asked, paid in kills:
        assert paid.isdisjoint(body["messages"][-1]["content"] for body in server.requests[asked:])
    assert len(server.requests) <= 40 + 2 * 2  # only what was on its way at a kill is asked again


def test_a_damaged_cache_loses_only_what_is_damaged(server, tmp_path, caplog) -> None:
    with Endpoint(settings(server, concurrency=1), tmp_path) as endpoint:
        endpoint.ask_all(asks(6))
    lines = (tmp_path / "answers.jsonl").read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"sha256", b"sha255")
    lines[3] = b"\x00" * 100 + b"\n"
    lines[5] = lines[5][:-20]  # torn at the end
    (tmp_path / "answers.jsonl").write_bytes(b"".join(lines))
    with Endpoint(settings(server), tmp_path) as endpoint:
        assert "3 damaged entries dropped" in caplog.text
        answers = endpoint.ask_all(asks(6))
        assert (endpoint.usage.cached, endpoint.usage.requests) == (3, 3)
    assert [answer.text for answer in answers] == [f"答：问题{n}" for n in range(6)]
    caplog.clear()
    with AnswerCache(tmp_path) as cache:
        assert (len(cache), cache.damaged) == (6, 0)
    assert caplog.text == ""


@pytest.mark.parametrize("cut", [1, 5, 50, 150])
def test_a_cache_cut_anywhere_in_its_last_line_can_be_written_on(tmp_path, cut) -> None:
    with AnswerCache(tmp_path) as cache:
        cache.put("a", {"text": "甲\n乙"})
        cache.put("b", {"text": "丙"})
    path = tmp_path / "answers.jsonl"
    path.write_bytes(path.read_bytes()[: -min(cut, 100)])
    for _ in range(2):
        with AnswerCache(tmp_path) as cache:
            assert cache.get("a") == {"text": "甲\n乙"}
            cache.put("c", {"text": "丁"})
    with AnswerCache(tmp_path) as cache:
        assert sorted(cache) == ["a", "c"]


def test_a_full_disk_is_said_and_the_cache_stays_sound(tmp_path, monkeypatch) -> None:
    with AnswerCache(tmp_path) as cache:
        cache.put("a", {"text": "甲"})
        real = os.write

        def full(descriptor: int, data: bytes) -> int:
            real(descriptor, data[:10])
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(UserError, match="No space left"):
            cache.put("b", {"text": "乙"})
        monkeypatch.undo()
        cache.put("c", {"text": "丙"})
    with AnswerCache(tmp_path) as cache:
        assert (sorted(cache), cache.damaged) == (["a", "c"], 0)


def test_two_runs_on_one_cache_are_refused(server, tmp_path) -> None:
    with Endpoint(settings(server), tmp_path), pytest.raises(UserError, match="another run is using this cache"):
        Endpoint(settings(server), tmp_path)
    Endpoint(settings(server), tmp_path).close()


def test_a_cache_that_cannot_be_written_is_named(server, tmp_path) -> None:
    Path(tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        Endpoint(settings(server), tmp_path / "file" / "cache")
