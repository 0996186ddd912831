"""Exports of Neo4j: files of nodes and of relationships for its import tool, one file of both, and JSON lines.

- import tool: columns `:ID`, `:LABEL`, properties; and `:START_ID`, `:END_ID`, `:TYPE`. Identifiers may have a space,
  as in `:ID(Disease)`; lists stand between `;`. A file without `:TYPE` is a relation named like the file;
- `apoc.export.csv`: `_id`, `_labels`, properties, `_start`, `_end`, `_type` in one file, lists being JSON;
- `apoc.export.json`: `{"type": "node", …}` and `{"type": "relationship", …}`.

A node is called what its property `name` says, else its identifier; properties with the names of disease records are
facts. Nodes and relationships may stand in any order and in any files of the source.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pediatricsgpt.corpus.sources.file import SourceFile
from pediatricsgpt.corpus.sources.graph import Graph, Node, page_facts
from pediatricsgpt.corpus.sources.rows import Row, RowError, reject_row
from pediatricsgpt.corpus.sources.table import Table
from pediatricsgpt.records import Reject

_COLUMN = re.compile(r"(?P<name>.*?):(?P<use>ID|LABEL|START_ID|END_ID|TYPE|IGNORE)(?:\((?P<space>.*?)\))?(?:\{.*\})?")
_TYPED = re.compile(r"(?P<name>[^:]+):(?P<type>\w+)(?P<list>\[\])?(?:\{.*\})?")
_APOC = {"_id": "ID", "_labels": "LABEL", "_start": "START_ID", "_end": "END_ID", "_type": "TYPE"}
_NAMES = ("name", "名称", "title", "label", "disease_name")
_HAN = re.compile("[\u3400-\u9fff]")


@dataclass(frozen=True, slots=True)
class _Columns:
    """Which columns of a table play which part; `uses` gives column and identifier space."""

    uses: dict[str, tuple[str, str]]
    properties: dict[str, tuple[str, bool]]

    @classmethod
    def of(cls, columns: Iterable[str]) -> _Columns:
        uses: dict[str, tuple[str, str]] = {}
        properties: dict[str, tuple[str, bool]] = {}
        for column in columns:
            special, typed = _COLUMN.fullmatch(column), _TYPED.fullmatch(column)
            if column in _APOC:
                uses[_APOC[column]] = (column, "")
            elif special:
                uses[special["use"]] = (column, special["space"] or "")
                if special["use"] == "ID" and special["name"]:
                    properties[column] = (special["name"], False)
            else:
                properties[column] = (typed["name"], bool(typed["list"])) if typed else (column, False)
        return cls(uses, properties)

    def value(self, use: str, row: Mapping[str, str]) -> str:
        return row[self.uses[use][0]].strip() if use in self.uses else ""

    def node(self, use: str, row: Mapping[str, str]) -> Node:
        return self.uses[use][1], self.value(use, row)

    def told(self, row: Mapping[str, str]) -> dict[str, Any]:
        """The properties of a row, lists as lists, without empty ones."""
        return {
            name: _listed(row[column], is_list)
            for column, (name, is_list) in self.properties.items()
            if row[column].strip()
        }


def is_export(columns: Iterable[str]) -> bool:
    """Whether a table with these columns is an export of Neo4j."""
    uses = _Columns.of(columns).uses
    return "ID" in uses or {"START_ID", "END_ID"} <= set(uses)


def _listed(text: str, is_list: bool) -> Any:
    if text.startswith("["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text.split(";") if is_list else text


def add_table(file: SourceFile, graph: Graph, table: Table) -> Iterator[Reject]:
    """Hand the nodes and relationships of a table to the graph; those that cannot be read are rejects."""
    columns = _Columns.of(table.columns)
    for row in table.rows:
        if isinstance(row, Reject):
            yield row
            continue
        try:
            if columns.value("START_ID", row.value) or "ID" not in columns.uses:
                _add_relationship(file, graph, row, columns)
            else:
                label = columns.value("LABEL", row.value).strip(":") or file.path.stem
                _add_node(file, graph, row, columns.node("ID", row.value), label, columns.told(row.value))
        except RowError as error:
            yield reject_row(file, row, str(error))


def _add_relationship(file: SourceFile, graph: Graph, row: Row, columns: _Columns) -> None:
    if not (columns.value("START_ID", row.value) and columns.value("END_ID", row.value)):
        raise RowError("empty field: a relationship has a start and an end")
    relation = columns.value("TYPE", row.value) or file.path.stem
    start, end = columns.node("START_ID", row.value), columns.node("END_ID", row.value)
    graph.add_edge(file, row, start, _relation(relation, columns.told(row.value)), end)


def _relation(name: str, properties: Mapping[str, Any]) -> str:
    """The Chinese name of a relation stands in a property, where there is one."""
    told = str(properties.get("name") or properties.get("rel_name") or "")
    return told if _HAN.search(told) else name


def _add_node(file: SourceFile, graph: Graph, row: Row, node: Node, label: str, properties: Mapping[str, Any]) -> None:
    if not node[1]:
        raise RowError("empty field: a node has an id")
    name = next((str(properties[key]).strip() for key in _NAMES if properties.get(key)), node[1])
    if not graph.add_node(node, name):
        raise RowError(f"node said before: the id {node[1]} stands for another name")
    facts = page_facts(properties)
    if facts:
        graph.add_page(file, row, name, facts)
    else:
        graph.add_name(file, row, name, label)


def add_json(file: SourceFile, graph: Graph, row: Row) -> None:
    """Hand a node or a relationship of a JSON export to the graph.

    Raises:
        RowError: something is missing in it.
    """
    value, properties = row.value, row.value.get("properties") or {}
    if value["type"] == "node":
        label = ", ".join(map(str, value.get("labels") or ()))
        _add_node(file, graph, row, ("", str(value["id"])), label, properties)
        return
    ends = [value.get(end) for end in ("start", "end")]
    if not all(isinstance(end, Mapping) and "id" in end for end in ends):
        raise RowError("empty field: a relationship has a start and an end")
    start, end = (("", str(each["id"])) for each in ends if each)
    graph.add_edge(file, row, start, _relation(str(value.get("label") or ""), properties), end)
