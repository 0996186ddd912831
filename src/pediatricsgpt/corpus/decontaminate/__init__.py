"""Decontamination: no training row may hold what a test set asks or answers.

Every text of a training row is compared with both sides of every test item, in two ways. N-grams: the share of the
item's character 13-grams that stand in the text, wherever and in whatever order, so that an item quoted inside a long
text is found. Near-duplicates: Jaccard similarity of 3-grams, so that an item with edits everywhere is found. Phrases
that stand in many test items, and the courtesies of `rules/decontaminate.yaml`, count for nothing.
"""

from __future__ import annotations

from pediatricsgpt.corpus.decontaminate.index import Index, Item, Match, build_index
from pediatricsgpt.corpus.decontaminate.remove import (
    STEP,
    Leakage,
    decontaminate,
    row_sides,
)
from pediatricsgpt.corpus.decontaminate.test_sets import TestSet, load_test_set, row_items

__all__ = [
    "STEP",
    "Index",
    "Item",
    "Leakage",
    "Match",
    "TestSet",
    "build_index",
    "decontaminate",
    "load_test_set",
    "row_items",
    "row_sides",
]
