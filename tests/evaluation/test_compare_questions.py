"""Questions from runs and files, what is highlighted, and what a terminal is given."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.compare import MODELS
from pediatricsgpt.evaluation.compare.differences import LONGEST, differences, signs
from pediatricsgpt.evaluation.compare.questions import HELD_OUT, Question, questions_of_files, questions_of_run
from pediatricsgpt.evaluation.compare.terminal import as_dict, render, selected
from pediatricsgpt.records import write_json_lines

from .conftest import SmallRun

_texts = st.text(alphabet="发热咳嗽三天38.5ab 。\n😀", max_size=40)
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A predictions file: name of the file, then id -> answer."""

    def made(name: str, answers: dict[str, str], **more: Any) -> Path:
        rows = [{"id": one, "prediction": text, "reference": f"参考{one}", **more} for one, text in answers.items()]
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json_lines(path, rows)
        return path

    return made


@given(_texts, _texts)
def test_stretches_join_to_the_text_and_what_is_not_lacking_stands_in_the_other(text: str, other: str) -> None:
    found = differences(text, other)
    assert "".join(part for part, _ in found) == text
    assert all(part and (lacks or part in other) for part, lacks in found)
    assert all(one[1] != next_[1] for one, next_ in pairwise(found)) or text == other


@given(_texts)
def test_equal_texts_differ_in_nothing_and_signs_join_to_the_text(text: str) -> None:
    assert not any(lacks for _, lacks in differences(text, text))
    assert "".join(signs(text)) == text


@pytest.mark.parametrize(
    ("text", "other", "expected"),
    [
        ("体温39.5度", "体温38.5度", ["39.5"]),
        ("布洛芬 15ml", "布洛芬 5ml", ["15ml"]),
        ("建议立即就医", "建议尽快就医", ["立即"]),
        ("不要退烧，多喝水", "退烧，多喝水", ["不要"]),
        ("的", "我的书", ["的"]),
        ("多喝水", "", ["多喝水"]),
        ("", "多喝水", []),
    ],
)
def test_what_is_marked_in_chinese(text: str, other: str, expected: list[str]) -> None:
    # 度 alone is one sign and counts for nothing beside a number that differs.
    marked = [part for part, lacks in differences(text, other) if lacks]
    assert [part.removesuffix("度") for part in marked] == expected


def test_very_long_texts_are_shown_without_marks() -> None:
    assert differences("发" * (LONGEST + 1), "热") == [("发" * (LONGEST + 1), False)]


def test_files_are_aligned_by_id_and_named_by_their_model(write: Write) -> None:
    a = write("x/a.jsonl", {"1": "甲", "2": "乙"}, model="gpt-4")
    b = write("x/b.jsonl", {"2": "丁", "1": "丙"}, model="ours")
    found = questions_of_files([a, b])
    assert found.models == ["gpt-4", "ours"]
    assert {item.id: dict(item.answers) for item in found.items} == {
        "1": {"gpt-4": "甲", "ours": "丙"},
        "2": {"gpt-4": "乙", "ours": "丁"},
    }


def test_files_without_a_model_are_named_by_file_then_folder(write: Write) -> None:
    assert questions_of_files([write("a.jsonl", {"1": "甲"}), write("b.jsonl", {"1": "乙"})]).models == ["a", "b"]
    same = [write(f"{folder}/predictions.jsonl", {"1": folder}, model="same") for folder in ("one", "two")]
    assert questions_of_files(same).models == ["one", "two"]


def test_different_question_sets_are_refused_with_counts_or_intersected(write: Write) -> None:
    a, b = write("a.jsonl", {"1": "甲", "2": "乙", "3": "丙"}), write("b.jsonl", {"2": "丁", "3": "戊", "4": "己"})
    with pytest.raises(
        UserError, match=r"of 4 ids .*a\.jsonl lacks 1 \(4\); .*b\.jsonl lacks 1 \(1\); --intersect .* 2"
    ):
        questions_of_files([a, b])
    found = questions_of_files([a, b], intersect=True)
    assert ([item.id for item in found.items], found.left_out) == (["2", "3"], 2)
    with pytest.raises(UserError, match="no id stands in all of them"):
        questions_of_files([a, write("c.jsonl", {"9": "甲"})], intersect=True)


