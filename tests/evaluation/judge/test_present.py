"""How answers are shown: blind, without Markdown, at equal length; numbers stay whatever happens."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pediatricsgpt.evaluation.judge.present import (
    NO_ANSWER,
    counts,
    cut_to,
    mask_identity,
    present,
    strip_markdown,
)
from pediatricsgpt.evaluation.judge.questions import Pair, Question
from pediatricsgpt.facts import extract

PIECES = [
    "```",
    "0.1",
    "<b>",
    "每次5",
    "10mg",
    "**",
    "*",
    "- ",
    "\n",
    "> ",
    "38.5℃",
    "| ",
    "|---|",
    "`",
    "# ",
    "1. ",
    "~",
    "__",
    "，",
    "<3岁",
    "5*3",
]


def pair_of(*answers: tuple[str, str], models: tuple[str, str] = ("ours", "theirs")) -> Pair:
    question = ({"role": "user", "content": "发热怎么办？"},)
    return Pair(models, tuple(Question(str(place), question, both) for place, both in enumerate(answers)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("marked", "plain"),
    [
        ("## 处理\n- **布洛芬**：每次5~10mg/kg\n* 多喝水", "处理\n布洛芬：每次5~10mg/kg\n多喝水"),
        ("1. 尿布疹：更换尿布\n2. 湿疹", "1. 尿布疹：更换尿布\n2. 湿疹"),
        ("| 药物 | 剂量 |\n|---|:--:|\n| 布洛芬 | 5mg/kg |", "药物，剂量\n布洛芬，5mg/kg"),
        ("> 38.5℃才用药\n> 注意休息", "> 38.5℃才用药\n注意休息"),
        ("每日2次*每次5mg*3天", "每日2次*每次5mg*3天"),
        ("-5℃保存；体重10kg - 12kg", "-5℃保存；体重10kg - 12kg"),
        ("这是*重点*，`血常规`", "这是重点，血常规"),
        ("见[指南](https://example.org/a)[1]", "见指南[1]"),
        ("```\n多喝水\n```", "多喝水"),
        ("```markdown\n多喝水\n```\n```布洛芬5mg```", "多喝水\n布洛芬5mg"),
        ("每次**5**10mg之间", "每次5 10mg之间"),
        ("休息<br>补液，<5岁慎用", "休息\n补液，<5岁慎用"),
        ("上文\n\n---\n\n下文", "上文\n\n下文"),
    ],
)
def test_markdown_goes_and_words_stay(marked: str, plain: str) -> None:
    assert strip_markdown(marked) == plain


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text("发热咳嗽0123456789.*_- |#>", max_size=6))).map("".join))
def test_stripping_keeps_every_number_as_it_is(text: str) -> None:
    number = r"\d+(?:\.\d+)?"
    assert re.findall(number, strip_markdown(text)) == re.findall(number, text)


def test_stripping_is_stable_on_real_answers_and_keeps_their_facts(shared: Path) -> None:
    seen = 0
    for path in sorted((shared / "data/benchmarks/disc_eval").glob("dialogues_*.json")):
        for dialogue in json.loads(path.read_text(encoding="utf-8")):
            for turn in dialogue["conversation"]:
                text = turn["content"].strip()
                stripped = strip_markdown(text)
                assert strip_markdown(stripped) == stripped
                assert [fact.text for fact in extract(stripped)] == [fact.text for fact in extract(text)]
                seen += 1
    assert seen > 1000


@pytest.mark.parametrize(
    ("said", "masked"),
    [
        ("我是DISC-MedLLM，建议就医。", "我是〔身份已隐去〕，建议就医。"),
        ("作为一个AI语言模型，我不能开药。", "作为一个〔身份已隐去〕，我不能开药。"),
        ("作为人工智能助手，我建议休息。", "作为〔身份已隐去〕，我建议休息。"),
        ("我是由阿里云开发的大型语言模型。", "我是由〔身份已隐去〕。"),
        ("我是**小儿AI健康助手**。", "我是**〔身份已隐去〕**。"),
        ("我是您的AI健康助手，请说。", "我是您的〔身份已隐去〕，请说。"),
        ("As an AI language model, I suggest rest.", "As an 〔身份已隐去〕, I suggest rest."),
        ("您好，我叫华佗，请问几岁？", "您好，我叫〔身份已隐去〕，请问几岁？"),
        ("ChatGPT认为应补液。", "〔身份已隐去〕认为应补液。"),
        ("由OpenAI训练的GPT-4o回答", "由〔身份已隐去〕训练的〔身份已隐去〕回答"),
    ],
)
def test_who_speaks_is_masked(said: str, masked: str) -> None:
    assert mask_identity(said)[0] == masked
    assert mask_identity(said)[1] > 0


@pytest.mark.parametrize(
    "said",
    [
        "可用华佗再造丸或人工授精（AI）。",
        "超声可作为辅助手段，也可咨询医生助手。",
        "星火燎原；百川归海。",
        "血气分析的base excess正常。",
        "孩子的爸爸是AI公司的工程师。",
        "我是孩子的妈妈。",
    ],
)
def test_ordinary_words_are_not_masked(said: str) -> None:
    assert mask_identity(said) == (said, 0)


def test_names_of_the_models_are_masked_but_not_ordinary_words() -> None:
    shown = present(
        pair_of(("我是XiaoEr-7B。", "sft和base"), models=("runs/XiaoEr-7B", "sft")), strip=True, equal=False
    )
    assert shown[0].answers == ("我是〔身份已隐去〕。", "sft和base")
    assert counts(shown, ("x", "y"))["masked"] == {"x": 1, "y": 0}
    renamed = dataclasses.replace(pair_of(("我是XiaoEr-7B。", "好")), also_named=("XiaoEr-7B",))
    assert present(renamed, strip=True, equal=False)[0].answers[0] == "我是〔身份已隐去〕。"


def test_the_longer_answer_is_cut_at_the_nearest_sentence_end() -> None:
    text = "第一句话。第二句话！第三句话很长很长很长很长。"
    assert cut_to(text, 9) == "第一句话。第二句话！"
    assert cut_to(text, 2) == "第一句话。"
    assert cut_to(text, 100) == text
    assert cut_to("没有句号的一段话一直说下去", 3) == "没有句号的一段话一直说下去"
    shown = present(pair_of((text, "短句。"), ("短句。", text), (text, text)), strip=False, equal=True)
    assert [one.answers for one in shown] == [("第一句话。", "短句。"), ("短句。", "第一句话。"), (text, text)]
    assert counts(shown, ("x", "y"))["cut"] == {"x": 1, "y": 1}
    assert shown[2].identical


@given(st.text("发热。！\n0123", max_size=60), st.integers(1, 60))
def test_a_cut_answer_is_a_beginning_of_it(text: str, characters: int) -> None:
    cut = cut_to(text, characters)
    assert text.startswith(cut)
    assert bool(cut.strip()) == bool(text.strip()) or text.startswith("\n")


def test_an_empty_answer_is_shown_as_none_and_cuts_nothing() -> None:
    shown = present(pair_of(("", "很长的回答。真的很长。")), strip=True, equal=True)
    assert shown[0].answers == (NO_ANSWER, "很长的回答。真的很长。")
    assert counts(shown, ("x", "y"))["empty"] == {"x": 1, "y": 0}
