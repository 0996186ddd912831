"""The extractor: every kind of fact in the ways that people write it, with its exact place and value."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pediatricsgpt.facts import KINDS, Fact, extract
from tests.facts.score import sentences


def one(text: str, kind: str) -> Fact:
    (fact,) = [fact for fact in extract(text) if fact.kind == kind]
    return fact


@pytest.mark.parametrize(
    ("text", "kind", "surface", "low", "high", "unit"),
    [
        ("一日三次", "frequency", "一日三次", "3", None, "/day"),
        ("每日2～3次", "frequency", "每日2～3次", "2", "3", "/day"),
        ("一天两到三次", "frequency", "一天两到三次", "2", "3", "/day"),
        ("每8小时服用", "frequency", "每8小时", "8", None, "every hour"),
        ("每4~6小时一次", "frequency", "每4~6小时一次", "4", "6", "every hour"),
        ("口服，bid。", "frequency", "bid", "2", None, "/day"),
        ("q8h静滴", "frequency", "q8h", "8", None, "every hour"),
        ("隔日一次", "frequency", "隔日一次", "2", None, "every day"),
        ("早晚各一次", "frequency", "早晚各一次", "2", None, "/day"),
        ("呼吸60次/分", "frequency", "60次/分", "60", None, "/minute"),
        ("每次2片", "count", "2片", "2", None, "片"),
        ("服三袋", "count", "三袋", "3", None, "袋"),
        ("每次半片", "count", "半片", "0.5", None, "片"),
        ("每次1/2袋", "count", "1/2袋", "0.5", None, "袋"),
        ("四分之一片", "count", "四分之一片", "0.25", None, "片"),
        ("每次2-4喷", "count", "2-4喷", "2", "4", "喷"),
        ("连服3天", "duration", "3天", "3", None, "day"),
        ("两周后复查", "duration", "两周", "2", None, "week"),
        ("咳嗽一个半月", "duration", "一个半月", "1.5", None, "month"),
        ("一年零六个月", "duration", "一年零六个月", "18", None, "month"),
        ("疗程7日", "duration", "7日", "7", None, "day"),
        ("每次10mg", "dose", "10mg", "10", None, "mg"),
        ("0.5 g口服", "dose", "0.5 g", "0.5", None, "g"),
        ("两百毫升", "dose", "两百毫升", "200", None, "ml"),
        ("十毫克", "dose", "十毫克", "10", None, "mg"),
        ("10-15mg/kg", "dose", "10-15mg/kg", "10", "15", "mg/kg"),
        ("20mg/（kg·d）", "dose", "20mg/（kg·d）", "20", None, "mg/kg/day"),
        ("每公斤体重10毫克", "dose", "每公斤体重10毫克", "10", None, "mg/kg"),
        ("青霉素80万单位", "dose", "80万单位", "800000", None, "U"),
        ("100mg/5ml", "concentration", "100mg/5ml", "100", None, "mg/5ml"),
        ("15ml:0.6g", "concentration", "15ml:0.6g", "0.6", None, "g/15ml"),
        ("0.9%氯化钠注射液", "concentration", "0.9%", "0.9", None, "%"),
        ("血糖5.6mmol/L", "measurement", "5.6mmol/L", "5.6", None, "mmol/L"),
        ("WBC 12.5×10^9/L", "measurement", "12.5×10^9/L", "12.5", None, "10^9/L"),
        ("血压90/60", "measurement", "90/60", "90", "60", "mmHg"),
        ("中性粒细胞83.4%", "measurement", "83.4%", "83.4", None, "%"),
        ("近视800度", "measurement", "800度", "800", None, "度"),
        ("体重12.5kg", "weight", "12.5kg", "12.5", None, "kg"),
        ("孩子28斤", "weight", "28斤", "14", None, "kg"),
        ("出生体重2500g", "weight", "2500g", "2.5", None, "kg"),
        ("38度5", "temperature", "38度5", "38.5", None, "℃"),
        ("体温38-39℃", "temperature", "38-39℃", "38", "39", "℃"),
        ("烧到39.5，", "temperature", "39.5", "39.5", None, "℃"),
        ("体温３８．５℃", "temperature", "３８．５℃", "38.5", None, "℃"),
        ("6～12岁儿童", "age", "6～12岁", "72", "144", "month"),
        ("宝宝1岁半", "age", "1岁半", "18", None, "month"),
        ("出生15天", "age", "15天", "15", None, "day"),
        ("3~6个月婴儿", "age", "3~6个月", "3", "6", "month"),
        ("6个月以下的婴儿", "age", "6个月", "6", None, "month"),
        ("发烧3天的孩子", "duration", "3天", "3", None, "day"),
        ("每次2/3片", "count", "2/3片", "2", None, "片/3"),
        ("1,000mg/5ml", "concentration", "1,000mg/5ml", "1000", None, "mg/5ml"),
        ("6个月-5岁：", "age", "6个月-5岁", "6", "60", "month"),
        ("编号77号", "number", "77", "77", None, ""),
    ],
)
def test_amounts_are_read_exactly(text: str, kind: str, surface: str, low: str, high: str | None, unit: str) -> None:
    fact = one(text, kind)
    assert (fact.text, fact.value, fact.high, fact.unit) == (
        surface,
        Decimal(low),
        None if high is None else Decimal(high),
        unit,
    )


@pytest.mark.parametrize(
    ("text", "relation"),
    [
        ("体温≥38.5℃", ">="),
        ("发热38.5℃以上", ">="),
        ("超过39℃", ">"),
        ("最大量不超过200mg", "<="),
        ("不得超过3日", "<="),
        ("3岁以下", "<="),
        ("未满1岁", "<"),
        ("24小时内", "<="),
        ("至少停药3天", ">="),
        ("两个多月", ">"),
        ("每次5ml", "="),
    ],
)
def test_bounds_are_read(text: str, relation: str) -> None:
    (fact,) = [fact for fact in extract(text) if fact.value is not None]
    assert fact.relation == relation


@pytest.mark.parametrize(
    "text",
    [
        "皮肤有一片红疹",
        "一天不如一天",
        "有一天他突然发热",
        "十分难受",
        "万一发热怎么办",
        "第三天",
        "支气管炎",
        "百日咳",
        "四肢冰凉",
        "今年3月",
        "上小学一年级",
        "天花",
        "多喝水，补充维生素和钙",
        "半月板",
        "胰岛素抵抗",
        "尿素氮",
        "富含葡萄糖的食物",
        "不客气，祝您健康",
        "您有没有发热",
        "是不是感冒",
        "感觉不舒服，四肢无力",
        "消化不良",
    ],
)
def test_what_only_looks_like_a_fact_is_none(text: str) -> None:
    assert [fact for fact in extract(text) if fact.kind != "number"] == []


@pytest.mark.parametrize(
    ("text", "surface", "sort"),
    [
        ("无发热", "无发热", "absent"),
        ("没有咳嗽了", "没有咳嗽", "absent"),
        ("未见皮疹。", "未见皮疹", "absent"),
        ("否认药物过敏史", "否认药物过敏史", "absent"),
        ("孩子不咳嗽", "不咳嗽", "absent"),
        ("不宜服用", "不宜服用", "forbidden"),
        ("孕妇禁用", "孕妇禁用", "forbidden"),
        ("禁用阿司匹林", "禁用阿司匹林", "forbidden"),
        ("不要给孩子捂汗", "不要给孩子捂汗", "forbidden"),
        ("尽量避免去人多的地方", "避免去人多的地方", "forbidden"),
        ("无需用药", "无需用药", "unneeded"),
        ("病理征未引出", "未引出", "absent"),
        ("无发热但有咳嗽", "无发热", "absent"),
    ],
)
def test_negations_have_their_scope(text: str, surface: str, sort: str) -> None:
    fact = one(text, "negation")
    assert (fact.text, fact.unit, fact.negated) == (surface, sort, True)


def test_what_stands_in_a_negation_is_negated() -> None:
    facts = {fact.name: fact.negated for fact in extract("儿童禁用阿司匹林，可用布洛芬") if fact.kind == "drug"}
    assert facts == {"阿司匹林": True, "布洛芬": False}


def test_every_label_of_the_sentences_is_a_kind_and_its_text() -> None:
    for row in sentences():
        for fact in row["facts"]:
            assert fact["kind"] in KINDS
            assert row["text"][fact["start"] : fact["end"]] == fact["text"]


def test_places_are_exact_in_order_and_repeatable() -> None:
    for row in sentences():
        facts = extract(row["text"])
        assert all(row["text"][fact.start : fact.end] == fact.text for fact in facts)
        assert [fact.start for fact in facts] == sorted(fact.start for fact in facts)
        assert extract(row["text"]) == facts


def test_amounts_and_names_do_not_overlap() -> None:
    for row in sentences():
        facts = [fact for fact in extract(row["text"]) if fact.kind != "negation"]
        assert all(one.end <= other.start for one, other in pairwise(facts))


def test_full_width_digits_change_nothing() -> None:
    wide = str.maketrans("0123456789%", "０１２３４５６７８９％")
    for row in sentences():
        narrow, broad = extract(row["text"]), extract(row["text"].translate(wide))
        assert [(f.kind, f.start, f.end, f.value, f.unit) for f in narrow] == [
            (f.kind, f.start, f.end, f.value, f.unit) for f in broad
        ]


@given(
    st.text(
        alphabet="0123456789.,:：/分之×^早晚各一二十百万半几每日天次片mgkl/%℃度岁个月年无不禁用、，~-（） 布洛芬美林",
        max_size=60,
    )
)
def test_any_text_is_read(text: str) -> None:
    for fact in extract(text):
        assert text[fact.start : fact.end] == fact.text
        assert fact.high is None or fact.unit == "mmHg" or fact.value < fact.high


def test_time_grows_with_the_length_only() -> None:
    text = "无发热，美林5ml，一日3次，不要捂汗，宝宝3岁，" * 2000
    assert len(extract(text)) == 12_000
