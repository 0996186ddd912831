"""The CPT stream: plain text and instructions as running text, in their shares."""

from __future__ import annotations

import pytest

from pediatricsgpt.corpus.build.hybrid import account, as_text, cpt_set
from pediatricsgpt.corpus.settings import HybridSettings
from pediatricsgpt.records import write_rows

SENTENCE = "腺病毒肺炎是儿童社区获得性肺炎中较为严重的类型之一。"


@pytest.fixture
def records(make):
    sections = [
        make.section(SENTENCE * 30, "儿童指南", f"{n}、章节", split="train", group=f"document:{n}") for n in range(5)
    ]
    fact = make.fact("百日咳", "症状", "干咳、惊厥", split="train")
    names = make.section("组长王某某，某某医院。", "儿童指南", "附录：编写专家组名单", split="train")
    return [*sections, fact, names, make.section("不该看到的内容。", "留出", split="held_out")]


@pytest.fixture
def rows(make):
    train = [make.row(task, n) for n in range(40) for task in ("medkqa", "general", "self", "safety")]
    return [*train, make.row("medkqa", 999, split="held_out")]


def test_dialogues_are_written_as_people_do(make) -> None:
    single = [{"role": "user", "content": "什么是肺炎？"}, {"role": "assistant", "content": "肺部炎症。"}]
    assert as_text(single, "medkqa", "specialised") == "问：什么是肺炎？\n答：肺部炎症。"
    double = [*single, {"role": "user", "content": "严重吗？"}, {"role": "assistant", "content": "看情况。"}]
    assert as_text(double, "evidiag", "conversation").startswith("家长：什么是肺炎？\n医生：肺部炎症。\n家长：")
    assert as_text(double, "general", "conversation").startswith("患者：")
    assert as_text(double, "general", "general").startswith("问：")
    assert as_text([{"role": "system", "content": "请简短。"}, *single], "medkqa", "x") == (
        "请简短。\n问：什么是肺炎？\n答：肺部炎症。"
    )


def test_plain_pieces_carry_their_headings_and_keep_to_the_limit(records) -> None:
    built = cpt_set(records, [], HybridSettings(max_characters=200), seed=17)
    sections = [row for row in built if row["parents"] != [records[5].id]]
    assert len(sections) == 5 * 5
    for row in sections:
        heading, _, text = row["text"].partition("\n")
        assert heading == "儿童指南 章节"
        assert len(text) <= 200
        assert text.endswith("。")
    assert "百日咳的常见症状有：干咳、惊厥。" in [row["text"] for row in built]


def test_instructions_keep_to_their_share(records, rows) -> None:
    for share in (0.0, 0.1, 0.5):
        built = cpt_set(records, rows, HybridSettings(instruction_share=share), seed=17)
        told = sum(len(row["text"]) for row in built if row["form"] == "instruction")
        assert told <= share * sum(len(row["text"]) for row in built)
        assert bool(told) == (share > 0)


def test_no_held_out_no_behaviour_and_every_row_fits(records, rows, tmp_path) -> None:
    built = cpt_set(records, rows, HybridSettings(instruction_share=0.9), seed=17)
    assert {row["split"] for row in built} == {"train"}
    allowed = {row["id"] for row in rows if row["task"] in ("medkqa", "general")} | {record.id for record in records}
    assert all(set(row["parents"]) <= allowed for row in built)
    write_rows(tmp_path / "rows.parquet", built, "cpt")


def test_the_order_is_shuffled_by_the_seed_alone(records, rows) -> None:
    settings = HybridSettings()
    built = cpt_set(records, rows, settings, seed=17)
    assert built == cpt_set(records, list(reversed(rows)), settings, seed=17)
    assert built != cpt_set(records, rows, settings, seed=18)
    assert [row["form"] for row in built] != sorted(row["form"] for row in built)


def test_what_is_left_out_is_counted(records, rows) -> None:
    built = cpt_set(records, rows, HybridSettings(instruction_share=0.1), seed=17)
    counts = account(records, rows, built)
    assert counts["texts"] == counts["texts_used"] + counts["texts_without_medicine"] == 7
    assert counts["texts_without_medicine"] == 1  # the names of the authors
    assert counts["pieces"] + counts["instructions_used"] == len(built)
    assert counts["instructions"] == 160
    assert counts["left_out_behaviour"] == 80
    assert counts["left_out_budget"] == 80 - counts["instructions_used"] > 0
