"""The data contract: what crosses a room, and its Arrow schemas.

Everything that one room hands to another is Parquet with one of the schemas below, in shapes that TRL, LLaMA-Factory
or a notebook read without us. Inside the corpus room one type, `Record`, goes through every step; the four training
sets are rows of `CPT_SCHEMA`, `INSTRUCTION_SCHEMA` and `PREFERENCE_SCHEMA`. Provenance stands on every row.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from pediatricsgpt.columns import columns_of, table_of
from pediatricsgpt.errors import UserError
from pediatricsgpt.schemas import SchemaName as SchemaName
from pediatricsgpt.schemas import schema as schema

if TYPE_CHECKING:
    import pyarrow as pa

TASKS = ("medkqa", "evidiag", "trerecom", "general", "safety", "self")
PEDIATRIC_TASKS = ("medkqa", "evidiag", "trerecom")
FAMILIES = ("specialised", "conversation", "distilled", "general", "behaviour")

ROW_GROUP = 2000
"""Records that are written, and worked on, together"""

# Upper bound in months (exclusive) of each age band, youngest first; 28 days are 28 / 30.4375 months.
AGE_BANDS: tuple[tuple[str, float], ...] = (
    ("neonate", 28 / 30.4375),
    ("young_infant", 3),
    ("infant", 12),
    ("toddler", 36),
    ("preschool", 72),
    ("school", 144),
    ("adolescent", 216),
    ("adult", float("inf")),
)


def age_band(months: float | None) -> str:
    """The band of an age in months; `unknown` where no age is said."""
    if months is None:
        return "unknown"
    return next(name for name, bound in AGE_BANDS if months < bound)


class Message(TypedDict):
    """One turn. `role` is `system`, `user` or `assistant`."""

    role: str
    content: str


@dataclass(slots=True)
class Locator:
    """Where in its file a record stands. Lines, rows and pages count from 1; absent ones are None.

    `seconds` is where a piece of a recording begins.
    """

    page: int | None = None
    line: int | None = None
    row: int | None = None
    section: str | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        values = ((name, getattr(self, name)) for name in _LOCATOR_FIELDS)
        parts = [f"{name} {value}" for name, value in values if value is not None]
        return ", ".join(parts) or "whole file"


@dataclass(slots=True)
class Source:
    """Where a record comes from and on what grounds it may be used.

    `file` is relative to the recipe's folder (so that two machines write the same bytes); `file_hash` is its SHA-256.
    """

    name: str
    kind: str
    file: str
    file_hash: str
    licence: str
    consent: str
    purpose: str
    retrieved: str
    locator: Locator = field(default_factory=Locator)

    def as_dict(self) -> dict[str, Any]:
        """Plain values. Written out, because `dataclasses.asdict` costs a corpus of millions of rows minutes."""
        values = {name: getattr(self, name) for name in _SOURCE_FIELDS}
        values["locator"] = {name: getattr(self.locator, name) for name in _LOCATOR_FIELDS}
        return values


_SOURCE_FIELDS = tuple(item.name for item in dataclasses.fields(Source))
_LOCATOR_FIELDS = tuple(item.name for item in dataclasses.fields(Locator))


@dataclass(slots=True)
class Step:
    """One transformation that a row went through. `teacher` is `none` where a rule and no model wrote the text."""

    name: str
    version: int = 1
    teacher: str = "none"
    prompt_hash: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        values = {"name": self.name, "version": self.version, "teacher": self.teacher}
        return {**values, "prompt_hash": self.prompt_hash}


@dataclass(slots=True)
class Record:
    """One item on its way through the corpus room: a section of text, a dialogue or a preference pair.

    Exactly one of three shapes is filled: `text` (with `title`, the path of headings above it), `messages`
    (ending with an assistant turn), or `messages` as prompt together with `chosen` and `rejected`.
    """

    id: str
    group: str
    source: Source
    text: str = ""
    title: list[str] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    chosen: list[Message] = field(default_factory=list)
    rejected: list[Message] = field(default_factory=list)
    family: str = "general"
    task: str = ""
    department: str = "unknown"
    age_months: float | None = None
    age_band: str = "unknown"
    pediatric: bool = False
    split: str = ""
    parents: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    @property
    def shape(self) -> Literal["text", "messages", "preference"]:
        """Which of the three shapes this record has."""
        if self.chosen:
            return "preference"
        return "messages" if self.messages else "text"

    def content(self) -> dict[str, Any]:
        """What the record says, without labels and provenance: the part that its id is made from."""
        return {
            "text": self.text,
            "title": self.title,
            "messages": self.messages,
            "chosen": self.chosen,
            "rejected": self.rejected,
        }

    def as_dict(self) -> dict[str, Any]:
        """The record as plain values, in the order of the schema `record`; lists and turns are shared, not copied."""
        values = {name: getattr(self, name) for name in _RECORD_FIELDS}
        values["source"] = self.source.as_dict()
        values["steps"] = [step.as_dict() for step in self.steps]
        return values

    def changed(self, **fields: Any) -> Record:
        """A copy with other values for some fields; the others are shared. A fifth of `dataclasses.replace`'s time."""
        made = Record(*_FIELDS_OF(self))
        for name, value in fields.items():
            setattr(made, name, value)
        return made

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Record:
        """The inverse of `as_dict`."""
        values = dict(row)
        source = dict(values["source"])
        source["locator"] = Locator(**source["locator"])
        values["source"] = Source(**source)
        values["steps"] = [Step(**step) for step in values["steps"]]
        return cls(**values)


