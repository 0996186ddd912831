"""Drugs and vaccines by name: generics, brands, Chinese patent medicines, formulas and dosed herbs, longest first."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from pediatricsgpt.facts.data import load
from pediatricsgpt.facts.fact import Fact

# An amount that makes a herb or a common word a drug: 菊花 10g, 薄荷（后下）6g.
_AMOUNT_AFTER = re.compile(
    r"\s?(?:[(（][^)）]{1,6}[)）])?\s?(?:各\s?)?(?:\d+(?:\.\d+)?(?:\s?[-~～至]\s?\d+(?:\.\d+)?)?|[一二两三四五六七八九十百]+)\s?(?:g|克|钱|枚|片|条|粒|mg|毫克|ml|毫升)(?!\s?[/／]\s?[dm]?[L升])",
    re.IGNORECASE,
)
_STRENGTH_BEFORE = re.compile(r"%\s?(?:的|浓度的?)?$")
_LETTER = re.compile(r"[A-Za-z]")
_MORE_LETTERS = re.compile(r"-?[A-Za-z]")
_PROCESSED = re.compile(r"[生炒炙制焦煅酒醋姜蜜盐麸法清]$")


@dataclass(frozen=True, slots=True)
class Entry:
    """What a spelling stands for: kind `drug`, `vaccine` or nothing, and when it counts."""

    kind: str
    name: str
    needs: str = ""
    """`amount` for herbs, `context` for common words; empty for names that are drugs wherever they stand."""


@dataclass(frozen=True, slots=True)
class Lexicon:
    """All spellings, by their first two characters, longest first."""

    entries: dict[str, Entry]
    by_head: dict[str, tuple[str, ...]]
    forms: re.Pattern[str]
    prefixes: tuple[str, ...]


@functools.cache
def lexicon() -> Lexicon:
    """The lists of this package, read once."""
    drugs = load("drugs")
    entries = {spelling.lower(): entry for spelling, entry in _entries(drugs)}
    heads: dict[str, list[str]] = {}
    for spelling in entries:
        heads.setdefault(spelling[:2], []).append(spelling)
    by_head = {head: tuple(sorted(spellings, key=len, reverse=True)) for head, spellings in heads.items()}
    forms = re.compile("|".join(map(re.escape, sorted(drugs["forms"], key=len, reverse=True))))
    return Lexicon(entries, by_head, forms, tuple(sorted(drugs["prefixes"], key=len, reverse=True)))


def _entries(drugs: dict[str, object]) -> list[tuple[str, Entry]]:
    """Spellings with their entries, weakest first, so that a later one replaces an earlier one."""
    lists: dict[str, list[str]] = {key: drugs[key] for key in ("herbs", "formulas", "strong_herbs", "not_drugs")}  # type: ignore[misc]
    contextual = set(drugs["contextual"])  # type: ignore[call-overload]
    names: dict[str, str] = drugs["herb_names"]  # type: ignore[assignment]
    found = [(herb, Entry("drug", names.get(herb, herb), "amount")) for herb in lists["herbs"]]
    for key, needs in (("with_form", "context"), ("names", "")):
        found += [(name, Entry("drug", name, needs)) for name in load("further_drugs")[key]]
    for key in ("products", "generics"):
        for name, spellings in drugs[key].items():  # type: ignore[attr-defined]
            for spelling in _spaced(name, *spellings):
                found.append((spelling, Entry("drug", name, "context" if spelling in contextual else "")))
    found += [(name, Entry("drug", name)) for name in (*lists["formulas"], *lists["strong_herbs"])]
    for name, spellings in load("vaccines")["vaccines"].items():
        found += [(spelling, Entry("vaccine", name)) for spelling in (name, *spellings)]
    return found + [(word, Entry("", "")) for word in lists["not_drugs"]]


def _spaced(*spellings: str) -> list[str]:
    """The spellings, and those of vitamins with a space before their letter too (维生素 B6)."""
    return [*spellings, *(f"维生素 {name[3:]}" for name in spellings if re.match("维生素[A-Z]", name))]


def generic(name: str) -> str | None:
    """The generic that a written drug name stands for (美林 -> 布洛芬); None for what is no drug of the lexicon."""
    found = medicines(name)
    return found[0].name if len(found) == 1 and found[0].kind == "drug" else None


def ingredients(name: str) -> tuple[str, ...]:
    """The active ingredients of a generic; itself where it is no compound of the lexicon."""
    compounds: dict[str, list[str]] = load("drugs")["ingredients"]
    return tuple(compounds.get(name, (name,)))


def medicines(text: str) -> list[Fact]:
    """All drugs and vaccines that a text names, without overlaps, in its order.

    The span takes in the salt before the name (盐酸氨溴索) and the dosage form behind it (布洛芬混悬液).
    """
    lists = lexicon()
    folded = text.lower()
    if len(folded) != len(text):  # one of the few letters whose small form is longer
        folded = text
    found: list[Fact] = []
    by_head, position, last = lists.by_head, 0, len(text) - 1
    while position < last:
        spellings = by_head.get(folded[position : position + 2])
        if spellings is None:
            position += 1
            continue
        position = _take(text, folded, position, spellings, lists, found)
    return found


def _take(text: str, folded: str, start: int, spellings: tuple[str, ...], lists: Lexicon, found: list[Fact]) -> int:
    """Add the drug that begins at a place, if any; where to read on."""
    for spelling in spellings:
        if not folded.startswith(spelling, start) or _cut_word(text, start, start + len(spelling)):
            continue
        entry, end = lists.entries[spelling], start + len(spelling)
        if not entry.kind:
            return end
        form = lists.forms.match(text, end) if entry.kind == "drug" else None
        if entry.needs and not _in_context(text, start, end, entry.needs, form is not None):
            continue
        end = form.end() if form else end
        reached = found[-1].end if found else 0
        begin, name = start, entry.name
        if entry.needs == "amount" and start > reached and _PROCESSED.search(text, start - 1, start):
            begin, name = start - 1, text[start - 1] + name
        elif entry.kind == "drug":
            begin = _with_prefix(text, start, reached, lists.prefixes)
        found.append(Fact(entry.kind, begin, end, text[begin:end], name=name))
        return end
    return start + 1


def _cut_word(text: str, start: int, end: int) -> bool:
    """Whether a name in letters is only a part of a longer word."""
    return bool(
        (_LETTER.match(text[start]) and start and _LETTER.match(text[start - 1]))
        or (_LETTER.match(text[end - 1]) and _MORE_LETTERS.match(text, end))
    )


def _in_context(text: str, start: int, end: int, needs: str, form: bool) -> bool:
    """Whether the words around a common word make it a drug: a dosage form, an amount, a strength in per cent."""
    if form or (needs == "context" and _STRENGTH_BEFORE.search(text, max(0, start - 6), start)):
        return True
    return bool(_AMOUNT_AFTER.match(text, end))


def _with_prefix(text: str, start: int, reached: int, prefixes: tuple[str, ...]) -> int:
    """Where the salt before a name begins."""
    for prefix in prefixes:
        if text.endswith(prefix, reached, start):
            return start - len(prefix)
    return start
