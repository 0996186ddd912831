"""Duplicates go, the first one wins, and what repeats something of another stays on that one's side of the split."""

from __future__ import annotations

import csv
import random
import re
import subprocess
import sys
import time

import pyarrow as pa
import pytest

from pediatricsgpt.corpus.deduplicate import decide, deduplicate, fingerprint
from pediatricsgpt.corpus.deduplicate.decide import decide_batches
from pediatricsgpt.corpus.settings import DeduplicateSettings
from pediatricsgpt.text import key

SETTINGS = DeduplicateSettings()

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


# -- near-duplicates ---------------------------------------------------------------------------------------------------

FILLERS = "的了吧呢呀啊哦嘛"  # characters that carry no fact
WORDS = re.findall(
    "..",
    "宝宝夜里哭闹妈妈喂奶医生检查保暖睡眠辅食米粉蔬菜皮肤护理衣服房间空气流通"
    "精神观察体重增长家长担心情况正常范围门诊复查建议按时接种疫苗母乳喂养户外"
    "活动阳光牛奶过程说明具体需要注意保持",
)


def sentence(rng, words=40):
    return "，".join("".join(rng.choices(WORDS, k=5)) for _ in range(words // 5))


def reworded(text, rng, edits):
    """A text with some characters put in that change no fact."""
    for _ in range(edits):
        place = rng.randrange(len(text) + 1)
        text = text[:place] + rng.choice(FILLERS) + text[place:]
    return text


def grams(record):
    text = key("".join(turn["content"] for turn in record.messages) + record.text)
    return {text[start : start + 3] for start in range(len(text) - 2)}


def similarity(one, other):
    return len(grams(one) & grams(other)) / len(grams(one) | grams(other))


def planted(make, rng, count=400):
    """Dialogues, of which every fourth one copies an earlier one with some edits, from hardly any to very many."""
    records = []
    for number in range(count):
        if number % 4 == 3:
            asked, answered = (turn["content"] for turn in records[number - 3].messages)
            asked, answered = reworded(asked, rng, rng.randrange(3)), reworded(answered, rng, 1 + rng.randrange(6))
        else:
            asked, answered = sentence(rng, 15), sentence(rng)
        records.append(make.dialogue(asked, answered, group=f"dialogue:{number:04}"))
    return records


def brute_force(records, threshold=0.8):
    """The pairs (later, earlier) at the threshold, by comparing all with all."""
    sets = list(map(grams, records))
    return {
        (later, earlier)
        for later, one in enumerate(sets)
        for earlier, other in enumerate(sets[:later])
        if len(one & other) / len(one | other) >= threshold
    }


def test_planted_near_duplicates_are_found_and_nothing_else(make) -> None:
    records = planted(make, random.Random(11))
    pairs = brute_force(records)
    near = {later for later, _ in pairs}
    assert 40 < len(near) < 100, "the plants must lie on both sides of the threshold"
    decision = decide_batches([fingerprint(records, SETTINGS)], SETTINGS)
    dropped = {int(row) for row in (~decision.keep).nonzero()[0]}
    assert len(dropped & near) / len(near) >= 0.99
    for row in dropped:
        original = int(decision.duplicate_of[row])
        assert (row, original) in pairs
        assert decision.keep[original]
        assert decision.similarity[row] == pytest.approx(similarity(records[row], records[original]), abs=1e-6)
        assert decision.group[row] == decision.group[original]


def test_planted_near_duplicates_of_real_dialogues_are_found(make, shared) -> None:
    rng = random.Random(12)
    table = shared / "data" / "dialogues" / "cmd_internal_medicine_sample.csv"
    lines = table.read_bytes().decode("gb18030").splitlines(keepends=True)
    rows = [row for row in csv.DictReader(lines) if len(row["ask"]) > 40 and len(row["answer"]) > 60][:300]
    records = [make.dialogue(row["ask"], row["answer"]) for row in rows]
    copies = []
    for record in records[:100]:
        asked, answered = (list(turn["content"]) for turn in record.messages)
        for text in (asked, answered):
            for _ in range(rng.randrange(5)):
                text[rng.randrange(len(text))] = rng.choice("的一不是了在人有我他这3个大小")  # facts too
        copies.append(make.dialogue("".join(asked), "".join(answered)))
    decision = decide_batches([fingerprint([*records, *copies], SETTINGS)], SETTINGS)
    near = [row for row, copy in enumerate(copies) if similarity(copy, records[row]) >= 0.8]
    found = [row for row in near if not decision.keep[300 + row] or decision.variant_of[300 + row] >= 0]
    assert len(near) > 60
    assert len(found) / len(near) >= 0.99
    together = [decision.group[300 + row] == decision.group[row] for row in near]
    assert sum(together) / len(near) >= 0.99


@pytest.mark.parametrize(
    ("said", "other"),
    [
        ("烧到38.5度", "烧到39.5度"),
        ("每次5ml", "每次5mg"),
        ("每天三次", "每天两次"),
        ("服用布洛芬", "服用阿司匹林"),
        ("可以接种", "不可以接种"),
        ("左侧疼痛", "右侧疼痛"),
        ("检查是阳性", "检查是阴性"),
        ("一直腹泻", "一直便秘"),
        ("吃了3天药", "吃了3周药"),
    ],
)
def test_what_differs_in_a_fact_is_kept_in_one_group(make, said, other) -> None:
    frame = sentence(random.Random(5), 60)
    records = [
        make.dialogue(f"请问{said}的宝宝该怎么护理", frame, group="dialogue:b"),
        make.dialogue(f"请问{other}的宝宝该怎么护理", frame, group="dialogue:a"),
    ]
    assert similarity(*records) >= 0.8
    kept, rejects = deduplicate(records)
    assert groups(kept) == ["dialogue:a", "dialogue:a"]
    assert not rejects
    decision = decide_batches([fingerprint(records, SETTINGS)], SETTINGS)
    assert list(decision.variant_of) == [-1, 0]
    alike = DeduplicateSettings(keep_differing_facts=False)
    assert len(deduplicate(records, alike)[0]) == 1


def test_a_trade_name_says_the_same_drug(make) -> None:
    frame = sentence(random.Random(5), 60)
    records = [make.dialogue(f"宝宝吃{name}之后该怎么护理", frame) for name in ("美林", "布洛芬", "泰诺林")]
    kept, _ = deduplicate(records)
    assert [record.id for record in kept] == [records[0].id, records[2].id]


def test_words_that_only_look_like_facts_make_no_difference(make) -> None:
    frame = sentence(random.Random(6), 60)
    one = make.dialogue("宝宝这样要紧吗", frame)
    other = make.dialogue("宝宝一般这样是不是特别要紧吗", f"{frame}，不客气")
    assert len(deduplicate([one, other])[0]) == 1


def test_the_best_is_kept_then_the_first(make) -> None:
    rng = random.Random(7)
    text = sentence(rng, 60)
    records = [make.section(reworded(text, rng, 2), f"书{number}") for number in range(4)]
    kept, rejects = deduplicate(records, quality=[0.2, 0.9, 0.9, 0.1])
    assert [record.id for record in kept] == [records[1].id]
    assert all(reject.reason.startswith("near-duplicate: 0.") for reject in rejects)
    assert f"of {records[1].id} (书1.json" in rejects[0].reason
    kept, _ = deduplicate(records)
    assert [record.id for record in kept] == [records[0].id]


def test_facts_of_different_entities_and_records_of_different_shapes_are_no_duplicates(make) -> None:
    text = sentence(random.Random(8), 60)
    facts = [make.fact("百日咳", "护理", text), make.fact("水痘", "护理", reworded(text, random.Random(1), 2))]
    kept, _ = deduplicate(facts)
    assert groups(kept) == ["entity:百日咳", "entity:水痘"]
    again = make.fact("百日咳", "护理", reworded(text, random.Random(2), 2))
    assert len(deduplicate([*facts, again])[0]) == 2
    shapes = [make.section(text, "书"), make.dialogue(text[:90], f"好的，{text[90:]}", group="dialogue:甲")]
    kept, _ = deduplicate(shapes)
    assert groups(kept) == ["dialogue:甲", "dialogue:甲"]


def test_near_duplicates_can_be_left_in(make) -> None:
    text = sentence(random.Random(9), 60)
    records = [make.section(text, "甲"), make.section(f"{text}呀", "乙"), make.section(f"{text}！", "丙")]
    kept, _ = deduplicate(records, DeduplicateSettings(near=False))
    assert len(kept) == 2


def test_the_decision_does_not_depend_on_batches_or_files(make, tmp_path) -> None:
    records = planted(make, random.Random(13), 120)
    records += [records[5], make.section("短", "书"), make.dialogue("嗯", "好")]
    whole = decide_batches([fingerprint(records, SETTINGS)], SETTINGS)
    for size in (1, 7, 50):
        files = []
        for start in range(0, len(records), size):
            batch = fingerprint(records[start : start + size], SETTINGS)
            files.append(tmp_path / f"{size}-{start}.arrow")
            with pa.ipc.new_file(files[-1], batch.schema) as file:
                file.write_batch(batch)
        decision = decide(files, SETTINGS)
        assert decision.group == whole.group
        for name in ("keep", "duplicate_of", "similarity", "variant_of"):
            assert (getattr(decision, name) == getattr(whole, name)).all()


def test_no_records_no_decision(tmp_path) -> None:
    assert decide([], SETTINGS).group == []
    empty = fingerprint([], SETTINGS)
    assert len(decide_batches([empty, empty], SETTINGS).keep) == 0


def test_every_record_needs_a_quality_that_is_a_number(make) -> None:
    record = make.dialogue(*PAIR)
    with pytest.raises(ValueError, match="2 records need as many"):
        fingerprint([record, record], SETTINGS, [1.0])
    with pytest.raises(ValueError, match="that are numbers"):
        fingerprint([record], SETTINGS, [float("nan")])


def test_a_template_in_very_many_rows_costs_no_square(make) -> None:
    frame = sentence(random.Random(14), 60)
    records = [
        make.dialogue(f"编号{number}的宝宝这样正常吗", frame, group=f"dialogue:{number}") for number in range(6000)
    ]
    start = time.perf_counter()
    decision = decide_batches([fingerprint(records, SETTINGS)], SETTINGS)
    assert time.perf_counter() - start < 20
    assert decision.keep.all()
    assert set(decision.group) == {"dialogue:0"}


def test_importing_the_module_does_not_wait_for_the_compiler() -> None:
    code = "import sys, pediatricsgpt.corpus.deduplicate; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
