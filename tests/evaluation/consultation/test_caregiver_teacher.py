"""The caregiver at an address, against a real server: what it may not say is not let through."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pediatricsgpt.endpoint import Endpoint, TeacherSettings
from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.consultation import RuleCaregiver, consult, read_cards
from pediatricsgpt.evaluation.consultation.card import Card
from pediatricsgpt.evaluation.consultation.caregiver import Reply, Turn, reply
from pediatricsgpt.evaluation.consultation.caregiver_teacher import TeacherCaregiver
from pediatricsgpt.evaluation.consultation.hearing import hear
from pediatricsgpt.evaluation.consultation.score import replacements, score
from pediatricsgpt.records import Message
from tests.evaluation.consultation import doctors
from tests.evaluation.consultation.doctors import Doctor
from tests.evaluation.consultation.test_card import card
from tests.openai_server import Fault, OpenAIServer

ONE = Card.model_validate(card(weight="18公斤"))
Body = Mapping[str, Any]


def answer(words: str, *told: str) -> str:
    return json.dumps({"reply": words, "told": list(told)}, ensure_ascii=False)


def turn(says: str, one: Card = ONE) -> Turn:
    messages = (Message(role="user", content=one.opening), Message(role="assistant", content=says))
    return Turn(one, messages, hear(says), frozenset())


@contextmanager
def caregiver(folder: Path, says: Callable[[Body], str], **changes: Any) -> Iterator[tuple[TeacherCaregiver, Any]]:
    with OpenAIServer(answer=says) as server:
        settings = TeacherSettings(base_url=server.base_url, model="parent", retries=1, retry_pause=0.01, **changes)
        with Endpoint(settings, folder / "paid") as endpoint:
            yield TeacherCaregiver(endpoint), server


def said(folder: Path, words: str, says: str = "有没有发烧？") -> tuple[Reply, int]:
    """What becomes of an answer, and how often it was asked for."""
    with caregiver(folder, lambda body: words) as (parent, server):
        return parent.replies([turn(says)])[0], len(server.requests)


def test_its_own_words_stand_where_they_keep_to_the_card(tmp_path: Path) -> None:
    found, requests = said(tmp_path, answer("嗯，烧的，最高烧到39度呢。", "temperature"))
    assert found == Reply("嗯，烧的，最高烧到39度呢。", ("temperature",), ("fever",))
    assert requests == 1


def test_the_prompt_holds_what_was_asked_for_and_neither_other_facts_nor_the_diagnosis(tmp_path: Path) -> None:
    with caregiver(tmp_path, lambda body: answer("烧到39度。", "temperature")) as (parent, server):
        parent.replies([turn("有没有发烧？身上有疹子吗？大便怎么样？孩子多大？")])
    system, user = (message["content"] for message in server.requests[0]["messages"])
    assert '{"reply"' in system
    assert "[temperature] 烧到39度。" in user
    assert "[age] 5岁" in user
    assert "孩子没有的情况：皮疹" in user
    assert "家长不清楚的情况：大便" in user
    assert "干咳" not in user
    assert "支气管炎" not in system + user


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (answer("烧到39度，还干咳没有痰，喘气费力。", "temperature"), "fact not asked for"),
        (answer("烧到39度。", "temperature", "dry"), "fact not asked for"),
        (answer("烧到39度，是不是支气管炎啊？", "temperature"), "diagnosis"),
        (answer("烧到40度。", "temperature"), "numbers changed"),
        (answer("不知道呀。", "temperature"), "fact not told"),
        (answer("  "), "empty"),
        (answer("烧到39度。" * 100, "temperature"), "too long"),
        ("孩子发烧了，很难受。", "no answer"),
        ('{"reply": 3}', "no answer"),
    ],
)
def test_what_does_not_keep_to_the_card_is_asked_again_then_replaced_and_counted(
    tmp_path: Path, words: str, why: str
) -> None:
    found, requests = said(tmp_path, words)
    own = reply(turn("有没有发烧？"))
    assert (found.text, found.told) == (own.text, own.told)
    assert found.replaced is not None
    assert found.replaced.startswith(why)
    assert requests >= 2


def test_a_second_answer_that_keeps_to_the_card_stands(tmp_path: Path) -> None:
    def says(body: Body) -> str:
        repaired = "不合要求" in body["messages"][-1]["content"]
        return answer("烧到39度。", "temperature") if repaired else answer("是支气管炎吧。")

    with caregiver(tmp_path, says) as (parent, server):
        assert parent.replies([turn("有没有发烧？")]) == [Reply("烧到39度。", ("temperature",), ("fever",))]
        assert len(server.requests) == 2


def test_a_name_that_the_doctor_said_first_is_no_leak(tmp_path: Path) -> None:
    words = answer("烧到39度，真是支气管炎吗？", "temperature")
    found, _ = said(tmp_path, words, "可能是支气管炎。有没有发烧？")
    assert found.replaced is None


def test_turns_that_ask_nothing_need_no_model(tmp_path: Path) -> None:
    with caregiver(tmp_path, lambda body: answer("好")) as (parent, server):
        assert parent.replies([turn("好的。"), turn("")]) == RuleCaregiver().replies([turn("好的。"), turn("")])
        assert server.requests == []


def obedient(body: Body) -> str:
    """Says all that it may, in the card's words."""
    user = body["messages"][-1]["content"]
    part = user.split("这次可以说的事实：\n")[1].split("\n这次问到、但孩子没有")[0]
    facts = [line[1:].split("] ", 1) for line in part.splitlines() if line.startswith("[")]
    return answer("".join(text for _, text in facts) or "没有注意。", *(name for name, _ in facts))


