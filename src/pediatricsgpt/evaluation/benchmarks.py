"""Items to answer: the held-out rows of the three pediatric tasks, or a user's own file."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pediatricsgpt.errors import UserError
from pediatricsgpt.records import Message, content_id, read_json_lines, read_rows

_THANKS = re.compile(r"谢谢|感谢|多谢|明白了|知道了|了解了")
_ASKS = re.compile(r"[？?吗呢]|请问|怎么|什么|多久|是否|能不能|可不可以|需要")
_WISHES = re.compile(
    r"不(?:用|必)?客气|不(?:用|必)谢|祝(?:您|你|宝宝|孩子|他|她|早日)|早日康复|随时(?:向我)?咨询|很高兴能"
)
_FAREWELL_CHARACTERS = 80


@dataclass(slots=True)
class Item:
    """A dialogue up to the question, and the answer that its source gives."""

    id: str
    messages: list[Message]
    reference: str | None = None
    task: str | None = None
    department: str | None = None
    age_band: str | None = None

    def prediction(self, answer: str, model: str) -> dict[str, Any]:
        """One line of a predictions file, as the data contract has it; what is not known is left out."""
        row = {**asdict(self), "prediction": answer, "model": model}
        return {name: value for name, value in row.items() if value is not None}


def held_out_items(path: Path, tasks: Sequence[str], max_items: int) -> list[Item]:
    """The last turn of each held-out dialogue of the given tasks before its farewell, at most `max_items` of a task.

    Which ones is decided by a hash of their ids, so that adding data replaces few of them; documents and dialogues
    take turns.
    """
    items = []
    for task in tasks:
        rows = [row for row in read_rows(path, "instruction") if row["task"] == task]
        items += [_item(row) for row in spread(rows)[:max_items]]
    return items


def spread(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows in the order of a hash, one of each group before the second of any: no book fills a test by itself."""
    seen: Counter[str] = Counter()
    placed = []
    for row in sorted(rows, key=lambda row: by_hash(row["id"])):
        placed.append((seen[row["group"]], by_hash(row["id"]), row))
        seen[row["group"]] += 1
    return [row for _, _, row in sorted(placed, key=lambda item: item[:2])]


def by_hash(text: str) -> str:
    """A key that sorts ids in an order that has nothing to do with where they come from."""
    return hashlib.sha256(text.encode()).hexdigest()


def without_farewell(messages: Sequence[Message]) -> list[Message]:
    """A dialogue without the thanks and good wishes at its end: to answer those measures politeness, not medicine."""
    kept = list(messages)
    while len(kept) >= 4 and _is_farewell(kept[-2]["content"], kept[-1]["content"]):
        kept = kept[:-2]
    return kept


def _is_farewell(said: str, answered: str) -> bool:
    thanks = _THANKS.search(said) and not _ASKS.search(said)
    return bool(thanks and _WISHES.search(answered) and len(answered) <= _FAREWELL_CHARACTERS)


def _item(row: dict[str, Any]) -> Item:
    messages = without_farewell(row["messages"])
    return Item(
        id=row["id"],
        messages=messages[:-1],
        reference=messages[-1]["content"],
        task=row["task"],
        department=row["department"],
        age_band=row["age_band"],
    )


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
    labels = {name: row.get(name) for name in ("task", "department", "age_band")}
    return Item(id=str(row.get("id") or content_id(messages)), messages=messages, reference=reference, **labels)


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
