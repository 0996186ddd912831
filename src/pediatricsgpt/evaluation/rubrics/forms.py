"""Rubrics: questions, each with criteria that an answer meets or does not, and the points of each.

Read from our YAML (a file, or a folder of files that make up one set) or from HealthBench's JSON lines.

Source: Arora et al. 2025, "HealthBench: Evaluating Large Language Models Towards Improved Human Health".
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.benchmarks import by_hash
from pediatricsgpt.manifest import digest
from pediatricsgpt.records import read_json_lines

STARTER = Path(__file__).parent / "starter"
UNREVIEWED = "未经医生审核"
_HEADER = "set.yaml"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Mark = Literal["C", "L", "K"]
"""How well a statement is founded: C an official text or several sources; L one source; K general knowledge"""


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Turn(_Form):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str = Field(min_length=1)


class Criterion(_Form):
    """One thing that an answer may do.

    Negative points are for what a good answer does not do. A `veto` makes the whole item's score zero: a negative
    criterion when it is met, a positive one when it is not.
    """

    id: str = Field(min_length=1)
    text: str = Field(min_length=1)
    points: float = Field(ge=-10, le=10)
    source: str = ""
    mark: Mark | None = None
    reviewer: str = ""
    """The doctor or pharmacist who signed it; empty until somebody has"""
    veto: bool = False
    tags: tuple[str, ...] = ()

    @field_validator("points")
    @classmethod
    def _counts(cls, points: float) -> float:
        if points == 0:
            raise ValueError("a criterion of 0 points measures nothing")
        return points


class RubricItem(_Form):
    """A conversation that ends with the user, and the criteria of an answer to it."""

    id: str = Field(min_length=1)
    theme: str
    messages: tuple[Turn, ...] = Field(min_length=1)
    criteria: tuple[Criterion, ...] = Field(min_length=1)
    task: str | None = None
    department: str | None = None
    age_band: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _question(cls, values: Any) -> Any:
        if isinstance(values, dict) and "question" in values and "messages" not in values:
            values = dict(values)
            values["messages"] = [{"role": "user", "content": values.pop("question")}]
        return values

    @model_validator(mode="after")
    def _whole(self) -> RubricItem:
        if self.messages[-1].role != "user":
            raise ValueError("the messages must end with the user's turn")
        if not any(criterion.points > 0 for criterion in self.criteria):
            raise ValueError("no criterion has positive points, so there is no score to reach")
        twice = [name for name, times in Counter(one.id for one in self.criteria).items() if times > 1]
        if twice:
            raise ValueError(f"two criteria have the id {twice[0]}")
        return self

    @property
    def possible(self) -> float:
        """The sum of positive points."""
        return sum(criterion.points for criterion in self.criteria if criterion.points > 0)


class RubricSet(_Form):
    """A named version of rubrics."""

    name: str
    version: str
    licence: str
    note: str = ""
    sources: dict[str, str] = {}
    """What the short names in `source` of a criterion stand for"""
    items: tuple[RubricItem, ...]

    @model_validator(mode="after")
    def _distinct(self) -> RubricSet:
        twice = [name for name, times in Counter(item.id for item in self.items).items() if times > 1]
        if twice:
            raise ValueError(f"two items have the id {twice[0]}")
        for item in self.items:
            for one in item.criteria:
                if self.sources and one.source not in self.sources:
                    raise ValueError(f"criterion {one.id} of {item.id}: source '{one.source}' is not among the sources")
        return self

    @property
    def sha256(self) -> str:
        """Hash of all that scores depend on: who signed a criterion, and where it is from, do not count."""
        aside = {"criteria": {"__all__": {"source", "mark", "reviewer"}}}
        return digest([item.model_dump(mode="json", exclude=aside) for item in self.items])

    @property
    def unreviewed(self) -> int:
        """Criteria that no doctor or pharmacist has signed."""
        return sum(not criterion.reviewer for item in self.items for criterion in item.criteria)

    def head(self) -> dict[str, Any]:
        """What a result says of the set that it was made with."""
        criteria = sum(len(item.criteria) for item in self.items)
        return {
            "name": self.name,
            "version": self.version,
            "sha256": self.sha256,
            "licence": self.licence,
            "criteria": criteria,
            "unreviewed": self.unreviewed,
            "note": f"{self.unreviewed}/{criteria} 条标准{UNREVIEWED}" if self.unreviewed else "",
        }


def load_rubrics(path: Path | None = None) -> RubricSet:
    """Read a set of rubrics.

    Args:
        path: a YAML file, a folder of them with `set.yaml`, or JSON lines as HealthBench publishes them; None for the
            packaged pediatric starter set.

    Raises:
        UserError: there is nothing to read, or a rubric is not as it must be; the file and the item are named.
    """
    path = STARTER if path is None else path
    if path.is_dir():
        content = _read_folder(path)
    elif path.suffix in (".yaml", ".yml"):
        content = _read_yaml(path)
    else:
        content = _read_healthbench(path)
    return _validated(content, path)


def chosen(rubrics: RubricSet, max_items: int | None) -> tuple[RubricItem, ...]:
    """At most so many items, those whose ids come first in the order of a hash; as they stand in the set."""
    first = {item.id for item in sorted(rubrics.items, key=lambda item: by_hash(item.id))[:max_items]}
    return tuple(item for item in rubrics.items if item.id in first)


def questions(rubrics: RubricSet, max_items: int | None = None) -> Iterator[dict[str, Any]]:
    """The items as questions that a model answers, one row each: `id`, `messages` and the labels that are known."""
    for item in chosen(rubrics, max_items):
        labels = {"task": item.task, "department": item.department, "age_band": item.age_band}
        known = {name: value for name, value in labels.items() if value}
        yield {"id": item.id, "messages": [turn.model_dump() for turn in item.messages], **known}


def _read_folder(folder: Path) -> dict[str, Any]:
    if not (folder / _HEADER).is_file():
        raise UserError(f"this folder has no {_HEADER} with name, version and licence of the rubrics", folder)
    content = _read_yaml(folder / _HEADER)
    items = list(content.pop("items", None) or [])
    for file in sorted(folder.glob("*.yaml")):
        if file.name != _HEADER:
            more = _read_yaml(file)
            items += more.get("items") or []
    return {**content, "items": items}


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
    except FileNotFoundError as error:
        raise UserError("no such file", path) from error
    except UnicodeDecodeError as error:
        raise UserError("not UTF-8; convert it, for example with iconv", path) from error
    except yaml.YAMLError as error:
        line = getattr(error, "problem_mark", None)
        where = f"{path}:{line.line + 1}" if line else path
        raise UserError(f"not YAML: {getattr(error, 'problem', None) or 'unreadable'}", where) from error
    if not isinstance(content, dict):
        raise UserError("rubrics in YAML are a mapping with name, version, licence and items", path)
    if not isinstance(content.get("items", []), list):
        raise UserError("'items' must be a list", path)
    return content


def _read_healthbench(path: Path) -> dict[str, Any]:
    """`prompt`, `prompt_id`, `example_tags`, `rubrics: [{criterion, points, tags}]`, one JSON object a line."""
    items = []
    for number, row in read_json_lines(path):
        where = f"{path}:{number}"
        if not isinstance(row, dict) or not isinstance(row.get("rubrics"), list) or "prompt" not in row:
            raise UserError("expected a JSON object with 'prompt' and 'rubrics', as HealthBench has them", where)
        name = str(row.get("prompt_id") or f"line-{number}")
        tags = [str(tag) for tag in row.get("example_tags") or []]
        theme = next((tag.removeprefix("theme:") for tag in tags if tag.startswith("theme:")), "none")
        items.append(
            {
                "id": name,
                "theme": theme,
                "messages": row["prompt"],
                "criteria": [_of_healthbench(one, place, where) for place, one in enumerate(row["rubrics"], 1)],
            }
        )
    named = {"name": path.stem, "version": "unnamed", "licence": "of its authors (HealthBench: MIT)"}
    return {**named, "items": items}


def _of_healthbench(one: Any, place: int, where: str) -> dict[str, Any]:
    if not isinstance(one, dict) or "criterion" not in one or "points" not in one:
        raise UserError(f"rubric {place} has no 'criterion' and 'points'", where)
    tags = [str(tag) for tag in one.get("tags") or []]
    return {"id": f"{place}", "text": one["criterion"], "points": one["points"], "tags": tags}


def _validated(content: dict[str, Any], path: Path) -> RubricSet:
    if not content.get("items"):
        raise UserError("there is no item with criteria in it", path)
    try:
        return RubricSet.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = _place(first["loc"], content["items"])
        raise UserError(f"{place}{first['msg'].removeprefix('Value error, ')}", path) from error


def _place(location: Sequence[int | str], items: Sequence[Any]) -> str:
    """`item id: criterion id: field: ` of a complaint, as far as there are ids."""
    names: list[str] = []
    if len(location) > 1 and location[0] == "items" and isinstance(location[1], int):
        item = items[location[1]]
        names.append(f"item {_id_of(item, location[1])}")
        if len(location) > 3 and location[2] == "criteria" and isinstance(location[3], int):
            names.append(f"criterion {_id_of(item['criteria'][location[3]], location[3])}")
            names += [str(part) for part in location[4:]]
        else:
            names += [str(part) for part in location[2:]]
    else:
        names += [str(part) for part in location]
    return "".join(f"{name}: " for name in names)


def _id_of(value: Any, place: int) -> str:
    return str(value["id"]) if isinstance(value, dict) and "id" in value else f"{place + 1} (in order)"


def as_json(rubrics: RubricSet) -> str:
    """The set as HealthBench's JSON lines, for other tools."""
    rows = [
        {
            "prompt_id": item.id,
            "prompt": [turn.model_dump() for turn in item.messages],
            "example_tags": [f"theme:{item.theme}"],
            "rubrics": [
                {"criterion": one.text, "points": one.points, "tags": [f"id:{one.id}", *one.tags]}
                for one in item.criteria
            ],
        }
        for item in rubrics.items
    ]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
