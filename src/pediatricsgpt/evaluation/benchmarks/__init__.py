"""What models are measured on: our held-out tasks, public Chinese medical benchmarks, and the user's own questions."""

from __future__ import annotations

from pediatricsgpt.evaluation.benchmarks.catalogue import Entry, catalogue
from pediatricsgpt.evaluation.benchmarks.held_out import held_out_items, without_farewell
from pediatricsgpt.evaluation.benchmarks.item import (
    CHOSEN,
    FREE,
    Benchmark,
    Item,
    Kind,
    Tally,
    by_hash,
    spread,
    spread_items,
)
from pediatricsgpt.evaluation.benchmarks.load import held_out_benchmark, load_benchmark
from pediatricsgpt.evaluation.benchmarks.own import read_items

__all__ = [
    "CHOSEN",
    "FREE",
    "Benchmark",
    "Entry",
    "Item",
    "Kind",
    "Tally",
    "by_hash",
    "catalogue",
    "held_out_benchmark",
    "held_out_items",
    "load_benchmark",
    "read_items",
    "spread",
    "spread_items",
    "without_farewell",
]
