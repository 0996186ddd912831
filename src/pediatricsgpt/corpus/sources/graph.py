"""A knowledge graph that is put together from all files of a source.

One record per entity and relation: the title is the entity and the relation's Chinese name, the text is the long field
or the tails joined by `、` in the order of the source. The entity's departments become the label of all its records,
wherever in the source they stand, so that no later step has to look for them.

Tails are joined within a file, so that a record has one place; its locator is that of the first of them. Cycles are
harmless, because nothing follows edges; an edge from an entity to itself says nothing and is a reject.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pediatricsgpt.corpus.rules import rules
from pediatricsgpt.corpus.settings import SourceSettings
from pediatricsgpt.corpus.sources.entities import Forms
from pediatricsgpt.corpus.sources.file import Items, SourceFile
from pediatricsgpt.corpus.sources.rows import Row, RowError, reject_row
from pediatricsgpt.records import Locator, Record, Reject, Step

DEPARTMENT = "就诊科室"
_BELONGS = "属于"
_BETWEEN = "、"
_NORMALISED = Step("entities")

Node = tuple[str, str]
"""Identifier space (empty where a file knows only one) and identifier of a node."""


@dataclass(frozen=True, slots=True)
class _Place:
    file: SourceFile
    line: int | None
    number: int | None
    part: str | None

    @classmethod
    def of(cls, file: SourceFile, row: Row) -> _Place:
        return cls(file, row.line, row.number, row.part)

    def locator(self) -> Locator:
        return Locator(line=self.line, row=self.number, section=self.part)

    def reject(self, reason: str, value: object) -> Reject:
        return reject_row(self.file, Row(value, self.line, self.number, self.part), reason)


@dataclass(frozen=True, slots=True)
class _Edge:
    place: _Place
    head: str | Node
    relation: str
    tail: str | Node

    def row(self) -> list[str]:
        return [_plain(self.head), self.relation, _plain(self.tail)]


@dataclass(frozen=True, slots=True)
class _Page:
    """What a record says about one entity."""

    place: _Place
    name: str
    facts: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class _Name:
    """An entity that is only named: a line of an entity list, a node without properties."""

    place: _Place
    name: str
    label: str


@dataclass(slots=True)
class _Fact:
    scope: int | str  # the page, or the file, within which its tails were joined
    place: _Place
    entity: str
    relation: str
    tails: list[str] = field(default_factory=list)
    normalised: bool = False


class Graph:
    """Collects what the files of a source say; `items` gives the records and rejects when all is said.

    Memory grows with the graph: some 0.6 kB a triple.
    """

    def __init__(self, forms: Forms | None = None) -> None:
        self.forms = forms or Forms()
        self.counts: dict[str, int] = {}
        self._said: list[_Edge | _Page] = []
        self._names: list[_Name] = []
        self._nodes: dict[Node, str] = {}
        self._facts: dict[tuple[int | str, str, str], _Fact] = {}

    @classmethod
    def of(cls, settings: SourceSettings, base: Path) -> Graph:
        """An empty graph with the entity tables of a source.

        Raises:
            UserError: the tables cannot be read.
        """
        return cls(Forms.load(base / settings.entities, settings.entity_score) if settings.entities else None)

    def add_edge(self, file: SourceFile, row: Row, head: str | Node, relation: str, tail: str | Node) -> None:
        """An edge between two names, or between two nodes that any file of the source names."""
        self._said.append(_Edge(_Place.of(file, row), head, relation, tail))

    def add_page(self, file: SourceFile, row: Row, name: str, facts: Mapping[str, Sequence[str]]) -> None:
        """An entity with its facts, from one row: relation -> tails."""
        self._said.append(_Page(_Place.of(file, row), name, {key: list(tails) for key, tails in facts.items()}))

    def add_name(self, file: SourceFile, row: Row, name: str, label: str = "") -> None:
        """An entity that is only named; it is used where anything is said about it."""
        self._names.append(_Name(_Place.of(file, row), name, label))

    def add_node(self, node: Node, name: str) -> bool:
        """What edges call a node; False if it has another name already."""
        return self._nodes.setdefault(node, name) == name

    def items(self) -> Items:
        """The rejects and then the facts, both in the order in which they were said."""
        heads = {name for said in self._said if (name := self._head(said))}
        for number, said in enumerate(self._said):
            try:
                if isinstance(said, _Page):
                    self._turn(number, said, heads)
                else:
                    self._join(said, heads)
            except RowError as error:
                yield said.place.reject(str(error), said.row() if isinstance(said, _Edge) else said.facts)
                continue
            said.place.file.rows.used += 1
        yield from self._unused()
        yield from self._records()

    def _head(self, said: _Edge | _Page) -> str | None:
        if isinstance(said, _Page):
            return said.name
        return self._nodes.get(said.head) if isinstance(said.head, tuple) else said.head

    def _name_of(self, end: str | Node) -> str:
        if not isinstance(end, tuple):
            return end.strip()
        if end not in self._nodes:
            raise RowError(f"unknown node: no node of this source has the id {_plain(end)}")
        return self._nodes[end]

    def _entity(self, name: str) -> tuple[str, bool]:
        """The entity of a fact: only tables that somebody wrote may rename it, and only to one name."""
        forms = self.forms.given.get(name, [name])
        return (forms[0], True) if len(forms) == 1 and forms != [name] else (name, False)

    def _turn(self, number: int, page: _Page, heads: set[str]) -> None:
        entity, renamed = self._entity(page.name)
        for relation, tails in page.facts.items():
            found = list(dict.fromkeys(form for tail in tails for form in self.forms.of(tail, relation, heads)))
            fact = _Fact(number, page.place, entity, relation, found, renamed or found != tails)
            self._facts[number, entity, relation] = fact

    def _join(self, edge: _Edge, heads: set[str]) -> None:
        head, tail, relation = self._name_of(edge.head), self._name_of(edge.tail), edge.relation.strip()
        if not (head and relation and tail):
            raise RowError("empty field: head, relation and tail are all needed")
        if relation in rules("sources")["not_medical"]:
            raise RowError(f"not a medical relation: {relation}")
        entity, renamed = self._entity(head)
        relation = relation_name(relation)
        if relation == DEPARTMENT and head.endswith("科"):
            relation = _BELONGS
        tails = [form for form in self.forms.of(tail, relation, heads) if form != entity]
        if not tails:
            raise RowError(f"self-loop: {head} {relation} {tail}" + (f", both are {entity}" if head != tail else ""))
        scope = edge.place.file.name
        fact = self._facts.setdefault((scope, entity, relation), _Fact(scope, edge.place, entity, relation))
        new = [form for form in tails if form not in fact.tails]
        if not new:
            raise RowError(f"triple said before: under {fact.place.locator()}")
        fact.tails += new
        fact.normalised |= renamed or tails != [tail]

    def _unused(self) -> Items:
        said = {name for fact in self._facts.values() for name in (fact.entity, *fact.tails)}
        for named in self._names:
            if said.isdisjoint((named.name, *self.forms.of(named.name))):
                label = f"{named.label} " if named.label else ""
                reason = f"entity without a fact: {label}{named.name} stands in no relation of this source"
                yield named.place.reject(f"{reason}; a list of names serves as `entities` of a graph", named.name)
            else:
                named.place.file.rows.used += 1

    def _records(self) -> Items:
        departments: dict[tuple[int | str | None, str], list[str]] = {}
        for fact in self._facts.values():
            if fact.relation == DEPARTMENT:
                for scope in _scopes(fact):
                    departments.setdefault((scope, fact.entity), fact.tails)
        for fact in self._facts.values():
            known = (departments.get((scope, fact.entity)) for scope in _scopes(fact))
            yield self._record(fact, "/".join(next(filter(None, known), ["unknown"])))

    def _record(self, fact: _Fact, department: str) -> Record:
        record = fact.place.file.record(
            group=f"entity:{fact.entity}",
            locator=fact.place.locator(),
            text=_BETWEEN.join(fact.tails),
            title=[fact.entity, fact.relation],
            department=department,
        )
        if fact.normalised:
            record.steps.append(_NORMALISED)
            self.counts["facts_normalised"] = self.counts.get("facts_normalised", 0) + 1
        return record


def _scopes(fact: _Fact) -> tuple[int | str | None, ...]:
    """Whose department an entity gets first: what its own row says, then its file, then the rest of the source."""
    return fact.scope, fact.place.file.name, None


def _plain(end: str | Node) -> str:
    return end if isinstance(end, str) else ":".join(part for part in end if part)


@functools.cache
def _relations() -> dict[str, str]:
    return {other: name for name, others in rules("sources")["relations"].items() for other in others}


def relation_name(name: str) -> str:
    """The Chinese name that all sources share for a relation; unknown ones stay as they are."""
    return _relations().get(name) or _relations().get(name.lower(), name)


def page_facts(value: Mapping[str, Any]) -> dict[str, list[str]]:
    """The facts in the fields of a disease record: relation -> tails."""
    facts: dict[str, list[str]] = {}
    for name in rules("sources")["disease_fields"]:
        tails = [tail for tail in _tails(value.get(name)) if tail not in rules("sources")["no_department"]]
        if tails:
            facts[relation_name(name)] = tails
    return facts


def _tails(value: Any) -> list[str]:
    """The texts of a field: a text, a list of texts, or lists in lists; the first of equal ones."""
    if isinstance(value, list):
        return list(dict.fromkeys(tail for item in value for tail in _tails(item)))
    text = "" if value is None or isinstance(value, Mapping) else str(value).strip()
    return [text] if text else []
