"""Reading a predictions file: JSON lines of `prediction` and `reference`, with optional labels."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pediatricsgpt.errors import UserError
from pediatricsgpt.records import Message, read_json_lines
from pediatricsgpt.text import decode

PREDICTIONS = "predictions.jsonl"
"""A model's answers in a run"""
SCORED = ("prediction", "reference")
"""Fields that a line must have to be scored"""
ANSWERED = ("id", "prediction")
"""Fields that a line must have where answers are paired by id, and a reference is only shown where there is one"""
LABELS = ("task", "department", "age_band")
_KNOWN = ("id", *SCORED, *LABELS, "model", "group", "messages", "question")

_WHY = {
    "reference": ": scoring compares every prediction with a reference answer; to a benchmark's answers "
    "`pedgpt generate --answers FILE --benchmark NAME --data FILE --out FILE` adds them",
    "id": ": answers are told apart and set side by side by it",
}
_NAMED = 3
"""Ids that a message names at most"""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer of a model beside the reference answer. What the file does not say is None."""

    prediction: str
    reference: str
    """Empty where the file has none and need not"""
    id: str | None = None
    task: str | None = None
    department: str | None = None
    age_band: str | None = None
    model: str | None = None
    messages: tuple[Message, ...] | None = None
    """The conversation that was answered"""
    group: str | None = None
    """The case that the item belongs to, where several items belong to one"""
    question: str | None = None
    """What was answered, where the file says one question in place of a conversation"""
    where: str = field(default="", compare=False, repr=False)
    """File and line"""


def read_predictions(path: str | Path, required: Sequence[str] = SCORED) -> list[Prediction]:
    """Read a predictions file, one JSON object a line; blank lines and unknown fields are ignored.

    Args:
        path: the file.
        required: fields that every line must have, `SCORED` or `ANSWERED`.

    Raises:
        UserError: the file is missing, empty or not UTF-8, a line is not an object with the required fields, a field
            is not as it must be, or two lines have one id; the file, and where there is one the line, is named.
    """
    path = Path(path)
    _check_readable(path)
    found = [_parse(row, required, f"{path}:{line}") for line, row in read_json_lines(path)]
    if not found:
        raise UserError(f"the file is empty; expected one JSON object per line with {_quoted(required)}", path)
    _check_ids(found)
    return found


def by_id(items: Iterable[Prediction]) -> dict[str, Prediction]:
    """Predictions by id.

    Raises:
        UserError: one has none.
    """
    found = {}
    for item in items:
        if item.id is None:
            raise UserError(f"the field 'id' is missing{_WHY['id']}", item.where)
        found[item.id] = item
    return found


def with_ids(items: Iterable[Prediction]) -> dict[str, Prediction]:
    """Predictions by id; those without one cannot be set beside another model's and are left out."""
    return {item.id: item for item in items if item.id is not None}


def model_of(items: Iterable[Prediction], path: Path) -> str | None:
    """The model that a file says gave its answers; None where it says none.

    Raises:
        UserError: it names several.
    """
    names = sorted({item.model for item in items if item.model})
    if len(names) > 1:
        raise UserError(f"answers of {len(names)} models ({', '.join(names)}) in one file; give one file a model", path)
    return names[0] if names else None


def read_ids(path: str | Path) -> list[str]:
    """The ids that a file of predictions is expected to have: JSON lines with `id`, such as a benchmark's items.

    Raises:
        UserError: the file is missing, empty or not UTF-8, or a line has no id or that of another line.
    """
    path = Path(path)
    _check_readable(path)
    found: dict[str, str] = {}
    for line, row in read_json_lines(path):
        where = f"{path}:{line}"
        name = _id(row, where) if isinstance(row, dict) else None
        if name is None:
            raise UserError("expected a JSON object with 'id'", where)
        if name in found:
            raise UserError(f"the id '{name}' occurs twice, first at {found[name]}", where)
        found[name] = where
    if not found:
        raise UserError("the file is empty; expected one JSON object per line with 'id'", path)
    return list(found)


