"""A graph out of many files: names, departments, duplicates, loops."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pediatricsgpt.corpus.settings import SourceSettings
from pediatricsgpt.corpus.sources import read_source
from pediatricsgpt.corpus.sources.graph import relation_name
from pediatricsgpt.records import Record

Read = Callable[..., Any]
Make = Callable[..., Path]


def facts(records: list[Any]) -> list[tuple[list[str], str, str]]:
    return [(record.title, record.text, record.department) for record in records]


def reasons(rejects: list[Any]) -> list[tuple[str, str]]:
    return [(reject.where, reject.reason) for reject in rejects]


def test_an_entity_has_its_department_on_every_fact_wherever_the_source_says_it(read: Read, make: Make) -> None:
    make("g/a.json", json.dumps({"name": "百日咳", "desc": "急性传染病。"}, ensure_ascii=False))
    make("g/b.csv", "head,relation,tail\n流感,症状,发热\n百日咳,所属科室,儿科\n百日咳,所属科室,小儿内科\n")
    records, rejects = read(make("g/c.tsv", "head\trelation\ttail\n百日咳\t症状\t痉咳\n").parent, "knowledge_graph")
    assert not rejects
    assert facts(records) == [
        (["百日咳", "简介"], "急性传染病。", "儿科/小儿内科"),
        (["流感", "症状"], "发热", "unknown"),
        (["百日咳", "就诊科室"], "儿科、小儿内科", "儿科/小儿内科"),
        (["百日咳", "症状"], "痉咳", "儿科/小儿内科"),
    ]


def test_what_a_row_says_about_its_department_comes_before_the_rest(read: Read, make: Make) -> None:
    make("g/a.json", json.dumps({"name": "肺炎", "desc": "感染。", "cure_department": ["儿科"]}, ensure_ascii=False))
    path = make("g/b.csv", "head,relation,tail\n肺炎,belongs_to,呼吸内科\n肺炎,症状,咳嗽\n")
    records, _ = read(path.parent, "knowledge_graph")
    assert {(record.source.file, record.department) for record in records} == {
        ("g/a.json", "儿科"),
        ("g/b.csv", "呼吸内科"),
    }


def test_self_loops_are_rejects_and_cycles_are_harmless(read: Read, make: Make) -> None:
    table = "head,relation,tail\n甲,并发症,乙\n乙,并发症,丙\n丙,并发症,甲\n甲,并发症,甲\n"
    records, rejects = read(make("a.csv", table), "knowledge_graph")
    assert [(record.title[0], record.text) for record in records] == [("甲", "乙"), ("乙", "丙"), ("丙", "甲")]
    assert reasons(rejects) == [("a.csv:5, row 4", "self-loop: 甲 并发症 甲")]
    assert rejects[0].row == ["甲", "并发症", "甲"]


def test_entity_tables_rename_tails_and_say_so_on_the_record(read: Read, make: Make) -> None:
    make("forms.txt", "伤风\t感冒\n疳积\t营养不良\n")
    table = "head,relation,tail\n伤风,症状,咳嗽\n肺炎,并发症,伤风\n感冒,症状,流涕\n感冒,并发症,伤风\n伤风,症状,流涕\n"
    records, rejects = read(make("a.csv", table), "knowledge_graph", entities="forms.txt")
    assert [(record.title, record.text, [step.name for step in record.steps]) for record in records] == [
        (["感冒", "症状"], "咳嗽、流涕", ["read", "entities"]),
        (["肺炎", "并发症"], "感冒", ["read", "entities"]),
    ]
    assert {record.group for record in records} == {"entity:感冒", "entity:肺炎"}
    assert reasons(rejects) == [
        ("a.csv:5, row 4", "self-loop: 感冒 并发症 伤风, both are 感冒"),
        ("a.csv:6, row 5", "triple said before: under line 2, row 1"),
    ]


def test_names_without_facts_are_rejects_and_names_with_facts_are_used(read: Read, make: Make) -> None:
    make("g/a.csv", "head,relation,tail\n百日咳,症状,痉咳\n")
    path = make("g/symptom.txt", "痉咳\n咳血\n\n百日咳\n", "gb18030")
    records, rejects = read(path.parent, "knowledge_graph")
    assert len(records) == 1
    assert [(reject.where, reject.reason.split(";")[0]) for reject in rejects] == [
        ("g/symptom.txt:2", "entity without a fact: 咳血 stands in no relation of this source")
    ]


def test_lines_of_three_fields_are_triples(read: Read, make: Make) -> None:
    records, rejects = read(make("a.txt", "百日咳\thas_symptom\t痉咳\n百日咳\t症状\n"), "knowledge_graph")
    assert facts(records) == [(["百日咳", "症状"], "痉咳", "unknown")]
    assert reasons(rejects) == [("a.txt:2", "2 fields, expected 3 (head, relation, tail) or a name")]


def test_a_department_in_a_department_belongs_to_it(read: Read, make: Make) -> None:
    records, _ = read(make("a.csv", "head,relation,tail\n小儿内科,belongs_to,儿科\n"), "knowledge_graph")
    assert facts(records) == [(["小儿内科", "属于"], "儿科", "unknown")]


def test_relations_have_one_name_in_all_sources() -> None:
    assert {relation_name(name) for name in ("has_symptom", "symptoms", "Has_Symptom", "症状")} == {"症状"}
    assert relation_name("没有见过") == "没有见过"


NAMES = st.sampled_from(["甲", "乙", "丙", " ", "医保"])
TRIPLES = st.lists(
    st.tuples(NAMES, st.sampled_from(["症状", "has_symptom", "医保", ""]), NAMES), min_size=1, max_size=40
)


@given(TRIPLES)
def test_every_triple_is_a_tail_of_a_fact_or_a_reject(
    tmp_path_factory: Any, triples: list[tuple[str, str, str]]
) -> None:
    path = tmp_path_factory.mktemp("graph") / "a.csv"
    rows = [("总", "症状", "有"), *triples]
    path.write_text("head,relation,tail\n" + "".join(f"{','.join(row)}\n" for row in rows), encoding="utf-8")
    named = {
        "name": "a",
        "kind": "knowledge_graph",
        "path": "a.csv",
        "licence": "CC0",
        "consent": "no",
        "purpose": "no",
    }
    reading = read_source(SourceSettings.model_validate(named), path.parent)
    items = list(reading)
    tails = sum(len(item.text.split("、")) for item in items if isinstance(item, Record))
    assert reading.counts["rows"] == len(rows) == tails + sum(not isinstance(item, Record) for item in items)
    said = {(head.strip(), tail.strip()) for head, relation, tail in rows if relation in ("症状", "has_symptom")}
    expected = {(head, tail) for head, tail in said if head and tail and head != tail}
    kept = {(item.title[0], tail) for item in items if isinstance(item, Record) for tail in item.text.split("、")}
    assert kept == expected
