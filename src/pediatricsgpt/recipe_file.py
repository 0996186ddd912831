"""Recipes as files: YAML with line numbers, `--set`, and every problem in one line with its place and the way out."""

from __future__ import annotations

import copy
import difflib
import itertools
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from pediatricsgpt.errors import UserError

Path_ = tuple[str | int, ...]
Kind = TypeVar("Kind", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class File:
    """A recipe's file: its tree with line numbers, its values, and those after `--set`."""

    path: Path
    tree: yaml.Node | None
    values: dict[str, Any]
    changed: dict[str, Any]
    keys: list[str]

    def validated(self, kind: type[Kind]) -> Kind:
        """The recipe of this kind.

        Raises:
            UserError: a setting is unknown, of a wrong type or contradicts another; file, line and field are named.
        """
        try:
            return kind.model_validate(self.changed)
        except ValidationError as error:
            changes = _Changes(self.keys, _problems(kind, self.values))
            raise _explain(error, kind, self, changes) from error


def read(path: Path, overrides: Sequence[str]) -> File:
    """Read a recipe's file and apply changes to it.

    Raises:
        UserError: the file cannot be read or is no YAML mapping, or a change names no place in it.
    """
    tree, values = _parse(path, _read(path))
    changed = copy.deepcopy(values)
    keys = [_apply(changed, override) for override in overrides]
    return File(path, tree, values, changed, keys)


def _read(path: Path) -> str:
    if path.is_dir():
        raise UserError("this is a folder; name a recipe (a YAML file), as `pedgpt recipe list` shows them", path)
    if not path.is_file():
        raise UserError("no such recipe", path)
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"this recipe cannot be read ({error.strerror})", path) from error
    except UnicodeDecodeError as error:
        raise UserError("a recipe must be UTF-8 text", path) from error


def _parse(path: Path, text: str) -> tuple[yaml.Node | None, dict[str, Any]]:
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else path
        raise UserError(f"not YAML: {getattr(error, 'problem', error)}", where) from error
    if not isinstance(values, dict):
        raise UserError("a recipe is a mapping with name, corpus, model, …; this file has none", path)
    _refuse_repeated_keys(tree, path)
    return tree, values


def _refuse_repeated_keys(tree: yaml.Node | None, path: Path) -> None:
    """YAML itself silently takes the last one."""
    waiting, seen = [tree], set[int]()
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, value in node.value:
                line = key.start_mark.line + 1
                if str(key.value) in lines and key.value != "<<":
                    both = f"on line {lines[key.value]} and on line {line}"
                    raise UserError(f"'{key.value}' stands twice, {both}; keep one", f"{path}:{line}")
                lines[str(key.value)] = line
                waiting.append(value)


def _apply(values: dict[str, Any], override: str) -> str:
    """Make one change; gives its key."""
    name, separator, raw = override.partition("=")
    if not separator or not name:
        raise UserError(f"--set takes key=value with a dotted key, for example sft.max_length=512, not '{override}'")
    name = name.strip()
    parts = name.split(".")
    last = parts[-1]
    target: Any = values
    for parent, below in itertools.pairwise(parts):
        found = _item(target, parent, name)
        if found is None:
            found = target[int(parent) if isinstance(target, list) else parent] = {}
        if not (isinstance(found, dict) or (isinstance(found, list) and below.isdigit())):
            kind = "a list; name an entry by its number, from 0" if isinstance(found, list) else "no block of settings"
            raise UserError(f"--set {name}: '{parent}' is {kind}")
        target = found
    try:
        value = yaml.safe_load(raw)
    except yaml.YAMLError as error:
        raise UserError(f"--set {name}: '{raw}' is not a YAML value") from error
    _item(target, last, name)
    target[int(last) if isinstance(target, list) else last] = value
    return name


def _item(target: Any, part: str, name: str) -> Any:
    """What stands at a key of a block (None: nothing yet) or at a number of a list."""
    if isinstance(target, dict):
        return target.get(part)
    if int(part) >= len(target):
        raise UserError(f"--set {name}: there is no entry {part}; the list has {len(target)}, counted from 0")
    return target[int(part)]


