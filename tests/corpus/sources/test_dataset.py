from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pediatricsgpt.corpus.settings import SourceSettings
from pediatricsgpt.corpus.sources import lines as lines_of_files
from pediatricsgpt.corpus.sources import rows as rows_of_files
from pediatricsgpt.corpus.sources.file import SourceFile
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


@pytest.mark.parametrize(("name", "kind"), [("a.csv", "dataset"), ("a.tsv", "dataset"), ("a.xlsx", "dataset")])
def test_the_columns_of_a_table_make_the_shape(read: Read, make: Make, name: str, kind: str) -> None:
    rows = [["instruction", "input", "output", "科室"], ["请诊断", "发热3天", "答", "儿科"], ["问", "", "", "儿科"]]
    path = make(name, "")
    if name == "a.xlsx":
        book = openpyxl.Workbook()
        for row in rows:
            book.active.append(row)
        book.save(path)
    else:
        sign = "," if name == "a.csv" else "\t"
        path.write_text("".join(f"{sign.join(row)}\n" for row in rows), encoding="gb18030")
    records, rejects = read(path, kind)
    assert [said(record.messages) for record in records] == [[("user", "请诊断\n发热3天"), ("assistant", "答")]]
    assert records[0].department == "儿科"
    assert [reject.reason for reject in rejects] == ["empty answer"]


def test_preference_pairs_may_stand_in_a_table(read: Read, make: Make) -> None:
    records, rejects = read(make("a.csv", "question,chosen,rejected\n问,好,坏\n问,好,好\n"), "preferences")
    assert (said(records[0].messages), said(records[0].chosen)) == ([("user", "问")], GOOD)
    assert [reject.reason for reject in rejects] == ["chosen and rejected are the same"]


@pytest.mark.parametrize(
    ("text", "problem", "line"),
    [
        ('[{"question": "问", "answer": "答"}]\n{"question": "问"}', "something follows its end", 2),
        ("[" * 100_000, "nested too deeply", 1),
    ],
)
def test_what_follows_an_array_or_never_ends_is_not_swallowed(
    read: Read, make: Make, text: str, problem: str, line: int
) -> None:
    path = make("a.json", text)
    with pytest.raises(UserError, match=f"the JSON array is broken: {problem}") as error:
        read(path, "dataset")
    assert error.value.where == f"{path}:{line}"


