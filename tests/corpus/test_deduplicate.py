"""Duplicates go, the first one wins, and what repeats something of another stays on that one's side of the split."""

from __future__ import annotations

from pediatricsgpt.corpus.deduplicate import deduplicate

PARAGRAPH = (
    "腺病毒肺炎最常发生于六个月至五岁儿童，尤其是两岁以下儿童，"
    "患慢性基础疾病和免疫功能受损者更易发生重症，需要高度关注。"
)
PAIR = ("孩子发热三天怎么办？", "建议监测体温，多喝水，必要时到医院检查血常规。")


def groups(records):
    return [record.group for record in records]


def test_equal_but_for_punctuation_is_a_duplicate_and_the_first_wins(make) -> None:
    first = make.dialogue("孩子咳嗽怎么办？", "多喝水，观察。", group="dialogue:b")
    second = make.dialogue("孩子咳嗽，怎么办", "多喝水 观察！", group="dialogue:a")
    kept, rejects = deduplicate([first, second])
    assert [record.id for record in kept] == [first.id]
    assert rejects[0].reason.startswith(f"duplicate: of {first.id} (made.json")
    assert kept[0].group == "dialogue:a"  # the smallest name of the joined group


def test_same_question_with_another_answer_is_kept_in_one_group(make) -> None:
    records = [
        make.dialogue("孩子发热三天怎么办？", "多喝水。", group="dialogue:z"),
        make.dialogue("孩子发热三天怎么办", "去医院。", group="dialogue:y"),
        make.dialogue("你好", "您好。", group="dialogue:x"),
        make.dialogue("你好", "请讲。", group="dialogue:w"),
    ]
    kept, rejects = deduplicate(records)
    assert groups(kept) == ["dialogue:y", "dialogue:y", "dialogue:x", "dialogue:w"]
    assert not rejects


def test_headings_do_not_make_sections_different_but_facts_need_theirs(make) -> None:
    sections = [make.section(PARAGRAPH, "指南一", "概述"), make.section(PARAGRAPH, "指南二", "前言")]
    facts = [make.fact("百日咳", "传播方式", "呼吸道传播"), make.fact("水痘", "传播方式", "呼吸道传播")]
    kept, rejects = deduplicate([*sections, *facts])
    assert len(kept) == 3
    assert len(rejects) == 1


def test_documents_with_an_identical_paragraph_are_one_group(make) -> None:
    records = [
        make.section(f"甲的话。\n{PARAGRAPH}", "指南二"),
        make.section(f"乙说的另外一句话。\n{PARAGRAPH}", "指南一"),
        make.section("第三份文件没有这一段。", "指南三"),
    ]
    kept, _ = deduplicate(records)
    assert groups(kept) == ["document:指南一", "document:指南一", "document:指南三"]


def test_a_long_answer_is_on_one_side_whatever_was_asked_and_wherever_it_stands(make) -> None:
    records = [
        make.dialogue("孩子咳嗽好几天了怎么办？", PARAGRAPH, group="dialogue:b"),
        make.dialogue("这个病多大的孩子容易得呢？", f" {PARAGRAPH} ", group="dialogue:a"),
        make.section(f"甲的话。\n{PARAGRAPH}", "指南"),
        make.preference("写一段话介绍腺病毒肺炎", "好。", PARAGRAPH, group="dialogue:c"),
        make.dialogue("另外的一个问题是什么？", PARAGRAPH[:30], group="dialogue:d"),
    ]
    kept, _ = deduplicate(records)
    assert groups(kept) == ["dialogue:a"] * 4 + ["dialogue:d"]


def test_an_equal_system_prompt_joins_nothing(make) -> None:
    system = {"role": "system", "content": PARAGRAPH}
    records = [
        make.messages(
            [system, {"role": "user", "content": f"{n}号问题"}, {"role": "assistant", "content": f"{n}号回答"}],
            group=f"dialogue:{n}",
        )
        for n in (1, 2)
    ]
    assert groups(deduplicate(records)[0]) == ["dialogue:1", "dialogue:2"]


def test_a_dialogue_that_contains_anothers_exchange_joins_it(make) -> None:
    single = make.dialogue(*PAIR, group="dialogue:b")
    longer = make.dialogue("医生您好，想问个事情", "您请说。", *PAIR, group="dialogue:a")
    kept, _ = deduplicate([single, longer])
    assert groups(kept) == ["dialogue:a", "dialogue:a"]


def test_thanks_join_nothing(make) -> None:
    thanks = ("好的，非常感谢医生的耐心解答，再见！", "不客气，祝您早日康复，如果还有其他问题可以随时咨询我。")
    one = make.dialogue("孩子湿疹反复怎么处理才好", "注意保湿。", *thanks, group="dialogue:a")
    two = make.dialogue("孩子便秘一周怎么处理才好", "多吃蔬菜。", *thanks, group="dialogue:b")
    kept, _ = deduplicate([one, two])
    assert groups(kept) == ["dialogue:a", "dialogue:b"]


def test_joining_is_transitive_and_does_not_depend_on_order(make) -> None:
    one = make.dialogue("孩子发热三天怎么办？", "多喝水。", group="dialogue:c")
    two = make.dialogue("孩子发热三天怎么办", "去医院。", *PAIR, group="dialogue:b")
    three = make.dialogue("另外一个很长的问题是什么", "您请说。", *PAIR, group="dialogue:a")
    for records in ([one, two, three], [three, one, two]):
        assert set(groups(deduplicate(records)[0])) == {"dialogue:a"}


def test_real_records_are_accounted_for(real_records) -> None:
    kept, rejects = deduplicate(real_records)
    assert len(kept) + len(rejects) == len(real_records)
    again, none = deduplicate(kept)
    assert not none
    assert groups(again) == groups(kept)
    # the sample repeats each of its dialogues about ten times
    assert sum(record.source.name == "hetmc" for record in kept) <= 40
