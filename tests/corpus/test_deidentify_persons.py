"""Names are found by where they stand: rare ones, and children who are called after food, toys or animals."""

from __future__ import annotations

import itertools

import pytest

from pediatricsgpt.corpus.deidentify import find
from pediatricsgpt.corpus.deidentify.lexicon import cue_pattern

NAMES = [
    "庞若溪",
    "龚一帆",
    "褚嘉懿",
    "邬胜男",
    "展宇航",
    "靳丹",
    "牟骁",
    "令狐楚楚",
    "焦建国",
    "白婷婷",
    "迟沁怡",
    "仇佳怡",
]
PLACES = [
    "患儿{}，反复咳嗽三天",
    "本人{}，最近总是头晕",
    "外孙女{} 今天还是拉肚子",
    "我闺女{}今年三岁",
    "我家老大{}，过敏体质",
    "叫{}的那个孩子今天出院吗",
    "你好我想问一下{}的报告",
    "{} 男 2岁 发热",
    "我是{}的妈妈",
    "请{}的家长到护士站来一下",
    "下一个{}",
    "给{}挂个号",
    "双胞胎，哥哥{}，妹妹也在发烧",
    "孩子舅舅{}陪同",
    "外婆{}代诉病史",
    "上次是{}医生看的",
    "咨询过{}院长，说可以",
    "管床医生是{}",
    "呼吸科{}医生让复查",
]
CHILDREN = [
    "南瓜",
    "泡芙",
    "小石榴",
    "豆子",
    "米朵",
    "果宝",
    "涵仔",
    "阿杰",
    "小熊",
    "泥鳅",
    "团团",
    "花卷",
    "月亮",
    "二妞",
]
DOINGS = [
    "{}昨晚发烧了",
    "{}的体温降下来了",
    "{}妈妈在吗",
    "我们家{}又拉肚子了",
    "给{}喂了药",
    "带{}去打针",
    "{}又吐了",
    "宝宝叫{}",
    "昵称：{}。",
    "我们都喊她{}",
    "{}不肯吃药",
    "{}烧到39度",
    "{}从昨天开始咳嗽",
    "{}今年两岁半",
]
NOBODY = """
结果昨天又发烧了，后来不肯吃药，全身起了红疹
风寒咳嗽和尘螨过敏怎么办，鸡蛋过敏的孩子能打疫苗吗
医生建议住院，处方打针吃药，口服感冒药
患者高热，病人神志清楚，孩子平时体健，宝宝精神好
爷爷都有高血压，孩子都好，患者应首先去医院，由专科医生决定
那医生，如果我需要治疗，有什么办法。从医生开的药里
许多原因，经过许多医生，如何正常吃饭，用药3周为宜
新手妈妈，全职妈妈，哺乳期妈妈，宝宝妈妈，孩子爸爸
向医生咨询，小时医生，老中医，查体，查医生资质
通过学校，从经验中学习，从成功和失败中学到，吸引关注学校，这个城镇
基础体温升高，绿色大便正常，有点流鼻涕，总爱感冒
天天喝药，明明打了疫苗，一点儿没胃口
""".strip().splitlines()


@pytest.mark.parametrize(("name", "place"), list(itertools.product(NAMES, PLACES)))
def test_whoever_stands_in_the_place_of_a_person_is_found(name: str, place: str) -> None:
    covered = {at for item in find(place.format(name)) for at in range(item.start, item.end)}
    start = place.index("{")
    assert set(range(start, start + len(name))) <= covered


@pytest.mark.parametrize(("name", "doing"), list(itertools.product(CHILDREN, DOINGS)))
def test_what_does_what_only_a_child_does_is_a_childs_name(name: str, doing: str) -> None:
    assert name in [item.text for item in find(doing.format(name)) if item.kind in ("nickname", "name")]


@pytest.mark.parametrize(
    ("text", "surname"),
    [
        ("小范护士扎的针", "范"),
        ("祝教授也看过", "祝"),
        ("老邬医生看的", "邬"),
        ("麻烦向医师了", "向"),
        ("亓主任您好", "亓"),
    ],
)
def test_surnames_before_a_title(text: str, surname: str) -> None:
    assert [item.text for item in find(text)] == [surname]


@pytest.mark.parametrize("text", NOBODY)
def test_where_nobody_is_meant_nothing_is_found(text: str) -> None:
    assert find(text) == []


@pytest.mark.parametrize(
    ("text", "handle"),
    [
        ("加一下vxlulu_9981", "lulu_9981"),
        ("微信同号baobao-ma66", "baobao-ma66"),
        ("我的绿泡泡是happy2020", "happy2020"),
        ("v❤：tt520tt", "tt520tt"),
    ],
)
def test_handles_of_message_services_in_disguise(text: str, handle: str) -> None:
    assert handle in [item.text for item in find(text)]


@pytest.mark.parametrize(
    ("text", "school"),
    [
        ("今年上上海市向阳幼儿园小二班", "上海市向阳幼儿园小二班"),
        ("就读于外国语学校三年级", "外国语学校三年级"),
        ("孩子在县一中高二上学", "县一中高二"),
    ],
)
def test_schools_that_begin_like_a_verb_or_have_no_name_of_their_own(text: str, school: str) -> None:
    assert [item.text for item in find(text) if item.kind == "school"] == [school]


def test_cues_are_spread_out_without_a_change_of_meaning() -> None:
    assert cue_pattern(["(?:a|b(?:c|d))e", "x(?<=x)y|(?:p|q)?z"]) == "(?:ae|b(?:c|d)e|x(?<=x)y|(?:p|q)?z)"
