"""Self-cognition rows for SFT (paper section 3): who the assistant is, and what it is not and must not do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from pediatricsgpt.corpus.build.rows import Row, instruction_row
from pediatricsgpt.corpus.settings import BehaviourSettings
from pediatricsgpt.errors import UserError
from pediatricsgpt.records import Message, Record, Source, Step, content_id

STEP = Step("behaviour", 1)
FILE = "behaviour.yaml"
_FIELDS = {"id": str, "questions": list, "answers": list}


def instructions(settings: BehaviourSettings) -> list[Row]:
    """Rows of task `self` from the packaged questions and answers, or from the recipe's own file.

    Every question is a row; an item's answers take turns. An item is a group. All rows are for training: who the
    assistant is cannot be found out from other rows.

    Raises:
        UserError: the file is missing or no YAML, or an item lacks something; file and line are named.
    """
    text, where, licence = _text(settings.file)
    file_hash = hashlib.sha256(text.encode()).hexdigest()
    rows: list[Row] = []
    for item in _items(text, where):
        source = Source("behaviour", "text", where.name, file_hash, licence, "no personal data", "training", "")
        source.locator.section = item["id"]
        rows += [_row(source, question, answer, settings.name) for question, answer in _pairs(item)]
    return rows


def _text(file: Path | None) -> tuple[str, Path, str]:
    """Text, path and licence of the file: ours is under this package's licence."""
    if file is None:
        return resources.files(__package__).joinpath(FILE).read_text(encoding="utf-8"), Path(FILE), "Apache-2.0"
    try:
        return file.read_text(encoding="utf-8"), file, "of the recipe's owner"
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot be read: {error}", file) from error


def _row(source: Source, question: str, answer: str, name: str) -> Row:
    messages: list[Message] = [
        {"role": "user", "content": question.replace("{name}", name)},
        {"role": "assistant", "content": answer.replace("{name}", name)},
    ]
    group = f"behaviour:{source.locator.section}"
    record = Record("", group, source, messages=messages, family="behaviour", task="self", split="train")
    record.id = content_id(record.content())
    return instruction_row(record, messages, "self", STEP)


def _pairs(item: dict[str, Any]) -> Iterator[tuple[str, str]]:
    answers = item["answers"]
    for index, question in enumerate(item["questions"]):
        yield question.strip(), answers[index % len(answers)].strip()


def _items(text: str, where: Path) -> list[dict[str, Any]]:
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
        if problem := _problem(item):
            raise UserError(problem, f"{where}:{line}")
    return items


def _lines(node: Any) -> list[int]:
    """On which line each item begins."""
    listed = next(value for key, value in node.value if key.value == "items")
    return [item.start_mark.line + 1 for item in listed.value]


def _problem(item: Any) -> str:
    """What is wrong with an item; empty where nothing is."""
    if not isinstance(item, dict):
        return "an item with id, questions and answers is expected"
    if unknown := [str(key) for key in item if key not in _FIELDS]:
        return f"unknown field {', '.join(unknown)}; an item has {', '.join(_FIELDS)}"
    for field, kind in _FIELDS.items():
        if not isinstance(item.get(field), kind) or not item[field]:
            return f"'{field}' is missing, empty, or no {'text' if kind is str else 'list'}"
    for field in ("questions", "answers"):
        if not all(isinstance(value, str) and value.strip() for value in item[field]):
            return f"'{field}' must be a list of texts that are not empty"
    return ""
