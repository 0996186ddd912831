"""Cleaning of 100,000 consultations on two processes, beside `datasets.map` with the same rules.

    python benchmarks/cleaning.py [--rows 100000] [--repeat 3] [--source FILE.csv ...]

Rows are questions and answers of the sources, recombined to the number asked for. Both sides begin with the same two
Arrow columns in memory, end with such columns, and pay for starting two forked processes.

Ours is what the clean step does to its texts (`changes`): each process takes slices of the columns, finds by one
search over all texts of a slice those that may need something, cleans these alone, and hands back what changed.
Peer: `datasets.Dataset.map(num_proc=2)`, caching off, with `clean_turn`, the function that our step calls too. It
passes over sound texts by itself, so that the peer has all of our rules' speed; what differs is what is done around
them. Row by row, as `map` does unless told otherwise, and in batches.

All run in turns; medians, rows a second and ratios are printed, those of processor time (all processes together) too,
and whether the outputs are the same. At the end: what `clean` costs for whole records, in one process.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pediatricsgpt.corpus.clean import changes, clean, clean_turn
from pediatricsgpt.corpus.settings import CleanSettings, SourceKind, SourceSettings
from pediatricsgpt.corpus.sources import read_source
from pediatricsgpt.records import Record

REPOSITORY = Path(__file__).parents[1]
SHARED = REPOSITORY.parent / "shared" / "data"
SETTINGS = CleanSettings()
ROLES = {"question": "user", "answer": "assistant"}
PARTS = 4

Row = dict[str, str]
Changed = tuple[np.ndarray, pa.StringArray]  # places of texts, and the texts


def rows_of(records: list[Record], number: int) -> list[Row]:
    """Questions and answers of single-turn dialogues, recombined: every answer meets another question."""
    pairs = [(r.messages[0]["content"], r.messages[1]["content"]) for r in records if len(r.messages) == 2]
    dice = random.Random(7)
    return [{"question": dice.choice(pairs)[0], "answer": dice.choice(pairs)[1]} for _ in range(number)]


def clean_row(row: Row) -> Row:
    """What the peer does to a row."""
    return {
        "question": clean_turn(row["question"], "user", SETTINGS),
        "answer": clean_turn(row["answer"], "assistant", SETTINGS),
    }


def clean_columns(columns: dict[str, list[str]]) -> dict[str, list[str]]:
    """The same for columns, as `datasets` passes them in batches."""
    return {
        "question": [clean_turn(text, "user", SETTINGS) for text in columns["question"]],
        "answer": [clean_turn(text, "assistant", SETTINGS) for text in columns["answer"]],
    }


def ours(table: pa.Table) -> pa.Table:
    """Two forked processes, which find the columns in their memory; only texts that change are sent back."""
    size = -(-table.num_rows // PARTS)
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(2, mp_context=context, initializer=_hold, initargs=(table,)) as pool:
        found = list(pool.map(clean_slice, range(0, table.num_rows, size), [size] * PARTS))
    columns = zip(ROLES, zip(*found, strict=True), strict=True)
    return pa.table({name: _replaced(table[name].combine_chunks(), changed) for name, changed in columns})


_held: list[pa.Table] = []  # of a process: the columns, which it got by being forked


def _hold(table: pa.Table) -> None:
    _held[:] = [table]


def clean_slice(start: int, size: int) -> list[Changed]:
    """Clean the texts of a slice; of each column the places of those that change and what they become."""
    part = _held[0].slice(start, size)
    found = (changes(part[name].combine_chunks(), role, SETTINGS) for name, role in ROLES.items())
    return [(start + np.fromiter(texts, int), pa.array(texts.values(), pa.string())) for texts in found]


def _replaced(column: pa.StringArray, changed: Sequence[Changed]) -> pa.StringArray:
    mask = np.zeros(len(column), bool)
    mask[np.concatenate([places for places, _ in changed])] = True
    return pc.replace_with_mask(column, mask, pa.concat_arrays([texts for _, texts in changed]))


def peer(data: Any, batched: bool) -> Any:
    """`datasets.map` on two processes over a dataset in memory."""
    function: Callable[..., object] = clean_columns if batched else clean_row
    return data.map(function, batched=batched, num_proc=2, load_from_cache_file=False)


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Wall time and processor time of one call, that of its processes included."""
    start, used = time.perf_counter(), sum(os.times()[:4])
    work()
    return time.perf_counter() - start, sum(os.times()[:4]) - used


def main() -> None:
    """Time all in turns, print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=3)
    default = [SHARED / "dialogues/cmd_internal_medicine_sample.csv", SHARED / "distilled/huatuo26m_test.json"]
    parser.add_argument("--source", type=Path, nargs="+", default=default)
    args = parser.parse_args()
    records = [record for path in args.source for record in _read(path)]
    rows = rows_of(records, args.rows)
    print(f"{len(rows)} rows, {mean(len(row['question']) + len(row['answer']) for row in rows):.0f} characters each")
    table = pa.Table.from_pylist(rows)
    data = _dataset(table)
    ways: dict[str, Callable[[], Any]] = {
        "ours, 2 processes": lambda: ours(table),
        "datasets.map, 2 processes": lambda: peer(data, batched=False),
        "datasets.map in batches, 2 processes": lambda: peer(data, batched=True),
    }
    expected = [clean_row(row) for row in rows]
    print("outputs are the same:", all(_rows(way()) == expected for way in ways.values()))
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(args.repeat):
        for name, way in ways.items():
            times[name].append(seconds(way))
    first = [median(column) for column in zip(*times["ours, 2 processes"], strict=True)]
    for name, taken in times.items():
        wall, used = (median(column) for column in zip(*taken, strict=True))
        speed = f"{len(rows) / wall:10,.0f} rows/s   {wall / first[0]:5.2f} x the time of ours"
        print(f"{name:40} {speed}, {used / first[1]:5.2f} x its processor time")
    whole = seconds(lambda: clean(records, SETTINGS))[1] / len(records)
    print(f"clean() of whole records, one process: {whole * 1e6:.1f} microseconds a record ({len(records)} records)")


def _rows(found: Any) -> list[Row]:
    """The rows of a table of Arrow's or of `datasets`."""
    rows: list[Row] = (found if isinstance(found, pa.Table) else found.data).to_pylist()
    return rows


def _dataset(table: pa.Table) -> Any:
    import datasets

    datasets.disable_progress_bars()
    datasets.disable_caching()
    return datasets.Dataset(table)


def _read(path: Path) -> list[Record]:
    kind: SourceKind = "conversation" if path.suffix == ".csv" else "dataset"
    settings = SourceSettings(
        name="benchmark", kind=kind, path=path, licence="see its README", consent="published", purpose="measuring"
    )
    return read_source(settings, REPOSITORY).records


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        os.environ["HF_DATASETS_CACHE"] = place
        main()
