"""Departments: one canonical name for what sources call the same, and inference where they say nothing."""

from __future__ import annotations

import functools
import re
from collections import Counter

from pediatricsgpt.corpus.rules import rules

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
def _pattern() -> re.Pattern[str]:
    """All words in one pattern, the longest of several that begin alike first."""
    return re.compile("|".join(re.escape(word) for word in sorted(_words(), key=len, reverse=True)))


@functools.lru_cache(maxsize=4096)
def canonical(label: str) -> str:
    """The canonical name of a source's label, or `unknown`. Of "外科/骨科" the part that says most, the last, wins."""
    parts = [part.strip() for part in re.split(r"[/／>,，、]", label)]
    return next((_aliases()[part] for part in reversed(parts) if part in _aliases()), UNKNOWN)


def inferred(text: str) -> str:
    """The department whose words occur most often in a text, of several the one named first; `unknown` for none."""
    hits = Counter(_words()[word] for word in _pattern().findall(text))
    return hits.most_common(1)[0][0] if hits else UNKNOWN
