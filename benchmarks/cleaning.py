"""Cleaning of 100,000 consultations on two processes, beside `datasets.map` with the same function.

    python benchmarks/cleaning.py [--rows 100000] [--repeat 3] [--source FILE.csv ...]

Rows are questions and answers of the sources, recombined to the number asked for. Ours: two forked processes, which
find the rows in their memory and send back those that change. Peer: `datasets.Dataset.map(num_proc=2)` over the same
rows in memory, row by row and in batches, caching off. Start-up of the processes counts for both; conversion to and
from `datasets` does not. All run in turns; medians, rows a second and ratios are printed, and whether the outputs are
the same. At the end: what `clean` costs for whole records, in one process.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import mean, median
from typing import Any

from pediatricsgpt.corpus.clean import clean, clean_turn, sound_texts
from pediatricsgpt.corpus.settings import CleanSettings, SourceKind, SourceSettings
from pediatricsgpt.corpus.sources import read_source
from pediatricsgpt.records import Record

REPOSITORY = Path(__file__).parents[1]
SHARED = REPOSITORY.parent / "shared" / "data"
SETTINGS = CleanSettings()
BATCH = 2_000

Row = dict[str, str]


def rows_of(records: list[Record], number: int) -> list[Row]:
    """Questions and answers of single-turn dialogues, recombined: every answer meets another question."""
    pairs = [(r.messages[0]["content"], r.messages[1]["content"]) for r in records if len(r.messages) == 2]
    dice = random.Random(7)
    return [{"question": dice.choice(pairs)[0], "answer": dice.choice(pairs)[1]} for _ in range(number)]


def clean_row(row: Row) -> Row:
    """What both sides do to a row."""
    return {
        "question": clean_turn(row["question"], "user", SETTINGS),
        "answer": clean_turn(row["answer"], "assistant", SETTINGS),
    }


def clean_batch(rows: list[Row]) -> list[Row]:
    """The same for a batch."""
    return [clean_row(row) for row in rows]


def clean_columns(columns: dict[str, list[str]]) -> dict[str, list[str]]:
    """The same for columns, as `datasets` passes them in batches."""
    return {
        "question": [clean_turn(text, "user", SETTINGS) for text in columns["question"]],
        "answer": [clean_turn(text, "assistant", SETTINGS) for text in columns["answer"]],
    }


_ROWS: list[Row] = []  # what the processes that are forked by `ours` find in their memory


def clean_at_once(rows: list[Row]) -> list[Row]:
    """The same for a batch as the clean step does it: what needs nothing is found for all texts together."""
    sound = sound_texts([text for row in rows for text in row.values()])
    return [
        {
            "question": clean_turn(row["question"], "user", SETTINGS, sound=sound),
            "answer": clean_turn(row["answer"], "assistant", SETTINGS, sound=sound),
        }
        for row in rows
    ]


def clean_slice(start: int) -> list[tuple[int, Row]]:
    """Clean the rows of one batch; those that cleaning changes come back with their places."""
    batch = _ROWS[start : start + BATCH]
    cleaned = clean_at_once(batch)
    return [(start + place, new) for place, (new, old) in enumerate(zip(cleaned, batch, strict=True)) if new != old]


def ours(rows: list[Row]) -> list[Row]:
    """Two forked processes; only rows that change are sent back."""
    _ROWS[:] = rows
    result = list(rows)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        for changed in pool.map(clean_slice, range(0, len(rows), BATCH)):
            for place, row in changed:
                result[place] = row
    return result


def peer(data: Any, batched: bool) -> Any:
    """`datasets.map` on two processes over a dataset in memory."""
    function: Callable[..., object] = clean_columns if batched else clean_row
    return data.map(function, batched=batched, num_proc=2, load_from_cache_file=False)


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


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
    data = _dataset(rows)
    ways: dict[str, Callable[[], Any]] = {
        "ours, 2 processes": lambda: ours(rows),
        "datasets.map, 2 processes": lambda: peer(data, batched=False),
        "datasets.map in batches, 2 processes": lambda: peer(data, batched=True),
    }
    expected = clean_batch(rows)
    print("outputs are the same:", all(list(way()) == expected for way in ways.values()))
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.repeat):
        for name, way in ways.items():
            times[name].append(seconds(way))
    first = median(times["ours, 2 processes"])
    for name, taken in times.items():
        print(f"{name:40} {len(rows) / median(taken):10,.0f} rows/s   {median(taken) / first:5.2f} x the time of ours")
    whole = seconds(lambda: clean(records, SETTINGS)) / len(records)
    print(f"clean() of whole records, one process: {whole * 1e6:.1f} microseconds a record ({len(records)} records)")


def _dataset(rows: list[Row]) -> Any:
    import datasets

    datasets.disable_progress_bars()
    datasets.disable_caching()
    return datasets.Dataset.from_list(rows)


def _read(path: Path) -> list[Record]:
    kind: SourceKind = "conversation" if path.suffix == ".csv" else "dataset"
    settings = SourceSettings(
        name="benchmark", kind=kind, path=path, licence="see its README", consent="published", purpose="measuring"
    )
    return read_source(settings, REPOSITORY).records


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        import os

        os.environ["HF_DATASETS_CACHE"] = folder
        main()
