from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pediatricsgpt.errors import UserError

Read = Callable[..., Any]
Make = Callable[..., Path]
DISEASE = {
    "_id": {"$oid": "1"},
    "name": "百日咳",
    "desc": "急性呼吸道传染病。",
    "category": ["疾病百科", "儿科", "小儿内科"],
    "symptom": [["痉咳", "低热"], "痉咳"],
    "cause": "",
    "check": [],
    "cured_prob": "98%",
    "cost_money": "1000元",
    "yibao_status": "否",
    "drug_detail": ["某厂某药(某药)"],
}


def facts(records: list[Any]) -> list[tuple[list[str], str]]:
    return [(record.title, record.text) for record in records]


def test_a_disease_becomes_one_record_per_relation(read: Read, make: Make) -> None:
    lines = [json.dumps({**DISEASE, "cure_department": ["儿科"]}, ensure_ascii=False), ""]
    records, rejects = read(make("a.jsonl", "\r\n".join(lines)), "knowledge_graph")
    assert not rejects
    assert facts(records) == [
        (["百日咳", "简介"], "急性呼吸道传染病。"),
        (["百日咳", "就诊科室"], "儿科"),
        (["百日咳", "症状"], "痉咳、低热"),
        (["百日咳", "治愈率"], "98%"),
    ]
    assert {(record.group, record.department, record.source.locator.line) for record in records} == {
        ("entity:百日咳", "儿科", 1)
    }


def test_the_category_names_the_department_where_nothing_better_does(read: Read, make: Make) -> None:
    records, _ = read(make("a.json", json.dumps([DISEASE], ensure_ascii=False)), "knowledge_graph")
    assert {record.department for record in records} == {"儿科/小儿内科"}
    assert (["百日咳", "就诊科室"], "儿科、小儿内科") in facts(records)


