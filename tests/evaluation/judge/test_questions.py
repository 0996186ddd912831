"""Pairing two predictions files: what fits together is paired, what does not is refused with counts and a place."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.judge.questions import chosen, joined, read_pair
from tests.evaluation.judge import planted


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def row(name: str, said: str = "多喝水。", **others: Any) -> dict[str, Any]:
    return {"id": name, "question": f"{name}怎么办？", "prediction": said, **others}


def test_answers_are_paired_by_id_whatever_their_order(tmp_path: Path) -> None:
    a = write(tmp_path / "a.jsonl", row("1", "甲一", model="ours"), row("2", "甲二", model="ours", department="儿科"))
    b = write(tmp_path / "b.jsonl", row("2", "乙二", reference="参考"), row("1", "乙一"))
    pair = read_pair(a, b)
    assert pair.models == ("ours", "b")
    assert [(one.id, one.answers) for one in pair.questions] == [("1", ("甲一", "乙一")), ("2", ("甲二", "乙二"))]
    assert (pair.questions[1].department, pair.questions[1].reference) == ("儿科", "参考")
    assert pair.questions[0].messages == ({"role": "user", "content": "1怎么办？"},)


def test_the_question_may_stand_in_one_file_alone(tmp_path: Path) -> None:
    b = write(tmp_path / "b.jsonl", {"id": 1, "prediction": "好。"})
    assert read_pair(write(tmp_path / "a.jsonl", row("1")), b).questions[0].messages[0]["content"] == "1怎么办？"
    c = write(tmp_path / "c.jsonl", {"id": "1", "prediction": "不。"})
    with pytest.raises(UserError, match=r"says the question.*pedgpt generate --answers"):
        read_pair(c, b)


def test_different_questions_are_refused_with_counts_or_intersected_on_request(tmp_path: Path) -> None:
    a = write(tmp_path / "a.jsonl", *(row(name) for name in "12345"))
    b = write(tmp_path / "b.jsonl", *(row(name) for name in "34567890"))
    with pytest.raises(
        UserError, match=r"3 are common, 2 \(1, 2\) only in .*a.jsonl, 5 \(6, 7, 8 and 2 more\) only here"
    ):
        read_pair(a, b)
    pair = read_pair(a, b, intersect=True)
    assert [one.id for one in pair.questions] == ["3", "4", "5"]
    assert pair.only_one == (2, 5)
    c = write(tmp_path / "c.jsonl", row("x"))
    with pytest.raises(UserError, match="no id of this file"):
        read_pair(a, c, intersect=True)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"prediction": "好"}, "b.jsonl:2: the field 'id' is missing"),
        ({"id": "2"}, "b.jsonl:2: the field 'prediction' is missing"),
        ({"id": "2", "predictions": "好"}, "there is 'predictions': rename it"),
        ({"id": "2", "prediction": 3}, "'prediction' must be text"),
        (["2"], "expected a JSON object"),
        ({"id": "1", "prediction": "好"}, "b.jsonl:2: the id '1' occurs twice, first in line 1"),
        ({"id": "2", "prediction": "好", "messages": "怎么办"}, "the field 'messages' must be a list of"),
        ({"id": "2", "prediction": "好", "department": 3}, "'department' must be text"),
        ({"id": "2", "prediction": "好", "question": "别的？"}, "another question than at"),
        ({"id": "2", "prediction": "好", "reference": "别的"}, "another reference than at"),
    ],
)
def test_a_line_that_is_wrong_is_named(tmp_path: Path, line: Any, message: str) -> None:
    a = write(tmp_path / "a.jsonl", row("1"), row("2", reference="休息。"))
    b = write(tmp_path / "b.jsonl", row("1"), line)
    with pytest.raises(UserError) as caught:
        read_pair(a, b)
    assert message in str(caught.value)


def test_one_model_on_both_sides_is_refused(tmp_path: Path) -> None:
    a = write(tmp_path / "a.jsonl", row("1", model="sft"))
    b = write(tmp_path / "b.jsonl", row("1", model="sft"))
    with pytest.raises(UserError, match="both files are of the model 'sft'"):
        read_pair(a, b)
    named = read_pair(a, b, names=("alt", "neu"))
    assert (named.models, named.also_named) == (("alt", "neu"), ("sft",))
    with pytest.raises(UserError, match="stands on both sides"):
        read_pair(a, tmp_path / "." / "a.jsonl")
    mixed = write(tmp_path / "c.jsonl", row("1", model="x"), row("2", model="y"))
    with pytest.raises(UserError, match="answers of 2 models"):
        read_pair(a, mixed, intersect=True)


@pytest.mark.parametrize(("content", "message"), [("", "the file is empty"), ("{", "not JSON")])
def test_a_file_without_answers_is_refused(tmp_path: Path, content: str, message: str) -> None:
    a = write(tmp_path / "a.jsonl", row("1"))
    (tmp_path / "b.jsonl").write_text(content)
    with pytest.raises(UserError, match=message):
        read_pair(a, tmp_path / "b.jsonl")
    with pytest.raises(UserError, match="no such file"):
        read_pair(a, tmp_path / "none.jsonl")
    with pytest.raises(UserError, match="folder"):
        read_pair(a, tmp_path)


def test_fewer_items_are_some_of_more_items() -> None:
    pair = planted.pair(50, better=0.5)
    few, many = chosen(pair, 10), chosen(pair, 30)
    assert few.questions == many.questions[:10]
    assert (few.left_out, many.left_out) == (40, 20)
    turned = dataclasses.replace(pair, questions=pair.questions[::-1])
    assert chosen(turned, 10).questions == few.questions


def test_each_benchmark_and_held_out_task_has_its_share() -> None:
    pair = planted.pair(20, better=0.5)
    tasks = [dataclasses.replace(q, task=("medkqa", "evidiag")[place % 2]) for place, q in enumerate(pair.questions)]
    others = [dataclasses.replace(q, id=f"c{q.id}", task=None) for q in pair.questions]
    both = joined(
        {
            "held_out": dataclasses.replace(pair, questions=tuple(tasks)),
            "cmd": dataclasses.replace(pair, questions=tuple(others)),
        }
    )
    kept = chosen(both, 4)
    assert Counter(q.task for q in kept.questions) == {"medkqa": 4, "evidiag": 4, "cmd": 4}
    assert kept.left_out == 28


def test_benchmarks_are_joined_and_equal_ids_told_apart() -> None:
    one = planted.pair(3, better=0.5)
    other = dataclasses.replace(
        one,
        questions=(
            *(dataclasses.replace(q, task=None) for q in one.questions[:2]),
            dataclasses.replace(one.questions[2], id="x"),
        ),
    )
    both = joined({"medkqa": one, "cmd": other})
    assert [q.id for q in both.questions] == ["medkqa/q0000", "medkqa/q0001", "q0002", "cmd/q0000", "cmd/q0001", "x"]
    assert [q.task for q in both.questions] == ["medkqa"] * 3 + ["cmd", "cmd", "medkqa"]
    with pytest.raises(ValueError, match="same two models"):
        joined({"a": one, "b": dataclasses.replace(one, models=("x", "y"))})
