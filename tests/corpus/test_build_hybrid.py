"""The CPT stream: plain text and instructions as running text, in their shares."""

from __future__ import annotations

import re

import pytest

from pediatricsgpt.corpus.build.hybrid import _told, account, as_text, cpt_set
from pediatricsgpt.corpus.settings import HybridSettings
from pediatricsgpt.errors import UserError
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


def test_completions_come_in_many_forms_and_say_all_of_their_row(make) -> None:
    rows = [make.row("medkqa", n) for n in range(200)] + [make.row("general", n) for n in range(200)]
    built = [_told(row) for row in rows]
    for row, told in zip(rows, built, strict=True):
        question, answer = (turn["content"] for turn in row["messages"])
        assert question.rstrip("？") in told["text"]
        assert answer in told["text"]
        assert "{" not in told["text"]
    forms = {re.sub(r"(?:medkqa|general)问题\d+|\d+", "", told["text"]) for told in built}
    assert len(forms) >= 9
    assert [told["text"] for told in built] == [_told(row)["text"] for row in rows]


def test_a_form_fills_in_what_looks_like_a_place_as_it_is() -> None:
    turns = [{"role": "user", "content": "什么是{answer}？"}, {"role": "assistant", "content": "一个{question}。"}]
    for form in range(12):
        text = as_text(turns, "medkqa", "specialised", form)
        assert "什么是{answer}" in text
        assert "一个{question}。" in text


def test_a_long_question_makes_no_heading() -> None:
    turns = [{"role": "user", "content": "孩子咳嗽" * 20 + "？"}, {"role": "assistant", "content": "休息。"}]
    for form in range(12):
        assert turns[0]["content"] in as_text(turns, "general", "distilled", form)


def general(make, count: int):
    source = make.source("text", "encyclopaedia")
    records = [
        make.section(f"第{n}座山很高，风景优美，游人很多。", "地理", f"山{n}", split="train") for n in range(count)
    ]
    for record in records:
        record.source = source
    return records


@pytest.mark.parametrize("unit", [len, lambda text: len(text.encode()) // 3])
@pytest.mark.parametrize(("instructions", "replay"), [(0.5, 0.1), (0.3, 0.3), (0.0, 0.2), (0.6, 0.0), (0.9, 0.05)])
def test_no_share_is_exceeded_whatever_is_counted(records, rows, make, instructions, replay, unit) -> None:
    records = [*records, *general(make, 300)]
    settings = HybridSettings(instruction_share=instructions, general_share=replay)
    counts = account(records, rows, cpt_set(records, rows, settings, 17, unit), unit)
    whole = counts["units_domain"] + counts["units_general"] + counts["units_instruction"]
    assert counts["units_instruction"] <= instructions * whole
    assert counts["units_general"] <= replay * whole
    assert (counts["pieces_general"] > 0) == (replay > 0)
    assert counts["texts"] == (
        counts["texts_used"] + counts["texts_without_medicine"] + counts["texts_general_not_drawn"]
    )


def test_shares_that_leave_nothing_are_refused(records, rows, make) -> None:
    settings = HybridSettings(instruction_share=0.6, general_share=0.4)
    with pytest.raises(UserError, match=r"instruction_share 0\.6 and general_share 0\.4 leave nothing"):
        cpt_set([*records, *general(make, 5)], rows, settings, 17)


def test_general_text_alone_is_not_lost(make) -> None:
    built = cpt_set(general(make, 20), [], HybridSettings(), 17)
    assert len(built) == 20


def test_tokens_are_never_counted_as_characters(records, rows) -> None:
    settings = HybridSettings(unit="tokens")
    with pytest.raises(ValueError, match="tokenizer"):
        cpt_set(records, rows, settings, 17)
    assert cpt_set(records, rows, settings, 17, lambda text: 2 * len(text)) == cpt_set(records, rows, settings, 17, len)
