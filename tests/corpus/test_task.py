"""The three pediatric tasks and what is none of them."""

from __future__ import annotations

import pytest

from pediatricsgpt.corpus.task import (
    asks_treatment,
    collects_evidence,
    concludes,
    is_case,
    is_evidence_based,
    task_of,
)

OPENING = "医生您好，孩子咳嗽三天了，怎么办？"
CONCLUSION = "考虑急性支气管炎，建议多喝温水，口服氨溴索，三天后复查。"


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["孩子发烧吗？有痰吗？", CONCLUSION], True),
        (["孩子发烧吗？", CONCLUSION, "不客气，祝孩子早日康复！"], True),
        (["咳嗽多久了", CONCLUSION], True),
        ([f"孩子发烧吗？{CONCLUSION}"], False),
        (["多喝水就可以了。", CONCLUSION], False),
        (["请问还有什么可以帮您？", CONCLUSION], False),
        (["孩子发烧吗？", "有痰吗？"], False),
        (["孩子发烧吗？", "不客气，再见。"], False),
        ([CONCLUSION, "孩子现在发烧吗？"], False),
        (["孩子发烧吗？", CONCLUSION, "一天吐几次？"], True),
        (["您可以告诉我孩子的年龄和症状吗？我先了解一下。", CONCLUSION], True),
    ],
)
def test_evidence_is_asked_for_before_a_conclusion(answers: list[str], expected: bool) -> None:
    assert is_evidence_based(answers) is expected


def test_evidence_and_courtesy_questions() -> None:
    assert collects_evidence("大便一天几次")
    assert collects_evidence("请问孩子有没有过敏史？")
    assert collects_evidence("我有几个问题需要了解一下，孩子最近是否有发热、咳嗽等症状？")
    assert collects_evidence("您可以告诉我一下孩子的年龄和大便情况。")
    assert not collects_evidence("您需要我介绍一下疫苗吗？")
    assert not collects_evidence("您还有其他问题吗？")
    assert not collects_evidence("这样处理可以吗？")
    assert not collects_evidence("建议到医院看看有没有炎症。")


def test_conclusions_and_courtesies() -> None:
    assert concludes("这可能是鼻泪管阻塞，需要去眼科门诊冲洗一下！")
    assert not concludes("需要我给您解释一下吗？")
    assert not concludes("不客气，希望建议对您有所帮助。如果有任何问题，可以随时向我咨询。祝宝宝早日康复！")
    assert concludes("不客气，宝宝如果再次发热，请及时就诊。")


@pytest.mark.parametrize(
    ("turns", "task"),
    [
        (["小儿肺炎的病因是什么？", "多由病毒或细菌感染引起。"], "medkqa"),
        (["小儿肺炎怎么治疗？", "以抗感染治疗为主。"], "medkqa"),
        (["我家宝宝8个月，发烧两天，吃什么药好？", "可口服对乙酰氨基酚。"], "trerecom"),
        (["一名5岁男孩确诊为肺炎支原体肺炎，应如何治疗？", "首选大环内酯类。"], "trerecom"),
        (["一名2岁男童出现哭闹时气促、发绀，经检查诊断为法洛四联症", "治疗以手术为主。"], "trerecom"),
        ([OPENING, "孩子发烧吗？", "不烧", CONCLUSION], "evidiag"),
        ([OPENING, "多喝水。", "好的", CONCLUSION], "trerecom"),
        (["宝宝拉肚子可以吃蜂蜜吗？", "不可以。", "那面食呢？", "可以。"], "medkqa"),
        (["医生，我孩子的化验单。", "收到。", "好的", "请稍等一下。"], "general"),
    ],
)
def test_a_childs_dialogue_has_its_task(make, turns: list[str], task: str) -> None:
    assert task_of(make.dialogue(*turns), pediatric=True) == task


def test_others_have_none_of_the_three(make) -> None:
    adult = make.dialogue("我今年45岁，头疼三天，吃什么药？", "建议检查血压。")
    assert task_of(adult, pediatric=False) == "general"
    assert task_of(make.dialogue(OPENING, CONCLUSION, task="safety"), pediatric=True) == "safety"
    assert task_of(make.dialogue(OPENING, CONCLUSION, task="general"), pediatric=True) == "general"
    assert task_of(make.preference(OPENING, CONCLUSION, "不知道。"), pediatric=True) == "general"
    assert task_of(make.section("正文。", "指南"), pediatric=True) == ""


def test_a_case_is_somebody_with_something() -> None:
    assert is_case(["我女儿3岁，这两天总说肚子疼"])
    assert is_case(["2岁男孩腹泻三天，大便呈蛋花汤样"])
    assert not is_case(["小儿腹泻怎么治疗"])
    assert asks_treatment(["孩子感冒咳嗽，该怎么护理"])
    assert asks_treatment(["发烧两天，打退烧针好不好"])
    assert asks_treatment(["这个病能彻底治愈吗"])
    assert not asks_treatment(["吃什么药都不见好，哪家医院看得好"])
    assert not asks_treatment(["三个月的宝宝可以喝什么果汁"])
    assert not asks_treatment(["孩子几个月开始长牙"])
