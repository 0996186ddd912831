"""Behaviour rows for SFT and DFPO (paper section 3): who the assistant is, and what it does where a child is in danger.

Self-cognition rows come from the recipe's identity fields, safety-measure instructions from a table of rules with their
sources. None of them is taken from, or written after, the prompts of a safety suite.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from pediatricsgpt.corpus.build.rows import Row, instruction_row
from pediatricsgpt.corpus.settings import BehaviourSettings
from pediatricsgpt.errors import UserError
from pediatricsgpt.records import Message, Record, Source, Step, content_id, provenance

STEP = Step("behaviour", 2)
PAIR_STEP = Step("safety_pair", 1)
FILE = "behaviour.yaml"
SAFETY_FILES = ("safety_drugs.yaml", "safety_red_flags.yaml")
MARKS = ("C", "L", "K")
_FIELDS = {"id": str, "questions": list, "answers": list}
_RULE_FIELDS = dict.fromkeys(("rule", "ages", "exceptions", "source", "date", "mark", "reviewer"), str)
_SAFETY_FIELDS = {**_FIELDS, **_RULE_FIELDS, "unsafe": list}
_MAY_BE_EMPTY = ("date", "reviewer")


def instructions(settings: BehaviourSettings) -> list[Row]:
    """Rows of task `self` and, unless switched off, `safety`: from the packaged items or the recipe's own files.

    Every question is a row; an item's answers take turns. An item is a group. All rows are for training: who the
    assistant is cannot be found out from other rows.

    Raises:
        UserError: a file is missing or no YAML, or an item lacks something; file and line are named.
    """
    identity = {"name": settings.name, "maker": settings.maker}
    rows: list[Row] = []
    for read in _read([settings.file] if settings.file else [FILE], _FIELDS):
        for question, answer in _pairs(read.item, "answers"):
            record = _record(read, "self", *(_filled(text, identity) for text in (question, answer)))
            rows.append(instruction_row(record, record.messages, "self", STEP))
    for read in _safety_items(settings):
        for question, answer in _pairs(read.item, "answers"):
            record = _record(read, "safety", question, answer)
            rows.append(instruction_row(record, record.messages, "safety", STEP))
    return rows


def safety_pairs(settings: BehaviourSettings) -> list[Row]:
    """Preference pairs of aspect `safety`: the safe answer of each item's rule against what must not be said."""
    pairs: list[Row] = []
    for read in _safety_items(settings):
        unsafe = dict(_pairs(read.item, "unsafe"))
        for question, answer in _pairs(read.item, "answers"):
            low: list[Message] = [{"role": "assistant", "content": unsafe[question]}]
            record = _record(read, "safety", question, answer)
            sides = {"chosen": record.messages[-1:], "rejected": low}
            content = {"prompt": record.messages[:-1], **sides, "aspect": "safety"}
            pairs.append({**content, **provenance(content, record, PAIR_STEP)})
    return pairs


@dataclass(frozen=True, slots=True)
class _Item:
    """An item with the file that it stands in."""

    item: dict[str, Any]
    file: str
    file_hash: str
    licence: str


def _safety_items(settings: BehaviourSettings) -> list[_Item]:
    if not settings.safety:
        return []
    return list(_read([settings.safety_file] if settings.safety_file else SAFETY_FILES, _SAFETY_FIELDS))


def _read(files: list[Path] | list[str] | tuple[str, ...], fields: Mapping[str, type]) -> Iterator[_Item]:
    """The items of packaged files (given by name) or own ones (by path); ours are under this package's licence."""
    for file in files:
        if isinstance(file, str):
            text, licence = resources.files(__package__).joinpath(file).read_text(encoding="utf-8"), "Apache-2.0"
        else:
            try:
                text, licence = file.read_text(encoding="utf-8"), "of the recipe's owner"
            except (OSError, UnicodeDecodeError) as error:
                raise UserError(f"cannot be read: {error}", file) from error
        digest = hashlib.sha256(text.encode()).hexdigest()
        for item in _items(text, Path(file), fields):
            yield _Item(item, Path(file).name, digest, licence)


def _record(read: _Item, task: str, question: str, answer: str) -> Record:
    source = Source("behaviour", "text", read.file, read.file_hash, read.licence, "no personal data", "training", "")
    source.locator.section = read.item["id"]
    messages: list[Message] = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    group = f"{'behaviour' if task == 'self' else 'safety'}:{read.item['id']}"
    record = Record("", group, source, messages=messages, family="behaviour", task=task, split="train")
    record.id = content_id(record.content())
    return record


def _filled(text: str, identity: Mapping[str, str]) -> str:
    for name, value in identity.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _pairs(item: Mapping[str, Any], field: str) -> Iterator[tuple[str, str]]:
    answers = item[field]
    for index, question in enumerate(item["questions"]):
        yield question.strip(), answers[index % len(answers)].strip()


def _items(text: str, where: Path, fields: Mapping[str, type]) -> list[dict[str, Any]]:
    """The items of a file, checked one by one so that an error can say on which line it stands."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise UserError(f"not YAML: {error.problem}", f"{where}:{mark.line + 1 if mark else 1}") from error
    items = content.get("items") if isinstance(content, dict) else None
    if not isinstance(items, list) or not items:
        raise UserError("a mapping with the key 'items', a list, is expected", f"{where}:1")
    for item, line in zip(items, _lines(node), strict=True):
        if problem := _problem(item, fields):
            raise UserError(problem, f"{where}:{line}")
    return items


def _lines(node: Any) -> list[int]:
    """On which line each item begins."""
    listed = next(value for key, value in node.value if key.value == "items")
    return [item.start_mark.line + 1 for item in listed.value]


def _problem(item: Any, fields: Mapping[str, type]) -> str:
    """What is wrong with an item; empty where nothing is."""
    if not isinstance(item, dict):
        return "an item with id, questions and answers is expected"
    if unknown := [str(key) for key in item if key not in fields]:
        return f"unknown field {', '.join(unknown)}; an item has {', '.join(fields)}"
    for field, kind in fields.items():
        if not isinstance(item.get(field), kind) or not (item[field] or field in _MAY_BE_EMPTY):
            return f"'{field}' is missing, empty, or no {'text' if kind is str else 'list'}"
        if kind is list and not all(isinstance(value, str) and value.strip() for value in item[field]):
            return f"'{field}' must be a list of texts that are not empty"
    if "mark" in fields and item["mark"] not in MARKS:
        return f"'mark' is {item['mark']}; it must be one of {', '.join(MARKS)}"
    return ""
