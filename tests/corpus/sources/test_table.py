from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pediatricsgpt.corpus.settings import SourceSettings
from pediatricsgpt.corpus.sources import lines
from pediatricsgpt.corpus.sources.file import SourceFile
from pediatricsgpt.corpus.sources.rows import Row
from pediatricsgpt.corpus.sources.table import open_table
from pediatricsgpt.errors import UserError
from pediatricsgpt.records import Reject

Read = Callable[..., Any]
Make = Callable[..., Path]
HEADER = "department,title,ask,answer\n"
GOOD = "儿科,甲,乙,丙\n"


def source(path: Path) -> SourceFile:
    named = {"name": "a", "kind": "conversation", "path": path.name, "licence": "CC0", "consent": "no", "purpose": "no"}
    return SourceFile.load(path, path.parent, SourceSettings.model_validate(named))


def rows(path: Path) -> list[Row | Reject]:
    return list(open_table(source(path)).rows)


def places(found: list[Row | Reject]) -> tuple[list[int | None], list[str]]:
    """Lines of the rows, and where and why the rejects are."""
    read = [row.line for row in found if isinstance(row, Row)]
    return read, [f"{row.where.split(':')[1]} {row.reason}" for row in found if isinstance(row, Reject)]


# A line of a field that looks like a whole row, with a first column seen before, cannot be told from one: hence no 甲
# or 乙 outside of the first column.
FIELDS = st.tuples(
    st.text(alphabet="甲乙", min_size=1, max_size=12),
    *[st.text(alphabet='儿科, "\n。5', min_size=1, max_size=12) for _ in range(2)],
).map(list)


@given(st.lists(FIELDS, max_size=12))
@settings(max_examples=60)
def test_a_well_formed_table_is_read_as_the_standard_library_reads_it(
    tmp_path_factory: pytest.TempPathFactory, table: list[list[str]]
) -> None:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([["一", "二", "三"], *table])
    path = tmp_path_factory.mktemp("table") / "a.csv"
    path.write_text(written.getvalue(), encoding="utf-8", newline="")
    expected = list(csv.reader(io.StringIO(written.getvalue(), newline=""), strict=True))[1:]
    found = rows(path)
    assert [list(row.value.values()) for row in found if isinstance(row, Row)] == expected
    assert len(found) == len(expected)


def test_a_line_that_only_closes_a_field_is_no_row_of_its_own(make: Make) -> None:
    path = make("a.csv", 'a,b,c\n儿,5,5\n"5","5","\n儿,,5"\n')
    found = rows(path)
    assert [list(row.value.values()) for row in found if isinstance(row, Row)] == [
        ["儿", "5", "5"],
        ["5", "5", "\n儿,,5"],
    ]


def test_an_unclosed_quotation_mark_costs_its_row_alone(make: Make) -> None:
    read, rejects = places(rows(make("a.csv", HEADER + GOOD + '儿科,"甲,乙,丙\n' + GOOD * 3)))
    assert read == [2, 4, 5, 6]
    assert rejects == ["3, row 2 a quotation mark is opened in this row and not closed"]


def test_rows_behind_a_broken_one_are_read_though_the_next_quotation_mark_would_close_it(make: Make) -> None:
    broken = '儿科,甲,无,"少了一个引号\n'
    quoted = '儿科,丁,无,"多饮水，\n注意休息。"\n'
    read, rejects = places(rows(make("a.csv", HEADER + GOOD + broken + GOOD * 2 + quoted + GOOD)))
    assert read == [2, 4, 5, 6, 8]
    assert rejects == ["3, row 2 broken row: ',' expected after '\"'"]


def test_rows_that_a_stray_pair_of_quotation_marks_would_swallow_are_read(make: Make) -> None:
    table = HEADER + GOOD + '儿科,甲,无,"打开\n' + GOOD * 2 + '儿科,甲,无,关上"\n' + GOOD
    read, rejects = places(rows(make("a.csv", table)))
    assert read == [2, 4, 5, 6, 7]  # the fourth has a quotation mark inside a field, which is allowed
    assert rejects == ["3, row 2 a quotation mark is opened in this row and not closed before the next"]


def test_a_field_of_many_lines_with_many_commas_is_no_swallowed_row(make: Make) -> None:
    table = HEADER + GOOD + '儿科,甲,无,"你好,\n一,二,三,四\n是,否,对\n"\n' + GOOD
    found = rows(make("a.csv", table))
    assert places(found) == ([2, 3, 7], [])
    assert found[1].value["answer"] == "你好,\n一,二,三,四\n是,否,对\n"


