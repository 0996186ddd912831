"""What a teacher may not lose, add or turn round."""

from __future__ import annotations

import itertools
import random
import re

import pytest

from pediatricsgpt.corpus.build.fidelity import Mode, check, entities
from pediatricsgpt.corpus.build.preferences_teacher import problems as rephrased
from pediatricsgpt.corpus.build.rewrite import problems
from pediatricsgpt.facts import extract
from pediatricsgpt.records import Message
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


MODES = ("grounded", "complete", "step")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("source", "new", "kind"),
    [
        ("布洛芬5ml，对乙酰氨基酚1.5ml。", "布洛芬1.5ml，对乙酰氨基酚5ml。", "changed dose"),
        ("5ml布洛芬和1.5ml对乙酰氨基酚。", "1.5ml布洛芬和5ml对乙酰氨基酚。", "changed dose"),
        ("布洛芬5ml每日三次；头孢克肟50mg每日两次。", "布洛芬5ml每日两次；头孢克肟50mg每日三次。", "changed frequency"),
        (
            "6个月以上可用布洛芬，3个月以上可用对乙酰氨基酚。",
            "3个月以上可用布洛芬，6个月以上可用对乙酰氨基酚。",
            "changed duration",
        ),
        (
            "6个月以上用布洛芬、3个月以上用对乙酰氨基酚。",
            "3个月以上用布洛芬、6个月以上用对乙酰氨基酚。",
            "changed duration",
        ),
        ("孩子发热3天，咳嗽5天。", "孩子发热5天，咳嗽3天。", "changed duration"),
        ("发热3天咳嗽5天。", "发热5天咳嗽3天。", "changed duration"),
        ("体温超过38.5℃时服用布洛芬。", "体温低于38.5℃时服用布洛芬。", "added temperature"),
        ("体温超过38.5时服用布洛芬。", "体温低于38.5时服用布洛芬。", "added number"),
        ("布洛芬1岁以下2.5ml，1至3岁5ml。", "布洛芬1岁以下5ml，1至3岁2.5ml。", "changed dose"),
        ("6个月以上每次一袋，3岁以上每次两袋。", "3岁以上每次一袋，6个月以上每次两袋。", "changed count"),
        ("布洛芬每次10mg/kg。", "布洛芬每次10mg。", "added dose"),
        ("布洛芬每次5～10ml。", "布洛芬每次10ml。", "added dose"),
    ],
)
def test_what_changed_places_or_bounds_is_seen_in_every_mode(mode: Mode, source: str, new: str, kind: str) -> None:
    assert kind in {reason.partition(":")[0] for reason in check(source, new, mode)}
    assert check(source, source, mode) == []


@pytest.mark.parametrize(
    ("source", "new"),
    [
        ("阿奇霉素0.5g tid。", "阿奇霉素500mg，每日三次。"),
        ("头孢克肟每次50mg，每12小时一次。", "头孢克肟每次50毫克，每日两次。"),
        ("5ml布洛芬和1.5ml对乙酰氨基酚。", "布洛芬5ml，对乙酰氨基酚1.5ml。"),
        ("布洛芬和对乙酰氨基酚都是5ml。", "对乙酰氨基酚和布洛芬都是5ml。"),
        ("体温超过38.5℃用布洛芬。", "体温在38.5度以上时用布洛芬。"),
        ("发热伴咳嗽3天。", "孩子发热已经3天了，还伴有咳嗽。"),
        ("布洛芬5ml，对乙酰氨基酚1.5ml。", "先说对乙酰氨基酚，一次1.5毫升；再说布洛芬，一次5毫升。"),
        ("1岁以下一次2.5ml，1至3岁一次5ml。", "1至3岁：一次5毫升；1岁以下：一次2.5毫升。"),
        ("宝宝18个月，布洛芬5ml。", "宝宝1岁半，布洛芬一次5毫升。"),
    ],
)
def test_the_same_amount_of_the_same_thing_passes_in_other_words(source: str, new: str) -> None:
    assert check(source, new, "complete") == []
    assert check(new, source, "complete") == []


def test_a_dose_that_only_the_caregiver_named_is_no_advice() -> None:
    turn, asked = "口服5ml。", "孩子3岁，能不能吃10ml，每天6次？"
    for new in ("口服5ml，不够再加到10ml。", "口服5ml，不够再加到10。", "口服5ml，每天6次。"):
        assert check(turn, new, "complete", context=asked) != [], new
        assert check(turn, new, "complete", own=asked) == [], new  # the doctor's own words may be repeated
    assert check(turn, "孩子3岁，口服5ml。", "complete", context=asked) == []


def test_a_dialogue_is_checked_with_the_doses_of_the_doctor_alone() -> None:
    dialogue: list[Message] = [
        {"role": "user", "content": "孩子3岁，能不能吃10ml布洛芬？"},
        {"role": "assistant", "content": "布洛芬5ml就可以。"},
        {"role": "user", "content": "好的。"},
        {"role": "assistant", "content": "多喝水。"},
    ]
    kept = ["孩子3岁，布洛芬5ml就可以。", "布洛芬按5ml吃，多喝水。"]
    raised = [kept[0], "布洛芬按10ml吃，多喝水。"]
    assert problems(dialogue, kept, "complete") == []
    assert problems(dialogue, raised, "complete") == ["added dose: 10ml"]
    assert rephrased(dialogue, kept[1]) == []
    assert rephrased(dialogue, raised[1]) == ["added dose: 10ml"]


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


def test_swapped_doses_and_turned_bounds_of_real_turns_are_seen(real_records) -> None:
    """Amounts of two drugs that change places, and bounds that become their opposite: nothing else is changed."""
    opposite = {"超过": "低于", "高于": "低于", "大于": "小于", "低于": "高于", "小于": "大于"}
    swapped, turned = [], []
    for text in sorted({*doctor_turns(real_records), *guideline_sentences(real_records)}):
        doses = [fact for fact in extract(text) if fact.kind in ("dose", "frequency")]
        for one, two in itertools.pairwise(doses):
            between = text[one.end : two.start]
            if one.kind == two.kind and one.text != two.text and any(f.kind == "drug" for f in extract(between)):
                new = f"{text[: one.start]}{two.text}{between}{one.text}{text[two.end :]}"
                swapped.append(check(text, new, "complete"))
        for match in re.finditer(rf"({'|'.join(opposite)})(?=\d)", text):
            turned.append(check(text, f"{text[: match.start()]}{opposite[match[0]]}{text[match.end() :]}", "complete"))
    assert min(len(swapped), len(turned)) > 10
    assert sum(map(bool, swapped)) >= 0.9 * len(swapped)
    assert sum(map(bool, turned)) >= 0.9 * len(turned)
