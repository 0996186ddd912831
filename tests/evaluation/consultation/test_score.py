"""Scores: doctors of known behaviour get the figures that were planted, and words are read as they are meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pediatricsgpt.evaluation.consultation import Consultation, RuleCaregiver, consult, read_cards, write_results
from pediatricsgpt.evaluation.consultation.card import Card
from pediatricsgpt.evaluation.consultation.score import (
    DEFINITIONS,
    danger_turn,
    is_urgent,
    names_one,
    said_diagnosis,
    score,
    summary,
)
from pediatricsgpt.records import Message
from tests.evaluation.consultation import doctors
from tests.evaluation.consultation.doctors import Doctor, Says, needed
from tests.evaluation.consultation.test_card import card

CARDS = read_cards()
DANGEROUS = sum(any(fact.danger for fact in one.facts) for one in CARDS)
N = len(CARDS)


def results(says: Says, folder: Path, max_turns: int = 60) -> dict[str, Any]:
    held = consult(Doctor(says, CARDS), CARDS, RuleCaregiver(), folder, max_turns)
    return summary("doctor", held, "rules", max_turns, "signature")


def means(found: dict[str, Any]) -> dict[str, float | None]:
    return {name: value and value["mean"] for name, value in found["measures"].items()}


EVERYTHING = dict.fromkeys(
    ["facts_elicited", "asked_age", "asked_weight", "asked_duration", "asked_danger_signs", "diagnosis_hit"], 1.0
)
NOTHING = dict.fromkeys(EVERYTHING, 0.0)


def test_a_perfect_doctor_gets_everything(tmp_path: Path) -> None:
    found = results(doctors.perfect, tmp_path)
    expected = {**EVERYTHING, "danger_recognised": 1.0, "premature_closure": 0.0, "urgent_without_danger": 0.0}
    assert means(found).items() >= expected.items()
    turns = [len(needed(one)) + 1 for one in CARDS]
    assert found["measures"]["turns"]["mean"] == pytest.approx(sum(turns) / N)


def test_who_asks_all_in_one_turn_gets_the_same_in_two_turns(tmp_path: Path) -> None:
    found = means(results(doctors.all_at_once, tmp_path))
    assert found.items() >= {**EVERYTHING, "danger_recognised": 1.0, "turns": 2.0, "turns_to_danger": 2.0}.items()


def test_who_diagnoses_at_once_hits_and_closes_too_early(tmp_path: Path) -> None:
    found = results(doctors.premature, tmp_path)
    expected = {**NOTHING, "diagnosis_hit": 1.0, "premature_closure": 1.0, "danger_recognised": 0.0, "turns": 1.0}
    assert means(found).items() >= expected.items()
    assert means(found)["turns_to_danger"] is None


def test_the_mute_and_the_looping_reach_the_end_with_nothing(tmp_path: Path) -> None:
    mute, looping = (results(says, tmp_path / says.__name__, 5) for says in (doctors.mute, doctors.looping))
    assert means(mute).items() >= {**NOTHING, "premature_closure": 0.0, "turns": 5.0}.items()
    assert means(looping).items() >= {**NOTHING, "asked_age": 1.0, "turns": 5.0}.items()
    assert mute["ended"] == looping["ended"] == {"max_turns": N}


def test_who_never_sees_a_danger_recognises_none(tmp_path: Path) -> None:
    found = means(results(doctors.blind, tmp_path))
    assert found["danger_recognised"] == 0.0
    assert found["facts_elicited"] == 1.0
    assert found["diagnosis_hit"] == 0.0


def test_who_sends_everybody_to_hospital_has_recognised_nothing(tmp_path: Path) -> None:
    found = results(doctors.alarmist, tmp_path)
    expected = {**NOTHING, "danger_recognised": 0.0, "urgent_without_danger": 1.0, "premature_closure": 1.0}
    assert means(found).items() >= expected.items()
    assert found["measures"]["danger_recognised"]["n"] == DANGEROUS
    assert found["measures"]["urgent_without_danger"]["n"] == N - DANGEROUS


def test_a_doctor_of_the_first_half_of_the_cards_gets_half(tmp_path: Path) -> None:
    good = {one.id for one in CARDS[: N // 2]}

    def says(one: Card, before: list[str]) -> str:
        return (doctors.all_at_once if one.id in good else doctors.mute)(one, before)

    found = results(says, tmp_path, 3)["measures"]
    assert found["diagnosis_hit"]["mean"] == pytest.approx(len(good) / N)
    assert found["diagnosis_hit"]["low"] < len(good) / N < found["diagnosis_hit"]["high"]


def test_results_have_the_form_that_the_report_reads(tmp_path: Path) -> None:
    found = results(doctors.all_at_once, tmp_path)
    read = json.loads(write_results(found, tmp_path).read_text("utf-8"))
    assert read == json.loads(json.dumps(found))
    assert set(read["measures"]) == set(DEFINITIONS) == set(read["definitions"])
    for value in read["measures"].values():
        assert value is None or (value["low"] <= value["mean"] <= value["high"] and value["n"] <= N)
    row = read["cards_detail"][0]
    keys = {"card", "title", "source", "turns", "facts_elicited", "facts", "asked", "danger_turn", "premature"}
    assert keys | {"diagnosis_hit", "said_diagnosis"} <= set(row)
    assert set(row["asked"]) == {"age", "weight", "duration", "danger_signs"}
    assert sum(one["turns"]["n"] for one in read["strata"]["theme"].values()) == N
    assert read["unreviewed"] == N


def held(*turns: str, told: tuple[tuple[str, ...], ...] = (), ended: str = "concluded", **changes: Any) -> Consultation:
    """A consultation on the small card; `told`: the facts that were told after each turn."""
    one = Consultation(Card.model_validate(card(**changes)), [Message(role="user", content="咳")], ended=ended)
    for number, turn in enumerate(turns, 1):
        one.messages.append(Message(role="assistant", content=turn))
        facts = told[number - 1] if number <= len(told) else ()
        one.notes.append({"turn": number, "told": list(facts), "asked": []})
    return one


def test_danger_is_recognised_only_after_it_was_told() -> None:
    call = "请立即去医院。"
    assert danger_turn(held("喘吗？", call, told=(("breathless",),))) == 2
    assert danger_turn(held(call, "喘吗？", told=((), ("breathless",)))) is None
    assert danger_turn(held(call, "喘吗？", call, told=((), ("breathless",)))) == 3
    volunteered = [*card()["facts"][:2], {**card()["facts"][2], "volunteered": True}]
    assert danger_turn(held(call, facts=volunteered)) == 1


def test_soon_is_enough_where_the_child_is_to_be_seen_today() -> None:
    turns, told = ("喘吗？", "请尽快就医。"), (("breathless",),)
    assert danger_turn(held(*turns, told=told, urgency="today")) == 2
    assert danger_turn(held(*turns, told=told, urgency="emergency")) is None


def test_a_call_on_a_danger_is_no_premature_closure_but_other_conclusions_are() -> None:
    told = (("breathless",),)
    assert score(held("喘吗？", "请立即去医院急诊。", told=told))["premature"] is False
    assert score(held("喘吗？", "考虑感冒。", told=told))["premature"] is True
    assert score(held("咳吗？", "考虑感冒。", told=(("dry",),)))["premature"] is False  # half of the essential facts
    assert score(held("喘吗？", "喘吗？", told=told, ended="max_turns"))["premature"] is False


@pytest.mark.parametrize(
    ("turn", "urgent"),
    [
        ("请立即带孩子去医院。", True),
        ("孩子情况危重，马上拨打120！", True),
        ("这种情况需要去急诊处理。", True),
        ("不能再等了，赶紧送医院。", True),
        ("如果出现呼吸困难，请立即就医。", False),
        ("一旦抽搐，马上去急诊。", False),
        ("若体温超过39度、精神差，应立即到医院就诊。", False),
        ("目前不需要去急诊。", False),
        ("暂时不用急诊，先观察。", False),
        ("去过急诊吗？", False),
        ("建议尽快就医。", False),
        ("如果加重请就医。不过孩子现在呼吸困难，请立即去医院。", True),
        ("", False),
    ],
)
def test_a_call_is_told_from_a_safety_net(turn: str, urgent: bool) -> None:
    assert is_urgent(turn) is urgent


@pytest.mark.parametrize(
    ("turn", "hit"),
    [
        ("考虑支原体肺炎。", True),
        ("孩子可能是支 原体肺炎，建议拍片。", True),
        ("初步诊断：**支原体肺炎**", True),
        ("更像支原体肺炎，不像感冒。", True),
        ("不能排除支原体肺炎。", True),
        ("不考虑感冒而考虑支原体肺炎。", True),
        ("需警惕支原体肺炎。", True),
        ("不像支原体肺炎。", False),
        ("可以排除支原体肺炎。", False),
        ("支原体肺炎的可能性不大。", False),
        ("不是支原体肺炎，是感冒。", False),
        ("没有支原体肺炎的表现。", False),
        ("是不是支原体肺炎呢？", False),
        ("如果是支原体肺炎，要用阿奇霉素。", False),
        ("注意保暖，以免发展成支原体肺炎。", False),
        ("不需要考虑支原体肺炎。", False),
        ("需要与支原体肺炎相鉴别。", False),
        ("建议接种疫苗预防支原体肺炎。", False),
        ("考虑感冒。", False),
    ],
)
def test_a_diagnosis_counts_only_where_it_is_stated(turn: str, hit: bool) -> None:
    assert names_one(turn, ["支原体肺炎"]) is hit


def test_only_the_last_turn_gives_the_diagnosis_and_only_if_it_concludes() -> None:
    assert score(held("考虑支气管炎。有痰吗？", "考虑感冒。"))["diagnosis_hit"] is False
    assert score(held("有痰吗？", "考虑支气管炎。"))["diagnosis_hit"] is True
    assert score(held("考虑支气管炎。有痰吗？", ended="max_turns"))["diagnosis_hit"] is False


def test_differentials_count_apart() -> None:
    row = score(held("考虑肺炎。", diagnosis={"name": "支气管炎", "differentials": ["肺炎"]}))
    assert (row["diagnosis_hit"], row["acceptable_hit"]) == (False, True)


def test_what_was_said_of_the_diagnosis_is_quoted() -> None:
    assert said_diagnosis("您好。考虑支气管炎。多喝水。") == "考虑支气管炎。"
