"""What a test set asks or answers stands in no training row; courtesies and templates are no evidence."""

from __future__ import annotations

import csv
import json
import pickle
import random
import time

import pytest

from pediatricsgpt.corpus.build.rows import instruction_row
from pediatricsgpt.corpus.decontaminate import (
    build_index,
    decontaminate,
    load_test_set,
    remove,
    row_items,
    row_sides,
)
from pediatricsgpt.corpus.settings import DecontaminateSettings, EvaluationSetSettings
from pediatricsgpt.errors import UserError
from pediatricsgpt.records import Reject, Step
from pediatricsgpt.text import key

SETTINGS = DecontaminateSettings()
CASE = (
    "患儿，男，三岁两个月，因反复发热五天伴咳嗽入院，体温最高达三十九度四，查体可见咽部充血，双肺呼吸音粗，"
    "未闻及湿啰音，腹软，肝脾肋下未触及，请问最可能的诊断是什么，还应当完善哪些检查？"
)
ANSWER = (
    "首先考虑急性支气管炎，需要与肺炎支原体肺炎相鉴别，应当完善血常规、C反应蛋白、支原体抗体和胸部X线检查，"
    "再按结果决定是否使用大环内酯类抗生素。"
)
ITEMS = [
    ("case", CASE, ANSWER),
    ("short", "新生儿出生后第几天黄疸最明显，什么时候消退？", ""),
    ("tiny", "百日咳有哪些症状？", "咳嗽"),
    ("too tiny", "怎么办？", ""),
]
CHARACTERS = [chr(0x4E00 + number) for number in range(2000)]


@pytest.fixture(scope="module")
def index():
    return build_index({"exam": ITEMS}, SETTINGS)


def found(index, question="", answer=""):
    return [(match.test_id, match.side, match.row_side, match.how) for match in index.matches(question, answer)]


def checked(rows):
    """Rows as they come out of the step: the same with one more entry in their steps."""
    entry = {"name": "decontaminate", "version": 2, "teacher": "none", "prompt_hash": ""}
    return [{**row, "steps": [*row["steps"], entry]} for row in rows]


def noise(rng, length):
    return "".join(rng.choices(CHARACTERS, k=length))


def test_a_quoted_question_is_found_whatever_stands_around_it(index) -> None:
    assert found(index, f"医生您好！想请教一道题。{CASE}谢谢", "不清楚。") == [
        ("case", "question", "question", "n-gram")
    ]
    assert found(index, "今天讲一个病例", f"病例如下：{CASE}") == [("case", "question", "answer", "n-gram")]
    spaced = " ".join(CASE).replace("，", ",")
    assert found(index, answer=spaced) == [("case", "question", "text", "n-gram")]


def test_both_sides_are_looked_for_separately(index) -> None:
    matches = index.matches(CASE, ANSWER)
    assert [(match.side, match.row_side, match.score) for match in matches] == [
        ("answer", "answer", 1.0),
        ("question", "question", 1.0),
    ]
    assert found(index, "孩子咳嗽应该怎么治？", ANSWER) == [("case", "answer", "answer", "n-gram")]


def test_a_match_shows_the_longest_common_stretch(index) -> None:
    place = CASE.index("未闻及")
    match = index.matches("", f"甲乙丙{CASE[:place]}丁戊己。{CASE[place:]}")[0]
    assert match.excerpt == key(CASE[:place])
    assert 0.5 < match.score < 0.9