def test_a_file_that_breaks_everywhere_is_read_in_reasonable_time_and_whole(make: Make) -> None:
    number = 3000
    path = make("a.csv", HEADER + (GOOD + '儿科,"甲,乙,丙\n') * number)
    file = source(path)
    found = list(open_table(file).rows)
    assert file.rows.read == len(found) == 2 * number
    assert sum(isinstance(row, Row) for row in found) == number


def test_a_line_that_is_too_long_is_rejected_with_its_size(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 2**20)
    path = make("a.csv", HEADER + GOOD + "儿科,甲,乙," + "丙" * 1_000_000 + "\n" + GOOD)
    read, rejects = places(rows(path))
    assert read == [2, 4]
    assert rejects == ["3, row 2 line too long: 3 MB, at most 1 are read"]


def test_mixed_encodings_are_read_line_by_line(read: Read, make: Make) -> None:
    table = (HEADER + GOOD).encode() + "儿科,孩子发烧三天了怎么办,无,建议多饮水，注意休息。\n".encode("gb18030")
    table += GOOD.encode() * 5 + "儿科,孩子咳嗽,无,多饮水，注意休息".encode() + b"\xe5\n" + GOOD.encode()
    records, rejects = read(make("a.csv", table), "conversation")
    assert records[1].messages[0]["content"] == "孩子发烧三天了怎么办"
    assert records[1].messages[1]["content"] == "建议多饮水，注意休息。"
    assert len(records) == 8
    assert [(reject.where, reject.reason) for reject in rejects] == [
        ("a.csv:9, row 8", "broken encoding: byte 49 of the line is not utf-8")
    ]


@pytest.mark.parametrize("name", ["a.csv", "a.xlsx"])
def test_a_column_that_stands_twice_is_refused(make: Make, name: str) -> None:
    if name == "a.csv":
        path = make(name, "问题,回答,问题\n1,2,3\n")
    else:
        path = workbook(make(name, "x"), {"一": [["问题", "回答", "问题"], [1, 2, 3]]})
    with pytest.raises(UserError, match="column 问题 stands twice in the header: 问题, 回答, 问题"):
        open_table(source(path))


def workbook(path: Path, sheets: dict[str, list[list[Any]]]) -> Path:
    import openpyxl

    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, values in sheets.items():
        sheet = book.create_sheet(name)
        for row in values:
            sheet.append(row)
    book.save(path)
    return path


def test_sheets_are_read_with_their_names_and_row_numbers(read: Read, make: Make) -> None:
    columns = ["科室", "标题", "问题描述", "回答"]
    path = workbook(
        make("a.xlsx", "x"),
        {
            "门诊": [columns, ["儿科", "发烧", "三岁", "多饮水"], [], ["儿科", "咳嗽", None, 3.0]],
            "空": [],
            "急诊": [columns, ["儿科", "腹泻", "一天", "补液", "多出来的"], ["儿科", "抽搐", "无", "就诊"]],
        },
    )
    records, rejects = read(path, "conversation")
    assert [(str(record.source.locator), record.messages[-1]["content"]) for record in records] == [
        ("row 2, section sheet 门诊", "多饮水"),
        ("row 4, section sheet 门诊", "3"),
        ("row 3, section sheet 急诊", "就诊"),
    ]
    assert [(reject.where, reject.reason) for reject in rejects] == [
        ("a.xlsx, row 2, sheet 急诊", "5 fields, expected 4 (department, title, ask, answer)")
    ]


def test_sheets_with_different_columns_are_refused(make: Make, read: Read) -> None:
    path = workbook(make("a.xlsx", "x"), {"甲": [["question", "answer"], ["问", "答"]], "乙": [["别的"], ["值"]]})
    with pytest.raises(UserError, match="sheet 乙 has other columns: 别的; the first sheet has question, answer"):
        read(path, "dataset")


def test_a_damaged_workbook_is_refused_in_one_line(make: Make, read: Read) -> None:
    whole = workbook(
        make("a.xlsx", "x"), {"甲": [["question", "answer"], *[["问" * 50, "答" * 50]] * 500]}
    ).read_bytes()
    half = whole[: len(whole) // 2]
    cut = whole.replace(b"xl/worksheets/sheet1.xml", b"xl/worksheets/sheetX.xml")
    for data in (b"no workbook", half, cut):
        path = make("b.xlsx", data)
        with pytest.raises(UserError, match="not an XLSX file, or a damaged one") as error:
            read(path, "dataset")
        assert "\n" not in str(error.value)
        assert error.value.where == str(path)
