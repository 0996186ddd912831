"""Which items are asked, and what of a dialogue is the question."""

from __future__ import annotations

from pathlib import Path

import pytest

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.benchmarks import (
    Item,
    held_out_benchmark,
    held_out_items,
    load_benchmark,
    read_items,
    without_farewell,
)
from pediatricsgpt.evaluation.settings import BenchmarkSettings
from tests.rows import instruction, write

WISHES = "不客气，祝宝宝早日康复！"


def _said(*turns: str) -> list[str]:
    return [turn["content"] for turn in without_farewell(instruction(*turns)["messages"])]


def test_thanks_and_wishes_at_the_end_are_not_the_question() -> None:
    assert _said("发烧", "几天了？", "三天", "请就诊。", "好的，谢谢医生", WISHES) == [
        "发烧",
        "几天了？",
        "三天",
        "请就诊。",
    ]


def test_thanks_that_ask_something_more_stay() -> None:
    turns = ("发烧", "请就诊。", "谢谢，那需要抽血吗？", "不客气，先查血常规。")
    assert _said(*turns) == list(turns)


def test_a_long_answer_to_thanks_stays() -> None:
    turns = (
        "发烧",
        "请就诊。",
        "谢谢医生",
        "不客气。" + "如果出现精神差、抽搐、皮疹或呼吸急促，请立即到急诊就诊。" * 3,
    )
    assert _said(*turns) == list(turns)


def test_a_single_exchange_is_never_emptied() -> None:
    assert _said("谢谢", WISHES) == ["谢谢", WISHES]


def test_the_same_items_whatever_else_is_in_the_file(tmp_path: Path) -> None:
    rows = [instruction(f"第{number}个问题", "答", split="held_out") for number in range(30)]
    other = [instruction(f"第{number}个病例", "答", task="trerecom", split="held_out") for number in range(9)]
    (tmp_path / "a").mkdir()
    few = held_out_items(write(tmp_path, "instruction", rows), ["medkqa"], 5)
    more = held_out_items(write(tmp_path / "a", "instruction", [*other, *reversed(rows)]), ["medkqa"], 5)
    assert few == more
    assert len({item.id for item in few}) == 5
    assert few[0].reference == "答"


def test_no_document_fills_a_test_by_itself(tmp_path: Path) -> None:
    book = [{**instruction(f"第{number}篇", "答", split="held_out"), "group": "document:book"} for number in range(40)]
    others = [instruction(f"第{number}个问题", "答", split="held_out") for number in range(5)]
    items = held_out_items(write(tmp_path, "instruction", [*book, *others]), ["medkqa"], 8)
    assert sum(item.messages[0]["content"].endswith("篇") for item in items) == 3


def test_own_files_take_questions_and_dialogues(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(
        '{"question": "发烧怎么办", "reference": "量体温"}\n'
        '{"id": 7, "messages": [{"role": "user", "content": "咳嗽"}, {"role": "assistant", "content": "多喝水"}]}\n',
        encoding="utf-8",
    )
    first, second = read_items(path)
    assert (first.messages[-1]["content"], first.reference) == ("发烧怎么办", "量体温")
    assert (second.id, second.reference, len(second.messages)) == ("7", "多喝水", 1)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"quesion": "x"}', "did you mean it by 'quesion'"),
        ('{"messages": "x"}', "list of {role, content}"),
        ('{"messages": [{"role": "system", "content": "x"}]}', "end with the user"),
        ("[1]", "JSON object"),
        ("", "empty"),
    ],
)
def test_own_files_that_are_wrong_name_their_line(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=said):
        read_items(path)


def _held_out(folder: Path) -> Path:
    rows = [instruction(f"第{number}个问题", "答", split="held_out") for number in range(9)]
    rows += [instruction(f"第{number}个病例", "答", task="trerecom", split="held_out") for number in range(4)]
    folder.mkdir(parents=True)
    return write(folder, "instruction", rows).rename(folder / "rows.parquet")


@pytest.mark.parametrize("named", ["run", "run/corpus", "run/corpus/held_out", "run/corpus/held_out/rows.parquet"])
def test_the_held_out_rows_of_another_run_are_a_benchmark(tmp_path: Path, named: str) -> None:
    _held_out(tmp_path / "run/corpus/held_out")
    found = load_benchmark(BenchmarkSettings(name="trerecom", path=named), tmp_path, 3)
    assert len(found.items) == 3
    assert {item.task for item in found.items} == {"trerecom"}
    assert (found.read, found.kept, found.dropped) == (13, 4, {"another task": 9})
    assert found.left_out == {"beyond max_items": 1}


def test_a_folder_without_held_out_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no held_out/rows\.parquet here"):
        load_benchmark(BenchmarkSettings(name="medkqa", path="."), tmp_path)


def test_a_runs_own_tasks_are_one_benchmark_with_the_same_items(tmp_path: Path) -> None:
    rows = _held_out(tmp_path / "held_out")
    found = held_out_benchmark(rows, ["medkqa", "trerecom"], 5)
    assert found.items == held_out_items(rows, ["medkqa", "trerecom"], 5)
    assert (found.read, found.kept, found.left_out) == (13, 13, {"beyond max_items": 4})
    with pytest.raises(UserError, match="no held-out item of evidiag"):
        held_out_benchmark(rows, ["evidiag"], 5)


def test_a_prediction_has_the_data_contracts_fields_alone() -> None:
    item = Item(
        "1", [{"role": "user", "content": "问"}], "答", group="g", options={"A": "答"}, key=("A",), kind="choice"
    )
    assert item.prediction("好", "base") == {
        "id": "1",
        "messages": [{"role": "user", "content": "问"}],
        "reference": "答",
        "group": "g",
        "prediction": "好",
        "model": "base",
    }
