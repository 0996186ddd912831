"""Speed and memory of the corpus room on many consultation rows, by hand.

    python benchmarks/corpus.py [--rows 400000] [--repeat 3] [--workers 2] [--sources FOLDER]

The rows are recombined (seeded) from the sentences of real dialogues: those in FOLDER, by default the ones in
examples/. One in twenty repeats an earlier row exactly, one in twenty is an earlier row with a few characters changed.
They go through de-identification, cleaning, labels, quality filters, exact and near duplicates, decontamination against
1,000 test items, split and writing. Printed: rows per second of each repetition with the median, the time of each map
on one core, peak memory of this process and of the largest worker, and bytes of the duplicate index per row.
"""

from __future__ import annotations

import argparse
import random
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import pyarrow as pa
import pyarrow.parquet as pq

from pediatricsgpt.corpus import execute
from pediatricsgpt.corpus.decontaminate import Index, build_index, load_test_set
from pediatricsgpt.corpus.decontaminate.test_sets import turn_sides
from pediatricsgpt.corpus.deduplicate import fingerprint
from pediatricsgpt.corpus.deidentify import Deidentifier
from pediatricsgpt.corpus.quality import quality
from pediatricsgpt.corpus.settings import CorpusSettings, EvaluationSetSettings, SourceSettings
from pediatricsgpt.corpus.sources import Reading
from pediatricsgpt.corpus.sources.file import dialogue_group
from pediatricsgpt.records import Locator, Message, Record, RecordWriter, Source, Step, content_id
from pediatricsgpt.text import sentences

EXAMPLES = Path(__file__).parents[1] / "examples" / "dialogues"
TEST_SET = Path(__file__).parents[1] / "examples" / "distilled" / "huatuo26m.json"
MEAN_CHARACTERS = 185


