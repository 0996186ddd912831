from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pediatricsgpt.errors import UserError

Read = Callable[..., Any]
Make = Callable[..., Path]
TURTLE = """@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix owl: <http://www.w3.org/2002/07/owl#> .
@prefix kg: <http://kg.example/> .

kg:Disease a owl:Class .
kg:has_symptom a owl:ObjectProperty ; rdfs:domain kg:Disease .

kg:d1 a kg:Disease ;
    rdfs:label "百日咳"@zh , "Pertussis"@en ;
    rdfs:comment "急性呼吸道传染病。" ;
    kg:has_symptom kg:s1 , kg:s2 ;
    kg:belongs_to kg:儿科 ;
    kg:病原体 "百日咳杆菌" ;
    kg:acompany_with kg:d1 ;
    rdfs:subClassOf [ a owl:Restriction ] .
kg:s1 rdfs:label "痉咳" .
kg:s2 rdfs:label "低热" .
kg:d9 rdfs:label "没有事实" .
"""
XML = """<?xml version="1.0" encoding="utf-8"?>
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:rdfs="http://www.w3.org/2000/01/rdf-schema#"
         xmlns:kg="http://kg.example/">
  <rdf:Description rdf:about="http://kg.example/d1">
    <rdfs:label>百日咳</rdfs:label>
    <kg:has_symptom rdf:resource="http://kg.example/%E7%97%89%E5%92%B3"/>
  </rdf:Description>
</rdf:RDF>
"""
TRIPLES = """<http://kg.example/d1> <http://www.w3.org/2000/01/rdf-schema#label> "百日咳" .
<http://kg.example/d1> <http://kg.example/has_symptom> "痉咳" .
"""


def test_statements_between_named_things_are_facts(read: Read, make: Make) -> None:
    records, rejects = read(make("a.ttl", TURTLE), "knowledge_graph")
    assert sorted((record.title, record.text) for record in records) == [
        (["百日咳", "就诊科室"], "儿科"),
        (["百日咳", "病原体"], "百日咳杆菌"),
        (["百日咳", "症状"], "痉咳、低热"),
        (["百日咳", "简介"], "急性呼吸道传染病。"),
    ]
    assert {record.department for record in records} == {"儿科"}
    assert {record.source.locator.line for record in records} == {8}
    assert sorted((reject.where.split(",")[0], reject.reason.split(";")[0]) for reject in rejects) == [
        ("a.ttl", "blank node: a statement about something without a name"),
        ("a.ttl:18", "entity without a fact: 没有事实 stands in no relation of this source"),
        ("a.ttl:5", "vocabulary and no fact: type"),
        ("a.ttl:6", "vocabulary and no fact: domain"),
        ("a.ttl:6", "vocabulary and no fact: type"),
        ("a.ttl:8", "blank node: a statement about something without a name"),
        ("a.ttl:8", "self-loop: 百日咳 并发症 百日咳"),
    ]


@pytest.mark.parametrize(("name", "text"), [("a.rdf", XML), ("a.owl", XML), ("a.nt", TRIPLES)])
def test_the_other_formats_say_the_same(read: Read, make: Make, name: str, text: str) -> None:
    records, rejects = read(make(name, text), "knowledge_graph")
    assert not rejects
    assert [(record.title, record.text) for record in records] == [(["百日咳", "症状"], "痉咳")]
    assert records[0].source.locator.line in (1, 4)


def test_reading_twice_gives_the_same_although_blank_nodes_have_new_names(read: Read, make: Make) -> None:
    text = TURTLE + "kg:d1 rdfs:seeAlso [ rdfs:label 'a' ] , [ rdfs:label 'b' ] , [ rdfs:label 'c' ] .\n" * 3
    once, *others = (read(make("a.ttl", text), "knowledge_graph") for _ in range(4))
    assert all(other == once for other in others)


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.ttl", "@prefix kg: <http://kg.example/> .\n\nkg:a kg:b\nkg:c kg:d .\n", 4),
        ("a.rdf", "<rdf:RDF\n  xmlns:rdf='x'>\n<broken>\n</rdf:RDF>\n", 4),
    ],
)
def test_a_broken_file_names_the_line(read: Read, make: Make, name: str, text: str, line: int) -> None:
    path = make(name, text)
    with pytest.raises(UserError, match=r"not (turtle|RDF/XML): ") as error:
        read(path, "knowledge_graph")
    assert error.value.where == f"{path}:{line}"
    assert "\n" not in str(error.value)
