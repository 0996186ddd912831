"""The Arrow schemas of the data contract."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pyarrow as pa


@functools.cache
def _schemas() -> dict[str, pa.Schema]:
    import pyarrow as pa

    text = pa.string()
    message = pa.list_(pa.struct([("role", text), ("content", text)]))
    locator = pa.struct(
        [("page", pa.int32()), ("line", pa.int32()), ("row", pa.int32()), ("section", text), ("seconds", pa.float64())]
    )
    names = ("name", "kind", "file", "file_hash", "licence", "consent", "purpose", "retrieved")
    source = pa.struct([*((name, text) for name in names), ("locator", locator)])
    steps = pa.list_(pa.struct([("name", text), ("version", pa.int32()), ("teacher", text), ("prompt_hash", text)]))
    provenance = [
        ("id", text),
        ("group", text),
        ("source", source),
        ("parents", pa.list_(text)),
        ("steps", steps),
        ("split", text),
    ]
    labels = [("department", text), ("age_band", text), ("age_months", pa.float64())]
    return {
        "record": pa.schema(
            [
                ("id", text),
                ("group", text),
                ("source", source),
                ("text", text),
                ("title", pa.list_(text)),
                ("messages", message),
                ("chosen", message),
                ("rejected", message),
                ("family", text),
                ("task", text),
                ("department", text),
                ("age_months", pa.float64()),
                ("age_band", text),
                ("pediatric", pa.bool_()),
                ("split", text),
                ("parents", pa.list_(text)),
                ("steps", steps),
            ]
        ),
        "cpt": pa.schema([("text", text), ("form", text), *provenance]),
        "instruction": pa.schema(
            [("messages", message), ("task", text), ("family", text), *labels, *provenance],
        ),
        "preference": pa.schema(
            [("prompt", message), ("chosen", message), ("rejected", message), ("aspect", text), *provenance]
        ),
    }


SchemaName = Literal["record", "cpt", "instruction", "preference"]


def schema(name: SchemaName) -> pa.Schema:
    """The Arrow schema of one kind of row: `record`, `cpt`, `instruction` or `preference`."""
    return _schemas()[name]
