"""Entity tables of a knowledge graph: which surface forms stand for which entity, and which names are known."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pediatricsgpt.corpus.rules import rules
from pediatricsgpt.errors import UserError
from pediatricsgpt.text import decode, key

_BETWEEN = "、"


@dataclass(slots=True)
class Forms:
    """Surface forms -> normal forms.

    `given` stand in tables that somebody wrote. `matched` stand in tables that carry a score, which means that a
    machine compared letters: there 黄疸 (jaundice) may be 核黄疸 (kernicterus) with 0.8 and 血管畸形 be 脑血管畸形
    with 0.89. So these are applied only from a score on that the recipe sets, and never to a name that is `known` as
    an entity of its own, by a list or as a normal form, or that has facts in the graph. Of those with a lower score
    are kept the ones whose names differ by nothing but signs and spaces (they count as given), and `examinations`,
    which differ by the word 检查 (心电图检查) and so mean the same only where an examination is meant.
    """

    given: dict[str, list[str]] = field(default_factory=dict)
    matched: dict[str, list[str]] = field(default_factory=dict)
    examinations: dict[str, list[str]] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)

    @classmethod
    def load(cls, path: Path, floor: float) -> Forms:
        """Read a table, or every table in a folder.

        What is read, whatever the extension: a JSON object of `{surface: normal}`, `{surface: [..., score, normal]}`
        or `{normal: [surface, ...]}`; a JSON list of names; lines of `surface<TAB>normal`; lines with a name each;
        one line of names between commas. Several normal forms stand between `、`.

        Args:
            path: file or folder; hidden files are passed over.
            floor: the score from which entries are applied that carry one.

        Raises:
            UserError: there is no such file, its encoding is unknown, or the JSON is no table.
        """
        if not path.exists():
            raise UserError("no such file or folder of entity tables", path)
        files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
        forms = cls()
        for file in files:
            if not file.name.startswith("."):
                forms._read(file, floor)
        if not (forms.given or forms.matched or forms.examinations or forms.known):
            raise UserError("the entity tables hold no name", path)
        return forms

    def of(self, name: str, relation: str = "", heads: Collection[str] = ()) -> list[str]:
        """The normal forms of a tail of this relation, or the name itself; `heads` have facts of their own."""
        if name in self.given:
            return self.given[name]
        if relation == rules("sources")["examination"]["relation"] and name in self.examinations:
            return self.examinations[name]
        if name in self.matched and name not in self.known and name not in heads:
            return self.matched[name]
        return [name]

    def _read(self, path: Path, floor: float) -> None:
        try:
            text = decode(path.read_bytes()).text.strip()
        except ValueError as error:
            raise UserError(str(error), path) from error
        if text[:1] in ("{", "["):
            try:
                self._add_json(json.loads(text), floor)
            except (ValueError, TypeError, RecursionError) as error:
                raise UserError(f"no entity table: {error}", path) from error
        else:
            self._add_lines(text)

    def _add_json(self, value: Any, floor: float) -> None:
        if isinstance(value, list):
            self.known.update(_name(name) for name in value)
            return
        for name, entry in value.items():
            if isinstance(entry, list) and not any(isinstance(part, int | float) for part in entry):
                self.known.add(name)
                self.given.update({_name(surface): [name] for surface in entry if surface != name})
            elif isinstance(entry, list):
                normal = _parts(_name(entry[-1]))
                scores = [part for part in entry[:-1] if isinstance(part, float)]
                if len(normal) == 1 and key(normal[0]) == key(name):
                    # 维生素B2 stays what it is where the table writes 维生素b2.
                    self.given.update({name: normal} if normal[0].lower() != name.lower() else {})
                elif len(normal) == 1 and _examination(normal[0]) == _examination(name):
                    self.examinations[name] = normal
                elif normal and min(scores, default=1.0) >= floor:
                    self.matched[name] = normal
                self.known.update(normal)
            elif normal := _parts(_name(entry)):
                self.given[name] = normal
                self.known.update(normal)

    def _add_lines(self, text: str) -> None:
        for line in _entries(text):
            surface, _, normal = (part.strip() for part in line.partition("\t"))
            if surface and (forms := _parts(normal)):
                self.given[surface] = forms
                self.known.update(forms)
            elif surface:
                self.known.add(surface)


def _examination(name: str) -> str:
    """The name of an examination without the word for it: 心电图检查 is 心电图."""
    words = rules("sources")["examination"]["without"]
    return name.removesuffix(next((word for word in words if name.endswith(word)), "")) or name


def _entries(text: str) -> Iterator[str]:
    lines = text.splitlines()
    yield from text.split(",") if len(lines) == 1 else lines


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a name was expected and a {type(value).__name__} found")
    return value.strip()


def _parts(normal: str) -> list[str]:
    return [part.strip() for part in normal.split(_BETWEEN) if part.strip()]
