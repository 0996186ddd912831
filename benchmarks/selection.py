"""Quality and speed of selection and labels (`corpus/select.py`) on the labelled set of the tests, by hand.

    python benchmarks/selection.py [--part blind] [--wrong] [--repeat 5]

The rows (tests/corpus/labelled/) were drawn and labelled before the rules were tuned, and are frozen by the hashes
below. The rules were tuned on part `tune` and on unlabelled text; part `blind` is there to be scored, not to be read.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from pediatricsgpt.corpus.select import label, why_pediatric
from pediatricsgpt.records import PEDIATRIC_TASKS, Record, Source

LABELLED = Path(__file__).parents[1] / "tests" / "corpus" / "labelled"
FROZEN = {
    "tune": "7bbfae20275c46eb00d991820ea720a4459caa8948f02084354b48ca03c7a282",
    "blind": "ceeecec183c432b2bb674fa300d896521b5a30ffa5382b9e6bc8a854338e587c",
    "fresh": "03098e95c7d7ed141650b5ada645e0a7a880432d14d914c0e729bb987ea5c10b",
}
Pair = tuple[str, str]


def main() -> None:
    """Print the figures of one part of the labelled set, and the time per row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=sorted(FROZEN), default="blind")
    parser.add_argument("--wrong", action="store_true", help="list the rows that got a wrong label")
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    rows = read_rows(arguments.part)
    records = [record_of(row) for row in rows]
    print(json.dumps(figures(rows, label(records)), ensure_ascii=False, indent=2))
    if arguments.wrong:
        print_wrong(rows, label(records))
    seconds = median(timed(records) for _ in range(arguments.repeat))
    size = sum(len(record.text) + sum(len(turn["content"]) for turn in record.messages) for record in records)
    print(f"{seconds / len(rows) * 1e6:.0f} microseconds a row of {size / len(rows):.0f} characters, median")


def read_rows(part: str) -> list[dict[str, Any]]:
    """The labelled rows of one part; refuses a file that is not the frozen one."""
    content = (LABELLED / f"selection_{part}.jsonl").read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != FROZEN[part]:
        raise SystemExit(f"selection_{part}.jsonl is not the frozen file: its SHA-256 is {found}")
    return [json.loads(line) for line in content.decode().splitlines()]


def record_of(row: dict[str, Any]) -> Record:
    """The record as a reader hands it to the step, without its labels."""
    source = Source(row["source"], row["kind"], row["where"], "", row["licence"], "published", "testing", "")
    content = {key: row[key] for key in ("text", "title", "messages", "family", "department")}
    return Record(id=row["id"], group=row["id"], source=source, **content)


def figures(rows: Sequence[dict[str, Any]], labelled: Sequence[Record]) -> dict[str, Any]:
    """Precision and recall of `pediatric`, with intervals; F1 of task, department and age band, with their n."""
    hits = [(row["label"]["pediatric"], record.pediatric) for row, record in zip(rows, labelled, strict=True)]
    true = sum(truth and found for truth, found in hits)
    pairs = [(row, record) for row, record in zip(rows, labelled, strict=True)]
    blank = [(row, record) for row, record in pairs if row["department"] == "unknown"]
    return {
        "rows": len(rows),
        "sources": dict(sorted(Counter(row["source"] for row in rows).items())),
        "pediatric": {
            "precision": proportion(true, sum(found for _, found in hits)),
            "recall": proportion(true, sum(truth for truth, _ in hits)),
        },
        "task": f1([(row["label"]["task"], task_name(record)) for row, record in pairs], PEDIATRIC_TASKS),
        "department": f1(department_pairs(pairs)),
        "department where the source says none": f1(department_pairs(blank)),
        "age band": f1([(row["label"]["age_band"], record.age_band) for row, record in pairs]),
    }


def task_name(record: Record) -> str:
    """One of the three tasks, or `none`."""
    return record.task if record.task in PEDIATRIC_TASKS else "none"


def department_pairs(pairs: Iterable[tuple[dict[str, Any], Record]]) -> list[Pair]:
    """(truth, found): of several departments that are right, the found one if it is among them, else the first."""
    return list(_department_pairs(pairs))


def _department_pairs(pairs: Iterable[tuple[dict[str, Any], Record]]) -> Iterator[Pair]:
    for row, record in pairs:
        right = row["label"]["departments"]
        yield (record.department if record.department in right else right[0]), record.department


def proportion(hits: int, n: int) -> dict[str, Any]:
    """A proportion with its Wilson interval at 95 %."""
    z = 1.959964
    share, spread = hits / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return {"value": round(share, 4), "low": round(middle - half, 4), "high": round(middle + half, 4), "n": n}


def f1(pairs: Sequence[Pair], classes: Sequence[str] = ()) -> dict[str, Any]:
    """Micro F1 (the share of rows that are right), macro F1 over classes that occur, and F1 and n of each class."""
    names = [name for name in (classes or sorted({truth for truth, _ in pairs})) if any(t == name for t, _ in pairs)]
    each = {name: _f1_of(pairs, name) for name in names}
    macro = sum(value["f1"] for value in each.values()) / len(each)
    right = sum(truth == found for truth, found in pairs)
    return {"micro": proportion(right, len(pairs)), "macro": round(macro, 4), "classes": each}


def _f1_of(pairs: Sequence[Pair], name: str) -> dict[str, Any]:
    true = sum(truth == found == name for truth, found in pairs)
    said, there = sum(found == name for _, found in pairs), sum(truth == name for truth, _ in pairs)
    return {"f1": round(2 * true / (said + there), 4), "n": there}


def print_wrong(rows: Sequence[dict[str, Any]], labelled: Sequence[Record]) -> None:
    """Print each row that got a wrong label: what is wrong, truth, what was found, the beginning of the text."""
    for row, record in zip(rows, labelled, strict=True):
        truth = row["label"]
        start = " > ".join(row["title"]) or row["messages"][0]["content"].replace("\n", " ")
        if truth["pediatric"] != record.pediatric:
            print("pediatric", row["id"], truth["pediatric"], why_pediatric(record_of(row)), start[:200], sep=" | ")
        if truth["task"] != task_name(record):
            print("task", row["id"], truth["task"], record.task, start[:120], sep=" | ")
        if record.department not in truth["departments"]:
            print("department", row["id"], truth["departments"], record.department, start[:100], sep=" | ")
        if truth["age_band"] != record.age_band:
            print("age band", row["id"], truth["age_band"], record.age_band, start[:120], sep=" | ")


def timed(records: Sequence[Record]) -> float:
    """Seconds of processor time for one pass."""
    start = time.process_time()
    label(records)
    return time.process_time() - start


if __name__ == "__main__":
    main()
