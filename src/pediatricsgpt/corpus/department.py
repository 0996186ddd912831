"""Departments: one canonical name for what sources call the same, and inference where they say nothing."""

from __future__ import annotations

import functools
import re

from pediatricsgpt.corpus.rules import rules

UNKNOWN = "unknown"
PEDIATRIC = ("儿科", "新生儿科", "小儿外科")
MIN_HITS = 2


@functools.cache
def _aliases() -> dict[str, str]:
    return {alias: name for name, entry in rules("departments").items() for alias in [name, *entry["aliases"]]}


@functools.cache
def _words() -> dict[str, re.Pattern[str]]:
    entries = rules("departments").items()
    return {name: re.compile("|".join(entry["words"])) for name, entry in entries if entry["words"]}


def canonical(label: str) -> str:
    """The canonical name of a source's label, or `unknown`. Of "外科/骨科" the part that says most, the last, wins."""
    parts = [part.strip() for part in re.split(r"[/／>,，、]", label)]
    return next((_aliases()[part] for part in reversed(parts) if part in _aliases()), UNKNOWN)


def inferred(text: str) -> str:
    """The department whose words occur most often in a text, or `unknown` where fewer than two do."""
    hits = {name: len(words.findall(text)) for name, words in _words().items()}
    best = max(hits, key=lambda name: hits[name])
    return best if hits[best] >= MIN_HITS else UNKNOWN
