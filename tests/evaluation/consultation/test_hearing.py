"""What the caregiver understands: questions, in many words; advice, courtesies and conditions are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pediatricsgpt.evaluation.consultation.hearing import hear
from tests.evaluation.consultation.doctors import EXAMPLES

QUESTIONS: dict[str, list[dict[str, Any]]] = yaml.safe_load(
    Path(__file__).with_name("questions.yaml").read_text(encoding="utf-8")
)


def understood(half: str) -> list[str]:
    """Turns of which exactly the topics that are asked for were heard."""
    return [row["say"] for row in QUESTIONS[half] if set(hear(row["say"]).topics) == set(row["topics"])]


@pytest.mark.parametrize(("half", "share"), [("first_half", 0.95), ("second_half", 0.85)])
def test_most_hand_written_questions_are_understood(half: str, share: float) -> None:
    assert len(QUESTIONS[half]) == 40
    assert len(understood(half)) >= share * len(QUESTIONS[half])


@pytest.mark.parametrize("row", [row for half in QUESTIONS.values() for row in half if not row["topics"]])
def test_what_asks_nothing_elicits_nothing(row: dict[str, Any]) -> None:
    assert hear(row["say"]).topics == ()


def test_a_model_that_merely_mentions_fever_has_not_asked() -> None:
    assert hear("孩子可能是病毒感染引起的发热，建议多喝水，如果高烧不退或抽搐请就医。").topics == ()
    assert hear("孩子可能是病毒感染。发热最高到多少度？").topics == ("fever",)


@pytest.mark.parametrize(
    "turn",
    [
        "首先，您需要检查孩子的身体状况，看看是否有其他可能的危险表现。",
        "首先，您需要了解孩子的年龄、体重、病程、主要症状以及是否有危险的表现。",
        "需要检查孩子的身体状况，看看是否有其他异常。",
        "家长要判断孩子有没有发热。",
    ],
)
def test_what_parents_are_told_to_find_out_is_no_question(turn: str) -> None:
    assert hear(turn).questions == ()


def test_several_questions_are_heard_in_their_order() -> None:
    turn = "宝宝体重多少？有没有呕吐、皮疹？\n另外，疫苗打了吗？"
    assert hear(turn).topics == ("weight", "vomiting", "rash", "vaccination")


def test_what_is_known_already_is_not_asked_again() -> None:
    assert hear("除了发热、咳嗽，还有什么别的不适吗？").topics == ("open",)
    assert hear("除发热外还有呕吐吗？").topics == ("vomiting",)


def test_a_list_that_is_announced_is_asked_for_and_advice_in_a_list_is_not() -> None:
    asked = hear("请补充以下信息：\n1. 体温\n2. 大便情况\n\n谢谢配合。")
    assert asked.topics == ("fever", "stool")
    assert not asked.concludes
    advice = hear("建议：\n1. 监测体温\n2. 观察大便\n3. 多喝水")
    assert advice.topics == ()
    assert advice.concludes


@pytest.mark.parametrize(
    ("turn", "concludes"),
    [
        ("考虑支气管炎，建议雾化治疗。", True),
        ("考虑支气管炎，建议雾化治疗。您还有什么问题吗？", True),
        ("考虑支气管炎。孩子有痰吗？", False),
        ("好的。", False),
        ("", False),
        ("建议去医院。这样可以吗？", True),
    ],
)
def test_a_conclusion_says_something_and_asks_nothing(turn: str, concludes: bool) -> None:
    assert hear(turn).concludes is concludes


def test_a_question_on_nothing_that_is_known_is_counted_as_unclear() -> None:
    assert hear("孩子喜欢什么颜色的玩具车？").unclear == 1


@given(st.text(max_size=200))
def test_any_text_can_be_heard(turn: str) -> None:
    heard = hear(turn)
    assert len(set(heard.topics)) == len(heard.topics)
    assert not (heard.concludes and heard.questions)


@given(st.permutations(sorted(EXAMPLES)).map(lambda names: names[:4]))
def test_questions_side_by_side_are_heard_as_each_by_itself(names: list[str]) -> None:
    alone = {topic for name in names for topic in hear(EXAMPLES[name]).topics}
    assert set(hear("".join(EXAMPLES[name] for name in names)).topics) == alone
