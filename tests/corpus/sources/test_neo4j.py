from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Read = Callable[..., Any]
Make = Callable[..., Path]


def facts(records: list[Any]) -> list[tuple[list[str], str, str]]:
    return [(record.title, record.text, record.department) for record in records]


def reasons(rejects: list[Any]) -> list[tuple[str, str]]:
    return [(reject.where, reject.reason.split(";")[0]) for reject in rejects]


EXPECTED = [
    (["百日咳", "简介"], "急性传染病。", "儿科"),
    (["百日咳", "症状"], "痉咳、低热", "儿科"),
    (["百日咳", "就诊科室"], "儿科", "儿科"),
]


def test_node_and_relationship_files_of_the_import_tool(read: Read, make: Make) -> None:
    make(
        "g/diseases.csv", "id:ID(Disease),name,desc,symptom:string[],:LABEL\n1,百日咳,急性传染病。,痉咳;低热,Disease\n"
    )
    make("g/departments.csv", ":ID(Department),name,:LABEL\n1,儿科,Department\n2,外科,Department\n1,内科,Department\n")
    path = make(
        "g/0_belongs.csv",
        ":START_ID(Disease),:END_ID(Department),:TYPE,name\n1,1,belongs_to,所属科室\n1,9,belongs_to,\n,1,x,\n",
    )
    records, rejects = read(path.parent, "knowledge_graph")
    assert sorted(facts(records)) == sorted(EXPECTED)
    assert reasons(rejects) == [
        ("g/0_belongs.csv:4, row 3", "empty field: a relationship has a start and an end"),
        ("g/departments.csv:4, row 3", "node said before: the id 1 stands for another name"),
        ("g/0_belongs.csv:3, row 2", "unknown node: no node of this source has the id Department:9"),
        ("g/departments.csv:3, row 2", "entity without a fact: Department 外科 stands in no relation of this source"),
    ]


def test_one_file_of_nodes_and_relationships(read: Read, make: Make) -> None:
    table = """_id,_labels,name,desc,symptom,_start,_end,_type
0,:Disease,百日咳,急性传染病。,"[""痉咳"",""低热""]",,,
1,:Department,儿科,,,,,
,,,,,0,1,belongs_to
,,,,,0,0,acompany_with
"""
    records, rejects = read(make("a.csv", table), "knowledge_graph")
    assert facts(records) == EXPECTED
    assert reasons(rejects) == [("a.csv:5, row 4", "self-loop: 百日咳 并发症 百日咳")]


def test_json_lines_of_nodes_and_relationships(read: Read, make: Make) -> None:
    rows = [
        {"type": "relationship", "id": "0", "label": "belongs_to", "start": {"id": "0"}, "end": {"id": "1"}},
        {
            "type": "node",
            "id": "0",
            "labels": ["Disease"],
            "properties": {"name": "百日咳", "desc": "急性传染病。", "symptom": ["痉咳", "低热"]},
        },
        {"type": "node", "id": "1", "labels": ["Department"], "properties": {"name": "儿科"}},
        {"type": "relationship", "id": "1", "label": "x", "start": {"id": "0"}},
    ]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    records, rejects = read(make("a.json", text), "knowledge_graph")
    assert sorted(facts(records)) == sorted(EXPECTED)
    assert reasons(rejects) == [("a.json:4", "empty field: a relationship has a start and an end")]


def test_a_file_without_types_is_a_relation_of_its_name(read: Read, make: Make) -> None:
    make("g/nodes.csv", "name:ID\n百日咳\n痉咳\n")
    path = make("g/has_symptom.csv", ":START_ID,:END_ID\n百日咳,痉咳\n")
    records, rejects = read(path.parent, "knowledge_graph")
    assert not rejects
    assert facts(records) == [(["百日咳", "症状"], "痉咳", "unknown")]