def test_half_of_a_long_item_is_enough_and_less_is_not(index) -> None:
    length = len(CASE)
    assert found(index, answer=CASE[: length * 2 // 3])
    assert not found(index, answer=CASE[: length // 3])


def test_an_item_with_edits_everywhere_is_a_near_duplicate() -> None:
    index = build_index({"exam": ITEMS}, DecontaminateSettings(overlap=0.7))
    said = key(CASE)
    rewritten = "的".join(said[start : start + 22] for start in range(0, len(said), 22))
    match = index.matches(rewritten, "")[0]
    one, other = (set(zip(text, text[1:], text[2:], strict=False)) for text in (said, rewritten))
    assert (match.how, match.side, match.row_side) == ("near", "question", "question")
    assert match.score == pytest.approx(len(one & other) / len(one | other), abs=1e-4)


def test_short_items_count_only_as_a_whole(index) -> None:
    short = ITEMS[1][1]
    assert found(index, f"请问{short}谢谢") == [("short", "question", "question", "n-gram")]
    assert not found(index, f"请问{short[:-4]}谢谢")


def test_very_short_questions_count_only_where_they_are_the_whole_question(index) -> None:
    assert found(index, "百日咳，有哪些症状", "痉挛性咳嗽。") == [("tiny", "question", "question", "exact")]
    assert not found(index, "我想知道百日咳有哪些症状，怎么预防？", "痉挛性咳嗽。")
    assert not found(index, "", "百日咳有哪些症状？")
    assert not found(index, "怎么办？")
    assert index.items == {"exam": 4}
    assert index.unchecked == {"exam": 1}


def test_courtesies_are_no_evidence() -> None:
    thanks = "希望我的回答能够对您有所帮助，祝您身体健康，生活愉快。"
    index = build_index({"exam": [("1", "", f"多喝水。{thanks}")]}, SETTINGS)
    assert not found(index, "孩子湿疹怎么护理？", f"每天两次涂抹保湿霜。{thanks}")


def test_phrases_of_many_test_items_are_no_evidence() -> None:
    rng = random.Random(1)
    frame = "请按照下面的要求写出这份门诊病历中缺少的主诉与现病史部分并说明理由"
    items = [(str(number), frame + noise(rng, 12), "") for number in range(60)]
    index = build_index({"exam": items}, SETTINGS)
    assert not found(index, frame + noise(rng, 12))
    assert found(index, items[7][1]) == [("7", "question", "question", "n-gram")]


def test_a_template_in_many_training_rows_is_no_evidence_but_a_whole_item_is(make) -> None:
    rng = random.Random(2)
    template = "本院采用国际先进的微创靶向技术从根源上调理病因让每一位患者都能得到满意的疗效并且终身不再复发"
    items = [("1", "", noise(rng, 10) + template + noise(rng, 10)), ("2", CASE, "")]
    rows = [
        instruction_row(record, record.messages, "general")
        for record in (
            *(make.dialogue(noise(rng, 30), noise(rng, 20) + template) for _ in range(40)),
            make.dialogue(noise(rng, 30), items[0][2]),
            *(make.dialogue(CASE, noise(rng, 30)) for _ in range(15)),
        )
    ]
    index = build_index({"exam": items}, SETTINGS)
    assert index.matches("", noise(rng, 20) + template)
    kept, rejects, report = decontaminate(rows, index, SETTINGS)
    assert kept == checked(rows[:40])
    assert len(rejects) == 16
    assert report["test_sets"]["exam"]["matched_items"] == 2


def test_frequencies_add_up_over_batches(index) -> None:
    rows = [(CASE, ANSWER), (CASE, ""), ("", CASE + CASE), ("别的问题", "别的回答")]
    parts = sum(index.frequencies([row]) for row in rows)
    assert (parts == index.frequencies(rows)).all()
    assert parts.max() == 3


def test_overlap_is_that_of_sets_of_grams() -> None:
    rng = random.Random(4)
    items = [(str(number), noise(rng, rng.randrange(45, 120)), "") for number in range(30)]
    index = build_index({"exam": items}, SETTINGS)

    def grams(text):
        return {text[start : start + 13] for start in range(len(text) - 12)}

    for _ in range(200):
        text = items[rng.randrange(30)][1]
        start = rng.randrange(len(text) // 2)
        part = text[start : start + rng.randrange(13, len(text))]
        row = noise(rng, 20) + part + noise(rng, 20) + part[:30]
        expected = {
            identity: len(grams(other) & grams(row)) / len(grams(other))
            for identity, other, _ in items
            if len(grams(other) & grams(row)) / len(grams(other)) >= 0.5
        }
        matches = {match.test_id: match.score for match in index.matches("", row) if match.how == "n-gram"}
        assert matches == pytest.approx(expected, abs=1e-4)


def test_rows_of_all_schemas_are_checked(make) -> None:
    index = build_index({"exam": ITEMS}, SETTINGS)
    dialogue = make.dialogue("孩子咳嗽怎么办", "多喝水，注意观察。")
    instruction = instruction_row(dialogue, dialogue.messages, "medkqa", Step("made"))
    preference = {
        "prompt": [{"role": "user", "content": "随便问问"}],
        "chosen": [{"role": "assistant", "content": "好。"}],
        "rejected": [{"role": "assistant", "content": ANSWER}],
    }
    text = {"text": f"儿科病例讨论。{CASE}", "form": "plain"}
    rows = [instruction, {**instruction, "id": "t", **text}, {**instruction, "id": "p", **preference}]
    del rows[1]["messages"], rows[2]["messages"]
    assert row_sides(rows[1]) == ("", text["text"])
    kept, rejects, report = decontaminate(rows, index, SETTINGS, "mixed")
    assert kept == checked([instruction])
    assert instruction["steps"][-1]["name"] == "made"  # what went in is as it was
    assert [reject.row for reject in rejects] == rows[1:]
    assert [reject.row["id"] for reject in rejects] == ["t", "p"]
    assert rejects[0].reason.startswith("in test set exam: question of case: n-gram 1.00, “患儿男三岁")
    assert rejects[0].where == "made.json, whole file"
    assert report["training_set"] == "mixed"
    assert (report["rows"], report["matched_rows"], report["pairs_total"]) == (3, 2, 2)
    assert report["test_sets"]["exam"] == {
        "items": 4,
        "unchecked": 1,
        "unread": 0,
        "unread_first": [],
        "matched_rows": 2,
        "removed": 2,
        "matched_items": 1,
        "share": 0.25,
        "pairs": {"answer, n-gram": 1, "question, n-gram": 1},
    }
    assert report["pairs"][0]["row"] == "t"
    json.dumps(report)


def test_without_removal_everything_is_kept_and_reported(make) -> None:
    record = make.dialogue(CASE, ANSWER)
    rows = [{**instruction_row(record, record.messages, "medkqa"), "id": str(number)} for number in range(5)]
    index = build_index({"exam": ITEMS}, SETTINGS)
    settings = SETTINGS.model_copy(update={"remove": False, "max_pairs": 3})
    kept, rejects, report = decontaminate(rows, index, settings)
    assert kept == checked(rows)
    assert not rejects
    assert (report["pairs_total"], len(report["pairs"])) == (10, 3)
    found = report["test_sets"]["exam"]
    assert (found["matched_rows"], found["removed"]) == (5, 0)


def test_a_copied_index_finds_the_same(index) -> None:
    rows = [(CASE, "不清楚"), ("", f"前言。{ANSWER}"), ("孩子咳嗽", "多喝水")]
    assert pickle.loads(pickle.dumps(index)).matches_of(rows) == index.matches_of(rows)
    assert [bool(index.matches(*row)) for row in rows] == [True, True, False]


@pytest.mark.parametrize("copies", [1, 10, 11, 3000])
def test_a_row_that_is_there_many_times_is_no_template(make, copies) -> None:
    index = build_index({"exam": ITEMS}, SETTINGS)
    part = CASE[: len(CASE) * 3 // 4]
    record = make.dialogue(part, "请到医院就诊。")
    row = instruction_row(record, record.messages, "medkqa")
    assert 0.5 < index.matches(part, "")[0].score < 0.9
    kept, rejects, report = decontaminate([row] * copies, index, SETTINGS)
    assert (len(kept), len(rejects)) == (0, copies)
    assert report["test_sets"]["exam"]["removed"] == copies


def test_repetition_is_no_evidence_across_batches_either(make, monkeypatch) -> None:
    index = build_index({"exam": ITEMS}, SETTINGS)
    record = make.dialogue(CASE[: len(CASE) * 3 // 4], "请到医院就诊。")
    rows = [instruction_row(record, record.messages, "medkqa")] * 40
    whole = decontaminate(rows, index, SETTINGS)
    monkeypatch.setattr(remove, "_BATCH", 3)
    assert decontaminate(rows, index, SETTINGS) == whole
    assert len(whole[1]) == 40


def test_items_that_could_not_be_read_are_reported(make) -> None:
    row = make.row("medkqa", 1)
    unread = [Reject("read", "no question: field 'q'", f"exam.jsonl, line {line}") for line in range(1, 6)]
    index = build_index({"exam": ITEMS, "other": ITEMS}, SETTINGS)
    found = decontaminate([row], index, SETTINGS, "sft", {"exam": unread})[2]["test_sets"]
    assert (found["exam"]["items"], found["exam"]["unread"]) == (4, 5)
    assert found["exam"]["unread_first"] == [f"exam.jsonl, line {line}: no question: field 'q'" for line in range(1, 4)]
    assert found["other"]["unread"] == 0
    with pytest.raises(ValueError, match="no test set of the index: exma"):
        decontaminate([row], index, SETTINGS, "sft", {"exma": unread})


def test_held_out_rows_are_a_test_set(make) -> None:
    record = make.dialogue(CASE, ANSWER, "那严重吗？", "不严重，按时复诊。")
    row = instruction_row(record, record.messages, "evidiag")
    assert row_items([row]) == [(row["id"], f"{CASE}\n那严重吗？", f"{ANSWER}\n不严重，按时复诊。")]
    index = build_index({"held_out": row_items([row])}, SETTINGS)
    assert found(index, CASE, "请到医院就诊。") == [(row["id"], "question", "question", "n-gram")]


def test_many_matches_of_one_batch_are_all_found() -> None:
    rng = random.Random(5)
    items = [(str(number), noise(rng, 40), "") for number in range(50)]
    index = build_index({"exam": items}, SETTINGS)
    book = "".join(text for _, text, _ in items)
    rows = [("", book)] * 150
    assert all(len(matches) == 50 for matches in index.matches_of(rows))


def test_an_id_that_occurs_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="two items with the id 1"):
        build_index({"exam": [("1", CASE, ""), ("1", ANSWER, "")]}, SETTINGS)


def test_nothing_to_look_for_finds_nothing() -> None:
    assert build_index({}, SETTINGS).matches(CASE, ANSWER) == []
    assert build_index({"exam": []}, SETTINGS).matches_of([]) == []


def test_test_sets_are_read_with_and_without_answers(tmp_path) -> None:
    rows = [
        {"id": "a", "instruction": "孩子发热怎么办？", "output": "多喝水。"},
        {"id": "b", "question": "颈部脊髓损伤有什么危害？", "cate": "病症"},
        {"case": "现病史：患儿咳嗽三天。", "first_question": "诊断是什么？"},
        {"nothing": 1},
    ]
    (tmp_path / "exam.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    loaded = load_test_set(EvaluationSetSettings(name="exam", path="exam.json"), tmp_path)
    assert [item[1:] for item in loaded.items] == [
        ("孩子发热怎么办？", "多喝水。"),
        ("颈部脊髓损伤有什么危害？", ""),
        ("现病史：患儿咳嗽三天。\n诊断是什么？", ""),
    ]
    assert len({item[0] for item in loaded.items}) == 3
    assert [reject.row for reject in loaded.rejects] == [{"nothing": 1}]


def test_a_file_of_questions_only_is_a_test_set_and_one_of_nothing_is_refused(tmp_path) -> None:
    (tmp_path / "q.jsonl").write_text(
        '{"question": "水痘会传染吗？"}\n{"question": "麻疹会传染吗？"}\n', encoding="utf-8"
    )
    assert len(load_test_set(EvaluationSetSettings(name="q", path="q.jsonl"), tmp_path).items) == 2
    (tmp_path / "n.jsonl").write_text('{"nothing": 1}\n', encoding="utf-8")
    with pytest.raises(UserError, match="nothing that could be read"):
        load_test_set(EvaluationSetSettings(name="n", path="n.jsonl"), tmp_path)
    with pytest.raises(UserError, match="no such file"):
        load_test_set(EvaluationSetSettings(name="m", path="m.jsonl"), tmp_path)


def test_public_benchmarks_are_read_whole_and_found_again(make, shared) -> None:
    folder = shared / "data" / "benchmarks"
    names = ("cmd_samples", "cmb_clin_cases", "cmid_samples", "huatuogpt_med_dialog_100")
    sets = {}
    for name in names:
        loaded = load_test_set(EvaluationSetSettings(name=name, path=f"{name}.json"), folder)
        assert not loaded.rejects
        assert len(loaded.items) == len(json.loads((folder / f"{name}.json").read_text(encoding="utf-8")))
        sets[name] = loaded.items
    index = build_index(sets, SETTINGS)
    for name, items in sets.items():
        for identity, question, answer in items:
            matched = {match.test_id for match in index.matches(f"请问：{question}", answer) if match.test_set == name}
            assert identity in matched or len(question) < 25


def test_real_consultations_that_no_benchmark_holds_are_kept_and_quickly(shared) -> None:
    folder = shared / "data"
    loaded = load_test_set(EvaluationSetSettings(name="cmd", path="cmd_samples.json"), folder / "benchmarks")
    index = build_index({"cmd": loaded.items}, SETTINGS)
    data = (folder / "dialogues" / "cmd_internal_medicine_sample.csv").read_bytes().decode("gb18030")
    rows = [(row["ask"], row["answer"]) for row in csv.DictReader(data.splitlines(keepends=True))]
    index.matches_of(rows[:10])
    start = time.perf_counter()
    matches = [match for begin in range(0, len(rows), 2048) for match in index.matches_of(rows[begin : begin + 2048])]
    assert (time.perf_counter() - start) / len(rows) < 2e-4  # about 2e-5 on a quiet machine
    assert not any(matches)
