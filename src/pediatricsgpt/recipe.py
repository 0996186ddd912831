"""The recipe: one typed YAML file describes one whole run.

It composes the rooms' own settings. Every error names the file, the line and the field, and what to do; a misspelt key
is answered with the nearest real one. Nothing here imports torch.
"""

from __future__ import annotations

import copy
import difflib
import itertools
import types
import typing
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from pediatricsgpt.corpus.settings import CorpusSettings
from pediatricsgpt.endpoint.settings import TeacherSettings
from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.settings import EvaluationSettings
from pediatricsgpt.models.settings import ModelSettings
from pediatricsgpt.settings import Settings
from pediatricsgpt.training.settings import CptSettings, DfpoSettings, ExpertsSettings, SftSettings

Path_ = tuple[str | int, ...]


class Recipe(Settings):
    """One whole run, from sources to report."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the run: its results are in runs/NAME"""
    seed: int = Field(default=17, ge=0, lt=2**32)
    """Seed of everything that is drawn: split, order, weights, sampling"""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads; null takes all cores. Results are equal bit for bit only with the same number"""
    corpus: CorpusSettings
    """Sources and how the training sets are built from them"""
    teacher: TeacherSettings | None = None
    """The teacher of every rule in corpus.build that names none of its own; null: rows are made by rules alone"""
    model: ModelSettings
    """The base model"""
    cpt: CptSettings = CptSettings()
    """Phase 1: continued pre-training"""
    sft: SftSettings = SftSettings()
    """Phase 2: supervised fine-tuning"""
    dfpo: DfpoSettings = DfpoSettings()
    """Phase 3: preference optimisation"""
    experts: ExpertsSettings = ExpertsSettings()
    """Phase 4: mixture of universal-specific experts"""
    evaluation: EvaluationSettings = EvaluationSettings()
    """What the models are measured on"""

    @model_validator(mode="after")
    def _stays_here(self) -> Recipe:
        """Nothing leaves the machine by accident: the recipe has to say it, and only de-identified rows may go."""
        rules = self.corpus.build
        own = [rules.role_play.teacher, rules.reconstruct.teacher, rules.distill.teacher]
        for teacher in (self.teacher, *own, rules.preferences.teacher, rules.preferences.weaker):
            if not isinstance(teacher, TeacherSettings) or not teacher.external:
                continue
            if not teacher.allow_external:
                raise ValueError(f"{teacher.base_url} is not this machine: say allow_external: true, or use one here")
            if not self.corpus.deidentify.enabled:
                raise ValueError(f"rows for {teacher.base_url} must be de-identified: switch corpus.deidentify on")
        return self


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe.

    Args:
        path: a YAML file.
        overrides: changes of the form `a.b=value`, the value in YAML.

    Raises:
        UserError: the file cannot be read, or a setting is unknown, of a wrong type or contradicts another; the error
            names the file, the line and the field.
    """
    text = _read(path)
    tree, values = _parse(path, text)
    changed = copy.deepcopy(values)
    keys = [_apply(changed, override) for override in overrides]
    try:
        return Recipe.model_validate(changed)
    except ValidationError as error:
        raise _explain(error, path, tree, _Changes(keys, _problems(values))) from error


def check_paths(recipe: Recipe, folder: Path) -> int:
    """Check that everything that a recipe names is there: sources, tokenizer, chat template, base, own behaviour file;
    and that each phase can go on from the one before.

    Args:
        recipe: the recipe.
        folder: the recipe's folder, to which its paths are relative.

    Returns:
        the number of source files.

    Raises:
        UserError: something is not there, and its path is named; or as `check_phases`.
    """
    check_phases(recipe, ["experts"])
    from pediatricsgpt.corpus.sources import consumed_files, files_of
    from pediatricsgpt.models.load import local_or_hub

    files = sum(len(consumed_files(source, folder)) for source in recipe.corpus.sources)
    for test_set in recipe.corpus.decontaminate.against:
        files_of(test_set.path, folder)
    model = recipe.model
    if model.init and model.tokenizer and not (folder / model.tokenizer / "tokenizer.json").is_file():
        raise UserError("no tokenizer.json in this folder (model.tokenizer)", folder / model.tokenizer)
    named = {
        "model.chat_template": model.chat_template,
        "corpus.build.behaviour.file": recipe.corpus.build.behaviour.file,
        "corpus.build.behaviour.safety_file": recipe.corpus.build.behaviour.safety_file,
    }
    for setting, file in named.items():
        if file is not None and not (folder / file).is_file():
            raise UserError(f"no such file ({setting})", folder / file)
    for phase in (recipe.cpt, recipe.sft, recipe.dfpo, recipe.experts):
        for file in phase.files(folder):
            if not file.is_file():
                raise UserError("no such file (a phase's own 'data')", file)
    if model.base is not None:
        local_or_hub(model.base, folder)
    return files


