"""Cleaning takes away what is no text, changes nothing that was said, and accounts for every record."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pediatricsgpt import text as chinese
from pediatricsgpt.corpus.clean import clean, clean_text
from pediatricsgpt.corpus.settings import CleanSettings

SETTINGS = CleanSettings()
ANSWER = "建议多喝温水，注意观察体温。"


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("宝宝发热<br/>三天", "宝宝发热\n三天"),
        ("<p class='a'>宝宝发热</p>", "宝宝发热"),
        ("<font color=red size=3>宝宝</font>发热", "宝宝发热"),
        ("血糖<7.0，体温>38.5", "血糖<7.0，体温>38.5"),
        ("若a<b and c>d则停药", "若a<b and c>d则停药"),
        ("白细胞10×10<sup>9</sup>/L", "白细胞10×10^9/L"),
        ("服思密达3<b>1</b>次", "服思密达3 1次"),
        ("服&quot;思密达&quot;&nbsp;1包", '服"思密达" 1包'),
        ("&lt;3岁的孩子", "<3岁的孩子"),
        ("看[图片]这个【图片因隐私问题无法显示】疹子（语音）", "看这个疹子"),
        ("乙肝大三阳[2]，见（图1）", "乙肝大三阳[2]，见（图1）"),
        ("做视频脑电图检查", "做视频脑电图检查"),
        ("别紧张，医生有语音回复内容,具体请点击收听医嘱。", "别紧张。"),
        ("怎么办？？？急！！！", "怎么办？急！"),
        ("孩子咳嗽。。。很厉害......", "孩子咳嗽。很厉害……"),
        ("心肾不交等|#|必须辨证施治", "心肾不交等\n必须辨证施治"),
        ("体温３８．５℃", "体温38.5℃"),
        ("宝宝\\x0a发热", "宝宝发热"),
    ],
)
def test_markup_goes_and_text_stays(raw: str, cleaned: str) -> None:
    assert clean_text(raw) == cleaned


def test_code_is_left_alone() -> None:
    code = "看这段代码：\n```python\nif a  !!  b:\n    print('<br>')\n```\n好吗？？"
    assert clean_text(code) == "看这段代码：\n```python\nif a  !!  b:\n    print('<br>')\n```\n好吗？"


FRAGMENTS = [
    "宝宝",
    "不",
    "没有",
    "10mg",
    "0.5ml",
    "3岁",
    "38.5℃",
    "5",
    "12",
    "阿莫西林",
    "，",
    "。",
    "！！",
    "每日3次",
    "禁用",
]
MARKUP = ["<br>", "<b>", "</b>", "<font size=3>", "[图片]", "&nbsp;", "\\x1f", "（语音消息）"]


@given(st.lists(st.sampled_from(FRAGMENTS + MARKUP), max_size=30))
def test_no_number_unit_drug_or_negation_changes(parts: list[str]) -> None:
    cleaned = clean_text("".join(parts))
    kept = "".join("\n" if part in MARKUP else part for part in parts)
    assert re.findall(r"\d+", cleaned) == re.findall(r"\d+", kept)
    assert chinese.key(cleaned) == chinese.key(kept)


def test_form_marks_of_platforms_go_from_answers_only(make) -> None:
    record = make.dialogue("病情分析：这几个字是什么意思？", "病情分析：您好，考虑感冒意见建议：多喝水。")
    (cleaned,), _ = clean([record], SETTINGS)
    assert [turn["content"] for turn in cleaned.messages] == [
        "病情分析：这几个字是什么意思？",
        "您好，考虑感冒。多喝水。",
    ]


def test_turns_alternate_from_patient_to_doctor(make) -> None:
    turns = [
        ("assistant", "您好，很高兴为您服务。"),
        ("user", "孩子咳嗽"),
        ("user", "[图片]"),
        ("user", "三天了"),
        ("assistant", ANSWER),
        ("assistant", "必要时就诊。"),
        ("user", "谢谢"),
    ]
    record = make.messages([{"role": role, "content": content} for role, content in turns])
    (cleaned,), rejects = clean([record], SETTINGS)
    assert not rejects
    assert [(turn["role"], turn["content"]) for turn in cleaned.messages] == [
        ("user", "孩子咳嗽\n三天了"),
        ("assistant", f"{ANSWER}\n必要时就诊。"),
    ]
    assert cleaned.id == record.id
    assert cleaned.steps[-1].name == "clean"


def test_a_system_turn_stays_first(make) -> None:
    record = make.messages(
        [
            {"role": "system", "content": "你是儿科医生。"},
            {"role": "assistant", "content": "您好"},
            {"role": "user", "content": "孩子咳嗽怎么办"},
            {"role": "assistant", "content": ANSWER},
        ]
    )
    (cleaned,), _ = clean([record], SETTINGS)
    assert [turn["role"] for turn in cleaned.messages] == ["system", "user", "assistant"]


def test_rejects_say_why(make) -> None:
    records = [
        make.section("略。", "指南", "一、概述"),
        make.section("Mycoplasma pneumoniae pneumonia in children", "指南", "二、定义"),
        make.dialogue("孩子咳嗽怎么办", "好的"),
        make.dialogue("孩子咳嗽怎么办", "[图片]"),
        make.dialogue("孩子咳嗽怎么办？", "孩子咳嗽，怎么办"),
        make.dialogue("What to do about a cough?", "Give warm water and wait."),
        make.preference("孩子咳嗽怎么办", ANSWER, ANSWER),
        make.preference("孩子咳嗽怎么办", "", ANSWER),
        make.preference("孩子咳嗽怎么办", ANSWER, "不知道。"),
    ]
    kept, rejects = clean(records, SETTINGS)
    assert [reject.reason.split(":")[0] for reject in rejects] == [
        "too short",
        "no Chinese text",
        "answer too short",
        "no question followed by an answer",
        "answer equals question",
        "no Chinese text",
        "both sides are the same",
        "one side is empty",
    ]
    assert len(kept) + len(rejects) == len(records)


def test_a_short_fact_is_measured_with_its_entity(make) -> None:
    kept, rejects = clean([make.fact("百日咳", "传播方式", "呼吸道传播")], SETTINGS)
    assert len(kept) == 1
    assert not rejects


def test_real_records_lose_no_number(real_records) -> None:
    kept, rejects = clean(real_records, SETTINGS)
    assert len(kept) + len(rejects) == len(real_records)
    before = {record.id: record for record in real_records}
    for record in kept:
        for turn in record.messages:
            assert "病情分析：" not in turn["content"] or turn["role"] == "user"
        if record.shape == "text" and not re.search(r"<|&|\[|\\", before[record.id].text):
            numbers = re.findall(r"\d+", record.text)
            assert numbers == re.findall(r"\d+", chinese.normalise(before[record.id].text))
