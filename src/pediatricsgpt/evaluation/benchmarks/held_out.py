"""The held-out rows of our three pediatric tasks, of this run or of another one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.benchmarks.item import Item, Tally, spread
from pediatricsgpt.records import Message, read_rows

_THANKS = re.compile(r"谢谢|感谢|多谢|明白了|知道了|了解了")
_ASKS = re.compile(r"[？?吗呢]|请问|怎么|什么|多久|是否|能不能|可不可以|需要")
_WISHES = re.compile(
    r"不(?:用|必)?客气|不(?:用|必)谢|祝(?:您|你|宝宝|孩子|他|她|早日)|早日康复|随时(?:向我)?咨询|很高兴能"
)
_FAREWELL_CHARACTERS = 80
_ROWS = ("rows.parquet", "held_out/rows.parquet", "corpus/held_out/rows.parquet")


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


def read_held_out(path: Path, task: str) -> tuple[Tally, list[Path]]:
    """All held-out items of one task, of a run's folder, its held_out folder or the Parquet file itself."""
    file = path if path.is_file() else next((path / name for name in _ROWS if (path / name).is_file()), None)
    if file is None:
        raise UserError("no held_out/rows.parquet here: name a run's folder, or its corpus/held_out", path)
    tally = Tally()
    for row in read_rows(file, "instruction"):
        if row["task"] == task:
            tally.keep(_item(row))
        else:
            tally.drop("another task")
    return tally, [file]


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
        group=row["group"],
    )
