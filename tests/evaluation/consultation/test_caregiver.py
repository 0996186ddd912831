"""The caregiver by rules: what is asked, and nothing else."""

from __future__ import annotations

import pytest

from pediatricsgpt.evaluation.consultation.card import Card, read_cards
from pediatricsgpt.evaluation.consultation.caregiver import Reply, RuleCaregiver, Turn, reply
from pediatricsgpt.evaluation.consultation.hearing import hear
from pediatricsgpt.records import Message
from tests.evaluation.consultation.test_card import card

CARDS = read_cards()


def said(says: str, told: frozenset[str] = frozenset(), one: Card | None = None) -> Reply:
    case = one or Card.model_validate(card(weight="18公斤", unknown=["contact"]))
    opening = Message(role="user", content=case.opening)
    return reply(Turn(case, (opening, Message(role="assistant", content=says)), hear(says), told))


def test_only_what_is_asked_is_told() -> None:
    answer = said("有没有发烧？")
    assert answer.text == "烧到39度。"
    assert answer.told == ("temperature",)
    assert answer.asked == ("fever",)


def test_several_questions_are_answered_in_their_order() -> None:
    answer = said("孩子多大，多重？呼吸急不急？")
    assert answer.text == "5岁。18公斤。喘气费力。"
    assert answer.told == ("breathless",)


def test_absent_unknown_and_unmentioned_are_told_apart_from_facts() -> None:
    assert said("身上有疹子吗？").text == "身上没有疹子。"
    assert said("周围有没有人生病？").text == "周围有没有人生病不清楚。"
    assert said("大便怎么样？").text == "大便没注意看。"
    assert said("身上有疹子吗？").told == ()


def test_a_fact_that_two_questions_ask_for_is_said_once() -> None:
    assert said("咳嗽吗？有没有痰？").text == "干咳没有痰。"


def test_what_was_told_is_said_again_as_such() -> None:
    assert said("有没有发烧？", frozenset(["temperature"])).text == "刚才说过，烧到39度。"


def test_an_unknown_weight_is_not_made_up() -> None:
    assert said("体重多少？", one=Card.model_validate(card())).text == "最近没有称过体重。"


def test_silence_chatter_and_strange_questions_bring_no_fact() -> None:
    assert said("").text == "医生，您还在吗？"
    assert "怎么办" in said("好的，我明白了。").text
    assert said("孩子喜欢什么玩具车？").text == "这个我说不清楚，没太注意。"


def test_an_open_question_brings_one_new_fact_that_it_may_bring() -> None:
    facts = [dict(fact, asked_by=[*fact["asked_by"], "open"]) for fact in card()["facts"][:2]] + card()["facts"][2:]
    one = Card.model_validate(card(facts=facts))
    assert said("还有其他不舒服吗？", one=one).told == ("dry",)
    assert said("还有其他不舒服吗？", frozenset(["dry"]), one).told == ("temperature",)
    assert said("还有其他不舒服吗？", frozenset(["dry", "temperature"]), one).text == "别的没有什么了。"


def test_a_word_of_the_card_elicits_too() -> None:
    facts = [*card()["facts"], {"id": "pressure", "text": "量过血压，是高的。", "asked_by": ["血压"]}]
    assert said("血压量过吗？", one=Card.model_validate(card(facts=facts))).told == ("pressure",)


def test_a_volunteered_fact_is_in_the_opening() -> None:
    facts = [*card()["facts"][:2], {**card()["facts"][2], "volunteered": True}]
    one = Card.model_validate(card(facts=facts))
    assert one.opening == "医生，孩子老咳嗽。喘气费力。"
    assert [fact.id for fact in one.hidden] == ["dry", "temperature"]


@pytest.mark.parametrize("one", CARDS, ids=lambda one: one.id)
def test_the_opening_and_advice_elicit_no_hidden_fact(one: Card) -> None:
    for says in ("请多喝水，注意休息，如果发热抽搐请就医。", "好的。", "您还有什么问题吗？"):
        answer = said(says, one=one)
        assert answer.told == ()
        assert not any(fact.text in answer.text for fact in one.hidden)


def test_the_same_turns_get_the_same_answers() -> None:
    turns = [Turn(one, (), hear("发烧吗？精神怎么样？"), frozenset()) for one in CARDS]
    caregiver = RuleCaregiver()
    assert caregiver.replies(turns) == caregiver.replies(turns) == [reply(turn) for turn in turns]
