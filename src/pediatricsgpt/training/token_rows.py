"""Rows of tokens in an Arrow file that is mapped, not read: their number does not decide how much memory they take.

The file is of Arrow's IPC format. A record batch has some thousand rows: token ids and labels (int32), and of each row
what it is called in counts, how many of its tokens carry loss, and its id. Labels are left out where they are
the ids themselves. The last batch is empty and carries the account: what became of the rows that are not here.
"""

from __future__ import annotations

import json
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
import pyarrow as pa

from pediatricsgpt.models.encode import IGNORED, Encoded

_FLUSHED = 1 << 19
"""Tokens of a record batch, about"""
_ACCOUNT = b"account"
Ints = numpy.ndarray[Any, numpy.dtype[Any]]


class TokenRows(Sequence[dict[str, Any]]):
    """Rows as mappings of `input_ids` and `labels`, each a view (`memoryview` of int32) into the file."""

    def __init__(self, source: Path | pa.Buffer) -> None:
        """Map a file, or what `TokenWriter` wrote into memory.

        Raises:
            OSError, pyarrow.ArrowInvalid, ValueError: there is no such file, or it is not whole.
        """
        self._source = source
        reader = pa.ipc.open_file(pa.memory_map(str(source)) if isinstance(source, Path) else source)
        last = reader.num_record_batches - 1
        told = reader.get_batch_with_custom_metadata(last).custom_metadata if last >= 0 else None
        if not told or _ACCOUNT not in told:
            raise ValueError(f"{source}: no account")
        self.account: dict[str, Any] = json.loads(told[_ACCOUNT])
        """What `TokenWriter.close` was given"""
        self._batches = [reader.get_batch(number) for number in range(last)]
        self._views = [_views(batch) for batch in self._batches]
        sizes = [batch.num_rows for batch in self._batches]
        self._firsts = numpy.cumsum([0, *sizes]).tolist()
        self.lengths: Ints = _joined([numpy.diff(offsets) for offsets, _, _ in self._views])
        """Tokens of each row"""
        self.carrying: Ints = self._column("carrying")
        """Tokens with a label of each row"""
        self.names: Ints = self._column("name")
        """What each row is called in counts, a number that the writer was given"""

    def __reduce__(self) -> tuple[Any, ...]:
        return TokenRows, (self._source,)

    def __len__(self) -> int:
        """Rows."""
        return int(self._firsts[-1])

    def __getitem__(self, row: Any) -> Any:
        """A row, by its place."""
        place = range(len(self))[row]
        number = bisect_right(self._firsts, place) - 1
        offsets, ids, labels = self._views[number]
        start, stop = offsets[place - self._firsts[number]], offsets[place - self._firsts[number] + 1]
        return {"input_ids": ids[start:stop], "labels": labels[start:stop]}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The rows in order."""
        return (self[place] for place in range(len(self)))

    @property
    def all_carry(self) -> bool:
        """Whether every token of every row is its own label."""
        return all(batch.schema.get_field_index("labels") < 0 for batch in self._batches)

    def ids(self) -> Iterator[str]:
        """The id of each row, or its place where it has none."""
        for batch in self._batches:
            yield from batch.column("id").to_pylist()

    def _column(self, name: str) -> Ints:
        return _joined([batch.column(name).to_numpy() for batch in self._batches])


def _joined(parts: Sequence[Ints]) -> Ints:
    return numpy.concatenate([numpy.empty(0, numpy.int64), *parts]).astype(numpy.int64)


def _views(batch: pa.RecordBatch) -> tuple[Ints, memoryview, memoryview]:
    """Offsets, ids and labels of a record batch, without a copy."""
    ids = batch.column("input_ids")
    tokens = memoryview(ids.values.to_numpy())
    same = batch.schema.get_field_index("labels") < 0
    return ids.offsets.to_numpy(), tokens, tokens if same else memoryview(batch.column("labels").values.to_numpy())


class TokenWriter:
    """Writes what `TokenRows` maps, a record batch at a time. `close` makes it whole."""

    def __init__(self, sink: Any, labelled: bool) -> None:
        """Begin a file.

        Args:
            sink: a pyarrow output stream.
            labelled: whether labels differ from ids.
        """
        tokens = [pa.field("input_ids", pa.list_(pa.int32())), pa.field("labels", pa.list_(pa.int32()))]
        rest = [("carrying", pa.int32()), ("name", pa.int32()), ("id", pa.string())]
        self._schema = pa.schema([*tokens[: 1 + labelled], *(pa.field(*one) for one in rest)])
        self._labelled = labelled
        self._file = pa.ipc.new_file(sink, self._schema)
        self._clear()

    def _clear(self) -> None:
        self._ids, self._labels, self._ends = array("i"), array("i"), array("i", [0])
        self._rest: list[tuple[int, int, str]] = []

    def add(self, encoded: Encoded, name: int, id_: str) -> None:
        """Write a row, now or with those that follow.

        Args:
            encoded: its tokens.
            name: what it is called in counts, a number of the caller's.
            id_: the same for rows that are the same.
        """
        self._ids.extend(encoded.input_ids)
        if self._labelled:
            self._labels.extend(encoded.labels)
        self._ends.append(len(self._ids))
        self._rest.append((len(encoded.labels) - encoded.labels.count(IGNORED), name, id_))
        if len(self._ids) >= _FLUSHED:
            self._flush()

    def _flush(self) -> None:
        if not self._rest:
            return
        ends = pa.array(numpy.frombuffer(self._ends, numpy.int32))
        tokens = [self._ids, self._labels][: 1 + self._labelled]
        lists = [pa.ListArray.from_arrays(ends, pa.array(numpy.frombuffer(one, numpy.int32))) for one in tokens]
        types = self._schema.types[len(lists) :]
        rest = [pa.array(list(column), kind) for column, kind in zip(zip(*self._rest, strict=True), types, strict=True)]
        self._file.write_batch(pa.record_batch([*lists, *rest], schema=self._schema))
        self._clear()

    def close(self, account: Mapping[str, Any]) -> None:
        """Write the rest and the account, a JSON object."""
        self._flush()
        empty = pa.record_batch([pa.array([], kind) for kind in self._schema.types], schema=self._schema)
        self._file.write_batch(empty, custom_metadata={_ACCOUNT: json.dumps(account, ensure_ascii=False).encode()})
        self._file.close()