def first_few(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return ", ".join(listed[:_NAMED]) + more


def _check_ids(items: Iterable[Prediction]) -> None:
    seen: dict[str, str] = {}
    for item in items:
        if item.id is None:
            continue
        if item.id in seen:
            line = seen[item.id].rpartition(":")[2]
            raise UserError(f"the id '{item.id}' occurs twice, first in line {line}; keep one", item.where)
        seen[item.id] = item.where


def _check_readable(path: Path) -> None:
    if path.is_dir():
        raise UserError("this is a folder; give a file of JSON lines", path)
    if not path.exists():
        raise UserError(f"no such file{_nearest_file(path)}", path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", path) from error
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"not UTF-8{_likely_encoding(data)}", f"{path}:{line}") from error


def _nearest_file(path: Path) -> str:
    if not path.parent.is_dir():
        return f"; the folder {path.parent} does not exist either"
    return _did_you_mean(path.name, (entry.name for entry in path.parent.iterdir()))


def _likely_encoding(data: bytes) -> str:
    try:
        encoding = decode(data).encoding
    except ValueError:
        return "; convert the file to UTF-8"
    return f" but probably {encoding.upper()}; convert it: iconv -f {encoding.upper()} -t UTF-8"


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{nearest[0]}'?" if nearest else ""


def _parse(row: Any, required: Sequence[str], where: str) -> Prediction:
    if not isinstance(row, dict):
        hint = "; the file seems to be one JSON array" if isinstance(row, list) else ""
        raise UserError(f"expected a JSON object with {_quoted(required)}, not {_kind(row)}{hint}", where)
    name = _id(row, where)
    if "id" in required and not name:
        raise _missing(row, "id", where)
    prediction = _required_text(row, "prediction", where)
    needed = "reference" in required
    reference = _required_text(row, "reference", where) if needed else _optional_text(row, "reference", where) or ""
    labels = {field: _optional_text(row, field, where) for field in (*LABELS, "model", "group")}
    asked = row.get("question")
    return Prediction(
        prediction,
        reference,
        id=name,
        messages=_messages(row, where),
        question=asked if isinstance(asked, str) else None,
        where=where,
        **labels,
    )


def _quoted(fields: Sequence[str]) -> str:
    return " and ".join(f"'{field}'" for field in fields)


def _required_text(row: Mapping[str, Any], field: str, where: str) -> str:
    if field not in row:
        raise _missing(row, field, where)
    value = row[field]
    if not isinstance(value, str):
        hint = "; an answer that failed is either left out or empty text" if value is None else ""
        raise UserError(f"the field '{field}' must be text, not {_kind(value)}{hint}", where)
    return value


def _missing(row: Mapping[str, Any], field: str, where: str) -> UserError:
    others = [name for name in row if name not in _KNOWN]
    nearest = difflib.get_close_matches(field, others, n=1, cutoff=0.6)
    rename = f"; there is '{nearest[0]}': rename it to '{field}'" if nearest else ""
    return UserError(f"the field '{field}' is missing{_WHY.get(field, '')}{rename}", where)


def _optional_text(row: Mapping[str, Any], field: str, where: str) -> str | None:
    value = row.get(field)
    if value is not None and not isinstance(value, str):
        raise UserError(f"the field '{field}' must be text, not {_kind(value)}", where)
    return value


def _id(row: Mapping[str, Any], where: str) -> str | None:
    value = row.get("id")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _optional_text(row, "id", where)


def _messages(row: Mapping[str, Any], where: str) -> tuple[Message, ...] | None:
    value = row.get("messages")
    if value is None:
        return None
    if not isinstance(value, list) or not all(_is_message(message) for message in value):
        raise UserError('the field \'messages\' must be a list of {"role": text, "content": text}', where)
    return tuple(Message(role=message["role"], content=message["content"]) for message in value)


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(name), str) for name in ("role", "content"))


def _kind(value: Any) -> str:
    """What a JSON value is, in the words of JSON."""
    names = {type(None): "null", bool: "true or false", dict: "an object", list: "a list", str: "text"}
    return names.get(type(value), "a number")