def test_whole_consultations_tell_the_same_facts_as_by_rules(tmp_path: Path) -> None:
    cards = read_cards(at_most=6)
    with caregiver(tmp_path, obedient) as (parent, _):
        held = consult(Doctor(doctors.all_at_once, cards), cards, parent, tmp_path / "own", 4)
    by_rules = consult(Doctor(doctors.all_at_once, cards), cards, RuleCaregiver(), tmp_path / "rules", 4)
    assert [score(one)["told"] for one in held] == [score(one)["told"] for one in by_rules]


def test_replaced_replies_are_counted(tmp_path: Path) -> None:
    cards = read_cards(at_most=6)
    with caregiver(tmp_path, lambda body: "我家孩子病了", concurrency=2) as (parent, _):
        held = consult(Doctor(doctors.all_at_once, cards), cards, parent, tmp_path / "own", 4)
    assert replacements(held) == {"n": 6, "of": 6, "reasons": {"no answer": 6}}
    assert all(score(one)["facts_elicited"] == 1.0 for one in held)


def test_a_server_that_is_down_stops_in_one_line_and_the_run_goes_on_later(tmp_path: Path) -> None:
    cards = read_cards(at_most=4)
    with caregiver(tmp_path, obedient, concurrency=1) as (parent, server):
        server.script += [Fault(), Fault(), *[Fault(cut="before")] * 40]
        with pytest.raises(UserError, match="did not answer 2 of 4 turns"):
            consult(Doctor(doctors.all_at_once, cards), cards, parent, tmp_path / "own", 4)
        server.script.clear()
        paid = sum(server.answered.values())
        doctor = Doctor(doctors.all_at_once, cards)
        consult(doctor, cards, parent, tmp_path / "own", 4)
        assert paid == 2
        assert sum(server.answered.values()) == 4  # what was paid for is not asked again
        assert doctor.asked == 4  # the first round of the model was kept too


def test_a_refusal_by_the_server_is_replaced_and_counted(tmp_path: Path) -> None:
    with caregiver(tmp_path, obedient) as (parent, server):
        server.script += [Fault(status=400, text="content filter")] * 2
        found = parent.replies([turn("有没有发烧？")])[0]
    assert found.text == "烧到39度。"
    assert found.replaced is not None
    assert "content filter" in found.replaced


def test_cards_do_not_leave_the_machine_without_leave(tmp_path: Path) -> None:
    settings = TeacherSettings(base_url="http://example.org/v1", model="parent")
    with pytest.raises(UserError, match="is not on this machine"):
        Endpoint(settings, tmp_path)
    with (
        Endpoint(settings.model_copy(update={"allow_external": True}), tmp_path) as endpoint,
        pytest.raises(UserError, match="not de-identified"),
    ):
        TeacherCaregiver(endpoint).replies([turn("有没有发烧？")])
