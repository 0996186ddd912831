"""The user's own questions: JSON lines, CSV or a workbook with clear names of fields.

Fields: `question` (or `messages`), `reference`, and where wanted `id`, `group`, `task`, `department`, `age_band`,
`subject`; for multiple choice `key` (`B`, `ACD`) with `options` (in JSON letter -> text or a list, in tables lines of
`A. …`, or columns `A` to `H`); for answer selection, in JSON, `candidates` ([{"text", "right"}]).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.benchmarks.exams import options_in, take_choice
from pediatricsgpt.evaluation.benchmarks.files import OPTIONAL, WRONG_WIDTH, find, read_table
from pediatricsgpt.evaluation.benchmarks.item import Item, Tally, asked, item_id
from pediatricsgpt.records import Message, content_id, read_json_lines

_LABELS = ("task", "department", "age_band", "group", "subject")
_LETTERS = tuple("ABCDEFGH")
_COLUMNS = {
    "question": ("question", "问题", "题目"),
    "reference": ("reference", "answer", "参考答案", "回答", OPTIONAL),
    "options": ("options", "选项", OPTIONAL),
    "key": ("key", "答案", OPTIONAL),
    **{name: (name, OPTIONAL) for name in ("id", *_LABELS)},
    **{letter: (letter, OPTIONAL) for letter in _LETTERS},
}


def read_own(path: Path) -> tuple[Tally, list[Path]]:
    """Items of the user's file; those without anything to score an answer by are dropped, and said so."""
    file = find(path, [r".*\.jsonl", r".*\.(csv|tsv|xlsx)"], "file of questions (.jsonl, .csv, .tsv, .xlsx)")[0]
    tally = Tally()
    if file.suffix.lower() in (".csv", ".tsv", ".xlsx"):
        for row in read_table(file, _COLUMNS):
            if row is None:
                tally.drop(WRONG_WIDTH)
            else:
                _take_row(tally, row)
        return tally, [file]
    for line, row in read_json_lines(file):
        _take(tally, _read_item(row, f"{file}:{line}"), row, f"{file}:{line}")
    return tally, [file]


def read_items(path: Path) -> list[Item]:
    """Items of a user's file: JSON lines with `messages` (ending with the user) or `question`; `reference` if known.

    Messages that end with the assistant give the reference themselves.

    Raises:
        UserError: a line has none of these fields, or one of the wrong form; file and line are named.
    """
    items = [_read_item(row, f"{path}:{line}") for line, row in read_json_lines(path)]
    if not items:
        raise UserError("the file is empty; it needs one JSON object a line", path)
    return items


def _take_row(tally: Tally, row: dict[str, str]) -> None:
    options = options_in(row["options"], row["key"]) or {letter: row[letter] for letter in _LETTERS if row[letter]}
    item = _labelled(Item(row["id"], asked(row["question"]), row["reference"] or None), row)
    if options or row["key"]:
        take_choice(tally, item, options, row["key"])
    elif not item.question or not item.reference:
        tally.drop("no reference answer" if item.question else "no question")
    else:
        item.id = item.id or item_id(item.question, item.reference)
        tally.keep(item)


def _take(tally: Tally, item: Item, row: dict[str, Any], where: str) -> None:
    if row.get("options") is not None:
        options = _options(row["options"], where)
        letters = row.get("key")
        key = "".join(map(str, letters)) if isinstance(letters, list) else str(letters or "")
        take_choice(tally, item, options, key)
        return
    if row.get("candidates") is not None:
        item.candidates = _candidates(row["candidates"], where)
        item.kind = "free" if item.reference else "selection"
    if item.reference or item.candidates:
        tally.keep(item)
    else:
        tally.drop("no reference answer")


def _options(value: Any, where: str) -> dict[str, str]:
    if isinstance(value, list):
        return {chr(ord("A") + place): str(text) for place, text in enumerate(value[:26])}
    if not isinstance(value, dict):
        raise UserError("'options' must be letter -> text, or a list of texts", where)
    return {str(letter): str(text) for letter, text in value.items()}


def _candidates(value: Any, where: str) -> list[tuple[str, bool]]:
    whole = isinstance(value, list) and all(
        isinstance(one, dict) and isinstance(one.get("text"), str) and isinstance(one.get("right"), bool)
        for one in value
    )
    if not whole or {one["right"] for one in value} != {True, False}:
        raise UserError("'candidates' must be a list of {text, right} with right and wrong ones", where)
    return [(one["text"], one["right"]) for one in value]


def _read_item(row: Any, where: str) -> Item:
    if not isinstance(row, dict):
        raise UserError("each line must be a JSON object", where)
    messages = _messages(row, where)
    reference = row.get("reference")
    if messages and messages[-1]["role"] == "assistant":
        reference = reference or messages[-1]["content"]
        messages = messages[:-1]
    if not messages or messages[-1]["role"] != "user":
        raise UserError("'messages' must end with the user's turn, or with the user's and the assistant's", where)
    return _labelled(Item(str(row.get("id") or content_id(messages)), messages, reference), row)


def _labelled(item: Item, row: Mapping[str, Any]) -> Item:
    """The same with the labels that the row gives it."""
    for name in _LABELS:
        setattr(item, name, row.get(name) or None)
    return item


def _messages(row: dict[str, Any], where: str) -> list[Message]:
    if isinstance(row.get("question"), str):
        return [Message(role="user", content=row["question"])]
    value = row.get("messages")
    if value is None:
        near = difflib.get_close_matches("messages", row, n=1) or difflib.get_close_matches("question", row, n=1)
        hint = f"; did you mean it by '{near[0]}'?" if near else f"; it has {', '.join(map(str, row)) or 'none'}"
        raise UserError(f"field 'messages' or 'question' is missing{hint}", where)
    whole = isinstance(value, list) and all(
        isinstance(turn, dict) and isinstance(turn.get("role"), str) and isinstance(turn.get("content"), str)
        for turn in value
    )
    if not whole:
        raise UserError("'messages' must be a list of {role, content}", where)
    return [Message(role=turn["role"], content=turn["content"]) for turn in value]
