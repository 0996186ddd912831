"""Which sources de-identification left as they are, and why: what the card of a corpus may not claim of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pediatricsgpt.records import ROW_GROUP

_NO_STEP = "no step of de-identification"


@dataclass(frozen=True, slots=True)
class Untouched:
    """Records of one source that kept their text as it was; `why` they were not de-identified."""

    source: str
    kind: str
    why: str
    records: int


def untouched(path: Path) -> list[Untouched]:
    """The records that were not de-identified, by source and by what their steps say, in the order of these.

    Args:
        path: Parquet of the contract `record`.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    reasons = _reasons()
    found = Counter[tuple[str, str, str]]()
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(ROW_GROUP, columns=["source.name", "source.kind", "steps"]):
            names = pc.struct_field(pc.list_flatten(batch["steps"]), "name").to_pylist()
            rows = pc.list_parent_indices(batch["steps"]).to_pylist()
            said = {row: reasons[name] for row, name in zip(rows, names, strict=True) if name in reasons}
            for row, source in enumerate(batch["source"].to_pylist()):
                found[source["name"], source["kind"], said.get(row, _NO_STEP)] += 1
    return [Untouched(*key, number) for key, number in sorted(found.items()) if key[2]]


def _reasons() -> dict[str, str]:
    """What the steps of a record say of it; empty where it was de-identified."""
    from pediatricsgpt.corpus.deidentify.step import EXEMPT_KIND_STEP, EXEMPT_STEP, STEP

    return {
        STEP.name: "",
        EXEMPT_KIND_STEP.name: "kind exempt by the recipe",
        EXEMPT_STEP.name: "source exempt by the recipe, by its name",
    }
