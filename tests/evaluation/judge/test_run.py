"""A pair of models judged over HTTP: faults, kills, budgets, and figures that are those of the judge behind it."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pediatricsgpt.endpoint import BudgetReached
from pediatricsgpt.endpoint.settings import TeacherSettings
from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.judge.aggregate import aggregate
from pediatricsgpt.evaluation.judge.ask import Showing, forecast, rater_names, showings
from pediatricsgpt.evaluation.judge.present import NO_ANSWER, present
from pediatricsgpt.evaluation.judge.prompt import DIMENSIONS
from pediatricsgpt.evaluation.judge.run import FILE, VERDICTS, judge_pair, panel, prepared, workload
from pediatricsgpt.evaluation.judge.verdicts import Verdict, read_verdicts, write_verdicts
from pediatricsgpt.evaluation.paid import ANSWERS
from pediatricsgpt.evaluation.settings import JudgeSettings
from tests.evaluation.judge import planted
from tests.openai_server import Fault, OpenAIServer

PROSE = "两份回答各有千秋，我更喜欢第一份。"
PASSED = {"passed": True, "against": "doctors.csv", "passed_on": "overall"}
WRONG_SCHEMA = '{"usefulness": "甲"}'


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(planted.judge(planted.perfect)) as running:
        yield running


def judge_at(server: OpenAIServer, **others: Any) -> TeacherSettings:
    quick = {"retry_pause": 0.01, "temperature": 0.0, "concurrency": 2}
    return TeacherSettings(**{"base_url": server.base_url, "model": "richter", **quick, **others})


def settings(*judges: TeacherSettings, **others: Any) -> JudgeSettings:
    return JudgeSettings(judges=list(judges), **others)


def test_what_is_planted_behind_a_server_comes_out_in_files(server: OpenAIServer, tmp_path: Path) -> None:
    pair = planted.pair(15, better=0.8)
    advanced: list[int] = []
    found = judge_pair(pair, settings(judge_at(server)), tmp_path, advance=advanced.append)
    assert sum(advanced) == workload(pair, settings(judge_at(server))) == len(server.requests) == 30
    assert found == json.loads((tmp_path / FILE).read_text(encoding="utf-8"))
    said = read_verdicts(tmp_path / VERDICTS)
    assert len(said) == 30 * len(DIMENSIONS)
    truth = sum(planted.quality(q.answers[0]) > planted.quality(q.answers[1]) for q in pair.questions) / 15
    for name in DIMENSIONS:
        one = found["dimensions"][name]
        assert (one["win"]["mean"], one["flip_rate"]["mean"], one["first_shown"]["mean"]) == (truth, 0.0, 0.5)
    assert {key: value for key, value in found.items() if key in ("models", "items")} == {
        "models": [planted.A, planted.B],
        "items": 15,
    }
    assert found["judges"][0]["rater"] == "richter"
    assert list(found["strata"]["department"]) in (["儿科", "内科"], ["内科", "儿科"])
    assert found["headline"]["allowed"] is False
    assert found["costs"]["requests"] == 30
    again = aggregate(said, pair.models, DIMENSIONS)
    assert again["dimensions"] == found["dimensions"]


def test_the_judge_never_learns_whose_answers_they_are(server: OpenAIServer, tmp_path: Path) -> None:
    pair = planted.pair(4, better=0.5)
    spoken = tuple(
        dataclasses.replace(q, answers=(f"我是{planted.A}。{q.answers[0]}", f"作为{planted.B}，{q.answers[1]}"))
        for q in pair.questions
    )
    found = judge_pair(dataclasses.replace(pair, questions=spoken), settings(judge_at(server)), tmp_path)
    assert not any(name in json.dumps(server.requests, ensure_ascii=False) for name in (planted.A, planted.B))
    assert found["shown"]["masked"] == {planted.A: 4, planted.B: 4}


def test_faults_of_the_server_change_no_figure(server: OpenAIServer, tmp_path: Path) -> None:
    pair, judge = planted.pair(8, better=0.7), judge_at(server, repairs=4, concurrency=1)
    expected = judge_pair(pair, settings(judge), tmp_path / "sound")
    faults = [Fault(429, {"Retry-After": "0"}), Fault(500), Fault(cut="before"), Fault(cut="within"), Fault(503)]
    server.script += [*faults, Fault(text=PROSE), Fault(text=WRONG_SCHEMA), *faults, Fault(text="{"), Fault(text="")]
    found = judge_pair(pair, settings(judge), tmp_path / "faulty")
    assert not server.script
    assert found["dimensions"] == expected["dimensions"]
    assert found["costs"]["requests"] == expected["costs"]["requests"] + 4  # each repair is paid for
    assert (tmp_path / "faulty" / VERDICTS).read_bytes() == (tmp_path / "sound" / VERDICTS).read_bytes()


@pytest.mark.parametrize("said", [PROSE, WRONG_SCHEMA, planted.spoken("甲/乙/平")])
def test_a_judge_that_answers_no_verdict_is_asked_again_and_then_counted(
    server: OpenAIServer, tmp_path: Path, said: str
) -> None:
    pair = planted.pair(10, better=1.0)
    odd = "宝宝发热第3天怎么办？"
    right = server.answer
    server.answer = lambda body: said if odd in body["messages"][-1]["content"] else right(body)
    found = judge_pair(pair, settings(judge_at(server, repairs=2)), tmp_path)
    assert len(server.requests) == 18 + 2 * 3  # the odd one in both orders, with two repairs each
    one = found["dimensions"]["correctness"]
    assert (one["n"], one["invalid"], one["incomplete"]) == (9, 2, 1)
    invalid = [verdict for verdict in read_verdicts(tmp_path / VERDICTS) if verdict.verdict == "invalid"]
    assert len(invalid) == 2 * len(DIMENSIONS)
    assert {verdict.raw for verdict in invalid} == {said}
    assert any("1 of 10" in warning for warning in found["warnings"])


def test_an_answer_that_is_cut_off_is_invalid_and_kept(server: OpenAIServer, tmp_path: Path) -> None:
    server.script.append(Fault(text='{"usefulness": {"reason": "甲', finish_reason="length"))
    found = judge_pair(planted.pair(3, better=1.0), settings(judge_at(server, concurrency=1)), tmp_path)
    assert found["dimensions"]["usefulness"]["invalid"] == 1
    assert any(
        one.raw.startswith('{"usefulness"') for one in read_verdicts(tmp_path / VERDICTS) if one.verdict == "invalid"
    )


def test_what_the_server_refuses_is_invalid_with_its_reason(server: OpenAIServer, tmp_path: Path) -> None:
    server.script += [Fault(400, text="content filter")]
    judge_pair(planted.pair(3, better=1.0), settings(judge_at(server, concurrency=1)), tmp_path)
    (raw,) = {one.raw for one in read_verdicts(tmp_path / VERDICTS) if one.verdict == "invalid"}
    assert "content filter" in raw


def test_a_request_that_the_server_failed_is_no_verdict_and_asked_again(server: OpenAIServer, tmp_path: Path) -> None:
    pair, judge = planted.pair(6, better=1.0), settings(judge_at(server, retries=1, concurrency=1))
    server.script += [Fault(500), Fault(500)]
    found = judge_pair(pair, judge, tmp_path)
    assert found["unanswered"] == {"richter": 1}
    assert (found["dimensions"]["usefulness"]["n"], found["dimensions"]["usefulness"]["invalid"]) == (5, 0)
    assert any("failed on 1 requests" in warning for warning in found["warnings"])
    before = len(server.requests)
    found = judge_pair(pair, judge, tmp_path)
    assert len(server.requests) == before + 1
    assert found["unanswered"] == {}
    assert found["dimensions"]["usefulness"]["n"] == 6


class Killed(BaseException):
    """What a process is killed by is no exception that anybody handles."""


def test_killed_in_the_middle_nothing_is_asked_twice(server: OpenAIServer, tmp_path: Path) -> None:
    pair, judge = planted.pair(20, better=0.6), settings(judge_at(server))
    whole = judge_pair(pair, judge, tmp_path / "whole")
    server.requests.clear()
    server.answered.clear()

    def kill_at(count: int) -> Callable[[int], None]:
        seen = 0

        def advance(done: int) -> None:
            nonlocal seen
            seen += done
            if seen >= count:
                raise Killed

        return advance

    for count in (10, 24):
        with pytest.raises(Killed):
            judge_pair(pair, judge, tmp_path / "killed", advance=kill_at(count))
    found = judge_pair(pair, judge, tmp_path / "killed")
    # A request on its way when it was killed is lost, one at most of each of the two connections.
    assert 40 <= len(server.requests) <= 44
    assert found["dimensions"] == whole["dimensions"]
    assert found["costs"]["input_tokens"] == whole["costs"]["input_tokens"]
    assert found["costs"]["cached"] >= 24
    assert (tmp_path / "killed" / VERDICTS).read_bytes() == (tmp_path / "whole" / VERDICTS).read_bytes()


def test_a_server_that_goes_down_in_the_middle_loses_nothing(server: OpenAIServer, tmp_path: Path) -> None:
    pair, judge = planted.pair(10, better=0.6), settings(judge_at(server, retries=0, concurrency=1))
    right = server.answer

    def answer(body: Any) -> str:
        if len(server.requests) == 7:
            server.script += [Fault(503)] * 50
        return right(body)

    server.answer = answer
    with pytest.raises(UserError, match="does not answer"):
        judge_pair(pair, judge, tmp_path)
    assert not (tmp_path / FILE).exists()
    server.script.clear()
    asked = len(server.requests)
    found = judge_pair(pair, judge, tmp_path)
    assert len(server.requests) - asked == 20 - 7
    assert found["dimensions"]["usefulness"]["n"] == 10


def test_a_spent_budget_stops_cleanly_and_a_smaller_set_is_whole(server: OpenAIServer, tmp_path: Path) -> None:
    pair = planted.pair(12, better=0.6)
    need = forecast(settings(judge_at(server)), prepared(pair, settings(judge_at(server)))[1], tmp_path / ANSWERS)[0]
    poor = judge_at(server, budget_tokens=(need.cost.input_tokens + need.cost.output_tokens) // 2, concurrency=1)
    with pytest.raises(BudgetReached, match="smaller max_items") as caught:
        judge_pair(pair, settings(poor), tmp_path)
    assert f"has answered {len(server.requests)} of 24 requests" in str(caught.value)
    assert 6 < len(server.requests) < 24
    paid = len(server.requests)
    found = judge_pair(pair, settings(judge_at(server), max_items=paid // 2), tmp_path)
    assert len(server.requests) == paid
    assert found["items"] == paid // 2
    judge_pair(pair, settings(judge_at(server)), tmp_path)
    assert len(server.requests) == 24


def test_the_forecast_is_what_will_be_asked_and_knows_what_is_paid(server: OpenAIServer, tmp_path: Path) -> None:
    pair, judge = planted.pair(10, better=0.6), judge_at(server, price_input=10.0, price_output=20.0)
    some, all_ = settings(judge, max_items=4), settings(judge, repeats=2)
    before = forecast(all_, prepared(pair, all_)[1], tmp_path / ANSWERS)[0]
    assert (before.cost.requests, before.known) == (40, 0)
    spent = judge_pair(pair, some, tmp_path)["costs"]
    after = forecast(all_, prepared(pair, all_)[1], tmp_path / ANSWERS)[0]
    assert (after.cost.requests, after.known) == (32, 8)
    assert "8 more are paid for already" in after.line
    assert after.cost.money < before.cost.money
    money = (spent["input_tokens"] * 10.0 + spent["output_tokens"] * 20.0) / 1e6
    assert spent["money"] == pytest.approx(money, abs=1e-6)
    assert spent["money"] < before.cost.money


def test_several_judges_are_reported_alone_and_together(server: OpenAIServer, tmp_path: Path) -> None:
    pair = planted.pair(16, better=0.9)
    with OpenAIServer(planted.judge(planted.at_random)) as dice:
        judges = [judge_at(server), judge_at(server, model="second"), judge_at(dice)]
        found = judge_pair(pair, settings(*judges), tmp_path)
    names = ["richter", "second", "richter"]
    assert [one["model"] for one in found["judges"]] == names
    raters = [one["rater"] for one in found["judges"]]
    assert raters == rater_names(judges)
    assert len(set(raters)) == 3
    assert set(found["by_judge"]) == set(raters)
    # Two of three that say the same are a majority, whatever the third one says.
    assert found["dimensions"]["fluency"]["win"] == found["by_judge"]["second"]["fluency"]["win"]
    assert found["by_judge"][raters[2]]["fluency"]["flip_rate"]["mean"] > 0.3
    assert found["agreement"]["fluency"]["raters"] == 3


def test_repeats_are_asked_anew_and_show_how_steady_a_judge_is(server: OpenAIServer, tmp_path: Path) -> None:
    """A judge that changes its mind in every second repeat: of three, two agree, which is one pair of three."""
    pair = planted.pair(4, better=0.5)
    times: Counter[str] = Counter()

    def moody(body: Any) -> str:
        text = body["messages"][-1]["content"]
        times[text] += 1
        return planted.spoken("甲" if times[text] == 2 else "乙")

    server.answer = moody
    found = judge_pair(pair, settings(judge_at(server, temperature=0.7), repeats=3), tmp_path)
    assert set(times.values()) == {3}
    assert found["self_consistency"]["richter"]["fluency"]["mean"] == pytest.approx(1 / 3)
    assert found["self_consistency"]["richter"]["fluency"]["n"] == 8
    steady = judge_pair(pair, settings(judge_at(server, model="other"), repeats=2), tmp_path / "steady")
    assert any("temperature 0" in warning for warning in steady["warnings"])


def test_identical_answers_are_ties_that_nobody_is_asked_about(server: OpenAIServer, tmp_path: Path) -> None:
    pair = planted.pair(6, better=1.0)
    same = [dataclasses.replace(q, answers=("**多喝水。**", "多喝水。")) for q in pair.questions[:2]]
    found = judge_pair(
        dataclasses.replace(pair, questions=(*same, *pair.questions[2:])), settings(judge_at(server)), tmp_path
    )
    assert len(server.requests) == 8
    assert found["shown"]["identical"] == 2
    one = found["dimensions"]["usefulness"]
    assert (one["n"], one["tie"]["mean"], one["flip_rate"]["n"]) == (6, pytest.approx(2 / 6), 4)


def test_an_empty_answer_is_shown_as_none_and_counted(server: OpenAIServer, tmp_path: Path) -> None:
    pair = planted.pair(2, better=1.0)
    empty = dataclasses.replace(pair.questions[0], answers=(" ", pair.questions[0].answers[1]))
    found = judge_pair(
        dataclasses.replace(pair, questions=(empty, pair.questions[1])), settings(judge_at(server)), tmp_path
    )
    assert found["shown"]["empty"] == {planted.A: 1, planted.B: 0}
    assert sum(NO_ANSWER in planted.shown(body) for body in server.requests) == 2
    assert found["dimensions"]["usefulness"]["loss"]["mean"] == 0.5


def test_in_one_order_each_pair_is_shown_once_and_places_are_even() -> None:
    shown: list[Showing] = showings(present(planted.pair(400, better=0.5), strip=False, equal=False), both_orders=False)
    assert len(shown) == 400
    assert 160 < sum(one.order for one in shown) < 240


def test_a_teacher_judges_only_with_a_reason_that_is_printed(server: OpenAIServer, tmp_path: Path) -> None:
    pair, judge = planted.pair(4, better=0.5), judge_at(server)
    taught = [TeacherSettings(base_url="http://127.0.0.1:9/v1", model="Richter")]
    with pytest.raises(UserError, match="may_be_teacher"):
        judge_pair(pair, settings(judge), tmp_path, teachers=taught)
    assert server.requests == []
    reason = "院内只有这一个模型可用"
    found = judge_pair(pair, settings(judge, may_be_teacher=reason), tmp_path, teachers=taught)
    assert (found["judges"][0]["teacher_too"], found["judges"][0]["reason"]) == (True, reason)
    assert any(reason in warning for warning in found["warnings"])


def test_a_validated_judge_may_make_a_headline(server: OpenAIServer, tmp_path: Path) -> None:
    (tmp_path / "validation.json").write_text(json.dumps({"judges": {"richter": PASSED}}))
    found = judge_pair(
        planted.pair(3, better=0.5), settings(judge_at(server)), tmp_path, validation=tmp_path / "validation.json"
    )
    assert found["headline"]["allowed"]
    assert found["judges"][0]["validated"]


def test_nothing_leaves_the_machine_without_leave(tmp_path: Path) -> None:
    pair, outside = planted.pair(2, better=0.5), {"base_url": "https://judge.invalid/v1", "model": "x", "retries": 0}
    with pytest.raises(UserError, match="allow_external"):
        judge_pair(pair, settings(TeacherSettings(**outside)), tmp_path)
    with pytest.raises(UserError, match="not de-identified"):
        judge_pair(pair, settings(TeacherSettings(**outside, allow_external=True)), tmp_path)


def test_a_panel_of_doctors_has_the_same_form(tmp_path: Path) -> None:
    said: list[Verdict] = [
        planted.verdict(f"q{place}", place % 2, "tie" if place == 0 else "left", dimension=name, rater=doctor)
        for place in range(12)
        for name in ("professionalism", "factuality", "safety")
        for doctor in ("d1", "d2", "d3")
    ]
    write_verdicts(tmp_path / VERDICTS, said)
    found = panel(tmp_path / VERDICTS, tmp_path / "panel", ("professionalism", "factuality", "safety"))
    assert found == json.loads((tmp_path / "panel/panel.json").read_text(encoding="utf-8"))
    assert list(found["dimensions"]) == ["professionalism", "factuality", "safety"]
    assert found["dimensions"]["safety"]["tie"]["mean"] == pytest.approx(1 / 12)
    assert found["raters"] == ["d1", "d2", "d3"]
    assert found["headline"]["allowed"]
    write_verdicts(tmp_path / VERDICTS, [dataclasses.replace(one, rater=f"simulated-{one.rater}") for one in said])
    assert "no people" in panel(tmp_path / VERDICTS, tmp_path / "panel")["headline"]["why"]
