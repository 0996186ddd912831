"""Precision and recall of the extractor on sentences that were labelled by reading, by kind of fact.

`python -m tests.facts.score` prints the table of the blind half; `--split development` that of the other. A fact counts
as found only where kind, place, value, unit, bound and negation are all as labelled (of drugs the generic, of negations
the sort). Facts of the kind `number` are what is left over and are not labelled.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from pediatricsgpt.facts import Fact, extract

SENTENCES = Path(__file__).with_name("sentences.jsonl")
RECORDED = Path(__file__).with_name("measured.json")


@dataclass(frozen=True)
class Counts:
    """How many facts were labelled, how many found, and how many of these are right."""

    labelled: int
    found: int
    right: int

    @property
    def precision(self) -> float:
        return self.right / self.found if self.found else math.nan

    @property
    def recall(self) -> float:
        return self.right / self.labelled if self.labelled else math.nan


def wilson(right: int, n: int) -> tuple[float, float]:
    """The Wilson interval of a share at 95 %."""
    if not n:
        return 0.0, 1.0
    z, share = 1.959963984540054, right / n
    middle, spread = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (middle - spread) / (1 + z * z / n), (middle + spread) / (1 + z * z / n)


def sentences() -> Iterator[dict[str, Any]]:
    """The labelled sentences; the first line of the file says how they came about."""
    with SENTENCES.open(encoding="utf-8") as lines:
        next(lines)
        yield from map(json.loads, lines)


def labelled(fact: dict[str, Any]) -> tuple[object, ...]:
    """A label in the form in which it is compared."""
    place = (fact["kind"], fact["start"], fact["end"], fact["negated"])
    if "name" in fact:
        return *place, fact["name"]
    if "value" not in fact:
        return *place, fact["unit"]
    high = Decimal(fact["high"]) if "high" in fact else None
    return *place, Decimal(fact["value"]), high, fact["unit"], fact.get("relation", "=")


def extracted(fact: Fact) -> tuple[object, ...]:
    """A fact in the same form."""
    place = (fact.kind, fact.start, fact.end, fact.negated)
    if fact.kind in ("drug", "vaccine"):
        return *place, fact.name
    if fact.kind == "negation":
        return *place, fact.unit
    return *place, fact.value, fact.high, fact.unit, fact.relation


def score(split: str) -> dict[str, Counts]:
    """The counts of one half by kind, and under `all` together."""
    want, got, right = Counter[str](), Counter[str](), Counter[str]()
    for row in sentences():
        if row["split"] != split:
            continue
        truth = {labelled(fact) for fact in row["facts"]}
        facts = {extracted(fact) for fact in extract(row["text"]) if fact.kind != "number"}
        want.update(str(fact[0]) for fact in truth)
        got.update(str(fact[0]) for fact in facts)
        right.update(str(fact[0]) for fact in truth & facts)
    kinds = {kind: Counts(want[kind], got[kind], right[kind]) for kind in sorted(want | got)}
    return kinds | {"all": Counts(want.total(), got.total(), right.total())}


def _share(right: int, n: int) -> str:
    low, high = wilson(right, n)
    return f"{right}/{n} = {right / n if n else math.nan:.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", choices=["development", "blind"], default="blind")
    parser.add_argument("--record", action="store_true", help="write the counts that the test compares with")
    arguments = parser.parse_args()
    counts = score(arguments.split)
    for kind, count in counts.items():
        precision, recall = _share(count.right, count.found), _share(count.right, count.labelled)
        print(f"{kind:14} precision {precision:32} recall {recall}")  # noqa: T201 (the purpose of this file)
    if arguments.record:
        record = json.loads(RECORDED.read_text(encoding="utf-8")) if RECORDED.exists() else {}
        record[arguments.split] = {kind: vars(count) for kind, count in counts.items()}
        RECORDED.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
