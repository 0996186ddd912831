"""Rows of the data contract for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pediatricsgpt.records import Message, Record, SchemaName, Source, provenance, write_rows

SOURCE = Source("tests", "text", "tests.txt", "0" * 64, "CC0", "none needed", "tests", "")


def _provenance(content: Any, split: str, group: str) -> dict[str, Any]:
    return provenance(content, Record(id="0", group=group, source=SOURCE, split=split))


def text(value: str, split: str = "train") -> dict[str, Any]:
    """A CPT row."""
    return {"text": value, "form": "plain", **_provenance(value, split, f"group:{value}")}


def instruction(*turns: str, task: str = "medkqa", split: str = "train") -> dict[str, Any]:
    """An instruction row; the turns are the user's and the assistant's in turn."""
    messages = [Message(role=("user", "assistant")[place % 2], content=turn) for place, turn in enumerate(turns)]
    labels = {"department": "儿科", "age_band": "unknown", "age_months": None}
    where = _provenance([messages, task], split, f"group:{turns[0]}")
    return {"messages": messages, "task": task, "family": "conversation", **labels, **where}


def preference(prompt: str, chosen: str, rejected: str) -> dict[str, Any]:
    """A preference row."""
    sides = {
        name: [Message(role="assistant", content=side)] for name, side in (("chosen", chosen), ("rejected", rejected))
    }
    content = {"prompt": [Message(role="user", content=prompt)], **sides, "aspect": "style"}
    return {**content, **_provenance(content, "train", f"group:{prompt}")}


def write(folder: Path, name: SchemaName, rows: list[dict[str, Any]]) -> Path:
    """Write rows of one contract; the path of the file."""
    path = folder / f"{name}.parquet"
    write_rows(path, rows, name)
    return path
