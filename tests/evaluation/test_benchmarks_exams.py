"""Multiple choice in the published forms of CMB, CMExam and MedQA, PediaBench's workbooks, and the user's own files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.benchmarks import Benchmark, load_benchmark
from pediatricsgpt.evaluation.benchmarks.exams import options_in
from pediatricsgpt.evaluation.settings import BenchmarkSettings

OPTIONS = {"A": "肺炎", "B": "哮喘", "C": "感冒", "D": ""}


def load(name: str, path: Path, **settings: Any) -> Benchmark:
    return load_benchmark(BenchmarkSettings.model_validate({"name": name, "path": path.name, **settings}), path.parent)


def dump(path: Path, rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return path


def workbook(path: Path, *rows: list[str | None]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    book = openpyxl.Workbook()
    for row in rows:
        book.worksheets[0].append(row)
    book.save(path)
    return path


def cmb(name: int, question: str = "患儿咳嗽，诊断为", **more: Any) -> dict[str, Any]:
    labels = {"exam_type": "医师考试", "exam_class": "执业医师", "exam_subject": "儿科"}
    return {
        "id": name,
        **labels,
        "question": f"{question}{name}",
        "question_type": "单项选择题",
        "option": OPTIONS,
        **more,
    }


def test_cmb_joins_the_answers_that_stand_beside_the_questions(tmp_path: Path) -> None:
    folder = tmp_path / "CMB"
    dump(folder / "CMB-Exam/CMB-test/CMB-test-choice-question-merge.json", [cmb(1), cmb(2), cmb(3)])
    dump(folder / "CMB-test-choice-answer.json", [{"id": 1, "answer": "B"}, {"id": 2, "answer": "D"}])
    found = load("cmb", folder)
    (item,) = found.items
    assert (item.id, item.key, item.options, item.reference) == (
        "1",
        ("B",),
        {k: v for k, v in OPTIONS.items() if v},
        "哮喘",
    )
    assert (item.department, item.subject, item.kind) == ("儿科", "执业医师", "choice")
    assert found.dropped == {"an answer that names no option": 1, "no right option": 1}


def test_cmb_without_answers_says_which_file_is_missing(tmp_path: Path) -> None:
    path = dump(tmp_path / "CMB-test-choice-question-merge.json", [cmb(1)])
    with pytest.raises(UserError, match=r"CMB-test-choice-answer\.json is not beside them"):
        load("cmb", path)


def test_cmb_takes_several_right_options_only_where_several_are_asked_for(tmp_path: Path) -> None:
    rows = [cmb(1, answer="AC"), cmb(2, answer="AC", question_type="多项选择题"), cmb(3, answer="A")]
    found = load("cmb", dump(tmp_path / "CMB-val-merge.json", rows))
    assert {item.id: item.key for item in found.items} == {"2": ("A", "C"), "3": ("A",)}
    assert found.dropped == {"several right options of a question that asks for one": 1}


def test_the_questions_on_one_clinical_case_are_one_group(tmp_path: Path) -> None:
    pairs = [{"question": "诊断？", "answer": "肺炎"}, {"question": "治疗？", "answer": "抗感染"}]
    rows = [
        {"id": "0", "title": "肺炎", "description": "男，3岁，咳嗽", "QA_pairs": pairs},
        {"description": "", "QA_pairs": []},
    ]
    found = load("cmb", dump(tmp_path / "CMB-Clin-qa.json", rows))
    assert found.kinds == {"case": 2}
    assert len({item.case for item in found.items}) == 1
    assert {item.age_band for item in found.items} == {"preschool"}
    assert (found.read, found.kept) == (2, 1)


def test_cmexam_has_options_in_lines_and_a_department(tmp_path: Path) -> None:
    path = tmp_path / "test_with_annotations.csv"
    path.write_text(
        "Question,Options,Answer,Explanation,Disease Group,Clinical Department,Medical Discipline\n"
        '"3岁患儿，诊断为","A 肺炎\nB 哮喘\nC 感冒",B,略,呼吸,儿科,临床医学\n'
        '"无答案","A 肺炎\nB 哮喘",,略,呼吸,儿科,临床医学\n',
        encoding="utf-8",
    )
    found = load("cmexam", path)
    (item,) = found.items
    assert (item.options, item.key) == ({"A": "肺炎", "B": "哮喘", "C": "感冒"}, ("B",))
    assert (item.department, item.subject) == ("儿科", "临床医学")
    assert found.dropped == {"no right option": 1}


def test_medqa_takes_the_letter_or_finds_it_by_the_text(tmp_path: Path) -> None:
    row = {
        "question": "时间是",
        "options": {"A": "2小时", "B": "4小时", "C": "12小时"},
        "answer": "4小时",
        "meta_info": "卫生法规",
    }
    rows = [{**row, "answer_idx": "B"}, {**row, "question": "另一个"}, {**row, "question": "又一个", "answer": "8小时"}]
    folder = tmp_path / "Mainland"
    (folder / "4_options").mkdir(parents=True)
    (folder / "test.jsonl").write_text(json.dumps({**row, "answer_idx": "B"}), encoding="utf-8")
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (folder / "4_options" / "test.jsonl").write_text(lines, encoding="utf-8")
    found = load("medqa-zh", folder)
    assert [item.key for item in found.items] == [("B",), ("B",)]
    assert {item.subject for item in found.items} == {"卫生法规"}
    assert found.dropped == {"no right option": 1}


@pytest.mark.parametrize(
    ("text", "letters", "options"),
    [
        ("A 肺炎\nB 哮喘", "B", {"A": "肺炎", "B": "哮喘"}),
        ("Ａ．肺炎\n　　Ｂ．哮喘", "B", {"A": "肺炎", "B": "哮喘"}),
        ("A。肺炎\nB。哮喘", "B", {"A": "肺炎", "B": "哮喘"}),
        ("(A)肺炎\n(B)哮喘", "B", {"A": "肺炎", "B": "哮喘"}),
        ("A血培养\nB血常规", "B", {"A": "血培养", "B": "血常规"}),
        ("A.肺炎B.哮喘C.感冒", "C", {"A": "肺炎", "B": "哮喘", "C": "感冒"}),
        (
            "A.先天性\nB.链球菌感染，尤其是\nA族链球菌\nC.病毒",
            "C",
            {"A": "先天性", "B": "链球菌感染，尤其是\nA族链球菌", "C": "病毒"},
        ),
        ("A.维生素B、D\nB.钙", "B", {"A": "维生素B、D", "B": "钙"}),
        ("没有选项", "A", {}),
    ],
)
def test_options_are_told_apart(text: str, letters: str, options: dict[str, str]) -> None:
    assert options_in(text, letters) == options


def pediabench(folder: Path) -> Path:
    head: list[str | None] = ["Disease Groups", "questions", "answers", "explanations", None]
    workbook(
        folder / "True or False.xlsx",
        head,
        ["新生儿疾病", "胎粪吸入多见于早产儿。", "错 "],
        ["新生儿疾病", "无答案。", None],
    )
    workbook(folder / "EssayShort Answer.xlsx", head[:3], ["儿科感染性疾病", "麻疹有哪些表现？", "发热、皮疹"])
    workbook(folder / "Case Analysis.xlsx", ["questions", "answers"], ["9个月男婴，腹泻", "轮状病毒肠炎"])
    head = ["Disease Groups", "questions", "options", "answers", "explanations"]
    workbook(
        folder / "Multiple Choice.xlsx",
        head,
        ["呼吸", "诊断", "A.肺炎\nB.哮喘", "B", None],
        ["呼吸", "治疗", "A.氧\nB.水\nC.药", "AC", None],
    )
    head = ["disease groups", "question number", "questions", "answers", "disrupted answers", "explanlations"]
    workbook(
        folder / "Pairing.xlsx",
        head,
        ["保健", "问题1", "新生儿接种", "卡介苗", "麻疹疫苗 "],
        ["保健", "问题2", "8个月接种", "麻疹疫苗 ", "卡介苗"],
        ["保健", "问题1", "初乳", "免疫球蛋白多", "免疫球蛋白多"],
        ["保健", "问题2", "过渡乳", "脂肪多", "别的"],
    )
    return folder


def test_pediabench_has_five_kinds(tmp_path: Path) -> None:
    found = load("pediabench", pediabench(tmp_path / "data"))
    assert found.kinds == {"case": 1, "choice": 2, "essay": 1, "pairing": 1, "true_false": 1}
    assert found.dropped == {"no right option": 1, "a pairing whose options are not its answers": 2}
    by_kind = {item.kind: item for item in found.items}
    assert by_kind["true_false"].key == ("错",)
    assert by_kind["pairing"].question == "1. 新生儿接种\n2. 8个月接种"
    assert by_kind["pairing"].options == {"A": "麻疹疫苗", "B": "卡介苗"}
    assert by_kind["pairing"].key == ("B", "A")
    assert by_kind["case"].age_band == "infant"
    assert {item.key for item in found.items if item.kind == "choice"} == {("B",), ("A", "C")}
    assert load("pediabench", tmp_path / "data", departments=["呼吸"]).kinds == {"choice": 2}


def test_one_workbook_of_pediabench_can_be_named(tmp_path: Path) -> None:
    path = pediabench(tmp_path / "data") / "Pairing.xlsx"
    assert load("pediabench", path).kinds == {"pairing": 1}


def test_a_file_that_is_no_workbook_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "Pairing.xlsx"
    path.write_text("不是表格", encoding="utf-8")
    with pytest.raises(UserError, match="not an xlsx workbook"):
        load("pediabench", path)


def test_a_workbook_of_no_known_kind_and_an_archive_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not say which kind"):
        load("pediabench", workbook(tmp_path / "sheet.xlsx", ["questions", "answers"]))
    (tmp_path / "data.zip").write_bytes(b"PK")
    with pytest.raises(UserError, match="unpack it first"):
        load("webmedqa", tmp_path / "data.zip")


def test_an_own_table_has_free_questions_and_choices(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text(
        "id,question,reference,key,A,B,department\n1,发热怎么办,量体温,,,,儿科\n2,诊断是,,B,肺炎,哮喘,儿科\n3,没有答案,,,,,\n",
        encoding="gb18030",
    )
    found = load("own", path)
    assert {item.id: (item.kind, item.key, item.reference) for item in found.items} == {
        "1": ("free", None, "量体温"),
        "2": ("choice", ("B",), "哮喘"),
    }
    assert found.dropped == {"no reference answer": 1}
    lines = path.read_text("gb18030").splitlines()
    rows: list[list[str | None]] = [[cell or None for cell in line.split(",")] for line in lines]
    assert load("own", workbook(tmp_path / "own.xlsx", *rows)).items == found.items


def test_own_json_lines_have_all_kinds(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    rows = [
        {"id": "a", "question": "发热", "reference": "量体温", "group": "g", "age_band": "infant"},
        {"id": "b", "question": "诊断", "options": ["肺炎", "哮喘"], "key": "A", "department": "儿科"},
        {"id": "c", "question": "治疗", "options": {"A": "氧", "B": "水", "C": "药"}, "key": ["A", "C"]},
        {"id": "d", "question": "选择", "candidates": [{"text": "好", "right": True}, {"text": "坏", "right": False}]},
        {"id": "e", "question": "没有参考"},
    ]
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    found = load("own", path)
    kinds = {item.id: (item.kind, item.key, item.age_band) for item in found.items}
    assert kinds == {
        "a": ("free", None, "infant"),
        "b": ("choice", ("A",), "unknown"),
        "c": ("choice", ("A", "C"), "unknown"),
        "d": ("selection", None, "unknown"),
    }
    assert next(item for item in found.items if item.id == "a").case == "g"
    assert found.dropped == {"no reference answer": 1}


def test_own_candidates_must_be_right_and_wrong_ones(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text('{"question": "x", "candidates": [{"text": "好", "right": true}]}', encoding="utf-8")
    with pytest.raises(UserError, match=r"own\.jsonl:1: 'candidates' must be a list"):
        load("own", path)