@dataclass(frozen=True, slots=True)
class _Changes:
    """What `--set` did: its keys, and what was wrong without it."""

    keys: list[str]
    problems_before: set[tuple[Path_, str]]

    def place_of(self, problem: Any, location: Path_) -> str | None:
        """The `--set` that caused a problem; None for one of the file."""
        if (tuple(problem["loc"]), problem["msg"]) in self.problems_before:
            return None
        field = [str(part) for part in location]
        for key in reversed(self.keys):
            parts = key.split(".")
            shared = min(len(parts), len(field))
            if parts[:shared] == field[:shared]:
                return f"--set {key}"
        return None


def _problems(kind: type[BaseModel], values: dict[str, Any]) -> set[tuple[Path_, str]]:
    try:
        kind.model_validate(values)
    except ValidationError as error:
        return {(tuple(problem["loc"]), problem["msg"]) for problem in error.errors(include_url=False)}
    return set()


@dataclass(frozen=True, slots=True)
class _Schema:
    """What may stand in a recipe of a kind."""

    kind: type[BaseModel]

    def class_at(self, location: Path_) -> type[BaseModel] | None:
        current: type[BaseModel] | None = self.kind
        for part in location:
            if isinstance(part, int) or current is None:
                continue
            field = current.model_fields.get(part)
            current = settings_class(field.annotation) if field else None
        return current

    def keys_at(self, location: Path_) -> list[str]:
        found = self.class_at(location)
        return list(found.model_fields) if found else []

    def field_at(self, location: Path_) -> FieldInfo | None:
        found = self.class_at(location[:-1])
        return found.model_fields.get(str(location[-1])) if found else None


def _explain(error: ValidationError, kind: type[BaseModel], file: File, changes: _Changes) -> UserError:
    """The first problem of a recipe in one line, and how many more there are."""
    # A misspelt key also makes the right one missing: what is unknown explains more than what is absent.
    problems = sorted(error.errors(include_url=False), key=lambda problem: problem["type"] != "extra_forbidden")
    first, schema = problems[0], _Schema(kind)
    location = _location(first["loc"], schema)
    line = _line_of(file.tree, location)
    others = len({_location(problem["loc"], schema) for problem in problems}) - 1
    more = f" (and {others} more problem{'s' if others > 1 else ''})" if others else ""
    where = changes.place_of(first, location) or (f"{file.path}:{line}" if line else file.path)
    return UserError(_message(first, location, schema) + more, where)


def _location(loc: Path_, schema: _Schema) -> Path_:
    """The place of a problem in the recipe's own words: without the names of functions and of a union's types."""
    kept = tuple(part for part in loc if not (isinstance(part, str) and part.startswith("function-")))
    for end in range(1, len(kept)):
        field = schema.field_at(kept[:end])
        if field is not None and settings_class(field.annotation) is None and _is_union(field.annotation):
            return kept[:end] + tuple(part for part in kept[end:] if isinstance(part, int))
    return kept


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (typing.Union, types.UnionType)


def _message(problem: Any, location: Path_, schema: _Schema) -> str:
    field = ".".join(str(part) for part in location)
    if problem["type"] == "extra_forbidden":
        known = schema.keys_at(location[:-1])
        near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(known)}"
        return f"unknown setting '{field}'; {hint}"
    if problem["type"] == "missing":
        found = schema.field_at(location)
        meaning = found.description if found else None
        return f"'{field}' is required" + (f" ({meaning})" if meaning else "")
    if problem["type"] in ("model_type", "model_attributes_type", "dict_type"):
        found = schema.field_at(location)
        hint = "; leave it out to take the defaults" if found is not None and not found.is_required() else ""
        shown = yaml.safe_dump(problem["input"], allow_unicode=True, default_flow_style=True).split("\n")[0]
        return f"{field} must be a block of settings, not {shown}{hint}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{field or 'recipe'}: {message}" + _got(problem)


def _got(problem: Any) -> str:
    value = problem.get("input")
    shown = isinstance(value, str | int | float | bool) and problem["type"] != "value_error"
    return f", not {value!r}" if shown else ""


def _line_of(node: yaml.Node | None, location: Path_) -> int | None:
    """Line (from 1) of the deepest part of `location` that stands in the file."""
    line = None
    for part in location:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line


def settings_class(annotation: Any) -> type[BaseModel] | None:
    """The settings class in a field's type: itself, in a list, or beside None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (list, typing.Union, types.UnionType):
        return next(filter(None, map(settings_class, get_args(annotation))), None)
    return None
