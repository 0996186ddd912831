"""Bad input: one line that names the file, the row and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pediatricsgpt.errors import UserError
from pediatricsgpt.records import write_json_lines
from pediatricsgpt.training.sets import Label, check, items, read
from pediatricsgpt.training.settings import SetSettings
from tests.rows import instruction, preference, text, write

GOOD = instruction("发烧", "多喝水。")


def _refused(path: Path, *parts: str, contract: Any = "instruction", own: Path | None = None) -> None:
    with pytest.raises(UserError) as caught:
        read(path, [SetSettings(path=own)] if own else [], contract)
    said = str(caught.value)
    assert "\n" not in said
    for part in parts:
        assert part in said, said


def test_an_empty_set_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "instruction", [])
    _refused(path, "instruction.parquet", "no row to train on")


def test_an_empty_set_of_ones_own_is_refused_and_not_the_corpuss(tmp_path: Path) -> None:
    path = write(tmp_path, "instruction", [GOOD])
    (tmp_path / "mine.jsonl").write_text("\n")
    _refused(path, "mine.jsonl", "no row to train on", own=tmp_path / "mine.jsonl")


def test_a_set_without_assistant_turns_is_refused(tmp_path: Path) -> None:
    row = {**GOOD, "messages": [{"role": "user", "content": "发烧"}]}
    path = write(tmp_path, "instruction", [row, row])
    _refused(path, "instruction.parquet", "no row of this set has an assistant turn", "role assistant")
    (tmp_path / "good").mkdir()
    good = write(tmp_path / "good", "instruction", [GOOD])
    write_json_lines(tmp_path / "mine.jsonl", [{"messages": row["messages"]}])
    _refused(good, "mine.jsonl", "no row of this set has an assistant turn", own=tmp_path / "mine.jsonl")


@pytest.mark.parametrize(
    ("contract", "rows", "wanted"),
    [
        ("preference", [preference("咳嗽", "好", "坏")], "instruction"),
        ("cpt", [text("小儿肺炎")], "instruction"),
        ("instruction", [GOOD], "cpt"),
    ],
)
def test_a_parquet_of_another_contract_is_refused_by_name(
    contract: Any, rows: list[dict[str, Any]], wanted: str, tmp_path: Path
) -> None:
    path = write(tmp_path, contract, rows)
    _refused(
        path, f"{contract}.parquet, row 1", f"of the data contract '{contract}'", f"needs '{wanted}'", contract=wanted
    )


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"instruction": "问", "output": "答"}], "mine.jsonl:1: this row has the fields instruction, output"),
        ([{"messages": GOOD["messages"]}, {"messages": "问答"}], "mine.jsonl:2: 'messages' must be a list"),
        ([{"messages": []}], "mine.jsonl:1: 'messages' must be a list"),
        (
            [{"messages": [{"role": "user", "content": "问"}, {"role": "doctor", "content": "答"}]}],
            "turn 2 of 'messages'",
        ),
        ([{"messages": [{"role": "user", "content": None}]}], "turn 1 of 'messages'"),
        ([["问", "答"]], "mine.jsonl:1: a row must be an object"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(rows: list[Any], said: str, tmp_path: Path) -> None:
    write_json_lines(tmp_path / "mine.jsonl", rows)
    _refused(write(tmp_path, "instruction", [GOOD]), said, own=tmp_path / "mine.jsonl")


def test_a_text_that_is_empty_or_none_is_named(tmp_path: Path) -> None:
    write_json_lines(tmp_path / "mine.jsonl", [{"text": "好"}, {"text": "  "}])
    _refused(
        write(tmp_path, "cpt", [text("肺炎")]),
        "mine.jsonl:2: 'text' must be",
        contract="cpt",
        own=tmp_path / "mine.jsonl",
    )


def test_a_missing_file_and_one_that_is_no_parquet_are_named(tmp_path: Path) -> None:
    good = write(tmp_path, "instruction", [GOOD])
    _refused(good, "none.parquet: no such file", own=tmp_path / "none.parquet")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    _refused(good, "torn.parquet: not a Parquet file", own=tmp_path / "torn.parquet")


@pytest.mark.parametrize(
    ("names", "part"),
    [
        (("plain", "general"), "general"),
        (("plain",), "plain"),
        (("plain", "books"), "books"),
        (("corpus", "books"), "corpus"),
        (("instruction",), None),
    ],
)
def test_a_row_is_of_the_nearest_part_that_is_named(names: tuple[str, ...], part: str | None) -> None:
    label = Label(set="corpus", source="books", form="plain", task="", family="", general=True)
    assert label.part(dict.fromkeys(names, 1.0)) == part


def test_a_parquet_with_nothing_that_is_known_is_refused_with_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "foreign.parquet"
    pq.write_table(pa.table({"question": ["问", "问"], "answer": ["答", "答"]}), path)
    _refused(path, "foreign.parquet, row 1: this row has the fields question, answer")


def test_all_rows_are_counted_and_every_so_manieth_is_taken(tmp_path: Path) -> None:
    path = write(tmp_path, "instruction", [instruction(f"问{n}", "答") for n in range(1203)])
    assert check(path, [], "instruction") == (1203, 0)
    assert check(path, [], "instruction", every=100) == (13, 0)
    taken = [item.row["messages"][0]["content"] for item in items(path, [], "instruction", every=100)]
    assert taken == [f"问{n}" for n in range(0, 1203, 100)]
    assert [item.where for item in items(path, [], "instruction")][1100] == f"{path}, row 1101"


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text("[]")
    _refused(write(tmp_path, "instruction", [GOOD]), "mine.json: a set is Parquet", own=tmp_path / "mine.json")


def test_rows_keep_their_order_and_sets_stand_behind_one_another(tmp_path: Path) -> None:
    path = write(tmp_path, "instruction", [instruction(f"问{n}", "答") for n in range(3)])
    write_json_lines(tmp_path / "mine.jsonl", [{"messages": GOOD["messages"]}])
    items, held_out = read(path, [SetSettings(path=tmp_path / "mine.jsonl", name="clinic")], "instruction")
    assert [item.row["messages"][0]["content"] for item in items] == ["问0", "问1", "问2", "发烧"]
    assert [item.label.set for item in items] == ["corpus"] * 3 + ["clinic"]
    assert held_out == 0
