"""Reading what a phase trains on: the set that the corpus built, and the user's own beside it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

from pediatricsgpt.errors import UserError
from pediatricsgpt.records import read_json_lines
from pediatricsgpt.training.settings import CORPUS, SetSettings

Contract = Literal["cpt", "instruction"]

_NEEDED: dict[Contract, str] = {"cpt": "text", "instruction": "messages"}
# By which columns a set of each contract is known, the most telling first.
_KNOWN_BY = (
    ("record", ("title", "pediatric")),
    ("preference", ("prompt", "chosen", "rejected")),
    ("instruction", ("messages",)),
    ("cpt", ("text",)),
)
_ROLES = ("system", "user", "assistant")
_GENERAL_KIND = "text"
_READ = ("id", "text", "messages", "source", "task", "family", "form", "split")
"""Columns that are used of a Parquet file, where it has them"""
_HELD = 500
"""Rows of a Parquet file that are held at a time"""


@dataclass(frozen=True, slots=True)
class Label:
    """What a row is called in counts and mixtures."""

    set: str
    source: str
    form: str
    task: str
    family: str
    general: bool

    def part(self, names: Mapping[str, Any]) -> str | None:
        """The first of these names that means this row: of its set, its source, `general`, task, form or family."""
        own = (self.set, self.source, "general" if self.general else "", self.task, self.form, self.family)
        return next((name for name in own if name in names), None)


@dataclass(slots=True)
class Item:
    """A row with its place, for errors."""

    row: dict[str, Any]
    label: Label
    where: str


def read(path: Path, own: Sequence[SetSettings], contract: Contract, every: int = 1) -> tuple[list[Item], int]:
    """All rows of the corpus's set and of the user's own at once; arguments and errors as of `check`.

    Returns:
        the rows, and how many of the user's were left out because their `split` is not `train`.
    """
    _, held_out = check(path, own, contract, every)
    return list(items(path, own, contract, every)), held_out


def check(path: Path, own: Sequence[SetSettings], contract: Contract, every: int = 1) -> tuple[int, int]:
    """Read every row and hold none, so that a mistake in the last one is told before hours of work.

    Args:
        path: the set that the corpus built.
        own: sets of the user, their paths absolute.
        contract: what the phase trains on.
        every: take only each so-manieth row of a set, for an estimate.

    Returns:
        how many rows there are, and how many of the user's are left out because their `split` is not `train`.

    Raises:
        UserError: a set is missing, empty, of another contract, or a row cannot be read; the file and row are named.
    """
    rows = held_out = 0
    mute: list[Path] = []
    for name, file in _sets(path, own):
        before, answered = rows, contract == "cpt"
        for item in islice(_items(name, file, contract), 0, None, every):
            if not _trains(item):
                held_out += 1
                continue
            rows += 1
            answered = answered or any(turn["role"] == "assistant" for turn in item.row["messages"])
        if rows == before:
            raise UserError("this set has no row to train on; check what was written into it, or leave it out", file)
        if not answered:
            mute.append(file)
    if mute:
        raise UserError(
            "no row of this set has an assistant turn, so nothing would carry loss; every row of `messages` needs "
            "a turn with the role assistant",
            mute[0],
        )
    return rows, held_out


def items(path: Path, own: Sequence[SetSettings], contract: Contract, every: int = 1) -> Iterator[Item]:
    """The rows to train on of the corpus's set and of the user's own, one set behind the other; as of `check`."""
    for name, file in _sets(path, own):
        yield from filter(_trains, islice(_items(name, file, contract), 0, None, every))


def _sets(path: Path, own: Sequence[SetSettings]) -> list[tuple[str, Path]]:
    return [(CORPUS, path), *((one.title, one.path) for one in own)]


def _trains(item: Item) -> bool:
    return item.row.get("split") in (None, "", "train")


def _items(name: str, file: Path, contract: Contract) -> Iterator[Item]:
    if file.suffix not in (".jsonl", ".parquet"):
        raise UserError("a set is Parquet (.parquet) or JSON lines (.jsonl); convert this file", file)
    rows = _json_rows(file) if file.suffix == ".jsonl" else _parquet_rows(file)
    for where, columns, row in rows:
        if not isinstance(row, dict):
            raise UserError(f"a row must be an object with '{_NEEDED[contract]}'", where)
        _of_contract(columns, contract, where)
        (_check_text if contract == "cpt" else _check_messages)(row, where)
        yield Item(row, _label(name, row), where)


def _json_rows(file: Path) -> Iterator[tuple[str, Any, Any]]:
    """Place, columns and row."""
    for number, row in read_json_lines(file):
        yield f"{file}:{number}", row, row


def _parquet_rows(file: Path) -> Iterator[tuple[str, Any, Any]]:
    """Place, columns of the file and row, with what is used of it; some rows at a time are held."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not file.is_file():
        raise UserError("no such file", file)
    try:
        with pq.ParquetFile(file, memory_map=True, pre_buffer=False) as opened:
            columns = opened.schema_arrow.names
            used = [name for name in _READ if name in columns] or columns[:1]
            batches = opened.iter_batches(_HELD, columns=used)
            rows = chain.from_iterable(batch.to_pylist() for batch in batches)
            for number, row in enumerate(rows, 1):
                yield f"{file}, row {number}", columns, row
    except pa.ArrowInvalid as error:
        raise UserError(f"not a Parquet file ({error})", file) from error


def _of_contract(columns: Collection[str], contract: Contract, where: str) -> None:
    needed = _NEEDED[contract]
    found = next((name for name, known in _KNOWN_BY if all(column in columns for column in known)), None)
    if found == contract or (needed in columns and found != "record"):
        return
    of = f"is of the data contract '{found}'" if found else f"has the fields {', '.join(map(str, columns)) or 'none'}"
    raise UserError(
        f"this row {of}, and the phase needs '{contract}' with '{needed}'; give it a set of that kind", where
    )


def _check_text(row: Mapping[str, Any], where: str) -> None:
    if not isinstance(row["text"], str) or not row["text"].strip():
        raise UserError("'text' must be a text that is not empty; correct the row or leave it out", where)


def _check_messages(row: Mapping[str, Any], where: str) -> None:
    turns = row["messages"]
    if not isinstance(turns, list) or not turns:
        raise UserError("'messages' must be a list of turns that is not empty; correct the row or leave it out", where)
    for number, turn in enumerate(turns, 1):
        if not isinstance(turn, dict) or not isinstance(turn.get("content"), str) or turn.get("role") not in _ROLES:
            raise UserError(
                f"turn {number} of 'messages' must be {{role: {' | '.join(_ROLES)}, content: a text}}, not "
                f"{str(turn)[:80]!r}; correct the row or leave it out",
                where,
            )


def _label(name: str, row: Mapping[str, Any]) -> Label:
    source = row.get("source") or {}
    told = isinstance(source, dict)
    task = str(row.get("task") or ("general" if "messages" in row else ""))
    family = str(row.get("family") or "")
    return Label(
        set=name,
        source=str(source.get("name") or name) if told else str(source),
        form=str(row.get("form") or ("" if "messages" in row else "plain")),
        task=task,
        family=family,
        general="general" in (task, family) or (told and "text" in row and source.get("kind") == _GENERAL_KIND),
    )
