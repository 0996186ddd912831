"""Departments: one canonical name for what sources call the same, and inference where they say nothing."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Sequence

from pediatricsgpt.corpus.rules import rules
from pediatricsgpt.corpus.words import Words

UNKNOWN = "unknown"
PEDIATRIC = ("儿科", "新生儿科", "小儿外科")
# Labels that a narrower one may replace: allergies concern the nose, the airways or the skin.
BROAD = (UNKNOWN, "内科", "外科", "变态反应科")


@functools.cache
def _aliases() -> dict[str, str]:
    return {alias: name for name, entry in rules("departments").items() for alias in [name, *entry["aliases"]]}


@functools.cache
def _words() -> dict[str, str]:
    """The department of each word."""
    return {word: name for name, entry in rules("departments").items() for word in entry["words"]}


@functools.cache
def _searched() -> Words:
    return Words(_words())


@functools.lru_cache(maxsize=4096)
def canonical(label: str) -> str:
    """The canonical name of a source's label, or `unknown`. Of "外科/骨科" the part that says most, the last, wins."""
    parts = [part.strip() for part in re.split(r"[/／>,，、]", label)]
    return next((_aliases()[part] for part in reversed(parts) if part in _aliases()), UNKNOWN)


def inferred(text: str) -> str:
    """The department whose words occur most often in a text, of several the one named first; `unknown` for none."""
    return inferred_of([text])[0]


def inferred_of(texts: Sequence[str]) -> list[str]:
    """`inferred` of each of many texts, which costs less than one by one."""
    departments = _words()
    found = []
    for words in _searched().found(texts):
        hits = Counter([departments[word] for word in words])
        found.append(max(hits, key=hits.__getitem__) if hits else UNKNOWN)
    return found
