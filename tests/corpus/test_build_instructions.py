"""All rules together: every record leads to a row or a reject, and the two sides of the split share nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pediatricsgpt.corpus.build import reconstruct
from pediatricsgpt.corpus.build.hybrid import cpt_set
from pediatricsgpt.corpus.build.instructions import build_instructions
from pediatricsgpt.corpus.rules import rules
from pediatricsgpt.corpus.settings import BuildSettings, CorpusSettings
from pediatricsgpt.corpus.sources import read_source
from pediatricsgpt.text import key
from tests.corpus.curated import curated

RECIPES = Path(__file__).parents[2] / "recipes"
ANSWER = "腺病毒肺炎最常发生于六个月至五岁儿童，尤其是两岁以下儿童，患慢性基础疾病者更易发生重症，需要高度关注。"

NOTE: str = rules("questions")["classical_note"]


def questions(rows):
    return [next(turn["content"] for turn in row["messages"] if turn["role"] == "user") for row in rows]


def test_what_was_read_is_a_row_or_a_reject(make) -> None:
    records = [
        make.section(ANSWER, "腺病毒肺炎诊疗规范", "概述", split="train"),
        make.section(ANSWER, "腺病毒肺炎诊疗规范", split="train"),
        make.dialogue("孩子咳嗽怎么办？", "多喝水，注意休息。", split="train", task="medkqa"),
        make.dialogue("孩子发烧怎么办？", "短", split="train", family="distilled"),
        make.preference("写一首诗", "好诗。", "坏诗。", split="train"),
    ]
    built = build_instructions(records, BuildSettings(), Path())
    counts = built.counts
    assert (counts["texts"], counts["dialogues"], counts["preference_pairs"]) == (2, 2, 1)
    assert counts["read"] == 4 + counts["behaviour"] == counts["kept"] + counts["rejected"]
    assert (counts["kept"], counts["rejected"]) == (len(built.rows), len(built.rejects))


def test_a_rule_that_loses_a_record_stops_the_run(make, monkeypatch) -> None:
    monkeypatch.setattr(reconstruct, "instructions", lambda *_: ([], []))
    with pytest.raises(RuntimeError, match="records read"):
        build_instructions([make.dialogue("孩子咳嗽怎么办？", "多喝水。")], BuildSettings(), Path())


def test_a_question_that_is_held_out_is_not_asked_in_training(make) -> None:
    records = [
        make.dialogue("人偏肺病毒感染的传染源是什么？", "患者。", split="held_out", task="medkqa"),
        make.dialogue("人偏肺病毒感染的传染源是什么", "感染者。", split="train", task="medkqa"),
        make.dialogue("你好", "您好。", split="held_out", task="general"),
        make.dialogue("你好", "请讲。", split="train", task="general"),
    ]
    built = build_instructions(records, BuildSettings(), Path())
    assert [reject.reason for reject in built.rejects] == ["question is held out"]
    assert built.rejects[0].row["split"] == "train"
    assert questions(built.rows)[:3] == ["人偏肺病毒感染的传染源是什么？", "你好", "你好"]


def test_a_held_out_answer_inside_a_training_text_is_left_out(make) -> None:
    records = [
        make.dialogue("腺病毒肺炎多见于哪些孩子？", ANSWER, split="held_out", task="medkqa"),
        make.dialogue("请介绍一下腺病毒肺炎的特点", f"您好，{ANSWER}请放心。", split="train", task="medkqa"),
    ]
    built = build_instructions(records, BuildSettings(), Path())
    assert [reject.reason for reject in built.rejects] == ["answer stands in training text"]
    assert questions(built.rows)[0] == "请介绍一下腺病毒肺炎的特点"


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Training texts (as keys) and rows of the demo's corpus."""
    recipe = yaml.safe_load((RECIPES / "demo.yaml").read_text(encoding="utf-8"))
    settings = CorpusSettings.model_validate(recipe["corpus"])
    read = [record for source in settings.sources for record in read_source(source, RECIPES).records]
    records = curated(read, settings, recipe["seed"], tmp_path_factory.mktemp("demo"))
    rows = build_instructions(records, settings.build, RECIPES).rows
    texts = [row["text"] for row in cpt_set(records, rows, settings.build.cpt, recipe["seed"])]
    turns = [turn for row in rows if row["split"] == "train" for turn in row["messages"]]
    pairs = [record for record in records if record.chosen and record.split == "train"]
    turns += [turn for record in pairs for turn in (*record.messages, *record.chosen, *record.rejected)]
    return records, rows, "\n".join(map(key, [*texts, *(turn["content"] for turn in turns)]))


def test_no_held_out_answer_of_the_demo_stands_in_its_training_texts(demo) -> None:
    _, rows, trained = demo
    answers = {
        key(turn["content"].removeprefix(NOTE))  # ours, before what an old book says
        for row in rows
        for turn in row["messages"]
        if row["split"] == "held_out" and turn["role"] == "assistant"
    }
    long = [answer for answer in answers if len(answer) >= 40]
    assert len(long) > 900
    assert [answer for answer in long if answer in trained] == []


def test_no_held_out_question_of_the_demo_is_asked_in_training(demo) -> None:
    _, rows, _ = demo
    asked = {side: {key(q) for q in questions(r for r in rows if r["split"] == side)} for side in ("train", "held_out")}
    assert len(asked["held_out"]) > 500
    assert [question for question in asked["train"] & asked["held_out"] if len(question) >= 8] == []


def test_no_group_of_the_demo_swallows_the_others(demo) -> None:
    records, *_ = demo
    names = [record.group for record in records]
    assert max(map(names.count, set(names))) < 0.05 * len(names)  # the largest is one book
