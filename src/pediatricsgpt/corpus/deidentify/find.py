"""Find what identifies a person in a Chinese clinical text."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pediatricsgpt.corpus.deidentify.dates import dates
from pediatricsgpt.corpus.deidentify.learned import Span, learned_of
from pediatricsgpt.corpus.deidentify.names import isolated, names
from pediatricsgpt.corpus.deidentify.names import searched as names_searched
from pediatricsgpt.corpus.deidentify.nicknames import nicknames
from pediatricsgpt.corpus.deidentify.nicknames import searched as nicknames_searched
from pediatricsgpt.corpus.deidentify.numbers import CHECK, half_width, numbers
from pediatricsgpt.corpus.deidentify.numbers import searched as numbers_searched
from pediatricsgpt.corpus.deidentify.persons import persons
from pediatricsgpt.corpus.deidentify.persons import searched as persons_searched
from pediatricsgpt.corpus.deidentify.places import places
from pediatricsgpt.corpus.deidentify.places import searched as places_searched
from pediatricsgpt.corpus.deidentify.starts import EVERY, Starts
from pediatricsgpt.corpus.deidentify.traditional import simplified
from pediatricsgpt.corpus.deidentify.transcribed import searched as transcribed_searched
from pediatricsgpt.corpus.deidentify.transcribed import transcribed
from pediatricsgpt.corpus.rules import rules
from pediatricsgpt.corpus.settings import DeidentifySettings

# Of two findings that overlap, the one further left in this list names the kind of both.
KINDS = (
    "email", "url", "id_card", "bank_card", "phone", "plate", "qq", "wechat", "vaccination", "birth_certificate",
    "birth_date", "date", "record_number", "bed", "school", "address", "hospital", "name", "nickname",
)  # fmt: skip
NAMES = frozenset({"name", "nickname"})
PLACES = frozenset({"address", "school", "bed", "hospital"})
NOT_NUMBERS = NAMES | PLACES | {"date", "birth_date"}
_DATE_CHECK = re.compile(r"[0-9一二三四五六七八九十](?:\s?月|[0-9]{3})")
_UNITS = frozenset("周米项万")
# how many texts are searched together
_AT_ONCE = 512
_FEW = 8
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
    return find_all([text])[0]


def find_all(texts: Sequence[str]) -> list[list[Finding]]:
    """What `find` says of each text; of many at once in a fraction of the time."""
    found: dict[str, list[Finding]] = {}
    unique = list(dict.fromkeys(texts))
    for start in range(0, len(unique), _AT_ONCE):
        some = unique[start : start + _AT_ONCE]
        # traditional characters read as simplified ones; the findings keep what is written
        every = _found([simplified(text) for text in some])
        found.update(
            (text, [Finding(start, end, kind, text[start:end]) for start, end, kind in spans])
            for text, spans in zip(some, every, strict=True)
        )
    return [found[text].copy() for text in texts]


def _found(texts: list[str]) -> list[list[Span]]:
    """Finder by finder instead of text by text: what a finder looks things up in stays in the processor's cache."""
    every: list[list[Span]] = [[] for _ in texts]
    # a few are searched in less time than the pass takes to begin
    may = _starts()(texts) if len(texts) > _FEW else [EVERY] * len(texts)
    for finder, shift, bits in _places_of_bits():
        for text, found, mark in zip(texts, every, may, strict=True):
            if mark & bits:
                found.extend(finder(text, mark >> shift))
    for text, found, spans in zip(texts, every, learned_of(texts), strict=True):
        found.extend(span for span in spans if not _is_unit(text, span[0]))
    return [_findings(text, found) if found else [] for text, found in zip(texts, every, strict=True)]


_Finder = Callable[[str, int], Iterable[Span]]


@functools.cache
def _finders() -> tuple[tuple[_Finder, list[re.Pattern[str]]], ...]:
    """The finders with the patterns of which one must match where they find something."""
    return (
        (_names, names_searched()),
        (_nicknames, nicknames_searched()),
        (_persons, persons_searched()),
        (_transcribed, transcribed_searched()),
        (places, places_searched()),
        (_numbers, [*numbers_searched(), _DATE_CHECK]),
    )


@functools.cache
def _starts() -> Starts:
    return Starts([pattern for _, patterns in _finders() for pattern in patterns])


@functools.cache
def _places_of_bits() -> list[tuple[_Finder, int, int]]:
    """Of each finder the number of its first bit, and its bits."""
    placed, shift = [], 0
    for finder, patterns in _finders():
        placed.append((finder, shift, ((1 << len(patterns)) - 1) << shift))
        shift += len(patterns)
    return placed


def _findings(text: str, found: list[Span]) -> list[Span]:
    """What was found without overlaps, with the names that stand alone beside a number or a place."""
    found = [span for span in found if span[2] not in NAMES or not _is_never(text, span[0], span[1])]
    beside = [(start, end) for start, end, kind in found if kind not in NAMES and kind != "date"]
    if beside:
        found += [(a, b, "name") for a, b in isolated(text, beside) if not _is_never(text, a, b)]
    return _without_overlaps(found)


def _names(text: str, may: int) -> list[Span]:
    return [(start, end, "name") for start, end in names(text, may) if not _is_unit(text, start)]


def _nicknames(text: str, may: int) -> list[Span]:
    return [(start, end, "nickname") for start, end in nicknames(text, may)]


def _persons(text: str, may: int) -> list[Span]:
    return [span for span in persons(text, may) if span[2] != "name" or not _is_unit(text, span[0])]


def _transcribed(text: str, _may: int) -> list[Span]:
    return [(start, end, "name") for start, end in transcribed(text)]


def _numbers(text: str, _may: int = EVERY) -> list[Span]:
    shadow = half_width(text)
    found = [*numbers(shadow)] if CHECK.search(shadow) else []
    if _DATE_CHECK.search(shadow):
        found += ((date.start, date.end, "birth_date" if date.birth else "date") for date in dates(shadow))
    return found


def _is_never(text: str, start: int, end: int) -> bool:
    """Whether what stands here is known to be no name, whichever finder took it for one."""
    shapes, words = _never()
    match = shapes.match(text, start)
    return (match is not None and match.end() >= end) or text[start:end] in words


@functools.cache
def _never() -> tuple[re.Pattern[str], frozenset[str]]:
    content = rules("deidentify_learned")
    return re.compile(content["never_shapes"].strip()), frozenset(content["never_names"].split())


def _is_unit(text: str, start: int) -> bool:
    """Whether a surname is a unit here: 用药3周为宜."""
    return start > 0 and text[start] in _UNITS and text[start - 1].isdigit()


def has_number(text: str) -> bool:
    """Whether `find` may find anything but names, places and dates; much quicker than `find`."""
    return any(kind not in NOT_NUMBERS for _, _, kind in _numbers(simplified(text)))


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
