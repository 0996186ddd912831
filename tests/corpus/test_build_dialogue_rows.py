"""Rows of dialogues as they are, and of the good ones among distilled items."""

from __future__ import annotations

import pytest

from pediatricsgpt.corpus.build import distill, reconstruct
from pediatricsgpt.corpus.settings import ReconstructSettings
from pediatricsgpt.records import write_rows

GOOD = "小儿肺炎可由病毒、细菌等多种病原体引起。"


def test_dialogues_become_rows_as_they_are(make, tmp_path) -> None:
    records = [
        make.dialogue("孩子咳嗽", "发烧吗？", "不烧", "多喝水。", task="evidiag", split="train"),
        make.dialogue("孩子咳嗽", "长" * 300, task="medkqa", split="train"),
        make.dialogue("可以用酱油塞鼻孔吗？", "不可以。", task="safety", split="held_out"),
        make.dialogue("什么是肺炎？", GOOD, family="distilled", split="train"),
        make.section("正文。", "指南", split="train"),
    ]
    rows, rejects = reconstruct.instructions(records, ReconstructSettings(max_characters=200))
    assert [row["task"] for row in rows] == ["evidiag", "safety"]
    assert rows[0]["messages"] == records[0].messages
    assert [reject.reason for reject in rejects] == ["too long: 304 characters"]
    write_rows(tmp_path / "rows.parquet", rows, "instruction")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (GOOD, ""),
        ("常见原因有：\n1. 病毒感染\n2. 细菌感染", ""),
        ("细菌感染。", "answer too short"),
        ("小儿肺炎可由病毒、细菌等多种病原体引", "answer is not finished"),
        ("['小儿肺炎可由病毒、细菌等多种病原体引起']", "answer is a raw list"),
        ("抱歉，我无法回答这个问题，请咨询医生。", "answer refuses or speaks of its making"),
        ("作为一个AI语言模型，我不能提供医疗建议。", "answer refuses or speaks of its making"),
        ("根据知识，小儿肺炎的治疗包括抗感染等。", "answer refuses or speaks of its making"),
    ],
)
def test_good_distilled_items_are_chosen(make, answer: str, reason: str) -> None:
    record = make.dialogue("小儿肺炎的病因是什么？", answer, family="distilled", task="medkqa", split="train")
    rows, rejects = distill.instructions([record, make.dialogue("你好", "您好。")])
    assert [reject.reason.split(":")[0] for reject in rejects] == ([reason] if reason else [])
    assert len(rows) + len(rejects) == 1


def test_real_dialogues_are_accounted_for(real_records) -> None:
    told, not_told = reconstruct.instructions(real_records, ReconstructSettings())
    chosen, left_out = distill.instructions(real_records)
    dialogues = [record for record in real_records if record.shape == "messages"]
    assert len(told) + len(not_told) + len(chosen) + len(left_out) == len(dialogues)
    assert len(chosen) > 0.6 * (len(chosen) + len(left_out))
