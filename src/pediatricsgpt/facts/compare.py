"""Whether a rewriting keeps the facts of its source: no dose changed, no negation lost, no drug new."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pediatricsgpt.facts.canonical import Canonical, canonical
from pediatricsgpt.facts.data import load
from pediatricsgpt.facts.extract import extract
from pediatricsgpt.facts.fact import KINDS, Fact

_OWNED = frozenset({"dose", "count", "frequency", "concentration"})
_MEDICINES = ("drug", "vaccine")
_ITEMS = re.compile(r"[、/]|以及|或者|和|及|或|与")
# Of two scopes, the share of the shorter one's characters that the other must have to be the same finding.
_SAME_SCOPE = 0.6


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which a rewriting departs from its source.

    `change` is `missing` (only `source` is set), `added` (only `rewritten`) or `changed` (both; or for a negation, that
    what one text negates stands without it in the other, which then has no fact of its own).
    """

    change: str
    kind: str
    source: Fact | None
    rewritten: Fact | None

    def __str__(self) -> str:
        before = self.source.text if self.source else ""
        after = self.rewritten.text if self.rewritten else ""
        return f"{self.change} {self.kind}: {before}{' -> ' if before and after else ''}{after}"


def difference(source: str, rewritten: str, kinds: Collection[str] = KINDS) -> list[Difference]:
    """The facts of a source that a rewriting misses or changes, and those that it adds.

    A fact that is said twice need not be repeated: what counts is which facts a text states, and for amounts and
    frequencies also of which drug it states them (two doses that changed places are two changes). Negations are the
    same where they reach over the same words, whatever the cue (无发热, 没有发烧).

    Args:
        source: the text that must be kept.
        rewritten: the text that must keep it.
        kinds: the kinds of facts to compare; all by default.
    """
    before = [fact for fact in extract(source) if fact.kind in kinds]
    after = [fact for fact in extract(rewritten) if fact.kind in kinds]
    found = _stated(before, after) + _polarity(before, after) + _owners(before, after)
    return found + _negations(before, after, source, rewritten)


def _first(facts: Sequence[Fact]) -> dict[Canonical, Fact]:
    """The first fact of each canonical form, negations left out."""
    forms: dict[Canonical, Fact] = {}
    for fact in facts:
        if fact.kind != "negation":
            forms.setdefault(canonical(fact), fact)
    return forms


def _stated(before: Sequence[Fact], after: Sequence[Fact]) -> list[Difference]:
    """Facts that only one text has; one of each of a kind make a change."""
    source, rewritten = _first(before), _first(after)
    missing = [fact for form, fact in source.items() if form not in rewritten]
    added = [fact for form, fact in rewritten.items() if form not in source]
    found = []
    for fact in missing:
        partner = next((other for other in added if _alike(other, fact)), None)
        if partner is not None:
            added.remove(partner)
        found.append(Difference("changed" if partner else "missing", fact.kind, fact, partner))
    return found + [Difference("added", fact.kind, None, fact) for fact in added]


def _alike(one: Fact, other: Fact) -> bool:
    """Whether one may be the other, changed: of one kind, and for names none."""
    return one.kind == other.kind and one.kind not in _MEDICINES


def _polarity(before: Sequence[Fact], after: Sequence[Fact]) -> list[Difference]:
    """Drugs and vaccines that are negated throughout one text and nowhere in the other."""
    found = []
    rewritten = {(fact.kind, fact.name): fact for fact in reversed(after) if fact.kind in _MEDICINES}
    for (kind, name), fact in {(f.kind, f.name): f for f in reversed(before) if f.kind in _MEDICINES}.items():
        other = rewritten.get((kind, name))
        if other is not None and _negated(before, kind, name).isdisjoint(_negated(after, kind, name)):
            found.append(Difference("changed", kind, fact, other))
    return found


def _negated(facts: Sequence[Fact], kind: str, name: str) -> set[bool]:
    return {fact.negated for fact in facts if fact.kind == kind and fact.name == name}


def _owners(before: Sequence[Fact], after: Sequence[Fact]) -> list[Difference]:
    """Amounts that both texts state, but of different drugs."""
    source, rewritten = _owned(before), _owned(after)
    found = []
    for form, (fact, names) in source.items():
        other = rewritten.get(form)
        if other is not None and names and other[1] and names.isdisjoint(other[1]):
            found.append(Difference("changed", fact.kind, fact, other[0]))
    return found


def _owned(facts: Sequence[Fact]) -> dict[Canonical, tuple[Fact, set[str]]]:
    """Each amount with the drugs that it directly follows."""
    owned: dict[Canonical, tuple[Fact, set[str]]] = {}
    drug = ""
    for fact in facts:
        if fact.kind in _MEDICINES:
            drug = fact.name
        elif fact.kind in _OWNED:
            names = owned.setdefault(canonical(fact), (fact, set()))[1]
            if drug:
                names.add(drug)
    return owned


def _negations(before: Sequence[Fact], after: Sequence[Fact], source: str, rewritten: str) -> list[Difference]:
    """Negations whose scope the other text does not negate; `changed` where it states the scope without negation."""
    first = [fact for fact in before if fact.kind == "negation"]
    second = [fact for fact in after if fact.kind == "negation"]
    found = [
        Difference(change, "negation", fact, None)
        for fact in first
        if (change := _lost(fact, second, rewritten, "missing"))
    ]
    return found + [
        Difference(change, "negation", None, fact) for fact in second if (change := _lost(fact, first, source, "added"))
    ]


def _lost(fact: Fact, others: Sequence[Fact], text: str, otherwise: str) -> str:
    """What became of the findings that a negation reaches over; "" where all are still negated."""
    negated = [item for other in others for item in _scope_items(other)]
    lost = [item for item in _scope_items(fact) if not any(_same(item, other) for other in negated)]
    if not lost:
        return ""
    return "changed" if any(item in _plain(text) for item in lost) else otherwise


def _scope_items(fact: Fact) -> list[str]:
    """The findings in a scope, in plain words: 发热 and 咳嗽 of 无发烧、咳嗽."""
    scope = fact.text.removeprefix(fact.name) if fact.text.startswith(fact.name) else fact.text.removesuffix(fact.name)
    return [item for part in _ITEMS.split(scope) if (item := _plain(part))]


@functools.lru_cache(maxsize=4096)
def _plain(text: str) -> str:
    """A text without fillers, with one word for each meaning."""
    lists = load("negation")
    for word, other in lists["synonyms"].items():
        text = text.replace(word, other)
    for filler in lists["fillers"]:
        text = text.replace(filler, "")
    return text.strip()


def _same(one: str, other: str) -> bool:
    shorter, longer = sorted((set(one), set(other)), key=len)
    return len(shorter & longer) >= _SAME_SCOPE * len(shorter)
