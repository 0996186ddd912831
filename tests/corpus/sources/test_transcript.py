from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pediatricsgpt.errors import UserError

Read = Callable[..., Any]
Make = Callable[..., Path]


def said(record: Any) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in record.messages]


BLOCKS = """
id\t7\tdepartment\t儿科\tdisease\t腹泻
P\t宝宝腹泻`两天了`（男，1岁）\t1
D\t精神怎么样？\t0
D\t有没有发热？\t0
P\t都好\t0
D\t口服补液。\t2
SUM1\t宝宝腹泻
SUM2.0\t口服补液。


id\t8\tapartment\t空\tdisease\t咳嗽
P\t咳嗽\t1
D\t多饮水\t2

id\t9\tdepartment\t儿科
P\t有人吗\t0

P\t没有开头\t0
D\t嗯\t0

id\t10\tdepartment\t儿科
P\t问\t0
X\t答\t0
"""


def test_dialog_blocks_are_read_with_their_department(read: Read, make: Make) -> None:
    records, rejects = read(make("a.dialog", BLOCKS), "conversation")
    assert said(records[0]) == [
        ("user", "宝宝腹泻，两天了，（男，1岁）"),
        ("assistant", "精神怎么样？"),
        ("assistant", "有没有发热？"),
        ("user", "都好"),
        ("assistant", "口服补液。"),
    ]
    assert [(record.department, str(record.source.locator)) for record in records] == [
        ("儿科", "line 2, section id 7"),
        ("unknown", "line 12, section id 8"),
    ]
    assert [(reject.where, reject.reason.split(":")[0]) for reject in rejects] == [
        ("a.dialog:16", "empty dialogue"),
        ("a.dialog:19", "no header"),
        ("a.dialog:22", "unknown line"),
    ]


def line(*turns: str) -> str:
    """One line of a ReMeDi file: what was said before, the question now, and the answer."""
    before = "".join(f"<|{('user', 'system')[number % 2]}|> {turn} " for number, turn in enumerate(turns[:-2]))
    return (
        f"<|endoftext|> <|context|> {before}<|endofcontext|> <|currentuser|> {turns[-2]} <|endofcurrentuser|> "
        "<|intent|> Inform symptom 发热 <|continue|> Other <|endofintent|> <|knowledge|> <|k|>发热 相关疾病 流感 "
        "<|endofknowledge|> <|action|> Inquire <|endofaction|> "
        f"<|response|> {turns[-1]} <|endofresponse|>  <|endoftext|>"
    )


def test_lines_of_special_tokens_become_one_dialogue_each(read: Read, make: Make) -> None:
    lines = [
        line("发烧", "多大了？"),
        line("发烧", "多大了？", "三岁", "体温？"),
        line("发烧", "多大了？", "三岁", "体温？", "39度", "请就诊。"),
        "",
        line("咳嗽", "几天了？"),
        line("腹泻", "几次？"),
        "<|response|> 你好",
        "<|thought|> 甲 <|user|> 乙 <|system|> 丙",
        "没有标记",
    ]
    records, rejects = read(make("a.txt", "\n".join(lines)), "conversation")
    assert [(said(record), record.source.locator.line) for record in records] == [
        (
            [
                ("user", "发烧"),
                ("assistant", "多大了？"),
                ("user", "三岁"),
                ("assistant", "体温？"),
                ("user", "39度"),
                ("assistant", "请就诊。"),
            ],
            3,
        ),
        ([("user", "咳嗽"), ("assistant", "几天了？")], 5),
        ([("user", "腹泻"), ("assistant", "几次？")], 6),
    ]
    assert [(reject.where, reject.reason) for reject in rejects] == [
        ("a.txt:7", "empty dialogue: nobody asks or nobody answers"),
        ("a.txt:8", "unknown token: <|thought|>"),
        ("a.txt:9", "empty dialogue: nobody asks or nobody answers"),
    ]


def test_lines_that_say_who_speaks_become_dialogues(read: Read, make: Make) -> None:
    first = "病人：孩子发烧\n两天了\n医生：多大了？\n病人：三岁\n医生：多饮水。\n\n"
    text = f"{first}家长：\n腹泻\n大夫：\n几次？\n\n病人：没人回答\n"
    records, rejects = read(make("a.txt", text), "conversation")
    assert [(said(record), record.source.locator.line) for record in records] == [
        (
            [
                ("user", "孩子发烧\n两天了"),
                ("assistant", "多大了？"),
                ("user", "三岁"),
                ("assistant", "多饮水。"),
            ],
            1,
        ),
        ([("user", "腹泻"), ("assistant", "几次？")], 7),
    ]
    assert [(reject.where, reject.reason) for reject in rejects] == [
        ("a.txt:12", "empty dialogue: nobody asks or nobody answers")
    ]


def test_empty_lines_may_stand_between_the_turns(read: Read, make: Make) -> None:
    text = "病人：发烧\n\n医生：多大了？\n\n病人：三岁\n\n医生：多饮水。\n\n\n病人：咳嗽\n\n医生：拍片。\n"
    records, rejects = read(make("a.txt", text), "conversation")
    assert not rejects
    assert [len(record.messages) for record in records] == [4, 2]


def test_plain_blocks_are_a_question_and_its_answer(read: Read, make: Make) -> None:
    text = "发烧怎么办？,孩子三岁，烧了两天\n多饮水。\n\n\n咳嗽,咳嗽\n拍胸片。\n必要时用药。\n\n\n没有回答,\n"
    records, rejects = read(make("a.txt", text, "gb18030"), "conversation")
    assert [said(record) for record in records] == [
        [("user", "发烧怎么办？\n孩子三岁，烧了两天"), ("assistant", "多饮水。")],
        [("user", "咳嗽"), ("assistant", "拍胸片。\n必要时用药。")],
    ]
    assert [(reject.where, reject.reason.split(":")[0]) for reject in rejects] == [("a.txt:10", "no answer")]


def test_json_lines_may_be_called_txt(read: Read, make: Make) -> None:
    records, _ = read(make("a.txt", '{"question": "问", "answer": "答"}\n'), "conversation")
    assert said(records[0]) == [("user", "问"), ("assistant", "答")]


def test_a_block_with_a_line_that_cannot_be_read_is_rejected_whole(read: Read, make: Make) -> None:
    good = "发烧怎么办？,三岁\n多饮水，注意休息。\n\n\n".encode()
    broken = "咳嗽怎么办？,三岁\n多饮水，注意休息，观察体温变化".encode() + b"\xe5\n\n\n"
    records, rejects = read(make("a.txt", good + broken + good), "conversation")
    assert len(records) == 2
    assert [reject.where for reject in rejects] == ["a.txt:5"]
    assert rejects[0].reason == "broken encoding: byte 46 of the line is not utf-8 (line 6)"


def test_a_text_without_empty_lines_is_no_dialogue(read: Read, make: Make) -> None:
    with pytest.raises(UserError, match="block too long"):
        read(make("a.txt", "孩子发烧,三天\n" * 6000), "conversation")


def test_prose_beside_dialogues_is_one_reject(read: Read, make: Make) -> None:
    make("d/a.json", '[{"question": "问", "answer": "答"}]')
    path = make("d/说明.txt", "本目录为问诊数据。\n来源见下。\n\n数据经过脱敏,仅供研究。\n\n联系人见首页。\n")
    records, rejects = read(path.parent, "conversation")
    assert len(records) == 1
    assert [(reject.where, reject.reason.split(":")[0]) for reject in rejects] == [("d/说明.txt", "no dialogue")]
