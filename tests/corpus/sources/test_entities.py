from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pediatricsgpt.corpus.sources.entities import Forms
from pediatricsgpt.errors import UserError

Make = Callable[..., Path]
SCORED = {
    "黄疸": [0.8, "核黄疸"],
    "血管畸形": [0.89, "脑血管畸形"],
    "维生素B1": [3, 0.8, "维生素k1"],
    "心电图": [0.75, "心电图检查"],
    "骨质疏松。": [0.9, "骨质疏松"],
    "维生素B2": [0.9, "维生素b2"],
    "没有": [0.4, ""],
    "阿莫西林，布洛芬": [0, 0.95, "阿莫西林、布洛芬"],
}


def table(make: Make, value: Any, name: str = "t.json") -> Path:
    return make(name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def test_what_a_machine_matched_is_applied_only_where_it_says_the_same(make: Make) -> None:
    forms = Forms.load(table(make, SCORED), 1.0)
    unchanged = ("黄疸", "血管畸形", "维生素B1", "维生素B2", "没有", "心电图", "阿莫西林，布洛芬")
    assert {name: forms.of(name) for name in unchanged} == {name: [name] for name in unchanged}
    assert forms.of("骨质疏松。") == ["骨质疏松"]
    assert forms.of("心电图", "检查项目") == ["心电图检查"]


def test_a_lower_floor_applies_more_but_never_to_a_known_name(make: Make) -> None:
    make("tables/a.json", json.dumps(SCORED, ensure_ascii=False))
    make("tables/names", "黄疸\n咳嗽\n", "gb18030")
    forms = Forms.load(make("tables/.hidden", "x").parent, 0.8)
    assert forms.of("黄疸") == ["黄疸"]
    assert forms.of("血管畸形") == ["脑血管畸形"]
    assert forms.of("血管畸形", heads={"血管畸形"}) == ["血管畸形"]
    assert forms.of("阿莫西林，布洛芬") == ["阿莫西林", "布洛芬"]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({"感冒": ["伤风", "上感"]}, "t.json"),
        ({"伤风": "感冒"}, "t.json"),
        ("伤风\t感冒\n咳嗽\n", "t.txt"),
        ("伤风\t感冒", "without_extension"),
    ],
    ids=["synonyms", "forms", "lines", "one line"],
)
def test_tables_that_somebody_wrote_are_always_applied(make: Make, value: Any, name: str) -> None:
    forms = Forms.load(table(make, value, name), 1.0)
    assert forms.of("伤风", heads={"伤风"}) == ["感冒"]
    assert "感冒" in forms.known


@pytest.mark.parametrize(
    ("value", "name"), [(["黄疸", "咳嗽"], "a.json"), ("黄疸,咳嗽", "a.txt"), ("黄疸\n咳嗽\n", "a")]
)
def test_lists_of_names_are_known(make: Make, value: Any, name: str) -> None:
    assert Forms.load(table(make, value, name), 1.0).known == {"黄疸", "咳嗽"}


@pytest.mark.parametrize(
    ("value", "problem"),
    [("{broken", "no entity table"), ([1], "a name was expected and a int found"), ({}, "hold no name")],
)
def test_what_is_no_table_is_refused(make: Make, value: Any, problem: str) -> None:
    path = table(make, value)
    with pytest.raises(UserError, match=problem) as error:
        Forms.load(path, 1.0)
    assert error.value.where == str(path)


def test_a_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder of entity tables"):
        Forms.load(tmp_path / "nowhere", 1.0)