def test_disease_rows_that_say_nothing_are_rejects(read: Read, make: Make) -> None:
    rows = [DISEASE, {"name": "无名"}, {"label": "Drug"}, {"name": {"name": "甲"}}, ["甲"], {"name": " ", "desc": "x"}]
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n{broken\n"
    records, rejects = read(make("a.jsonl", text), "knowledge_graph")
    assert len(records) == 4
    assert sorted(reject.where for reject in rejects) == [f"a.jsonl:{line}" for line in range(2, 8)]
    assert {reject.reason.split(":")[0] for reject in rejects} == {"unknown shape", "empty record", "not JSON"}


TRIPLES = """head,relation,tail
百日咳,belongs_to,儿科
百日咳,has_symptom,干咳
流感,病原体,流感病毒
百日咳,has_symptom,低热
百日咳,症状,干咳
百日咳,medical_insurance,否
百日咳,,低热
百日咳,has_symptom
"""


def test_triples_are_joined_by_head_and_relation(read: Read, make: Make) -> None:
    records, rejects = read(make("a.csv", TRIPLES, "gb18030"), "knowledge_graph")
    assert facts(records) == [
        (["百日咳", "就诊科室"], "儿科"),
        (["百日咳", "症状"], "干咳、低热"),
        (["流感", "病原体"], "流感病毒"),
    ]
    assert [(record.source.locator.line, record.source.locator.row) for record in records] == [(2, 1), (3, 2), (4, 3)]
    assert [record.department for record in records] == ["儿科", "儿科", "unknown"]
    assert sorted((reject.where, reject.reason.split(":")[0]) for reject in rejects) == [
        ("a.csv:6, row 5", "triple said before"),
        ("a.csv:7, row 6", "not a medical relation"),
        ("a.csv:8, row 7", "empty field"),
        ("a.csv:9, row 8", "2 fields, expected 3 (head, relation, tail)"),
    ]


def test_triples_may_stand_between_tabs_and_in_other_columns(read: Read, make: Make) -> None:
    text = "tail\thead\tsource\trelation\n低热，多饮水\t百日咳\tx\thas_symptom\n"
    records, _ = read(make("a.tsv", text), "knowledge_graph")
    assert facts(records) == [(["百日咳", "症状"], "低热，多饮水")]


def test_wrong_columns_are_named_with_the_nearest(read: Read, make: Make) -> None:
    path = make("a.csv", "head,relations,objekt\n百日咳,x,y\n")
    with pytest.raises(UserError) as error:
        read(path, "knowledge_graph")
    assert error.value.message == (
        "column 'relation' (nearest: 'relations'), 'tail' is missing: "
        "expected head, relation, tail; found head, relations, objekt"
    )
    assert error.value.where == f"{path}:1"


def test_the_examples_lose_no_triple(read: Read, examples: Path) -> None:
    path = examples / "knowledge_graph" / "pediatric_triples.csv"
    records, rejects = read(path, "knowledge_graph")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert not rejects
    assert {(row["head"], row["tail"]) for row in rows} == {
        (record.title[0], tail) for record in records for tail in tails(record.text, {row["tail"] for row in rows})
    }


def tails(text: str, known: set[str]) -> list[str]:
    """The tails that a text was joined from; a tail may itself hold the sign between tails."""
    found, current = [], ""
    for part in text.split("、"):
        current = f"{current}、{part}" if current else part
        if current in known:
            found.append(current)
            current = ""
    assert not current
    return found


def test_the_mongo_export_is_read_line_by_line(read: Read, examples: Path) -> None:
    path = examples / "knowledge_graph" / "diseases.jsonl"
    records, rejects = read(path, "knowledge_graph")
    assert not rejects
    places = {(record.title[0], record.source.locator.line) for record in records}
    assert len(places) == 46
    assert len({name for name, _ in places}) == 23  # every disease stands in it twice
    lines = path.read_text(encoding="utf-8").splitlines()
    for record in records:
        assert json.loads(lines[record.source.locator.line - 1])["name"].strip() == record.title[0]


def test_entities_and_their_relations_are_one_graph(read: Read, make: Make) -> None:
    entities = [
        {"label": "Disease", "name": {"name": "百日咳", "desc": "急性传染病。", "cause": "", "cure_department": ""}},
        {"label": "Drug", "name": "红霉素"},
        {"label": "Drug", "name": "阿奇霉素"},
    ]
    relations = [
        {
            "start_entity_type": "Disease",
            "end_entity_type": "Department",
            "rel_type": "belongs_to",
            "rel_name": "所属科室",
            "rels": [{"start_entity_name": "百日咳", "end_entity_name": "儿科"}],
        },
        {
            "rel_type": "recommand_drug",
            "rel_name": "好评药品",
            "rels": [
                {"start_entity_name": "百日咳", "end_entity_name": "红霉素"},
                {"start_entity_name": "百日咳"},
                {"start_entity_name": "百日咳", "end_entity_name": "红霉素"},
            ],
        },
        {"rel_type": "need_check", "rel_name": "诊断检查", "rels": []},
    ]
    make("g/entities.json", json.dumps(entities, ensure_ascii=False))
    path = make("g/relations.json", json.dumps(relations, ensure_ascii=False, indent=1))
    records, rejects = read(path.parent, "knowledge_graph")
    assert facts(records) == [
        (["百日咳", "简介"], "急性传染病。"),
        (["百日咳", "就诊科室"], "儿科"),
        (["百日咳", "推荐药品"], "红霉素"),
    ]
    assert {record.department for record in records} == {"儿科"}
    assert str(records[2].source.locator) == "line 14, row 2, section rels 1"
    assert [(reject.where, reject.reason.split(";")[0]) for reject in rejects] == [
        ("g/relations.json:14, row 2, rels 2", "unknown shape: no triple of head, relation and tail"),
        ("g/relations.json:31, row 3", "empty list: nothing stands under rels"),
        (
            "g/relations.json:14, row 2, rels 3",
            "triple said before: under line 14, row 2, section rels 1",
        ),
        ("g/entities.json:1, row 3", "entity without a fact: Drug 阿奇霉素 stands in no relation of this source"),
    ]


@pytest.mark.parametrize(
    "row",
    [
        {"text": "痉咳是百日咳的症状", "spo_list": [["百日咳", "症状", "痉咳"]]},
        {"text": "…", "spo_list": [{"subject": "百日咳", "predicate": "症状", "object": {"@value": "痉咳"}}]},
        {"head": "百日咳", "relation": "has_symptom", "tail": "痉咳"},
        {"subject": "百日咳", "predicate": "has_symptom", "object": "痉咳"},
        ["百日咳", "症状", "痉咳"],
    ],
    ids=["spo lists", "spo objects", "head", "subject", "list"],
)
def test_triples_in_json_are_read_in_every_shape(read: Read, make: Make, row: Any) -> None:
    records, rejects = read(make("a.json", json.dumps([row, {"spo_list": [["甲"]]}])), "knowledge_graph")
    assert facts(records) == [(["百日咳", "症状"], "痉咳")]
    assert [(reject.where, reject.reason.split(":")[0]) for reject in rejects] == [
        ("a.json:1, row 2, spo_list 1", "unknown shape")
    ]
