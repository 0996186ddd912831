from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pediatricsgpt.errors import UserError

Read = Callable[..., Any]
Make = Callable[..., Path]
HEADER = "department,title,ask,answer\n"


def array(*rows: Any) -> str:
    return json.dumps(rows, ensure_ascii=False, indent=1)


def said(record: Any) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in record.messages]


def test_both_shapes_of_cmtmedqa_are_read_from_one_file(read: Read, make: Make) -> None:
    dialogue = {
        "id": "1",
        "cate1": "儿科",
        "cate2": "小儿内科",
        "instruction": "两岁，39度。",
        "input": "",
        "output": "请到医院就诊。",
        "history": [["医生，孩子发烧了。", "多大了？体温多少？"]],
    }
    safety = {"instruct": " 发烧是被恶魔附身吗？", "output": " 不是，请及时就医。"}
    records, rejects = read(make("a.json", array(dialogue, safety)), "conversation")
    assert not rejects
    assert said(records[0]) == [
        ("user", "医生，孩子发烧了。"),
        ("assistant", "多大了？体温多少？"),
        ("user", "两岁，39度。"),
        ("assistant", "请到医院就诊。"),
    ]
    assert (records[0].family, records[0].task, records[0].department) == ("conversation", "", "儿科/小儿内科")
    assert said(records[1]) == [("user", "发烧是被恶魔附身吗？"), ("assistant", "不是，请及时就医。")]
    assert (records[1].family, records[1].task, records[1].department) == ("behaviour", "safety", "unknown")
    assert [(record.source.locator.line, record.source.locator.row) for record in records] == [(2, 1), (16, 2)]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"cate1": "儿科", "cate2": "nan"}, "儿科"),
        ({"cate1": "nan", "cate2": ""}, "unknown"),
        ({"cate1": None}, "unknown"),
        ({"department": "小儿外科"}, "小儿外科"),
        ({"department": "空"}, "unknown"),
    ],
)
def test_departments_stay_as_the_source_has_them(read: Read, make: Make, labels: dict[str, Any], expected: str) -> None:
    records, _ = read(make("a.json", array({"question": "问", "answer": "答", **labels})), "conversation")
    assert records[0].department == expected


@pytest.mark.parametrize(
    "turns",
    [
        {"conversations": [{"from": "human", "value": "问"}, {"from": "gpt", "value": "答"}]},
        {"messages": [{"role": "user", "content": "问"}, {"role": "assistant", "content": "答"}]},
        {"conversation": [{"role": "患者", "content": "问 "}, {"role": "医生", "content": "答"}], "id": 1},
        {"instruction": "问", "output": "答", "history": []},
        {"question": "问", "answer": "答"},
    ],
)
def test_turns_are_known_by_any_of_their_names(read: Read, make: Make, turns: dict[str, Any]) -> None:
    records, _ = read(make("a.jsonl", json.dumps(turns, ensure_ascii=False)), "conversation")
    assert said(records[0]) == [("user", "问"), ("assistant", "答")]
    assert records[0].source.locator.line == 1


def test_dialogues_that_open_with_one_question_are_one_group(read: Read, make: Make) -> None:
    rows = [
        {"question": question, "answer": answer}
        for question, answer in (("发烧？", "甲"), ("发烧", "乙"), ("咳嗽", "丙"))
    ]
    records, _ = read(make("a.json", array(*rows)), "conversation")
    groups = [record.group for record in records]
    assert groups[0] == groups[1] != groups[2]
    assert all(group.startswith("dialogue:") for group in groups)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"question": "", "answer": "答"}, "empty question"),
        ({"question": "问", "answer": " \n"}, "empty answer"),
        ({"question": "问"}, "unknown shape: fields question"),
        ({"messages": []}, "empty question"),
        ({"messages": [{"role": "user", "content": "问"}]}, "empty answer"),
        ({"messages": [{"role": "tool", "content": "问"}]}, "unknown role: 'tool' in turn 1"),
        ({"messages": ["问", "答"]}, "unknown shape: turn 1 has neither role and content nor from and value"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "not a text: content is a dict"),
        ({"instruction": ["a", "b"], "output": "答"}, "not a text: instruction is a list of 2"),
        ({"instruction": "问", "output": "答", "history": ["x"]}, "unknown shape: an entry of history is no pair"),
        ({"prompt": "问", "chosen": "好", "rejected": "坏"}, "a preference pair in a source of kind conversation"),
        ("问", "unknown shape: str where an object was expected"),
        ({}, "unknown shape: fields none"),
        ({"question": "问\ud83d", "answer": "答"}, "half a character"),
    ],
)
def test_rows_that_cannot_be_read_are_rejects_with_their_reason(read: Read, make: Make, row: Any, reason: str) -> None:
    good = {"question": "问", "answer": "答"}
    records, rejects = read(make("a.json", json.dumps([good, row])), "conversation")
    assert len(records) == 1
    assert [reject.where for reject in rejects] == ["a.json:1, row 2"]
    assert rejects[0].step == "read"
    assert rejects[0].reason.startswith(reason)