def check_phases(recipe: Recipe, names: Collection[str]) -> None:
    """Check that each of these phases can go on from the one before, while nothing is trained yet.

    Args:
        recipe: the recipe.
        names: of the nodes that are to be done; phase 3 by itself may end in an adapter.

    Raises:
        UserError: phase 4 would be given an adapter.
    """
    if "experts" in names and recipe.dfpo.adapter.kind == "experts":
        raise UserError(
            "experts cannot be merged, and phase 4 puts its own on a whole model; set dfpo.adapter.kind: lora, or stop "
            "before phase 4 (pedgpt run --until dfpo)",
            "dfpo.adapter.kind",
        )


def documentation(model: type[BaseModel] = Recipe, indent: int = 0) -> Iterator[str]:
    """Every setting with its type, default and meaning, as lines of commented YAML."""
    pad = "  " * indent
    for name, field in model.model_fields.items():
        inner = _settings_class(field.annotation)
        meaning = " ".join((field.description or (inner.__doc__ if inner else "") or "").split())
        yield f"{pad}# {meaning}".rstrip()
        if inner is None:
            default = "" if field.is_required() else _yaml_value(field.get_default(call_default_factory=True))
            yield f"{pad}{name}: {default or '(required)'}"
        else:
            yield f"{pad}{name}:{'  # a list' if get_origin(field.annotation) is list else ''}"
            yield from documentation(inner, indent + 1)


def as_yaml(recipe: Recipe) -> str:
    """A recipe with all its defaults, as YAML that gives the same recipe again."""
    return str(yaml.safe_dump(recipe.model_dump(mode="json"), allow_unicode=True, sort_keys=False, width=110))


def _yaml_value(value: Any) -> str:
    return str(yaml.safe_dump(value, allow_unicode=True, default_flow_style=True)).strip().removesuffix("\n...")


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


def _problems(values: dict[str, Any]) -> set[tuple[Path_, str]]:
    try:
        Recipe.model_validate(values)
    except ValidationError as error:
        return {(tuple(problem["loc"]), problem["msg"]) for problem in error.errors(include_url=False)}
    return set()


def _explain(error: ValidationError, path: Path, tree: yaml.Node | None, changes: _Changes) -> UserError:
    """The first problem of a recipe in one line, and how many more there are."""
    # A misspelt key also makes the right one missing: what is unknown explains more than what is absent.
    problems = sorted(error.errors(include_url=False), key=lambda problem: problem["type"] != "extra_forbidden")
    first = problems[0]
    location = _location(first["loc"])
    line = _line_of(tree, location)
    field = ".".join(str(part) for part in location)
    others = len({_location(problem["loc"]) for problem in problems}) - 1
    more = f" (and {others} more problem{'s' if others > 1 else ''})" if others else ""
    where = changes.place_of(first, location) or (f"{path}:{line}" if line else path)
    return UserError(_message(first, location, field) + more, where)


def _location(loc: Path_) -> Path_:
    """The place of a problem in the recipe's own words: without the names of functions and of a union's types."""
    kept = tuple(part for part in loc if not (isinstance(part, str) and part.startswith("function-")))
    for end in range(1, len(kept)):
        field = _field_at(kept[:end])
        if field is not None and _settings_class(field.annotation) is None and _is_union(field.annotation):
            return kept[:end] + tuple(part for part in kept[end:] if isinstance(part, int))
    return kept


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (typing.Union, types.UnionType)


def _message(problem: Any, location: Path_, field: str) -> str:
    if problem["type"] == "extra_forbidden":
        known = _keys_at(location[:-1])
        near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(known)}"
        return f"unknown setting '{field}'; {hint}"
    if problem["type"] == "missing":
        meaning = _description_at(location)
        return f"'{field}' is required" + (f" ({meaning})" if meaning else "")
    if problem["type"] in ("model_type", "model_attributes_type", "dict_type"):
        found = _field_at(location)
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


def _settings_class(annotation: Any) -> type[BaseModel] | None:
    """The settings class in a field's type: itself, in a list, or beside None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (list, typing.Union, types.UnionType):
        return next(filter(None, map(_settings_class, get_args(annotation))), None)
    return None


def _class_at(location: Path_) -> type[BaseModel] | None:
    current: type[BaseModel] | None = Recipe
    for part in location:
        if isinstance(part, int) or current is None:
            continue
        field = current.model_fields.get(part)
        current = _settings_class(field.annotation) if field else None
    return current


def _keys_at(location: Path_) -> list[str]:
    found = _class_at(location)
    return list(found.model_fields) if found else []


def _description_at(location: Path_) -> str | None:
    field = _field_at(location)
    return field.description if field else None


def _field_at(location: Path_) -> FieldInfo | None:
    found = _class_at(location[:-1])
    return found.model_fields.get(str(location[-1])) if found else None
