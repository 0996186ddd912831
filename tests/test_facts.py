"""Ages: what counts as one, what does not, and whose it is."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pediatricsgpt.facts import DAYS_PER_MONTH, ages, patient_age
from pediatricsgpt.records import age_band


def days(count: int) -> Decimal:
    return Decimal(count) / DAYS_PER_MONTH


@pytest.mark.parametrize(
    ("text", "months"),
    [
        ("3岁", 36),
        ("孩子3岁半了", 42),
        ("小孩三岁半", 42),
        ("半岁的宝宝", 6),
        ("3岁2个月", 38),
        ("1岁零3个月", 15),
        ("一岁一个月", 13),
        ("两岁十月宝宝咳嗽", 34),
        ("1.5岁男孩", 18),
        ("6个月大", 6),
        ("8个月的宝宝", 8),
        ("请问11个月小儿发烧怎么办", 11),
        ("宝宝6个月", 6),
        ("宝宝6个月了，拉肚子", 6),
        ("我家宝宝现在三个月了", 3),
        ("宝宝刚满5个月，晚上哭闹", 5),
        ("四个半月的宝宝", Decimal("4.5")),
        ("宝宝两个多月", 2),
        ("20个月宝宝发烧三天", 20),
        ("8月龄", 8),
        ("12周岁", 144),
        ("今年68岁", 816),
        ("二十三岁", 276),
        ("30多岁", 360),
        ("病毒感染性腹泻（女，3岁）", 36),
        ("反复咳嗽（男，2个月）", 2),
        ("虹膜炎（男，33）", 396),
        ("女，8个月19天", 8 + days(19)),
        ("出生15天", days(15)),
        ("生后3天", days(3)),
        ("新生儿出生两周", days(14)),
        ("28天大", days(28)),
        ("20多天大的宝宝", days(20)),
        ("宝宝30天:宝宝泪囊炎", days(30)),
        ("15天的宝宝肚子胀", days(15)),
        ("小孩刚满月，被检查出有甲减", 1),
        ("满月的宝宝打嗝", 1),
        ("早产儿，出生15天", days(15)),
        ("我的小孩出生三个月了", 3),
        ("年龄：6个月", 6),
        ("他是三、四年级，9岁", 108),
        ("患者资料：女、26岁、无高血压", 312),
        ("宝宝一岁五个月前天吃撑了", 17),
    ],
)
def test_an_age_is_read_exactly(text: str, months: Decimal | int) -> None:
    assert [age.months for age in ages(text)] == [Decimal(months)]


@pytest.mark.parametrize(
    "text",
    [
        "咳嗽3个月",
        "发烧3天",
        "发烧3天的孩子",
        "宝宝发烧3天了",
        "怀孕2个月",
        "怀孕三个月了，对宝宝有影响吗",
        "孕36周",
        "怀孕34周",
        "早产34周",
        "术后6个月",
        "治疗两年",
        "3年前",
        "3岁以下儿童",
        "5岁及以上儿童",
        "≥5岁",
        "<3岁者慎用",
        "未满1岁",
        "6～12岁",
        "6个月至5岁儿童",
        "1-3岁的孩子",
        "2、3岁的孩子",
        "近3个月",
        "每3个月复查",
        "宝宝3个月前摔过",
        "宝宝3天没拉大便",
        "宝宝已经5天了，还是不好",
        "宝宝3天大便一次",
        "出生六天后才打疫苗",
        "孩子3月份开始咳嗽",
        "还没满月",
        "满月脸",
        "产后满月",
        "生完宝宝3个月，腰疼",
        "十几岁",
        "骨龄8岁",
        "百日咳",
        "疗程7天",
    ],
)
def test_durations_bounds_and_ranges_are_no_ages(text: str) -> None:
    assert ages(text) == []


def test_the_place_of_an_age_is_exact() -> None:
    text = "我家宝宝3岁2个月，发热2天"
    (age,) = ages(text)
    assert text[age.start : age.end] == age.text == "3岁2个月"


@pytest.mark.parametrize(
    ("text", "months"),
    [
        ("我30岁，宝宝6个月", 6),
        ("我今年30岁，头疼", 360),
        ("孩子3岁时摔过，现在5岁，总说头疼", 60),
        ("孩子今年20岁", 240),
    ],
)
def test_the_age_is_that_of_the_patient(text: str, months: int) -> None:
    age = patient_age(text)
    assert age is not None
    assert age.months == months


def test_no_age_gives_none() -> None:
    assert patient_age("孩子发烧3天怎么办") is None
    assert patient_age("孩子3岁时摔过") is None


def test_28_days_end_the_neonate() -> None:
    assert age_band(float(ages("出生27天")[0].months)) == "neonate"
    assert age_band(float(ages("出生28天")[0].months)) == "young_infant"
