"""What a teacher may not lose, add or turn round."""

from __future__ import annotations

import random
import re

import pytest

from pediatricsgpt.corpus.build.fidelity import check, entities
from pediatricsgpt.facts import extract
from pediatricsgpt.text import sentences

SOURCE = "宝宝发烧38.5度，没有咳嗽，可以口服布洛芬混悬液5ml，每天3次，共3天，不要用阿司匹林，不用输液。"


@pytest.mark.parametrize(
    "new",
    [
        SOURCE,
        "孩子发热38.5℃，没有咳嗽，可以口服布洛芬混悬液5ml，每天3次，连续3天；不要使用阿司匹林，也不用输液。",
        "1. 宝宝发高烧38.5度，没有咳嗽。\n2. 可以口服布洛芬混悬液5ml，每天3次，共3天。\n3. 不要用阿司匹林，不用输液。",
        "首先，孩子目前发烧３８．５度，没有咳嗽，请别着急。可以口服布洛芬混悬液5毫升，每天三次，共三天。不要用阿司匹林，不用输液。",
    ],
)
def test_other_words_for_the_same_facts_pass(new: str) -> None:
    for mode in ("grounded", "complete", "step"):
        assert check(SOURCE, new, mode) == []


@pytest.mark.parametrize(
    ("find", "put", "kinds"),
    [
        ("5ml", "15ml", {"added dose", "missing dose"}),
        ("5ml", "5L", {"added dose", "missing dose"}),
        ("38.5度", "39.5度", {"added temperature", "missing temperature"}),
        ("每天3次", "每天4次", {"added frequency", "missing frequency"}),
        ("共3天", "共5天", {"added duration", "missing duration"}),
        ("布洛芬混悬液", "对乙酰氨基酚混悬液", {"added drug", "missing drug"}),
        ("没有咳嗽", "有咳嗽", {"changed negation"}),
        ("不要用阿司匹林", "可以用阿司匹林", {"changed negation"}),
        ("不用输液", "需要输液", {"changed negation"}),
        ("，不用输液", "，不用输液，考虑川崎病", {"added disease"}),
        ("，不用输液", "，不用输液，建议做心电图", {"added check"}),
        ("没有咳嗽，", "", {"missing disease"}),
        ("，不要用阿司匹林", "", {"missing drug"}),
    ],
)
def test_every_changed_fact_is_named(find: str, put: str, kinds: set[str]) -> None:
    assert find in SOURCE
    reasons = check(SOURCE, SOURCE.replace(find, put), "complete")
    assert {reason.partition(":")[0] for reason in reasons} == kinds


def test_a_grounded_answer_may_leave_out_but_not_add() -> None:
    assert check(SOURCE, "可以口服布洛芬混悬液5ml。", "grounded") == []
    assert check(SOURCE, "可以口服布洛芬混悬液5ml，同时吃头孢克肟。", "grounded") == ["added drug: 头孢克肟"]
    assert check(SOURCE, "孩子有咳嗽。", "grounded") == ["changed negation: 咳嗽"]


def test_what_was_said_before_may_be_repeated_but_need_not_be() -> None:
    turn, before = "可以吃，5ml。", "孩子3岁，咳嗽两天，能吃布洛芬吗？"
    new = "您说孩子3岁，咳嗽两天，可以吃布洛芬，一次5ml。"
    assert check(turn, new, "complete", context=before) == []
    assert check(turn, new, "complete") != []
    assert check(turn, "可以吃，请喂5ml。", "complete", context=before) == []


def test_a_safety_net_may_name_symptoms_but_no_drugs_or_numbers() -> None:
    source = "小儿腹泻要注意补液。"
    net = "如果出现嗜睡、呕吐，请及时就医。"
    assert check(source, source + net, "step") == []
    assert check(source, source + net, "complete") != []
    assert check(source, source + "如果出现嗜睡，请口服蒙脱石散并及时就医。", "step") == ["added drug: 蒙脱石"]
    assert check(source, source + "如果39度以上，请及时就医。", "step") != []
    assert check(source, source + "如果叫不醒，请立即拨打120。", "step") == []
    assert check(source, source + "考虑肠套叠。", "step") == ["added disease: 肠套叠"]


def test_a_bare_number_may_be_spelt_out_before_the_same_word() -> None:
    assert check("停用这三种药，分两步做。", "停用这3种药，分2步做。", "complete") == []
    assert check("停用这3种药。", "停用这三种药。", "complete") == []
    assert check("孩子大三阳，停药。", "孩子大三阳，停3种药。", "complete") != []


def test_a_question_denies_nothing() -> None:
    assert check("有没有咳嗽？", "请问孩子有没有咳嗽？", "complete") == []
    assert check("咳嗽吗？", "孩子是否咳嗽？", "complete") == []


def test_entities_are_the_longest_names() -> None:
    found = [(entity.name, entity.kind, entity.denied) for entity in entities("支原体肺炎，没有呼吸困难，查血常规。")]
    assert ("支原体肺炎", "disease", False) in found
    assert ("呼吸困难", "symptom", True) in found
    assert ("血常规", "check", False) in found
    assert "肺炎" not in {name for name, _, _ in found}


def doctor_turns(records):
    for record in records:
        if record.shape == "messages" and record.family == "conversation":
            yield from (turn["content"] for turn in record.messages if turn["role"] == "assistant")


def test_a_real_turn_is_faithful_to_itself_and_with_courtesies(real_records) -> None:
    turns = random.Random(3).sample(sorted(set(doctor_turns(real_records))), 400)
    assert [turn for turn in turns if check(turn, turn, "complete")] == []
    polite = [
        turn
        for turn in turns
        if check(turn, f"您好，谢谢您的信任。{turn}\n请您放心，我们一起来照顾好孩子。", "complete")
    ]
    assert len(polite) <= 0.01 * len(turns)


def guideline_sentences(records):
    for record in records:
        if record.source.kind == "guideline":
            yield from sentences(record.text)


MEASURED = re.compile(r"(?<![\d.A-Za-z～~-])\d+(?:\.\d+)?(?=\s?(?:个|天|次|岁|小时|m|毫|克|片|粒|袋|周|月|%|℃|度))")


def test_every_changed_number_of_real_turns_is_seen(real_records) -> None:
    """Each number with a unit is changed in turn; what must be seen is known from the change itself."""
    changed = [
        (turn, f"{turn[: match.start()]}{float(match.group()) * 7 + 1000.5:g}{turn[match.end() :]}")
        for turn in sorted({*doctor_turns(real_records), *guideline_sentences(real_records)})
        for match in MEASURED.finditer(turn)
    ]
    assert len(changed) > 300
    assert [pair for pair in changed if not check(*pair, "complete")] == []


def test_swapped_drugs_and_turned_negations_of_real_turns_are_seen(real_records) -> None:
    """A drug in place of another is always seen; a denial made an advice in at least nine of ten."""
    swapped, turned = [], []
    for turn in random.Random(4).sample(sorted(set(doctor_turns(real_records))), 500):
        for fact in extract(turn):
            if fact.kind == "drug" and "阿奇" not in fact.text:
                swapped.append(check(turn, f"{turn[: fact.start]}阿奇霉素{turn[fact.end :]}", "complete"))
            elif fact.kind == "negation" and fact.name and fact.text.startswith(fact.name):
                advice = f"{turn[: fact.start]}需要{turn[fact.start + len(fact.name) :]}"
                turned.append(check(turn, advice, "complete"))
    assert len(swapped) > 50
    assert len(turned) > 200
    assert all(swapped)
    assert sum(map(bool, turned)) >= 0.9 * len(turned)