def test_double_ids_missing_ids_and_other_questions_are_refused(write: Write, tmp_path: Path) -> None:
    a = write("a.jsonl", {"1": "甲"})
    row = {"id": "1", "prediction": "x", "reference": "参考1"}
    bad = tmp_path / "bad.jsonl"
    write_json_lines(bad, [row, row])
    with pytest.raises(UserError, match=r"bad\.jsonl:2: the id '1' occurs twice, first in line 1"):
        questions_of_files([a, bad])
    write_json_lines(bad, [{"prediction": "x", "reference": "y"}])
    with pytest.raises(UserError, match=r"bad\.jsonl:1: the field 'id' is missing"):
        questions_of_files([a, bad])
    write_json_lines(bad, [{**row, "reference": "另一个"}])
    with pytest.raises(UserError, match=r"bad\.jsonl: item 1 is not the question that 'a' was given"):
        questions_of_files([a, bad])


def test_a_run_gives_held_out_items_and_benchmarks_of_all_models(measured: SmallRun) -> None:
    found = questions_of_run(measured.folder, MODELS)
    assert found.models == [*MODELS, "gpt-4", "huatuo"]
    held_out = [item for item in found.items if item.benchmark == HELD_OUT]
    cmd = [item for item in found.items if item.benchmark == "cmd"]
    assert {tuple(item.answers) for item in held_out} == {MODELS}
    assert {tuple(item.answers) for item in cmd} == {("base", "experts", "gpt-4", "huatuo")}
    assert (len(cmd), cmd[0].department) == (24, "儿科")


def test_items_that_one_model_did_not_answer_are_still_shown(measured: SmallRun) -> None:
    path = measured.folder / "evaluation/benchmarks/cmd/gpt-4/predictions.jsonl"
    path.write_text("".join(path.read_text("utf-8").splitlines(keepends=True)[:5]), encoding="utf-8")
    cmd = [item for item in questions_of_run(measured.folder, MODELS).items if item.benchmark == "cmd"]
    assert (len(cmd), sum("gpt-4" in item.answers for item in cmd)) == (24, 5)


def item(**answers: str) -> Question:
    asked = ({"role": "user", "content": "宝宝发热38.5度怎么办？"},)
    return Question("q1", "cmd", "medkqa", "儿科", "infant", asked, "建议尽快就医", answers)


def test_questions_are_chosen_by_everything_that_is_given(measured: SmallRun) -> None:
    questions = questions_of_run(measured.folder, MODELS)
    assert len(selected(questions, benchmark="cmd", department="儿科")) == 6
    assert [one.id for one in selected(questions, text="第4天")] == ["cmd-4"]
    assert [one.id for one in selected(questions, ids=["cmd-7"])] == ["cmd-7"]
    assert selected(questions, ids=["cmd-7"], benchmark=HELD_OUT) == []


def test_plain_values_name_what_the_other_lacks() -> None:
    found = as_dict(item(a="建议立即就医", b="建议尽快就医"))
    assert found["answers"]["a"] == {"text": "建议立即就医", "differs": ["立即"]}
    assert found["answers"]["b"]["differs"] == []
    assert as_dict(item(a="建议立即就医", b="建议尽快就医"), "a")["answers"]["b"]["differs"] == ["尽快"]
    json.dumps(found)


def test_a_terminal_cuts_nothing_off_and_marks_nothing_beside_an_empty_reference() -> None:
    long = "".join(chr(0x4E00 + number) for number in range(600))
    out = io.StringIO()
    console = Console(file=out, width=100, force_terminal=True, color_system="standard")
    asked = item(a=long, b="1. 第一\n\n2. 第二")
    for part in render(dataclasses.replace(asked, reference=""), 100):
        console.print(part)
    assert {*long} <= {*out.getvalue()}
    assert "\x1b[7m" not in out.getvalue()


@pytest.mark.parametrize("width", [40, 160])
def test_a_terminal_gets_every_text_and_no_sign_that_steers_it(width: int) -> None:
    hostile = "\x1b[2J\x1b]0;title\x07[bold]粗[/bold]\u202e立即就医\x9b"
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, color_system="standard")
    for part in render(item(a=hostile, b="", **{"c[red]": "就医"}), width):
        console.print(part)
    text = out.getvalue()
    assert "[bold]粗[/bold]" in text
    assert "c[red]" in text
    assert "(empty answer)" in text
    assert not any(sign in text for sign in ("\x1b[2J", "\x1b]0", "\x07", "\u202e", "\x9b"))
    assert "\x1b[7m" in text
