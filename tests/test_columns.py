"""Records as columns and back say what they say row by row."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pediatricsgpt.columns import table_of
from pediatricsgpt.records import Locator, Record, Source, Step, records_of
from pediatricsgpt.schemas import schema


def _source(line: int | None) -> Source:
    return Source("s", "conversation", "a.json", "0f", "MIT", "none", "tests", "", Locator(line=line, section="一"))


TURNS = [{"role": "user", "content": "孩子发烧怎么办"}, {"role": "assistant", "content": "先量体温。"}]
RECORDS = [
    Record("1", "g", _source(1), text="手足口病", title=["第一章", "第二节"], age_months=3.5, steps=[Step("clean", 2)]),
    Record("2", "g", _source(None), messages=TURNS, parents=["1"], steps=[Step("clean", 2), Step("label")]),  # type: ignore[arg-type]
    Record("3", "h", _source(3), messages=TURNS[:1], chosen=TURNS[1:], rejected=TURNS[1:], pediatric=True),  # type: ignore[arg-type]
]


def _by_rows(records: list[Record]) -> pa.Table:
    return pa.Table.from_pylist([record.as_dict() for record in records], schema=schema("record"))


@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_table_by_columns_is_that_by_rows_and_back(number: int) -> None:
    table = table_of(RECORDS[:number])
    assert table.equals(_by_rows(RECORDS[:number]))
    assert records_of(table) == RECORDS[:number]


def test_a_slice_and_several_chunks_are_read_as_what_they_hold() -> None:
    table = table_of(RECORDS)
    assert records_of(table.slice(1)) == RECORDS[1:]
    assert records_of(pa.concat_tables([table, table.slice(2)])) == [*RECORDS, RECORDS[2]]


def test_columns_in_another_order_are_read_by_their_names() -> None:
    table = _by_rows(RECORDS)
    assert records_of(table.select(list(reversed(table.column_names)))) == RECORDS


def test_a_list_that_is_null_is_read_as_such_and_the_rest_as_it_is() -> None:
    rows = [record.as_dict() for record in RECORDS]
    table = pa.Table.from_pylist([{**rows[0], "title": None}, *rows[1:]], schema=schema("record"))
    first, *others = records_of(table)
    assert (first.as_dict()["title"], first.steps) == (None, RECORDS[0].steps)
    assert others == RECORDS[1:]


def test_equal_steps_are_one_object() -> None:
    first, second, _ = records_of(table_of(RECORDS))
    assert first.steps[0] is second.steps[0]