def test_broken_lines_are_rejects_and_the_rest_is_read(read: Read, make: Make) -> None:
    good = json.dumps({"question": "问", "answer": "答"})
    records, rejects = read(make("a.jsonl", f"{good}\n\n{good[:-4]}\n{good}\n"), "conversation")
    assert [record.source.locator.line for record in records] == [1, 4]
    assert [reject.where for reject in rejects] == ["a.jsonl:3"]
    assert rejects[0].reason.startswith("not JSON: ")
    assert rejects[0].row == good[:-4]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('[\n{"question": "问", "answer": "答"}\n{"question": "问"}]', 3, "expected , or ]"),
        ('[\n{"question": "问", "answer": "答"},\n{"question": ', 3, "broken"),
        ('[\n{"question": "问", "answer": "答"},\n', 3, "broken"),
        ('[\n{"question": "问", "answer": "答"}\n', 3, "never ends"),
        ('{\n"question": "问",\n"answer" "答"}', 3, "neither a JSON array nor JSON lines"),
        ("问：发烧\n答：多饮水\n", 1, "neither a JSON array nor JSON lines"),
    ],
)
def test_files_that_are_no_json_name_the_line(read: Read, make: Make, text: str, line: int, message: str) -> None:
    path = make("a.json", text)
    with pytest.raises(UserError, match=message.replace("[", r"\[")) as error:
        read(path, "conversation")
    assert error.value.where == f"{path}:{line}"


@pytest.mark.parametrize("encoding", ["gb18030", "utf-8", "utf-8-sig"])
def test_cmd_tables_are_read_with_newlines_inside_fields(read: Read, make: Make, encoding: str) -> None:
    table = HEADER + '儿科,孩子发烧,无,"多饮水。\n\n必要时退热。"\n呼吸科,咳嗽怎么办,孩子咳嗽怎么办？三天了,拍胸片。\n'
    records, rejects = read(make("a.csv", table, encoding), "conversation")
    assert not rejects
    assert said(records[0]) == [("user", "孩子发烧"), ("assistant", "多饮水。\n\n必要时退热。")]
    assert said(records[1]) == [("user", "孩子咳嗽怎么办？三天了"), ("assistant", "拍胸片。")]
    assert [(record.source.locator.line, record.source.locator.row) for record in records] == [(2, 1), (5, 2)]
    assert records[0].department == "儿科"


def test_title_and_details_make_the_question(read: Read, make: Make) -> None:
    records, _ = read(make("a.csv", HEADER + "儿科,发烧,三岁，两天。,就诊。\n"), "conversation")
    assert records[0].messages[0]["content"] == "发烧\n三岁，两天。"


def test_rows_of_a_table_that_cannot_be_read_are_rejects(read: Read, make: Make) -> None:
    table = HEADER + '儿科,甲,乙,丙\n儿科,甲,乙\n\n儿科,甲,乙,\n儿科,"甲"x,乙,丙\n儿科,,无,丙\n儿科,甲,乙,丙\n'
    records, rejects = read(make("a.csv", table), "conversation")
    assert [record.source.locator.row for record in records] == [1, 6]
    assert sorted((reject.where, reject.reason) for reject in rejects) == [
        ("a.csv:3, row 2", "3 fields, expected 4 (department, title, ask, answer)"),
        ("a.csv:5, row 3", "empty answer"),
        ("a.csv:6, row 4", "broken row: ',' expected after '\"'"),
        ("a.csv:7, row 5", "empty question"),
    ]


def test_wrong_columns_of_a_table_are_named(read: Read, make: Make) -> None:
    path = make("a.csv", "deparment,title,question,answer\n儿科,甲,乙,丙\n", "gb18030")
    with pytest.raises(UserError) as error:
        read(path, "conversation")
    assert error.value.message.startswith("column 'department' (nearest: 'deparment'), 'ask' is missing")
    assert "found deparment, title, question, answer" in error.value.message


def test_columns_may_have_chinese_names_and_any_delimiter(read: Read, make: Make) -> None:
    records, rejects = read(make("a.csv", "科室;标题;问题描述;医生回答\n儿科;发烧;三岁;多饮水\n"), "conversation")
    assert not rejects
    assert said(records[0]) == [("user", "发烧\n三岁"), ("assistant", "多饮水")]
    assert records[0].department == "儿科"


def test_tables_of_question_and_answer_are_read(read: Read, make: Make) -> None:
    table = "问题\t回答\t科室\n发烧怎么办\t多饮水\t儿科\n咳嗽\t\t儿科\n"
    records, rejects = read(make("a.tsv", table), "conversation")
    assert [(said(record), record.department) for record in records] == [
        ([("user", "发烧怎么办"), ("assistant", "多饮水")], "儿科")
    ]
    assert [(reject.where, reject.reason) for reject in rejects] == [("a.tsv:3, row 2", "empty answer")]


TURNS = """对话编号,角色,内容,科室
1,家长,孩子发烧两天了,儿科
1,医生,多大了？,儿科
,家长,三岁,
,医生,多饮水。,
2,护士,请先登记,儿科
2,家长,好的,儿科
3,患者,咳嗽,
3,医生,,
3,医生,有痰吗？,
"""


