"""Benchmarks in training sets: what was planted is found, by its kind, and nothing else."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pediatricsgpt.corpus.decontaminate import build_index, decontaminate
from pediatricsgpt.corpus.settings import DecontaminateSettings
from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.benchmarks import Item
from pediatricsgpt.evaluation.contamination import contamination, write_contamination
from pediatricsgpt.records import Message
from tests.rows import instruction, preference, text, write

SETTINGS = DecontaminateSettings()
_CHARACTERS = "热咳嗽泻吐疹湿寒虚实肺脾肾肝心血气痰饮食积滞惊风黄疸水肿消渴汗痛晕麻木便秘尿频遗带下胎产乳儿童幼婴"


def _said(number: int, length: int = 60) -> str:
    """A text that shares nothing with one of another number."""
    drawn = random.Random(number)
    return "".join(drawn.choice(_CHARACTERS) for _ in range(length))


def _edited(said: str) -> str:
    """Of every 24 characters one is missing: fewer than half of the 13-grams are left, most 3-grams are."""
    return "".join(character for place, character in enumerate(said) if place % 24 != 12)


def _item(number: int, **given: Any) -> Item:
    asked = [Message(role="user", content=_said(number))]
    return Item(id=f"i{number}", messages=asked, **{"reference": _said(1000 + number), **given})


ITEMS = [_item(number) for number in range(8)]


def _sets(folder: Path) -> Mapping[str, Path]:
    """Item 0 in a text, item 1's answer in a dialogue, item 2 as a preference, item 3 with edits, a half of item 4."""
    rows = [
        instruction(_said(50), _said(2000) + "。" + _said(1001) + "。" + _said(2001)),
        instruction(_edited(_said(3, 240)), _said(2002)),
        *(instruction(_said(60 + n), _said(2010 + n)) for n in range(5)),
    ]
    return {
        "cpt": write(folder, "cpt", [text(_said(70) + _said(0) + _said(71)), text(_said(72))]),
        "sft": write(folder, "instruction", [*rows, instruction(_said(51), _said(52) + _said(1004)[:45])]),
        "preferences": write(folder, "preference", [preference(_said(2), _said(80), _said(81))]),
    }


def _found(folder: Path) -> dict[str, Any]:
    items = [*ITEMS[:3], Item("i3", [Message(role="user", content=_said(3, 240))], _said(1003)), *ITEMS[4:]]
    return contamination("own", items, _sets(folder), SETTINGS)


def test_what_was_planted_is_found_by_its_kind_and_nothing_else(tmp_path: Path) -> None:
    found = _found(tmp_path)
    assert {name: one["ids"] for name, one in found["sets"].items()} == {
        "cpt": ["i0"],
        "sft": ["i1", "i3", "i4"],
        "preferences": ["i2"],
    }
    assert found["sets"]["sft"]["by_kind"] == {"exact": 1, "overlap": 1, "near": 1}
    assert found["sets"]["cpt"] == {
        "rows": 2,
        "items_matched": 1,
        "rows_matched": 1,
        "by_kind": {"exact": 1, "overlap": 0, "near": 0},
        "ids": ["i0"],
    }
    assert (found["items"], found["unchecked"]) == (8, 0)


def test_an_example_shows_what_both_say(tmp_path: Path) -> None:
    found = _found(tmp_path)
    (exact,) = [one for one in found["examples"] if one["set"] == "sft" and one["kind"] == "exact"]
    assert (exact["item"], exact["side"], exact["excerpt"]) == ("i1", "answer", _said(1001))
    assert {one["item"] for one in found["examples"]} == {"i0", "i1", "i2", "i3", "i4"}


def test_the_decision_is_that_of_decontamination(tmp_path: Path) -> None:
    """Also for a template that stands in many rows, which is no evidence."""
    template = _said(90, 30)
    items = [Item("t", [Message(role="user", content=_said(91))], template + _said(92, 25)), *ITEMS]
    rows = [instruction(_said(100 + n), template + _said(200 + n)) for n in range(14)]
    rows += [instruction(_said(93), _said(94) + _said(1005)), instruction(_said(6), _said(95))]
    sides = [(item.id, item.messages[0]["content"], item.reference or "") for item in items]
    kept, _, _ = decontaminate(rows, build_index({"own": sides}, SETTINGS), SETTINGS)
    found = contamination("own", items, {"sft": write(tmp_path, "instruction", rows)}, SETTINGS)
    assert found["sets"]["sft"]["rows_matched"] == len(rows) - len(kept) == 2
    assert found["sets"]["sft"]["ids"] == ["i5", "i6"]


def test_the_right_candidate_and_the_right_option_are_answers_too(tmp_path: Path) -> None:
    items = [
        _item(1, reference=None, candidates=[(_said(300), False), (_said(301), True)], kind="selection"),
        _item(2, reference=None, options={"A": _said(302), "B": _said(303)}, key=("B",), kind="choice"),
    ]
    rows = [instruction(_said(400 + n), _said(500 + n) + _said(300 + n)) for n in range(4)]
    found = contamination("own", items, {"sft": write(tmp_path, "instruction", rows)}, SETTINGS)
    assert found["sets"]["sft"]["ids"] == ["i1", "i2"]
    assert found["sets"]["sft"]["rows_matched"] == 2


def test_the_order_of_rows_and_items_changes_no_count(tmp_path: Path) -> None:
    rows = [instruction(_said(600 + n), _said(700 + n) + _said(1000 + n % 4)) for n in range(12)]
    (tmp_path / "turned").mkdir()
    one = contamination("own", ITEMS, {"sft": write(tmp_path, "instruction", rows)}, SETTINGS)
    other = {"sft": write(tmp_path / "turned", "instruction", rows[::-1])}
    turned = contamination("own", ITEMS[::-1], other, SETTINGS)
    assert one["sets"]["sft"]["ids"] == turned["sets"]["sft"]["ids"][::-1] == ["i0", "i1", "i2", "i3"]
    assert one["sets"]["sft"]["by_kind"] == turned["sets"]["sft"]["by_kind"]


def test_items_that_cannot_be_looked_for_are_counted(tmp_path: Path) -> None:
    short = Item("short", [Message(role="user", content="发热？")], "多喝水。")
    found = contamination("own", [*ITEMS, short], {"cpt": write(tmp_path, "cpt", [text("发热？多喝水。")])}, SETTINGS)
    assert (found["items"], found["unchecked"]) == (9, 1)
    assert found["sets"]["cpt"]["items_matched"] == 0


def test_it_is_written_as_it_was_found(tmp_path: Path) -> None:
    found = _found(tmp_path)
    path = write_contamination(tmp_path, found)
    assert path.name == "contamination.json"
    assert json.loads(path.read_text(encoding="utf-8")) == found


@pytest.mark.parametrize(("content", "said"), [(None, "no such file"), (b"PAR", "not a Parquet file")])
def test_a_training_set_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "rows.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=rf"rows.parquet: {said}"):
        contamination("own", ITEMS, {"sft": path}, SETTINGS)


def test_a_file_of_another_kind_is_no_training_set(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"id": ["a"], "words": ["b"]}), tmp_path / "rows.parquet")
    with pytest.raises(UserError, match="no training set"):
        contamination("own", ITEMS, {"sft": tmp_path / "rows.parquet"}, SETTINGS)
