"""Files of knowledge graphs: disease records (`medical.json` and its exports), triples, entities and relations.

Every reader hands what its file says to the one `Graph` of the source, and yields the rejects of what it cannot read.
RDF and the exports of Neo4j: `rdf.py`, `neo4j.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pediatricsgpt.corpus.rules import rules
from pediatricsgpt.corpus.sources import neo4j, rdf
from pediatricsgpt.corpus.sources.dataset import aliases
from pediatricsgpt.corpus.sources.file import SourceFile
from pediatricsgpt.corpus.sources.graph import Graph, page_facts
from pediatricsgpt.corpus.sources.lines import BadLine
from pediatricsgpt.corpus.sources.rows import Row, RowError, reject_row, stream_json
from pediatricsgpt.corpus.sources.table import open_table, require_columns
from pediatricsgpt.records import Reject

_TRIPLE = ("head", "relation", "tail")
_EDGES = (
    _TRIPLE,
    ("subject", "predicate", "object"),
    ("h", "r", "t"),
    ("start_entity_name", "rel_name", "end_entity_name"),
)
_NOT_A_TRIPLE = "unknown shape: no triple of head, relation and tail"


def read_graph_json(file: SourceFile, graph: Graph) -> Iterator[Reject]:
    """Rows of a `.json` or `.jsonl` file, each in one of the published shapes:

    - a disease record (`name` and fields such as `desc`, `cause`, `symptom`), also as `{label, name: {…}}`;
    - an entity `{label, name}`, and a group of relations `{rel_type, rel_name, rels: [{start_entity_name, …}]}`;
    - a text with its triples, `{text, spo_list: [[s, p, o], …]}` or with `{subject, predicate, object}` in it. The
      text says what the triples say and is left out;
    - a triple of head, relation and tail; a node or a relationship of Neo4j's JSON export.

    In groups and lists, each relation or triple counts as a row.

    Raises:
        UserError: the file is no JSON, or its encoding is unknown.
    """
    for row in stream_json(file):
        if isinstance(row, Reject):
            yield row
            continue
        try:
            yield from _json_row(file, graph, row)
        except RowError as error:
            yield reject_row(file, row, str(error))


def _json_row(file: SourceFile, graph: Graph, row: Row) -> Iterator[Reject]:
    value = row.value
    if isinstance(value, Mapping):
        if value.get("type") in ("node", "relationship") and "id" in value:
            neo4j.add_json(file, graph, row)
            return iter(())
        for name, common in (("spo_list", None), ("rels", value.get("rel_name") or value.get("rel_type"))):
            if isinstance(value.get(name), list):
                return _listed(file, graph, row, name, common)
        if (
            "label" in value
            and isinstance(value.get("name"), str)
            and not set(value) & set(rules("sources")["disease_fields"])
        ):
            graph.add_name(file, row, value["name"].strip(), str(value["label"]))
            return iter(())
    if isinstance(value, list) or any(all(name in value for name in names) for names in _EDGES):
        graph.add_edge(file, row, *_triple(value))
        return iter(())
    _add_disease(file, graph, row)
    return iter(())


def _listed(file: SourceFile, graph: Graph, row: Row, name: str, relation: str | None) -> Iterator[Reject]:
    """The triples in a list of a row; they take the place of the row in the account."""
    items = row.value[name]
    if not items:
        raise RowError(f"empty list: nothing stands under {name}")
    file.rows.read += len(items) - 1
    for number, item in enumerate(items, 1):
        part = Row(item, row.line, row.number, f"{name} {number}")
        try:
            if relation and isinstance(item, Mapping):
                item = {**item, "rel_name": item.get("rel_name") or relation}
            graph.add_edge(file, part, *_triple(item))
        except RowError as error:
            yield reject_row(file, part, str(error))


def _triple(value: Any) -> tuple[str, str, str]:
    if isinstance(value, list):
        ends = value
    elif isinstance(value, Mapping):
        ends = next(([value[name] for name in names] for names in _EDGES if all(name in value for name in names)), [])
    else:
        ends = []
    # CMeIE and DuIE put the object into {"@value": …}.
    plain = [end.get("@value") if isinstance(end, Mapping) else end for end in ends]
    if len(plain) != 3 or not all(isinstance(end, str | int | float) for end in plain):
        raise RowError(_NOT_A_TRIPLE)
    head, relation, tail = map(str, plain)
    return head, relation, tail


def _add_disease(file: SourceFile, graph: Graph, row: Row) -> None:
    value = row.value
    if isinstance(value, Mapping) and isinstance(value.get("name"), Mapping):
        value = value["name"]
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        raise RowError("unknown shape: a disease record has a name and fields such as desc, cause or symptom")
    facts = page_facts(value)
    if not value["name"].strip() or not facts:
        raise RowError("empty record: no name, or none of the fields with a fact")
    graph.add_page(file, row, value["name"].strip(), facts)


def read_graph_table(file: SourceFile, graph: Graph) -> Iterator[Reject]:
    """A CSV, TSV or XLSX table of triples (`head`, `relation`, `tail`), or an export of Neo4j, known by its columns.

    Chinese relations keep their names, known English ones get the Chinese name, unknown ones stay as they are.

    Raises:
        UserError: a column is missing, the file is damaged, or the encoding is unknown.
    """
    table = open_table(file, aliases(*_TRIPLE))
    if neo4j.is_export(table.columns):
        yield from neo4j.add_table(file, graph, table)
        return
    require_columns(file, table.columns, _TRIPLE)
    for row in table.rows:
        if isinstance(row, Reject):
            yield row
        else:
            graph.add_edge(file, row, *(row.value[column] for column in _TRIPLE))


def read_graph_lines(file: SourceFile, graph: Graph) -> Iterator[Reject]:
    """Lines of `head<TAB>relation<TAB>tail`, or of one entity each.

    Raises:
        UserError: the encoding is unknown.
    """
    for number, line in file.lines():
        if isinstance(line, str) and not line.strip():
            continue
        file.rows.read += 1
        if isinstance(line, BadLine):
            yield file.reject(line.reason, line=number)
            continue
        fields = line.split("\t")
        if len(fields) == len(_TRIPLE):
            graph.add_edge(file, Row(None, number), *fields)
        elif len(fields) == 1:
            graph.add_name(file, Row(None, number), line.strip())
        else:
            yield file.reject(f"{len(fields)} fields, expected 3 ({', '.join(_TRIPLE)}) or a name", line, line=number)


GRAPH_READERS: Mapping[str, Callable[[SourceFile, Graph], Iterator[Reject]]] = {
    **dict.fromkeys((".json", ".jsonl"), read_graph_json),
    **dict.fromkeys((".csv", ".tsv", ".xlsx"), read_graph_table),
    ".txt": read_graph_lines,
    **dict.fromkeys(rdf.FORMATS, rdf.read_rdf),
}
