"""Near-duplicate detection beside datasketch, rensa and datatrove on the same rows, by hand.

    python benchmarks/duplicates.py [--rows 100000] [--repeat 3] [--tools ours,datasketch,rensa,datatrove]
                                    [--datatrove PYTHON] [--source FOLDER]

Rows are made by recombining sentences of real dialogues (FOLDER holds `dialogues/cmd_*.csv`; by default ../shared/data,
without it examples/), of which one in ten is an edited copy of an earlier one. A row is a near-duplicate when its
Jaccard similarity to some earlier row is 0.8 or more over character 3-grams; which rows are is found exactly, by a
prefix-filter join in plain Python that shares no code with what is measured. Every tool is a process of its own, all
in turns, and the medians count. Peers get ready-made keys and cut the 3-grams themselves; ours starts from records,
and its time has everything that the pipeline does with them: keys, exact duplicates, marks, facts, the Arrow files,
the decision and the groups; near-duplicates that differ in a fact count as found, although it keeps them. All use one
process, datatrove two.

datasketch: MinHash.bulk and MinHashLSH(0.8, 128). rensa: from_token_sets and RMinHashDeduplicator(0.8, 128, 32 bands).
datatrove: its four steps, 18 buckets of 7 hashes, characters as words; it needs an interpreter of its own
(`python -m venv D && D/bin/pip install 'datatrove[processing]' orjson spacy`, then `--datatrove D/bin/python`).
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from math import ceil
from pathlib import Path
from statistics import median

THRESHOLD, PERMUTATIONS, BATCH = 0.8, 128, 8192
REPOSITORY = Path(__file__).parents[1]
SHARED = REPOSITORY.parent / "shared" / "data"
SENTENCE = re.compile(r"[^。！？!?；;\n]+[。！？!?；;]?")
COMMON = "的了是有在孩子药吃医院天次痛热"
Row = tuple[str, str]


def main() -> None:
    """Make the rows, measure every tool in turns, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000, help="400000 is the size of a large platform export")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--tools", default="ours,datasketch,rensa,datatrove")
    parser.add_argument("--datatrove", default="", help="an interpreter that has datatrove")
    parser.add_argument("--source", type=Path, default=SHARED if SHARED.is_dir() else REPOSITORY / "examples")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.worker[0], Path(arguments.worker[1]))
        return
    tools = [tool for tool in arguments.tools.split(",") if tool != "datatrove" or arguments.datatrove]
    if "datatrove" in arguments.tools and not arguments.datatrove:
        print("datatrove: not measured (give --datatrove PYTHON)")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = make_rows(arguments.source, arguments.rows)
        with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        truth = near_duplicates(keys(rows))
        mean = sum(len(key) for key in keys(rows)) / len(rows)
        print(
            f"{len(rows):,} rows, mean {mean:.0f} characters of key, {len(truth):,} near-duplicates of an earlier row"
        )
        runs: dict[str, list[dict[str, object]]] = {tool: [] for tool in tools}
        for _ in range(arguments.repeat):
            for tool in tools:
                runs[tool].append(measured(tool, arguments.datatrove, folder))
        size = float(measured("index", "", folder)["bytes"]) if "ours" in tools else 0.0  # type: ignore[arg-type]
    report(runs, truth, len(rows))
    if "ours" in tools:
        kept = runs["ours"][0]["kept"]
        print(f"index of ours: {size:.0f} bytes a row at the peak; it keeps {kept:,} rows")


# -- rows --------------------------------------------------------------------------------------------------------------


def make_rows(source: Path, count: int) -> list[Row]:
    """Questions and answers of recombined sentences; every tenth row copies an earlier one with some edits."""
    rng = random.Random(17)
    asked, answered = sentences(source)
    rows: list[Row] = []
    originals: list[int] = []
    for _ in range(count):
        if originals and rng.random() < 0.1:
            question, answer = rows[originals.pop(rng.randrange(len(originals)))]
            rows.append((edited(question, rng, rng.randrange(3)), edited(answer, rng, rng.randrange(9))))
        else:
            originals.append(len(rows))
            rows.append((recombined(asked, rng, 50), recombined(answered, rng, 80)))
    return rows


def sentences(source: Path) -> tuple[list[str], list[str]]:
    """Sentences of the patients and of the doctors."""
    table = sorted((source / "dialogues").glob("cmd_*.csv"))[0]
    data = table.read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("gb18030")
    entries = list(csv.DictReader(text.splitlines(keepends=True)))
    return tuple(  # type: ignore[return-value]
        [part for entry in entries for part in SENTENCE.findall(entry[name]) if len(part) > 5]
        for name in ("ask", "answer")
    )


def recombined(pool: Sequence[str], rng: random.Random, length: int) -> str:
    """Sentences drawn at random until there is enough text."""
    text = ""
    while len(text) < length:
        text += rng.choice(pool)
    return text


def edited(text: str, rng: random.Random, edits: int) -> str:
    """A text with some characters replaced, left out or put in."""
    characters = list(text)
    for _ in range(edits):
        place = rng.randrange(len(characters))
        characters[place] = rng.choice((rng.choice(COMMON), "", characters[place] + rng.choice(COMMON)))
    return "".join(characters)


