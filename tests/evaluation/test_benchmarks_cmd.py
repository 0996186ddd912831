"""CMD: real rows of one department, the sample with references, and small folders in the published form."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.benchmarks import Benchmark, load_benchmark
from pediatricsgpt.evaluation.settings import BenchmarkSettings

HEADER = ["department", "title", "ask", "answer"]


def load(path: Path, departments: list[str] | None = None, max_items: int | None = None) -> Benchmark:
    settings = BenchmarkSettings(name="cmd", path=path.name, departments=departments)
    return load_benchmark(settings, path.parent, max_items)


def table(path: Path, *rows: list[str], header: list[str] = HEADER, encoding: str = "gb18030") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def test_the_department_is_that_of_the_folder_and_the_row_says_a_narrower_one(tmp_path: Path) -> None:
    table(tmp_path / "Pediatric_儿科" / "儿科5-14000.csv", ["小儿消化", "腹泻", "宝宝8个月腹泻三天", "口服补液"])
    table(tmp_path / "OAGD_妇产科" / "妇产科6-28000.csv", ["产科", "孕吐", "孕吐怎么办", "少量多餐"])
    found = load(tmp_path)
    assert {(item.department, item.subject) for item in found.items} == {("儿科", "小儿消化"), ("妇产科", "产科")}
    (child,) = load(tmp_path, ["儿科"]).items
    assert (child.question, child.reference, child.age_band) == ("腹泻 宝宝8个月腹泻三天", "口服补液", "infant")
    assert load(tmp_path, ["小儿消化"]).items == [child]


def test_a_folder_above_the_one_that_is_named_says_no_department(tmp_path: Path) -> None:
    path = table(tmp_path / "儿科医院" / "rows" / "part.csv", ["心血管科", "血压高", "怎么办", "就诊"])
    assert load(path).items[0].department == "心血管科"


@pytest.mark.parametrize(
    ("title", "ask", "question"),
    [
        ("发热", "孩子发热", "发热 孩子发热"),
        ("发热", "无", "发热"),
        ("发热", "", "发热"),
        ("发热", "发热", "发热"),
        ("发热三天", "发热三天，要紧吗", "发热三天，要紧吗"),
        ("无", "孩子发热", "孩子发热"),
    ],
)
def test_title_and_description_make_the_question(tmp_path: Path, title: str, ask: str, question: str) -> None:
    path = table(tmp_path / "儿科.csv", ["儿科", title, ask, "量体温"])
    assert load(path).items[0].question == question


def test_faulty_rows_are_counted_with_their_reason(tmp_path: Path) -> None:
    good = ["儿科", "发热", "第一行\n第二行", "量体温"]
    faults = [["儿科", "咳嗽", "咳嗽两天", ""], ["儿科", "", "无", "多喝水"], ["儿科", "少一栏"]]
    found = load(table(tmp_path / "儿科.csv", good, good, *faults))
    assert [item.question for item in found.items] == ["发热 第一行\n第二行"]
    assert found.dropped == {
        "the same row again": 1,
        "no answer": 1,
        "no question": 1,
        "a row with too few or too many fields": 1,
    }
    assert (found.read, found.kept) == (5, 1)


def test_two_answers_to_one_question_are_one_case(tmp_path: Path) -> None:
    found = load(table(tmp_path / "儿科.csv", ["儿科", "发热", "无", "量体温"], ["儿科", "发热", "无", "看医生"]))
    assert len({item.id for item in found.items}) == 2
    assert len({item.case for item in found.items}) == 1


def test_items_are_chosen_by_a_hash_whatever_else_is_there(tmp_path: Path) -> None:
    rows = [["儿科", f"第{number}问", "无", "答"] for number in range(40)]
    few = load(table(tmp_path / "a" / "儿科.csv", *rows), max_items=5)
    other = load(table(tmp_path / "b" / "儿科.csv", *reversed(rows), header=HEADER), max_items=5)
    assert few.items == other.items
    assert few.left_out == {"beyond max_items": 35}
    assert few.known_ids == other.known_ids
    assert len(few.known_ids) == 40


@pytest.mark.parametrize("encoding", ["gb18030", "utf-8", "utf-8-sig", "utf-16"])
def test_any_chinese_encoding_is_read(tmp_path: Path, encoding: str) -> None:
    path = table(tmp_path / "儿科.csv", ["儿科", "发热怎么办", "孩子发热三天", "请量体温"], encoding=encoding)
    assert load(path).items[0].reference == "请量体温"


def test_a_missing_column_names_the_nearest_one(tmp_path: Path) -> None:
    path = table(tmp_path / "儿科.csv", ["儿科", "发热", "无", "答"], header=["department", "title", "ask", "answers"])
    with pytest.raises(UserError, match=r"column 'answer' is missing; did you mean it by 'answers'\?"):
        load(path)


def test_a_quote_that_never_ends_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "儿科.csv"
    path.write_text('department,title,ask,answer\n儿科,发热,"无' + "，没有结束" * 300_000, encoding="utf-8")
    with pytest.raises(UserError, match="a quote that never ends"):
        load(path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "儿科.csv"
    path.write_bytes(bytes(range(128, 256)) * 40)
    with pytest.raises(UserError, match="encoding"):
        load(path)


def test_an_empty_folder_and_a_missing_path_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="it is empty"):
        load(tmp_path / "empty")
    with pytest.raises(UserError, match="no such file or folder"):
        load(tmp_path / "nowhere")


def test_a_department_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path) -> None:
    path = table(tmp_path / "儿科.csv", ["小儿消化", "腹泻", "无", "补液"])
    with pytest.raises(UserError, match=r"no item of department 小儿科 among 1; did you mean .*儿科 \(1\)"):
        load(path, ["小儿科"])


def test_a_file_of_faulty_rows_alone_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none of 2 rows can be asked: no answer \(2\)"):
        load(table(tmp_path / "儿科.csv", ["儿科", "发热", "无", ""], ["儿科", "咳嗽", "无", "无"]))


def test_the_real_sample_of_one_department(shared: Path) -> None:
    found = load(shared / "data/dialogues/cmd_internal_medicine_sample.csv")
    assert (found.read, found.kept, found.dropped) == (5600, 5329, {"the same row again": 271})
    assert any("\n" in item.question for item in found.items)
    assert found.licence == "MIT"


def test_the_real_questions_with_references(shared: Path) -> None:
    path = shared / "data/benchmarks/cmd_samples.json"
    found = load(path)
    assert (found.read, found.kept) == (84, 84)
    children = load(path, ["儿科"])
    assert len(children.items) == 14
    assert children.left_out == {"other departments": 70}
    assert {item.department for item in children.items} == {"儿科"}
    assert "0-36638" in {item.id for item in children.items}
