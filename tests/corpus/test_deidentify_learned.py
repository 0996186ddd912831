"""Names in surroundings that no rule foresees, and words that look like names and are none."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pediatricsgpt.corpus.deidentify import find
from pediatricsgpt.corpus.deidentify.candidates import BUCKETS_LOG2
from pediatricsgpt.corpus.deidentify.learned import WEIGHTS, learned, model, scored
from pediatricsgpt.corpus.deidentify.transcribed import transcribed

NAMES = ["方怡宁", "钱志远", "程晓岚", "顾明哲", "欧阳雨薇"]
SURROUNDINGS = [
    "助产士：{}，产程顺利",
    "被授权人{}，同意手术",
    "审核者：{}",
    "同桌{}也得了手足口病",
    "老大叫{}",
    "今日查房，{}精神可",
    "我妈{}带的孩子",
    "下一个{}请进来",
    "签字的是他姥姥{}对吧",
    "挂皮肤科{}的号",
]
MEDICINE = [
    "川崎病急性期可以用丙种球蛋白和阿司匹林",
    "唐氏综合征的孩子容易合并先天性心脏病",
    "高热时先物理降温，高烧不退要去医院",
    "黄芪、党参、白术、石斛、连翘、金银花各十克",
    "平时保持安静，方便的时候测一下体温",
    "雷诺病、马凡综合征、杜氏肌营养不良都很少见",
    "阿莫西林和阿奇霉素可以一起吃吗",
    "辅食可以加南瓜、苹果、胡萝卜和米粉",
    "宝宝天天哭闹，慢慢就好了",
    "从外科角度讲应该手术，但患者不同意",
    "万托林、孟鲁司特、布洛芬、美林都是常用药",
    "左右两侧颈部淋巴结肿大，何时复查",
]


@pytest.mark.parametrize("place", SURROUNDINGS)
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_known_by_its_shape_and_its_surroundings(name: str, place: str) -> None:
    text = place.format(name)
    start = text.index(name)
    covered = {i for item in find(text) for i in range(item.start, item.end)}
    assert set(range(start, start + len(name))) <= covered


@pytest.mark.parametrize("place", ["我们家{}昨晚又吐了", "早上给{}喂了药", "{}妈妈说不烧了", "宝宝{}三岁了，一直咳"])
@pytest.mark.parametrize("name", ["妍妍", "昕宝", "小宇", "阿哲", "Mia"])
def test_a_nickname_is_known_by_its_surroundings(name: str, place: str) -> None:
    text = place.format(name)
    start = text.index(name)
    covered = {i for item in find(text) for i in range(item.start, item.end)}
    assert set(range(start, start + len(name))) <= covered


@pytest.mark.parametrize(("text", "name"), [("患兒劉煜城，發燒三天", "劉煜城"), ("陳醫生說沒事", "陳")])
def test_traditional_characters_are_read_like_simplified_ones(text: str, name: str) -> None:
    assert [text[start:end] for start, end, _ in learned(text)] == [name]


@pytest.mark.parametrize("name", ["元宝", "冬冬", "嘉嘉", "小桃子", "团团"])
@pytest.mark.parametrize(
    "place", ["如果{}没有其他表现，就不用处理", "建议让{}平躺着睡为好", "必须带{}去做个检查", "观察{}有没有枕秃"]
)
def test_a_nickname_stands_where_real_sentences_say_baby(name: str, place: str) -> None:
    text = place.format(name)
    start = text.index(name)
    covered = {i for item in find(text) for i in range(item.start, item.end)}
    assert set(range(start, start + len(name))) <= covered


@pytest.mark.parametrize("text", ["隔壁小陆家的娃也这样", "小范，你家娃上次咋好的", "夜班老杨：四十六床退热"])
def test_a_surname_behind_little_or_old_is_a_name(text: str) -> None:
    assert any(item.text[-1] in "陆范杨" for item in find(text))


def test_a_full_name_goes_before_the_nickname_within_it() -> None:
    text = "母马珊珊，32岁"
    assert (1, 4, "name") in list(learned(text))


@pytest.mark.parametrize("text", MEDICINE)
def test_eponyms_drugs_food_and_adverbs_are_no_names(text: str) -> None:
    assert list(learned(text)) == []


@pytest.mark.parametrize(
    "name", ["扎西顿珠", "卓玛拉姆", "艾力江·吐尔逊", "乌云其木格", "巴雅尔", "阿拉坦花", "玉罕叫", "阿依古丽"]
)
def test_names_of_other_languages_are_found_whole(name: str) -> None:
    text = f"上回{name}，也是这样好的"
    found = [text[start:end] for start, end in transcribed(text)]
    assert name in found
    assert all(part in name for part in found)


@pytest.mark.parametrize("text", ["病人名字陈 珩；另外", "文 川 22010419810", "姓名：李 玉 涵，女"])
def test_a_name_that_is_spaced_out_is_found(text: str) -> None:
    assert len(list(transcribed(text))) == 1


@pytest.mark.parametrize("name", ["Zhang Zihan", "LI WEI", "Xiaoming Chen"])
def test_a_name_in_pinyin_is_found(name: str) -> None:
    text = f"患者{name}，5岁"
    assert [text[start:end] for start, end in transcribed(text)] == [name]


@pytest.mark.parametrize("text", ["Down Syndrome", "Hepatitis B Virus", "Vitamin D Level", "He can Long QT"])
def test_english_terms_are_no_names_in_pinyin(text: str) -> None:
    assert list(transcribed(text)) == []


@pytest.mark.parametrize(
    "text", ["家长述：咳嗽三天", "籍贯略，住址见首页", "夏天易出汗", "孩子六斤二两", "家长：谢谢，再见"]
)
def test_notes_and_forms_are_no_names(text: str) -> None:
    assert not [item.text for item in find(text) if item.kind in ("name", "nickname")]


def test_spans_are_apart_and_the_same_whatever_stands_far_away() -> None:
    text = "患儿方怡宁，母亲程晓岚陪同。"
    spans = sorted(learned(text))
    assert spans
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(spans))
    assert sorted(learned(text + "建议多喝水，注意休息，按时复查血常规。")) == spans


def test_scores_are_sums_of_small_weights() -> None:
    weights, thresholds, _, cutoff = model()
    assert weights.dtype == np.int8
    assert weights.shape == (1 << BUCKETS_LOG2,)
    spans, scores = scored("患儿方怡宁今天发烧", weights, cutoff)
    assert len(spans) == len(scores)
    assert spans[:, 2].max() < len(thresholds)
    assert WEIGHTS.stat().st_size < 3_000_000


@pytest.mark.parametrize("text", ["", "a", "发", "\U0001f600" * 3, "\ud800张三", "张" * 500, "\n\n"])
def test_any_text_is_read(text: str) -> None:
    assert all(0 <= start < end <= len(text) for start, end, _ in learned(text))