def keys(rows: Sequence[Row]) -> list[str]:
    """What is compared: question and answer as one key."""
    from pediatricsgpt.text import key

    return [key(question) + key(answer) for question, answer in rows]


def near_duplicates(texts: Sequence[str]) -> set[int]:
    """The rows that have an earlier one at the threshold: exact, by prefix filtering (Bayardo et al. 2007)."""
    sets = [set(shingles(text)) for text in texts]
    frequency = Counter(gram for grams in sets for gram in grams)
    number = {gram: place for place, (gram, _) in enumerate(sorted(frequency.items(), key=lambda item: item[1]))}
    numbered = [sorted(number[gram] for gram in grams) for grams in sets]
    index: dict[int, list[int]] = {}
    found: set[int] = set()
    for row, grams in enumerate(numbered):
        prefix = grams[: len(grams) - ceil(THRESHOLD * len(grams)) + 1]
        if row not in found:
            candidates = {other for gram in prefix for other in index.get(gram, ())}
            if any(jaccard(sets[row], sets[other]) >= THRESHOLD for other in candidates):
                found.add(row)
        for gram in prefix:
            index.setdefault(gram, []).append(row)
    return found


def jaccard(one: set[str], other: set[str]) -> float:
    """Shared over all members; 0 without counting where the sizes already rule the threshold out."""
    if min(len(one), len(other)) < THRESHOLD * max(len(one), len(other)):
        return 0.0
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)


def shingles(text: str) -> Iterator[str]:
    """Character 3-grams."""
    return (text[start : start + 3] for start in range(len(text) - 2))


# -- the tools, each in a process of its own -------------------------------------------------------------------------


