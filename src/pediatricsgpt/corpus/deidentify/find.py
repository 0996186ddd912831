"""Find what identifies a person in a Chinese clinical text."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from pediatricsgpt.corpus.deidentify.dates import dates
from pediatricsgpt.corpus.deidentify.learned import learned
from pediatricsgpt.corpus.deidentify.names import isolated, names
from pediatricsgpt.corpus.deidentify.nicknames import nicknames
from pediatricsgpt.corpus.deidentify.numbers import CHECK, half_width, numbers
from pediatricsgpt.corpus.deidentify.persons import persons
from pediatricsgpt.corpus.deidentify.places import places
from pediatricsgpt.corpus.deidentify.transcribed import transcribed
from pediatricsgpt.corpus.settings import DeidentifySettings

# Of two findings that overlap, the one further left in this list names the kind of both.
KINDS = (
    "email", "url", "id_card", "bank_card", "phone", "plate", "qq", "wechat", "vaccination", "birth_certificate",
    "birth_date", "date", "record_number", "bed", "school", "address", "hospital", "name", "nickname",
)  # fmt: skip
NAMES = frozenset({"name", "nickname"})
PLACES = frozenset({"address", "school", "bed", "hospital"})
_DATE_CHECK = re.compile(r"[0-9一二三四五六七八九十](?:\s?月|[0-9]{3})")
_UNITS = frozenset("周米项万")
_RANK = {kind: rank for rank, kind in enumerate(KINDS)}


@dataclass(frozen=True, slots=True)
class Finding:
    """`text[start:end]`, as it stands in the text, identifies somebody; `kind` is one of `KINDS`."""

    start: int
    end: int
    kind: str
    text: str


def find(text: str) -> list[Finding]:
    """What identifies a person in a text, in its order and without overlaps.

    Dates of illness are found too (kind `date`): they are shifted, not removed. A surname alone counts before a title
    (王医生). Not found, because it identifies nobody: eponyms, drugs, organs, diseases named after places, a hospital
    that is recommended, a city or district without a street, ages, doses and laboratory values.
    """
    found: list[tuple[int, int, str]] = []
    found += ((start, end, "name") for start, end in names(text) if not _is_unit(text, start))
    found += ((start, end, "nickname") for start, end in nicknames(text))
    found += (item for item in persons(text) if item[2] != "name" or not _is_unit(text, item[0]))
    found += ((start, end, "name") for start, end in transcribed(text))
    found += (item for item in learned(text) if not _is_unit(text, item[0]))
    found += places(text)
    shadow = half_width(text)
    if CHECK.search(shadow):
        found += numbers(shadow)
    if _DATE_CHECK.search(shadow):
        found += ((date.start, date.end, "birth_date" if date.birth else "date") for date in dates(shadow))
    beside = [(start, end) for start, end, kind in found if kind not in NAMES and kind != "date"]
    if beside:
        found += ((start, end, "name") for start, end in isolated(text, beside))
    return [Finding(start, end, kind, text[start:end]) for start, end, kind in _without_overlaps(found)]


def _is_unit(text: str, start: int) -> bool:
    """Whether a surname is a unit here: 用药3周为宜."""
    return start > 0 and text[start] in _UNITS and text[start - 1].isdigit()


def finder_of(settings: DeidentifySettings) -> Callable[[str], list[Finding]]:
    """What a run finds with: the rules, and the persons of `settings.ner_model` where one is named.

    Raises:
        UserError: the folder holds no such model.
    """
    if settings.ner_model is None:
        return find
    from pediatricsgpt.corpus.deidentify.ner import TokenClassifier

    model = TokenClassifier(settings.ner_model)
    return lambda text: union(text, find(text), model(text))


def union(text: str, *findings: list[Finding]) -> list[Finding]:
    """Several lists of findings of one text as one, joined where they overlap."""
    spans = [(item.start, item.end, item.kind) for items in findings for item in items]
    return [Finding(start, end, kind, text[start:end]) for start, end, kind in _without_overlaps(spans)]


def _without_overlaps(found: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Overlapping findings joined into one, so that nothing that any rule saw is left standing."""
    joined: list[tuple[int, int, str]] = []
    for start, end, kind in sorted(found, key=lambda span: (span[0], -span[1], _RANK[span[2]])):
        if joined and start < joined[-1][1]:
            first, last, old = joined[-1]
            joined[-1] = (first, max(last, end), min(old, kind, key=_RANK.__getitem__))
        else:
            joined.append((start, end, kind))
    return joined
