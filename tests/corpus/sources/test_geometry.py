from __future__ import annotations

from pediatricsgpt.corpus.sources.geometry import Piece, in_columns, in_rows, join_words, open_table


def piece(text: str, x0: float, top: float, x1: float) -> Piece:
    return Piece(text, x0, top, x1, top + 10)


def column(name: str, x0: float, x1: float, start: int = 0, end: int = 6) -> list[Piece]:
    return [piece(f"{name}{row}", x0, 20.0 * row, x1) for row in range(start, end)]


def texts(found: list[Piece] | None) -> list[str]:
    return [each.text for each in found or []]


def test_what_crosses_both_columns_parts_what_is_above_from_what_is_below() -> None:
    pieces = [*column("a", 0, 90), *column("b", 110, 200), piece("across", 0, 120, 200)]
    pieces += [*column("c", 0, 90, 7, 13), *column("d", 110, 200, 7, 13)]
    names = "".join(text[0] for text in texts(in_columns(pieces)) if text != "across")
    assert names == "aaaaaabbbbbbccccccdddddd"
    assert texts(in_columns(pieces))[12] == "across"


def test_one_column_is_left_as_it_is() -> None:
    assert in_columns(column("a", 0, 200, 0, 20)) is None
    assert in_columns([]) is None


def test_short_entries_are_no_column() -> None:
    entries = [piece(f"{row}", 0, 20.0 * row, 90 if row == 0 else 20) for row in range(8)]
    assert in_columns([*entries, *column("b", 110, 200, 0, 8)]) is None


def test_pieces_beside_each_other_are_one_row_even_on_a_sheet_that_lies_askew() -> None:
    pieces = [piece("右", 100, 4, 120), piece("左", 0, 0, 20), piece("下", 0, 20, 20)]
    assert [texts(row) for row in in_rows(pieces)] == [["左", "右"], ["下"]]


def test_a_table_without_upright_lines_keeps_each_cell_in_its_column() -> None:
    words = [
        piece("年龄", 0, 0, 30), piece("剂量", 60, 0, 90), piece("次数", 120, 0, 150),
        piece("<3岁", 0, 20, 30), piece("5", 60, 20, 66), piece("mg", 69, 20, 80), piece("3", 120, 20, 126),
        piece("（餐后）", 60, 34, 100),
        piece(">3岁", 0, 50, 30), piece("2", 120, 50, 126),
    ]  # fmt: skip
    assert open_table(words) == (
        "| 年龄 | 剂量 | 次数 |",
        "| --- | --- | --- |",
        "| <3岁 | 5 mg（餐后） | 3 |",
        "| >3岁 | | 2 |",
    )


def test_one_column_or_one_row_is_no_table() -> None:
    assert open_table([piece("甲", 0, 0, 30), piece("乙", 0, 20, 30)]) == ()
    assert open_table([piece("甲", 0, 0, 30), piece("乙", 60, 0, 90)]) == ()
    assert open_table([]) == ()


def test_words_are_joined_with_a_space_only_where_both_are_ascii() -> None:
    assert join_words("10 mg", "per kg") == "10 mg per kg"
    assert join_words("每日", "3次") == "每日3次"
    assert join_words("", "x") == "x"