def main() -> None:
    """Make the rows, time the room, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--sources", type=Path, default=EXAMPLES)
    arguments = parser.parse_args()
    source = SourceSettings(name="rows", kind="conversation", path=".", licence="MIT", consent="none", purpose="speed")
    settings = CorpusSettings(sources=[source], workers=arguments.workers)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        characters = write(folder / "rows.parquet", arguments.rows, pool(arguments.sources))
        print(
            f"{arguments.rows:,} rows, mean {characters / arguments.rows:.0f} characters, {arguments.workers} workers"
        )
        index = test_items(settings)
        by_step(folder / "rows.parquet", settings, index, folder)
        seconds = [once(folder / "rows.parquet", settings, index, folder / "out") for _ in range(arguments.repeat)]
    rates = [arguments.rows / each for each in seconds]
    print(f"rows/s: {', '.join(f'{rate:,.0f}' for rate in rates)}; median {median(rates):,.0f}")
    print(f"peak memory: this process {memory(resource.RUSAGE_SELF):.2f} GB, ", end="")
    print(f"largest worker {memory(resource.RUSAGE_CHILDREN):.2f} GB")


def test_items(settings: CorpusSettings) -> Index:
    """An index over 1,000 real questions and answers that are not among the sentences."""
    found = load_test_set(EvaluationSetSettings(name="items", path=TEST_SET), TEST_SET.parent)
    return build_index({"items": found.items[:1000]}, settings.decontaminate)


def memory(who: int) -> float:
    """Peak resident memory in GB."""
    return resource.getrusage(who).ru_maxrss * 1024 / 1e9


def pool(folder: Path) -> tuple[list[str], list[str]]:
    """Sentences of questions and of answers of the CSV and JSON dialogues in a folder."""
    settings = SourceSettings(
        name="pool", kind="conversation", path=folder, licence="MIT", consent="none", purpose="x1"
    )
    asked: list[str] = []
    answered: list[str] = []
    for item in Reading(settings, folder):
        for turn in item.messages if isinstance(item, Record) else ():
            parts = [part for part in sentences(turn["content"]) if 6 <= len(part) <= 120]
            (asked if turn["role"] == "user" else answered).extend(parts)
    return asked, answered


def write(path: Path, rows: int, sentences_of: tuple[list[str], list[str]]) -> int:
    """Write the rows; how many characters they have in all."""
    characters = 0
    with RecordWriter(path) as writer:
        for number, messages in enumerate(conversations(rows, *sentences_of)):
            characters += sum(len(turn["content"]) for turn in messages)
            writer.add(record(number, messages))
    return characters


def conversations(rows: int, asked: Sequence[str], answered: Sequence[str]) -> Iterator[list[Message]]:
    """Recombined consultations with planted duplicates."""
    rng = random.Random(17)
    recent: list[list[Message]] = []
    for _ in range(rows):
        kind = rng.random()
        if kind < 0.1 and recent:
            messages = rng.choice(recent)
            if kind < 0.05:
                messages = [{"role": turn["role"], "content": edited(turn["content"], rng)} for turn in messages]
        else:
            messages = [
                {"role": "user", "content": joined(asked, rng, MEAN_CHARACTERS * 0.35)},
                {"role": "assistant", "content": joined(answered, rng, MEAN_CHARACTERS * 0.65)},
            ]
        recent = [*recent[-999:], messages]
        yield messages


def joined(parts: Sequence[str], rng: random.Random, characters: float) -> str:
    """Sentences until the text is about so long."""
    target = rng.uniform(0.3, 1.5) * characters
    text = rng.choice(parts)
    while len(text) < target:
        text += ("" if text[-1] in "。！？；" else "，") + rng.choice(parts)
    return text


def edited(text: str, rng: random.Random) -> str:
    """A text with one character in fifty left out."""
    return "".join(character for character in text if rng.random() > 0.02) or text


def record(number: int, messages: list[Message]) -> Record:
    """A row as a reader would give it."""
    source = Source("rows", "conversation", "rows.csv", "0" * 64, "MIT", "none", "speed", "", Locator(row=number + 1))
    made = Record("", dialogue_group(messages), source, messages=messages, family="conversation", steps=[Step("read")])
    made.id = content_id(made.content())
    return made


def by_step(path: Path, settings: CorpusSettings, index: Index, folder: Path) -> None:
    """The processor time of each map on one part, in this process."""
    part = execute.parts_of([path])[0]
    for attempt in ("cold", "warm"):
        clock = Clock()
        records = list(execute._records_of(part))
        clock("read")
        records, _, _ = Deidentifier(settings.deidentify, 17)(records)
        clock("deidentify")
        for name, step in execute.maps(settings):
            records, _ = step(records)
            clock(name)
        fingerprint(records, settings.deduplicate, list(map(quality, records)))
        clock("fingerprint")
        index.matches_of([turn_sides(record.messages) for record in records])
        clock("decontaminate")
        with RecordWriter(folder / "step.parquet") as writer:
            for each in records:
                writer.add(each)
        clock("write")
        shown = ", ".join(f"{name} {seconds / part.rows * 1e6:.0f}" for name, seconds in clock.laps)
        print(f"microseconds a row, {attempt}, one core: {shown}; {len(records)} of {part.rows} kept")


class Clock:
    """Processor time between calls."""

    def __init__(self) -> None:
        self.laps: list[tuple[str, float]] = []
        self._last = time.process_time()

    def __call__(self, name: str) -> None:
        now = time.process_time()
        self.laps.append((name, now - self._last))
        self._last = now


def decontaminated(path: Path, index: Index, out: Path) -> int:
    """Write the rows that no test item stands in; how many there are. Two passes: what is common counts for nothing."""
    frequencies = index.frequencies([])
    with pq.ParquetFile(path) as file:
        groups = range(file.num_row_groups)
        for group in groups:
            rows = file.read_row_group(group, columns=["messages"])["messages"].to_pylist()
            frequencies = frequencies + index.frequencies(list(map(turn_sides, rows)))
        index, kept = index.without_common(frequencies), 0
        with pq.ParquetWriter(out, file.schema_arrow, compression="zstd") as writer:
            for group in groups:
                table = file.read_row_group(group)
                sides = list(map(turn_sides, table["messages"].to_pylist()))
                table = table.filter(pa.array([not matches for matches in index.matches_of(sides)]))
                writer.write_table(table)
                kept += table.num_rows
    return kept


def once(path: Path, settings: CorpusSettings, index: Index, folder: Path) -> float:
    """Seconds of one whole run into an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    start = time.perf_counter()
    counts = execute.curate([path], settings, 17, folder)
    middle = time.perf_counter()
    kept = decontaminated(folder / execute.RECORDS, index, folder / "clean.parquet")
    seconds = time.perf_counter() - start
    steps = "; ".join(f"{step} {each['read']:,} -> {each['kept']:,}" for step, each in counts.items())
    print(
        f"{seconds:.1f} s ({middle - start:.1f} + {seconds + start - middle:.1f}): {steps}; decontaminate -> {kept:,}"
    )
    return seconds


if __name__ == "__main__":
    main()
