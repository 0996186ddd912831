"""Records through the whole curation, for tests of what is built from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pediatricsgpt.corpus.execute import curate
from pediatricsgpt.corpus.settings import CorpusSettings
from pediatricsgpt.records import Record, read_records, write_records


def curated(records: Sequence[Record], settings: CorpusSettings, seed: int, folder: Path) -> list[Record]:
    """The kept records; `folder` is worked in."""
    read = folder / "read.parquet"
    write_records(read, records)
    curate([read], settings, seed, folder / "curated")
    return list(read_records(folder / "curated" / "records.parquet"))