_RECORD_FIELDS = tuple(item.name for item in dataclasses.fields(Record))
_FIELDS_OF = attrgetter(*_RECORD_FIELDS)


@dataclass(slots=True)
class Reject:
    """What a step dropped, and why. `row` is the raw text or the record, whatever there was."""

    step: str
    reason: str
    where: str
    row: Any = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for one JSON line."""
        return {"step": self.step, "reason": self.reason, "where": self.where, "row": self.row}


def content_id(content: Any) -> str:
    """SHA-256 (first 16 hexadecimal digits) of a JSON value: the id of records and rows."""
    return hashlib.sha256(_CANONICAL.encode(content).encode("utf-8", "surrogatepass")).hexdigest()[:16]


_CANONICAL = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def provenance(row_content: Any, record: Record, *steps: Step) -> dict[str, Any]:
    """Provenance fields of a row that was built from `record` by `steps`; its id is the hash of `row_content`."""
    return {
        "id": content_id(row_content),
        "group": record.group,
        "source": record.source.as_dict(),
        "parents": [record.id],
        "steps": [step.as_dict() for step in (*record.steps, *steps)],
        "split": record.split,
    }


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], name: SchemaName) -> None:
    """Write rows as Parquet with a fixed schema. The same rows give the same bytes.

    Raises:
        UserError: a row does not fit the contract; the field is named.
    """
    import pyarrow.parquet as pq

    pq.write_table(_table(rows, name, path), path, compression="zstd")


def _table(rows: Sequence[Mapping[str, Any]], name: SchemaName, path: Path) -> pa.Table:
    import pyarrow as pa

    try:
        return pa.Table.from_pylist([dict(row) for row in rows], schema=schema(name))
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise UserError(f"a row does not fit the data contract '{name}': {error}", path) from error


def read_rows(path: Path, name: SchemaName | None = None) -> list[dict[str, Any]]:
    """Read rows of a Parquet file; with `name`, check that the file has that contract's columns.

    Raises:
        UserError: the file is missing, is no Parquet file, or lacks a column.
    """
    rows: list[dict[str, Any]] = _read_table(path, name).to_pylist()
    return rows


def _read_table(path: Path, name: SchemaName | None) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise UserError("no such file", path)
    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise UserError(f"not a Parquet file ({error})", path) from error
    missing = [] if name is None else [column for column in schema(name).names if column not in table.column_names]
    if missing:
        raise UserError(f"column {', '.join(missing)} of the data contract '{name}' is missing", path)
    return table


class RecordWriter:
    """Writes records as Parquet, a row group at a time, so that no more than one group is held in memory.

    Use it as a context; the same records give the same bytes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: list[Record] = []
        self._file: Any = None
        self.written = 0

    def __enter__(self) -> RecordWriter:
        import pyarrow.parquet as pq

        self._file = pq.ParquetWriter(self._path, schema("record"), compression="zstd")
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self._flush()
        self._file.close()

    def add(self, record: Record) -> None:
        """Write one record, now or with those that follow."""
        self._waiting.append(record)
        self.written += 1
        if len(self._waiting) == ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._file.write_table(record_table(self._waiting, self._path))
            self._waiting = []


def record_table(records: Sequence[Record], path: Path) -> pa.Table:
    """A table of the contract `record`.

    Raises:
        UserError: a record does not fit the contract; the field is named, and `path`.
    """
    import pyarrow as pa

    try:
        return table_of(records)
    except (pa.ArrowInvalid, pa.ArrowTypeError, KeyError):
        return _table([record.as_dict() for record in records], "record", path)  # says which field it is


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write records as Parquet."""
    with RecordWriter(path) as writer:
        for record in records:
            writer.add(record)


def read_records(path: Path) -> list[Record]:
    """Read what `write_records` wrote."""
    return records_of(_read_table(path, "record"))


def records_of(table: pa.Table) -> list[Record]:
    """The records of a table of the contract `record`."""
    columns = columns_of(table, _MAKERS)
    return list(map(Record.from_dict, table.to_pylist()) if columns is None else map(Record, *columns))


def _turn(role: str, content: str) -> Message:
    return {"role": role, "content": content}


_MAKERS: dict[str, Callable[..., Any]] = {
    "source": Source,
    "locator": Locator,
    # One object for equal steps: a corpus has a handful of them on every row.
    "steps": functools.lru_cache(maxsize=4096)(Step),
    **dict.fromkeys(("messages", "chosen", "rejected"), _turn),
}


def write_json_lines(path: Path, rows: Iterable[Any]) -> None:
    """Write one JSON value a line, UTF-8, Chinese as it is."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def read_json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield (line number from 1, value) of each line that is not blank; no more than one line is held at a time.

    Raises:
        UserError: the file is missing, is not UTF-8, or a line is not JSON (the line is named).
    """
    if not path.is_file():
        raise UserError("no such file", path)
    start = 0
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            line = _utf8(raw, start, path)
            start += len(raw)
            if not line.strip():
                continue
            try:
                yield number, json.loads(line)
            except json.JSONDecodeError as error:
                hint = "" if line.lstrip().startswith("{") else "; one JSON object a line is needed (JSON lines)"
                raise UserError(f"not JSON: {error.msg} at column {error.colno}{hint}", f"{path}:{number}") from error


def _utf8(line: bytes, start: int, path: Path) -> str:
    try:
        return line.decode("utf-8" if start else "utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        problem = f"not UTF-8 (byte {start + error.start}); convert it, for example with iconv"
        raise UserError(problem, path) from error
