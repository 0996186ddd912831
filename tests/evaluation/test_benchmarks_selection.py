"""webMedQA and cMedQA2 in their published forms."""

from __future__ import annotations

from pathlib import Path

import pytest

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.benchmarks import Benchmark, load_benchmark
from pediatricsgpt.evaluation.settings import BenchmarkSettings


def web(folder: Path, *lines: tuple[str, ...]) -> Benchmark:
    (folder / "medQA.test.txt").write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")
    return load_benchmark(BenchmarkSettings(name="webmedqa", path="."), folder)


def question(name: str, *labels: str, text: str = "宝宝发热怎么办", department: str = "儿科") -> list[tuple[str, ...]]:
    return [
        (department, label, name, f"{text}{name}", f"{name}的第{place}个答案") for place, label in enumerate(labels)
    ]


def test_the_right_answer_is_the_reference_and_all_are_candidates(tmp_path: Path) -> None:
    (item,) = web(tmp_path, *question("7", "0", "1", "0", "0", "0")).items
    assert (item.id, item.department, item.kind) == ("7", "儿科", "free")
    assert item.reference == "7的第1个答案"
    assert item.candidates is not None
    assert [right for _, right in item.candidates] == [False, True, False, False, False]


def test_quotation_marks_are_text(tmp_path: Path) -> None:
    lines = [("儿科", "1", "1", '说"发热', '"退热'), ("儿科", "0", "1", '说"发热', "补液")]
    (item,) = web(tmp_path, *lines).items
    assert (item.question, item.reference) == ('说"发热', '"退热')


def test_a_question_with_a_fault_is_dropped_with_all_its_lines(tmp_path: Path) -> None:
    found = web(
        tmp_path,
        *question("1", "1", "0", "0", "0", "0"),
        *question("2", "1", "1", "0", "0", "0"),
        *question("3", "0", "0", "0", "0", "0"),
        *question("4", "1"),
        ("儿科", "1", "5", "问题"),
        ("儿科", "x", "6", "问题", "答案"),
        *[("儿科", label, "8", "问题", "") for label in ("1", "0")],
        *[("儿科", label, "9", f"问题{label}", f"答案{label}") for label in ("1", "0")],
    )
    assert [item.id for item in found.items] == ["1"]
    assert found.dropped == {
        "more than one right answer": 5,
        "no right answer": 5,
        "no wrong answer": 1,
        "a row with too few or too many fields": 1,
        "a label that is neither 0 nor 1": 1,
        "an empty answer": 2,
        "one id for several questions": 2,
    }
    assert found.read == found.kept + sum(found.dropped.values()) == 22


def test_another_file_is_not_taken_for_webmedqa(tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_text("就是一些文字\n没有制表符\n", encoding="utf-8")
    with pytest.raises(UserError, match="between tabs"):
        load_benchmark(BenchmarkSettings(name="webmedqa", path="test.txt"), tmp_path)


def cmedqa2(folder: Path, candidates: str) -> Benchmark:
    (folder / "question.csv").write_text("question_id,content\n1,宝宝咳嗽\n2,发热\n", encoding="utf-8")
    answers = "ans_id,question_id,content\n11,1,喝水\n12,1,就诊\n21,2,退热\n22,2,\n"
    (folder / "answer.csv").write_text(answers, encoding="utf-8")
    (folder / "test_candidates.txt").write_text(f"question_id,ans_id,cnt,label\n{candidates}", encoding="utf-8")
    return load_benchmark(BenchmarkSettings(name="cmedqa2", path="."), folder)


def test_candidates_of_cmedqa2_are_joined_by_their_ids(tmp_path: Path) -> None:
    found = cmedqa2(tmp_path, "1,11,0,1\n1,12,1,1\n1,21,2,0\n2,21,0,1\n2,22,1,0\n3,11,0,1\n")
    (item,) = found.items
    assert (item.id, item.question, item.kind) == ("1", "宝宝咳嗽", "selection")
    assert item.candidates == [("喝水", True), ("就诊", True), ("退热", False)]
    assert found.dropped == {
        "a candidate that answer.csv lacks": 1,
        "no wrong answer": 1,
        "a question that question.csv lacks": 1,
    }


def test_cmedqa2_needs_its_three_files(tmp_path: Path) -> None:
    (tmp_path / "question.csv").write_text("question_id,content\n1,宝宝咳嗽\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"no answer\.csv in this folder; it has question\.csv"):
        load_benchmark(BenchmarkSettings(name="cmedqa2", path="."), tmp_path)
    with pytest.raises(UserError, match="name the folder"):
        load_benchmark(BenchmarkSettings(name="cmedqa2", path="question.csv"), tmp_path)


@pytest.mark.parametrize("name", ["cmd", "webmedqa", "cmedqa2", "cmb", "cmexam", "medqa-zh", "pediabench", "own"])
def test_a_benchmark_without_files_says_where_they_come_from_and_what_binds_them(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        load_benchmark(BenchmarkSettings.model_validate({"name": name}), tmp_path)
    said = str(raised.value)
    assert "\n" not in said
    assert "licence" in said
    assert "nothing is downloaded" in said
    assert "https://" in said or name == "own"