def test_a_row_that_is_too_long_is_a_reject_in_lines_and_in_arrays(
    read: Read, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (lines_of_files, rows_of_files):
        monkeypatch.setattr(module, "MAX_LINE_BYTES", 2**20)
    good, long = {"question": "问", "answer": "答"}, {"question": "问" * 1_200_000, "answer": "答"}
    records, rejects = read(make("a.jsonl", lines(good, long, good)), "dataset")
    assert (len(records), [(each.where, each.reason.split(":")[0]) for each in rejects]) == (
        2,
        [("a.jsonl:2", "line too long")],
    )
    records, rejects = read(make("a.json", json.dumps([good, long, good], ensure_ascii=False)), "dataset")
    assert (len(records), [(each.where, each.reason.split(":")[0]) for each in rejects]) == (
        2,
        [("a.json:1, row 2", "row too long")],
    )
    with pytest.raises(UserError, match="neither a JSON array nor JSON lines: line too long"):
        read(make("b.json", lines(long)), "dataset")


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
@pytest.mark.parametrize("digits", [5_000, 3_000_000])  # the second one is longer than a piece of the file
def test_an_integer_too_long_to_be_read_costs_its_row_alone(read: Read, make: Make, name: str, digits: int) -> None:
    good = json.dumps({"question": "问", "answer": "答"}, ensure_ascii=False)
    rows = [good, f'{{"question": "问", "answer": "答", "id": {"7" * digits}}}', good]
    content = "\n".join(rows) if name == "a.jsonl" else "[" + ",\n".join(rows) + "]"
    records, rejects = read(make(name, content), "dataset")
    assert len(records) == 2
    assert [each.reason for each in rejects] == ["not readable: an integer of more digits than can be read"]
    assert rejects[0].where.startswith(f"{name}:2")


def test_a_file_of_one_object_with_such_an_integer_is_one_reject(read: Read, make: Make) -> None:
    make("good/a.jsonl", lines({"question": "问", "answer": "答"}))
    path = make("good/b.json", f'{{\n"question": "问",\n"answer": {"7" * 5_000}\n}}')
    records, rejects = read(path.parent, "dataset")
    assert len(records) == 1
    assert [each.reason.split(":")[0] for each in rejects] == ["not readable"]
    with pytest.raises(UserError, match="neither a JSON array nor JSON lines: an integer of more digits"):
        read(make("c.json", f'{{\n"question": {"7" * 5_000}\n'), "dataset")


def test_lines_in_several_encodings_are_read_and_broken_ones_rejected(read: Read, make: Make) -> None:
    row = lines({"question": "孩子发烧三天了怎么办？", "answer": "多饮水，注意休息。"})
    broken = row.encode()[:40] + b"\xe5" + row.encode()[40:]
    path = make("a.jsonl", row.encode() * 3 + row.encode("gb18030") + broken + row.encode())
    records, rejects = read(path, "dataset")
    assert len({record.id for record in records}) == 1
    assert [record.source.locator.line for record in records] == [1, 2, 3, 4, 6]
    assert [(each.where, each.reason.split(":")[0]) for each in rejects] == [("a.jsonl:5", "broken encoding")]


def test_an_object_that_names_its_rows_is_read_row_by_row(read: Read, make: Make) -> None:
    rows = {"10001": {"question": "问", "answer": "答"}, "10002": {"question": "问"}}
    records, rejects = read(make("a.json", json.dumps(rows, ensure_ascii=False, indent=1)), "dataset")
    assert [str(record.source.locator) for record in records] == ["line 1, row 1, section key 10001"]
    assert [reject.where for reject in rejects] == ["a.json:1, row 2, key 10002"]


ROWS = st.lists(
    st.one_of(st.integers(), st.text(alphabet='问答"\\\\,[]{}\n', max_size=9), st.lists(st.booleans(), max_size=3)),
    max_size=9,
)


@given(ROWS, st.sampled_from([None, 0, 3]), st.integers(1, 30), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_an_array_is_read_as_json_reads_it_wherever_it_is_cut(
    tmp_path_factory: Any, rows: list[Any], indent: int | None, piece: int, encoding: str
) -> None:
    path = tmp_path_factory.mktemp("array") / "a.json"
    text = json.dumps(rows, ensure_ascii=False, indent=indent)
    path.write_text(text, encoding=encoding)
    named = {"name": "a", "kind": "dataset", "path": "a.json", "licence": "CC0", "consent": "none", "purpose": "no"}
    file = SourceFile.load(path, path.parent, SourceSettings.model_validate(named))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_of_files, "_PIECE", piece)
        found = list(rows_of_files.stream_json(file))
    assert [row.value for row in found] == rows
    assert file.rows.read == len(rows)
    # A row stands on the line that the elements before it, written alike, end on.
    for number, row in enumerate(found):
        before = json.dumps(rows[: number + 1], ensure_ascii=False, indent=indent)
        own = json.dumps([rows[number]], ensure_ascii=False, indent=indent)
        assert row.line == before.count("\n") - own.count("\n") + (2 if indent is not None else 1)


@given(ROWS, st.integers(0, 200), st.integers(1, 30))
def test_an_array_that_is_cut_off_is_never_taken_for_a_whole_one(
    tmp_path_factory: Any, rows: list[Any], cut: int, piece: int
) -> None:
    text = json.dumps(rows, ensure_ascii=False)
    cut = 1 + cut % max(1, len(text) - 1)
    path = tmp_path_factory.mktemp("array") / "a.json"
    path.write_text(text[:cut], encoding="utf-8")
    named = {"name": "a", "kind": "dataset", "path": "a.json", "licence": "CC0", "consent": "none", "purpose": "no"}
    file = SourceFile.load(path, path.parent, SourceSettings.model_validate(named))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_of_files, "_PIECE", piece)
        with pytest.raises(UserError, match="the JSON array is broken"):
            list(rows_of_files.stream_json(file))
