"""Records as Arrow columns and back, a column at a time: row by row both ways cost several times as much."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from itertools import chain, pairwise
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from pediatricsgpt.records import Locator, Message, Record, Source, Step
from pediatricsgpt.schemas import schema

if TYPE_CHECKING:
    import pyarrow as pa


def table_of(records: Sequence[Record]) -> pa.Table:
    """A table of the contract `record`.

    Raises:
        pyarrow.ArrowInvalid, pyarrow.ArrowTypeError: a value does not fit its column.
        KeyError: a turn has no role or no content.
    """
    import pyarrow as pa

    contract = schema("record")
    columns = []
    for field in contract:
        values = [getattr(record, field.name) for record in records]
        build = _BUILD.get(field.name)
        columns.append(build(values, field.type) if build else pa.array(values, field.type))
    return pa.Table.from_arrays(columns, schema=contract)


def _of_attributes(values: Sequence[Any], kind: Any) -> pa.Array:
    """Objects as a struct with a field for each of their attributes."""
    import pyarrow as pa

    names = [field.name for field in kind]
    columns = list(zip(*map(attrgetter(*names), values), strict=True)) or [()] * len(names)
    children = []
    for field, own in zip(kind, columns, strict=True):
        nested = pa.types.is_struct(field.type)
        children.append(_of_attributes(own, field.type) if nested else pa.array(own, field.type))
    return pa.StructArray.from_arrays(children, fields=list(kind))


def _of_few(values: Sequence[Any], kind: Any) -> pa.Array:
    """As `_of_attributes`, of values that are few objects many times: each is made once."""
    import numpy as np

    places = {id(value): place for place, value in enumerate(values)}
    few = sorted(places.values())
    number = {id(values[place]): number for number, place in enumerate(few)}
    chosen = np.array([number[id(value)] for value in values], np.int64)
    return _of_attributes([values[place] for place in few], kind).take(chosen)


def _of_items(values: Sequence[Any], kind: Any) -> pa.Array:
    """Dictionaries as a struct."""
    import pyarrow as pa

    children = [pa.array([value[field.name] for value in values], field.type) for field in kind]
    return pa.StructArray.from_arrays(children, fields=list(kind))


def _lists(build: Callable[[Sequence[Any], Any], Any]) -> Callable[[Sequence[Any], Any], Any]:
    """The builder of lists of what `build` makes a struct of."""

    def built(values: Sequence[Any], kind: Any) -> Any:
        import numpy as np
        import pyarrow as pa

        ends = np.zeros(len(values) + 1, np.int32)
        np.cumsum([len(value) for value in values], out=ends[1:])
        return pa.ListArray.from_arrays(pa.array(ends), build(list(chain.from_iterable(values)), kind.value_type), kind)

    return built


_BUILD = {
    "source": _of_attributes,
    "steps": _lists(_of_few),
    **dict.fromkeys(("messages", "chosen", "rejected"), _lists(_of_items)),
}


def records_of(table: pa.Table) -> list[Record]:
    """The records of a table of the contract `record`."""
    if list(table.column_names) != schema("record").names:
        return list(map(Record.from_dict, table.to_pylist()))
    columns = []
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        values = _one_array(column)
        if values.null_count and name in _READ:  # nothing of ours writes one
            return list(map(Record.from_dict, table.to_pylist()))
        columns.append(_READ.get(name, _plain)(values))
    return list(map(Record, *columns))


def _one_array(column: Any) -> Any:
    import pyarrow as pa

    return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column


def _plain(values: Any) -> list[Any]:
    """The values of a flat column. Text goes by way of NumPy, which makes strings much faster."""
    import pyarrow as pa

    if pa.types.is_string(values.type):
        texts: list[Any] = values.to_numpy(zero_copy_only=False).tolist()
        return texts
    plain: list[Any] = [None] * len(values) if values.null_count == len(values) else values.to_pylist()
    return plain


def _sources(values: Any) -> list[Source]:
    *own, locator = values.flatten()
    return list(map(Source, *map(_plain, own), map(Locator, *map(_plain, locator.flatten()))))


def _turns(values: Any) -> list[Message]:
    roles, contents = map(_plain, values.flatten())
    return [{"role": role, "content": content} for role, content in zip(roles, contents, strict=True)]


def _steps(values: Any) -> list[Step]:
    return list(map(_step, *map(_plain, values.flatten())))


@functools.lru_cache(maxsize=4096)
def _step(name: str, version: int, teacher: str, prompt_hash: str) -> Step:
    """One object for equal steps: a corpus has a handful of them on every row."""
    return Step(name, version, teacher, prompt_hash)


def _listed(read: Callable[[Any], list[Any]]) -> Callable[[Any], list[list[Any]]]:
    """The reader of lists of what `read` reads."""

    def listed(values: Any) -> list[list[Any]]:
        ends = values.offsets.to_numpy()
        inner = read(values.flatten())
        return [inner[start:end] for start, end in pairwise((ends - ends[0]).tolist())]

    return listed


_READ: dict[str, Callable[[Any], list[Any]]] = {
    "source": _sources,
    "steps": _listed(_steps),
    **dict.fromkeys(("messages", "chosen", "rejected"), _listed(_turns)),
    **dict.fromkeys(("title", "parents"), _listed(_plain)),
}