def measured(tool: str, datatrove: str, folder: Path) -> dict[str, object]:
    """Run a tool on the rows: its seconds, peak memory and the rows that it calls duplicates."""
    python = datatrove if tool == "datatrove" else sys.executable
    if tool == "datatrove":
        prepare_datatrove(folder)
    command = [python, __file__, "--worker", tool, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{tool} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def prepare_datatrove(folder: Path) -> None:
    """Its own interpreter has none of our code: write the keys as its reader wants them."""
    if (folder / "keys").is_dir():
        return
    (folder / "keys").mkdir()
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text("utf-8").splitlines()]
    texts = keys(rows)
    for half in range(2):
        with (folder / "keys" / f"{half}.jsonl").open("w", encoding="utf-8") as file:
            for row in range(half * len(texts) // 2, (half + 1) * len(texts) // 2):
                file.write(json.dumps({"text": texts[row], "id": str(row)}, ensure_ascii=False) + "\n")


def work(tool: str, folder: Path) -> None:
    """Measure one tool in this process and print the result as JSON."""
    seconds, found, extra = TOOLS[tool](folder)
    # Not ru_maxrss of this process: it counts the one that started it.
    peak = max(status("VmHWM"), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024
    print(json.dumps({"seconds": seconds, "peak": peak, "found": found, **extra}))


def read_rows(folder: Path) -> list[Row]:
    """The rows of this run."""
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text("utf-8").splitlines()]


def ours(folder: Path) -> tuple[float, list[int], dict[str, float]]:
    """Fingerprints in Arrow files, then the decision."""
    import pyarrow as pa

    from pediatricsgpt.corpus.deduplicate import decide, fingerprint
    from pediatricsgpt.corpus.settings import DeduplicateSettings
    from pediatricsgpt.records import Record, Source

    source = Source("made", "conversation", "made", "", "CC0", "none", "testing", "")
    records = []
    for number, (question, answer) in enumerate(read_rows(folder)):
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        records.append(Record(str(number), f"dialogue:{number}", source, messages=turns))
    settings = DeduplicateSettings()
    fingerprint(records[:100], settings)  # compiles, or loads what was compiled
    files = []
    start = time.perf_counter()
    for begin in range(0, len(records), BATCH):
        batch = fingerprint(records[begin : begin + BATCH], settings)
        files.append(folder / f"fingerprints-{begin:09}.arrow")
        with pa.ipc.new_file(files[-1], batch.schema) as file:
            file.write_batch(batch)
    decision = decide(files, settings)
    seconds = time.perf_counter() - start
    # What differs in a fact is found as well, and kept.
    found = [row for row, keep in enumerate(decision.keep) if not keep or decision.variant_of[row] >= 0]
    return seconds, found, {"kept": int(decision.keep.sum())}


def index(folder: Path) -> tuple[float, list[int], dict[str, float]]:
    """The decision alone, in a process that has no memory to spare from before: what its index takes."""
    from pediatricsgpt.corpus.deduplicate import decide
    from pediatricsgpt.corpus.settings import DeduplicateSettings

    files = sorted(folder.glob("fingerprints-*.arrow"))
    decide(files[:1], DeduplicateSettings())  # libraries and compiled code are no index
    with Anonymous() as memory:
        rows = len(decide(files, DeduplicateSettings()).keep)
    return 0.0, [], {"bytes": memory.grown * 1024 / rows}


class Anonymous:
    """How much the memory that is no mapped file grows at the most, in KiB, looked at every 5 ms."""

    def __enter__(self) -> Anonymous:
        self.start, self.grown, self.done = status("RssAnon"), 0, threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.done.set()
        self.thread.join()

    def _watch(self) -> None:
        while not self.done.wait(0.005):
            self.grown = max(self.grown, status("RssAnon") - self.start)


def status(name: str) -> int:
    """A figure of this process as the kernel has it, in KiB."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def datasketch(folder: Path) -> tuple[float, list[int], dict[str, float]]:
    """One MinHash a row, asked for before it is inserted."""
    from datasketch import MinHash, MinHashLSH

    texts = keys(read_rows(folder))
    start = time.perf_counter()
    index = MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS)
    found = []
    for begin in range(0, len(texts), BATCH):
        batch = [[gram.encode() for gram in shingles(text)] for text in texts[begin : begin + BATCH]]
        for number, signature in enumerate(MinHash.bulk(batch, num_perm=PERMUTATIONS), begin):
            if index.query(signature):
                found.append(number)
            index.insert(number, signature)
    return time.perf_counter() - start, found, {}


def rensa(folder: Path) -> tuple[float, list[int], dict[str, float]]:
    """Signatures in bulk, then its deduplicator, which compares candidates by their signatures."""
    from rensa import RMinHash, RMinHashDeduplicator

    texts = keys(read_rows(folder))
    start = time.perf_counter()
    index = RMinHashDeduplicator(THRESHOLD, PERMUTATIONS, True, 32, 42)
    found = []
    for begin in range(0, len(texts), BATCH):
        signatures = RMinHash.from_token_sets(
            [list(shingles(text)) for text in texts[begin : begin + BATCH]], PERMUTATIONS, 42
        )
        added = index.add_pairs([(str(number), each) for number, each in enumerate(signatures, begin)])
        found += [number for number, new in enumerate(added, begin) if not new]
    return time.perf_counter() - start, found, {}


class Characters:
    """Words for datatrove: every character is one."""

    def word_tokenize(self, text: str) -> list[str]:
        """The characters."""
        return list(text)


def datatrove(folder: Path) -> tuple[float, list[int], dict[str, float]]:
    """Signatures, buckets, clusters, filter, on two local workers."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers.jsonl import JsonlWriter

    config = MinhashConfig(n_grams=3, num_buckets=18, hashes_per_bucket=7)
    with tempfile.TemporaryDirectory() as name:

        def run(tasks: int, *steps: object) -> None:
            logs = f"{name}/logs-{time.monotonic_ns()}"
            LocalPipelineExecutor(list(steps), tasks=tasks, workers=2, logging_dir=logs).run()

        start = time.perf_counter()
        signatures = MinhashDedupSignature(f"{name}/signatures", config, language="ace_Arab")
        signatures.word_tokenizer = Characters()
        reader = JsonlReader(str(folder / "keys"))
        run(2, reader, signatures)
        run(18, MinhashDedupBuckets(f"{name}/signatures", f"{name}/buckets", config=config))
        run(1, MinhashDedupCluster(f"{name}/buckets", f"{name}/removed", config=config))
        kept = JsonlWriter(f"{name}/kept", compression=None)
        run(2, JsonlReader(str(folder / "keys")), MinhashDedupFilter(f"{name}/removed"), kept)
        seconds = time.perf_counter() - start
        lines = (line for path in Path(name, "kept").glob("*.jsonl") for line in path.read_text("utf-8").splitlines())
        left = {int(json.loads(line)["id"]) for line in lines}
    rows = sum(1 for path in (folder / "keys").glob("*.jsonl") for _ in path.open(encoding="utf-8"))
    return seconds, sorted(set(range(rows)) - left), {}


TOOLS = {"ours": ours, "index": index, "datasketch": datasketch, "rensa": rensa, "datatrove": datatrove}


def report(runs: dict[str, list[dict[str, object]]], truth: set[int], rows: int) -> None:
    """Print speed, recall, precision and memory, and the ratios to ours."""
    speed = {tool: rows / median(float(run["seconds"]) for run in each) for tool, each in runs.items()}  # type: ignore[arg-type]
    print(f"{'':12}{'rows/s':>9}{'recall':>9}{'precision':>11}{'peak MB':>9}{'ours is':>10}")
    for tool, each in runs.items():
        found = set(each[-1]["found"])  # type: ignore[call-overload]
        right = len(found & truth)
        recall, precision = right / len(truth), right / max(len(found), 1)
        peak = median(float(run["peak"]) for run in each)  # type: ignore[arg-type]
        ratio = f"{speed['ours'] / speed[tool]:.2f} x" if "ours" in speed else ""
        print(f"{tool:12}{speed[tool]:9,.0f}{recall:9.4f}{precision:11.4f}{peak:9.0f}{ratio:>10}")


if __name__ == "__main__":
    main()
