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
ASKED = [("user", "问"), ("assistant", "答")]


def said(messages: Any) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in messages]


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


SHAPES = {
    "sharegpt": ({"conversations": [{"from": "human", "value": "问"}, {"from": "gpt", "value": "答"}]}, ASKED),
    "messages": ({"conversation": [{"role": "user", "content": "问"}, {"role": "assistant", "content": "答"}]}, ASKED),
    "alpaca": ({"instruction": "问", "input": "", "output": "答"}, ASKED),
    "alpaca with input": (
        {"instruction": "请诊断", "input": "发热3天", "output": "答"},
        [("user", "请诊断\n发热3天"), ("assistant", "答")],
    ),
    "alpaca with system": (
        {"instruction": "问", "output": "答", "system": "你是医生"},
        [("system", "你是医生"), *ASKED],
    ),
    "huatuo": ({"id": "", "instruction": ["问"], "input": "", "output": ["答"]}, ASKED),
    "instruct": ({"instruct": " 问", "output": "答 "}, ASKED),
    "question": ({"question": "问", "answer": "答", "score": 5}, ASKED),
    "context": ({"context": "问题：问\n回答: ", "target": "答"}, ASKED),
    "context without frame": ({"context": "问", "target": "答"}, ASKED),
    "query": ({"query": "问", "response": "答"}, ASKED),
    "completion": ({"prompt": "问", "completion": "答"}, ASKED),
}


@pytest.mark.parametrize(("row", "expected"), SHAPES.values(), ids=SHAPES)
def test_each_shape_of_an_instruction_is_read(read: Read, make: Make, row: Any, expected: Any) -> None:
    records, rejects = read(make("a.txt", lines(row)), "dataset")
    assert not rejects
    assert said(records[0].messages) == expected
    assert (records[0].family, records[0].task, records[0].shape) == ("distilled", "", "messages")


def test_one_file_may_mix_all_shapes(read: Read, make: Make) -> None:
    rows = [row for row, _ in SHAPES.values()]
    records, rejects = read(make("a.json", lines(*rows, {"foo": 1})), "dataset")
    assert [said(record.messages) for record in records] == [expected for _, expected in SHAPES.values()]
    assert [record.source.locator.line for record in records] == list(range(1, len(rows) + 1))
    assert [(reject.where, reject.reason) for reject in rejects] == [
        (f"a.json:{len(rows) + 1}", "unknown shape: fields foo")
    ]


GOOD, BAD = [("assistant", "好")], [("assistant", "坏")]
PAIRS = {
    "texts": (
        {"conversations": [{"from": "human", "value": "问"}], "chosen": "好", "rejected": "坏"},
        [("user", "问")],
    ),
    "turns": (
        {
            "conversations": [{"from": "system", "value": "你是医生"}, {"from": "human", "value": "问"}],
            "chosen": {"from": "gpt", "value": "好"},
            "rejected": {"from": "gpt", "value": "坏"},
        },
        [("system", "你是医生"), ("user", "问")],
    ),
    "lists": (
        {
            "prompt": [{"role": "user", "content": "问"}],
            "chosen": [{"role": "assistant", "content": "好"}],
            "rejected": [{"role": "assistant", "content": "坏"}],
        },
        [("user", "问")],
    ),
    "whole dialogues": (
        {
            "prompt": "问",
            "chosen": [{"role": "user", "content": "问"}, {"role": "assistant", "content": "好"}],
            "rejected": [{"role": "user", "content": "问"}, {"role": "assistant", "content": "坏"}],
        },
        [("user", "问")],
    ),
    "alpaca": ({"instruction": "问", "input": "", "chosen": "好", "rejected": "坏"}, [("user", "问")]),
    "response": (
        {"system": "", "history": [["甲", "乙"]], "question": "问", "response_chosen": "好", "response_rejected": "坏"},
        [("user", "甲"), ("assistant", "乙"), ("user", "问")],
    ),
}


@pytest.mark.parametrize(("row", "prompt"), PAIRS.values(), ids=PAIRS)
def test_each_shape_of_a_preference_pair_is_read(read: Read, make: Make, row: Any, prompt: Any) -> None:
    records, rejects = read(make("a.jsonl", lines(row)), "preferences")
    assert not rejects
    record = records[0]
    assert (said(record.messages), said(record.chosen), said(record.rejected)) == (prompt, GOOD, BAD)
    assert (record.family, record.shape, record.group[:9]) == ("general", "preference", "dialogue:")


def test_a_preference_pair_in_a_dataset_is_a_general_instruction(read: Read, make: Make) -> None:
    row, prompt = PAIRS["turns"]
    records, _ = read(make("a.json", json.dumps([row])), "dataset")
    assert said(records[0].messages) == [*prompt, *GOOD]
    assert (records[0].family, records[0].task, records[0].chosen) == ("general", "general", [])


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"question": "问", "answer": "答"}, "no preference pair"),
        ({"prompt": "问", "chosen": "好", "rejected": "好"}, "chosen and rejected are the same"),
        ({"prompt": "问", "chosen": "", "rejected": "坏"}, "empty answer: chosen"),
        ({"prompt": " ", "chosen": "好", "rejected": "坏"}, "no question"),
        ({"chosen": "好", "rejected": "坏"}, "unknown shape: a preference pair without a prompt"),
        ({"conversations": [{"from": "gpt", "value": "你好"}], "chosen": "好", "rejected": "坏"}, "no question"),
        ({"prompt": "问", "chosen": {"from": "human", "value": "好"}, "rejected": "坏"}, "empty answer: chosen"),
    ],
)
def test_pairs_that_are_none_are_rejects(read: Read, make: Make, row: Any, reason: str) -> None:
    records, rejects = read(make("a.jsonl", lines(PAIRS["texts"][0], row)), "preferences")
    assert len(records) == 1
    assert [reject.where for reject in rejects] == ["a.jsonl:2"]
    assert rejects[0].reason.startswith(reason)


def test_a_file_in_which_nothing_can_be_read_stops_the_run(read: Read, make: Make) -> None:
    path = make("a.json", json.dumps([{"question": "问"}] * 3, ensure_ascii=False))
    with pytest.raises(UserError, match=r"first of 3 rejects: a\.json:1, row 1: unknown shape: fields question"):
        read(path, "dataset")


@pytest.mark.parametrize(
    ("folder", "kind", "counts"),
    [
        (
            "distilled",
            "dataset",
            {
                "bencao.jsonl": 890,
                "disc_medsft.jsonl": 120,
                "huatuo26m.json": 800,
                "medchatglm.txt": 300,
                "medicalgpt_sharegpt.jsonl": 299,
                "question_answer.jsonl": 60,
            },
        ),
        ("preferences", "preferences", {"pairs.jsonl": 200, "pairs_sharegpt.json": 80}),
        ("general", "dataset", {"sharegpt.json": 120}),
    ],
)
def test_the_examples_are_read_whole(
    read: Read, examples: Path, folder: str, kind: str, counts: dict[str, int]
) -> None:
    records, rejects = read(Path("../examples") / folder, kind, base=examples.parent / "recipes")
    assert not rejects
    assert Counter(Path(record.source.file).name for record in records) == counts
    for record in records:
        assert {message["role"] for message in record.messages} >= {"user"}
        assert all(message["content"] for message in [*record.messages, *record.chosen, *record.rejected])
        assert not any(
            "回答:" in message["content"] for message in record.messages if "medchatglm" in record.source.file
        )
