"""A rewriting against its source: what says the same is equal, what does not is found."""

from __future__ import annotations

import pytest

from pediatricsgpt.facts import difference, extract, normalised


def changes(source: str, rewritten: str) -> list[tuple[str, str]]:
    return [(found.change, found.kind) for found in difference(source, rewritten)]


@pytest.mark.parametrize(
    ("source", "rewritten"),
    [
        ("0.5g", "500mg"),
        ("0.5g", "500毫克"),
        ("5ml", "5毫升"),
        ("1岁半的宝宝", "宝宝18个月"),
        ("三次/日", "每日3次"),
        ("tid", "一天三次"),
        ("每8小时一次", "一日三次"),
        ("每4～6小时一次", "每日4～6次"),
        ("q12h", "bid"),
        ("100mg/5ml", "20mg/ml"),
        ("5ml:100mg", "100mg/5ml"),
        ("两周", "14天"),
        ("半小时", "30分钟"),
        ("1年", "12个月"),
        ("24斤", "12公斤"),
        ("38度5", "38.5℃"),
        ("≥38.5℃", "38.5度以上"),
        ("10mg/kg/次", "每次10mg/kg"),
        ("每公斤体重10毫克", "10mg/kg"),
        ("1/2片", "半片"),
        ("美林", "布洛芬混悬液"),
        ("无发热、咳嗽", "没有发烧，也没有咳嗽"),
        ("不要捂汗", "避免捂汗"),
        ("乙型肝炎疫苗", "乙肝疫苗"),
        ("直径2.5cm", "直径25mm"),
        ("布洛芬5ml。布洛芬每日3次", "布洛芬5ml，每日3次"),
    ],
)
def test_the_same_facts_in_other_words_are_no_difference(source: str, rewritten: str) -> None:
    assert difference(source, rewritten) == []
    assert difference(rewritten, source) == []


@pytest.mark.parametrize(
    ("source", "rewritten", "expected"),
    [
        ("布洛芬10mg/kg", "布洛芬100mg/kg", [("changed", "dose")]),
        ("布洛芬5ml", "布洛芬", [("missing", "dose")]),
        ("多喝水", "多喝水，可服阿莫西林", [("added", "drug")]),
        ("一日三次", "一日两次", [("changed", "frequency")]),
        ("儿童禁用阿司匹林", "儿童可用阿司匹林", [("changed", "drug"), ("changed", "negation")]),
        ("未见皮疹", "可见皮疹", [("changed", "negation")]),
        ("可见皮疹", "未见皮疹", [("changed", "negation")]),
        ("无发热，精神好", "精神好", [("missing", "negation")]),
        ("3岁以下慎用", "3岁以上慎用", [("changed", "age")]),
        ("布洛芬5ml，对乙酰氨基酚3ml", "布洛芬3ml，对乙酰氨基酚5ml", [("changed", "dose"), ("changed", "dose")]),
        ("布洛芬", "阿莫西林", [("missing", "drug"), ("added", "drug")]),
        ("5g/L", "5mg/L", [("changed", "measurement")]),
        ("接种乙肝疫苗", "接种甲肝疫苗", [("missing", "vaccine"), ("added", "vaccine")]),
        ("共300人", "共30人", [("changed", "number")]),
    ],
)
def test_what_was_changed_is_found(source: str, rewritten: str, expected: list[tuple[str, str]]) -> None:
    assert sorted(changes(source, rewritten)) == sorted(expected)


def test_a_text_does_not_differ_from_itself() -> None:
    from tests.facts.score import sentences

    for row in sentences():
        assert difference(row["text"], row["text"]) == []


def test_kinds_can_be_chosen() -> None:
    assert difference("5ml，3天", "6ml，4天", kinds=("dose",))[0].kind == "dose"
    assert difference("5ml，3天", "5ml，4天", kinds=("dose",)) == []


def test_a_difference_reads_as_one_line() -> None:
    assert str(difference("布洛芬5ml", "布洛芬50ml")[0]) == "changed dose: 5ml -> 50ml"


def test_normalised_facts_are_a_multiset() -> None:
    assert normalised(extract("0.5g，500mg")) == normalised(extract("500mg，0.5g"))
    assert normalised(extract("0.5g，500mg")).total() == 2
