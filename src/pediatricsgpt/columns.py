"""Records as Arrow columns and back, a column at a time: row by row both ways cost several times as much.

Below `records`, which hands over its objects and says what makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain, pairwise
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from pediatricsgpt.schemas import schema

if TYPE_CHECKING:
    import pyarrow as pa

Makers = Mapping[str, Callable[..., Any]]
"""What makes a value of a field that holds structs, from the values of their fields in the contract's order"""


def table_of(records: Sequence[Any]) -> pa.Table:
    """A table of the contract `record`, of objects with an attribute for each of its columns.

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


def columns_of(table: pa.Table, makers: Makers) -> list[list[Any]] | None:
    """The values of a table of the contract `record`, a list for each column.

    None where columns are missing or in another order, or a struct or a list is null: nothing of ours writes that.
    """
    if table.column_names != schema("record").names:
        return None
    if any(column.null_count and column.type.num_fields for column in table.columns):
        return None
    return [_values(name, _one_array(table.column(name).combine_chunks()), makers) for name in table.column_names]


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


def _values(name: str, column: Any, makers: Makers) -> list[Any]:
    """The values of a column or of a struct's field: plain ones, what its maker makes, or lists of either."""
    import pyarrow as pa

    if pa.types.is_list(column.type):
        ends = column.offsets.to_numpy()
        inner = _values(name, column.flatten(), makers)
        return [inner[start:end] for start, end in pairwise((ends - ends[0]).tolist())]
    if pa.types.is_struct(column.type):
        fields = zip(column.type, column.flatten(), strict=True)
        return list(map(makers[name], *(_values(field.name, own, makers) for field, own in fields)))
    return _plain(column)