def test_tables_of_turns_become_dialogues_of_many_turns(read: Read, make: Make) -> None:
    records, rejects = read(make("a.csv", TURNS), "conversation")
    assert [said(record) for record in records] == [
        [("user", "孩子发烧两天了"), ("assistant", "多大了？"), ("user", "三岁"), ("assistant", "多饮水。")],
        [("user", "咳嗽"), ("assistant", "有痰吗？")],
    ]
    assert [(record.source.locator.line, record.department) for record in records] == [(2, "儿科"), (8, "unknown")]
    assert [(reject.where, reject.reason) for reject in rejects] == [
        ("a.csv:6, row 5", "unknown role: '护士' in turn 1"),
        ("a.csv:7, row 6", "empty dialogue: nobody asks or nobody answers"),
        ("a.csv:9, row 8", "empty turn: number 2 of its dialogue"),
    ]


def test_a_table_of_no_known_form_names_the_forms(read: Read, make: Make) -> None:
    path = make("a.csv", "甲,乙\n1,2\n")
    with pytest.raises(
        UserError, match="columns of no known form: expected department, title, ask, answer; or"
    ) as error:
        read(path, "conversation")
    assert error.value.message.endswith("found 甲, 乙")


@pytest.mark.parametrize(
    "row",
    [
        ["病人：孩子发烧", "医生：多大了？", "病人：三岁", "医生：多饮水"],
        {"dialogue": ["患者:孩子发烧", "医生:多大了？", "患者:三岁", "医生:多饮水"]},
        {"dialogue": "家长：孩子发烧\n医生：多大了？\n家长：三岁\n医生：多饮水"},
        {
            "dialog": [
                {"speaker": name, "sentence": text}
                for name, text in zip(("妈妈", "医生") * 2, ("孩子发烧", "多大了？", "三岁", "多饮水"), strict=True)
            ]
        },
        {
            "turns": [
                {"id": name, "Sentence": text}
                for name, text in zip(
                    ("Patients", "Doctor") * 2, ("孩子发烧", "多大了？", "三岁", "多饮水"), strict=True
                )
            ]
        },
    ],
    ids=["list of texts", "texts in a field", "one text", "speaker and sentence", "id and Sentence"],
)
def test_speakers_are_restored_and_turns_kept(read: Read, make: Make, row: Any) -> None:
    records, rejects = read(make("a.json", array(row)), "conversation")
    assert not rejects
    assert said(records[0]) == [
        ("user", "孩子发烧"),
        ("assistant", "多大了？"),
        ("user", "三岁"),
        ("assistant", "多饮水"),
    ]


def test_cases_with_what_the_doctor_wrote_are_dialogues(read: Read, make: Make) -> None:
    rows = [
        {"id": 1, "medical_case": "疾病：\n湿疹", "doctor_diagnosis": "外用药膏", "Department": "皮肤科"},
        {"id": "0-1", "department": "儿科", "raw_case": "新生儿科", "question": "发烧", "raw_anwser": "就诊"},
        {
            "dataset_info": {"department": "儿科"},
            "conversation": [{"role": "patient", "content": "甲"}, {"role": "doctor", "content": "乙"}],
        },
        {"id": "1", "case": "现病史", "first_question": "诊断是什么？"},
        {"id": "1", "scores": "Accuracy: 5", "prompt": "You are a scorer."},
    ]
    records, rejects = read(make("a.json", array(*rows)), "conversation")
    assert [(said(record), record.department) for record in records] == [
        ([("user", "疾病：\n湿疹"), ("assistant", "外用药膏")], "皮肤科"),
        ([("user", "发烧"), ("assistant", "就诊")], "儿科"),
        ([("user", "甲"), ("assistant", "乙")], "儿科"),
    ]
    assert [reject.reason for reject in rejects] == [
        "a question without an answer: fields id, case, first_question",
        "a judgement of answers and no answer: fields id, scores, prompt",
    ]


def test_the_examples_are_read_whole(read: Read, examples: Path) -> None:
    records, rejects = read(Path("../examples/dialogues"), "conversation", base=examples.parent / "recipes")
    assert not rejects
    assert Counter(Path(record.source.file).name for record in records) == {
        "cmd_internal_medicine.csv": 1401,
        "cmtmedqa.json": 442,
        "hetmc.dialog": 39,
    }
    assert Counter(record.family for record in records) == {"conversation": 1778, "behaviour": 104}
    assert sum("儿科" in record.department for record in records) == 74


def test_rows_of_the_example_table_stand_where_their_line_says(read: Read, examples: Path) -> None:
    path = examples / "dialogues" / "cmd_internal_medicine.csv"
    raw = path.read_bytes().decode("gb18030").split("\n")
    records, _ = read(path, "conversation")
    assert [record.source.locator.row for record in records] == list(range(1, 1402))
    assert any(record.source.locator.line != record.source.locator.row + 1 for record in records)
    for record in records:
        row = raw[record.source.locator.line - 1]
        assert row.startswith(f"{record.department},")
        assert record.messages[0]["content"][:4] in row
