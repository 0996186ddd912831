"""The fidelity check: what a teacher wrote against what it was given (data contract: nothing lost, nothing new).

Numbers, units, bounds, drugs, doses and negations are compared by the one extractor of facts, doses and times also with
what they belong to; diseases, symptoms and examinations by the dictionaries beside this file. It is a filter on content
words: a sentence that changes the sense without changing any of these passes it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any, Literal

import yaml

from pediatricsgpt import text as chinese
from pediatricsgpt.corpus.build.owners import Owned, form, is_dosing, moved, owned
from pediatricsgpt.facts import Fact, extract
from pediatricsgpt.facts.quantities import relation_of

Mode = Literal["grounded", "complete", "step"]
KINDS = ("disease", "symptom", "check")
_NAMED = ("drug", "vaccine")
_DIGITS = re.compile(r"\d+(?:\.\d+)?")
_MIN_DENIED = 2
_NUMERALS = {
    str(value): numerals for value, numerals in enumerate(["一", "二两", "三", "四", "五", "六", "七", "八", "九"], 1)
}
_CLAUSE = re.compile(r"[^，。；！？,;!?\n]*[，。；！？,;!?\n]?")


def check(source: str, new: str, mode: Mode, context: str = "", own: str = "") -> list[str]:
    """Why a rewritten text must not be kept: `kind: detail` each, an empty list where it may.

    Args:
        source: what it was made from.
        new: what the teacher wrote.
        mode: `grounded`: only what the source says, parts may be left out (role play). `complete`: also everything
            that it says (reconstruction). `step`: as `complete`, and a sentence that says when to see a doctor may be
            new, with symptoms but without drugs and numbers (a step of progressive reconstruction).
        context: what else the teacher was given and may repeat, for example a caregiver's turns before; but no dose and
            no frequency: what a caregiver asks about is not what the doctor advised.
        own: what the same speaker said before; all of it may be repeated.
    """
    before, after = _Said(source), _Said(new)
    given = _Said(f"{source}\n{own}") if own else before
    heard = _Said(context) if context else None
    reasons = [*_added(given, heard, after, mode == "step"), *_turned(before, after)]
    strays = list(moved(given.owned, after.owned))
    if mode != "grounded":
        reasons += _missing(before, after)
        strays += moved(after.owned, before.owned)
    told = {reason.partition(": ")[2] for reason in reasons}
    reasons += [f"changed {one.fact.kind}: {one}" for one in strays if not one.owners <= told]
    return list(dict.fromkeys(reasons))


@dataclass(frozen=True, slots=True)
class Entity:
    """A disease, symptom or examination in a text; `denied` is None where it is only asked for."""

    name: str
    kind: str
    denied: bool | None
    net: bool


class _Said:
    """A text with everything that is compared."""

    def __init__(self, text: str) -> None:
        self.text = chinese.normalise(re.sub(_rules()["numbering"], "\n", text, flags=re.MULTILINE))
        self.facts = [_bounded(fact, self.text) for fact in extract(self.text)]
        self.plain = _synonyms().sub(lambda match: _canonical()[match.group()], self.text)
        self.entities = list(entities(self.plain))
        self.numbers = [match.group() for match in _DIGITS.finditer(self.text) if not self._in_fact(match.start())]
        self.valued = [fact for fact in self.facts if fact.value is not None]
        self.forms = {form(fact) for fact in self.valued}
        self.free_forms = {form(fact) for fact in self.valued if not is_dosing(fact)}
        self.named: dict[tuple[str, str], set[bool]] = {}
        for fact in self.facts:
            if fact.kind in _NAMED:
                self.named.setdefault((fact.kind, fact.name or fact.text), set()).add(fact.negated)

    def _in_fact(self, place: int) -> bool:
        return any(fact.start <= place < fact.end for fact in self.facts)

    @property
    def denials(self) -> Iterator[str]:
        """What the text denies or forbids (不用输液: 输液)."""
        for fact in self.facts:
            words = fact.text.removeprefix(fact.name).strip()
            if fact.kind == "negation" and len(words) >= _MIN_DENIED:
                yield words

    def denied(self, words: str) -> int:
        """How often the words stand inside a negation."""
        return sum(fact.text.count(words) for fact in self.facts if fact.kind == "negation")

    @functools.cached_property
    def owned(self) -> list[Owned]:
        """Doses, frequencies and times with what they belong to."""
        facts = self.facts if self.plain == self.text else extract(self.plain)
        return owned(self.plain, facts, lambda clause: ((place, _bare(name)) for place, name in _named(clause)))

    def says(self, fact: Fact, dosing: bool = True) -> bool:
        """Whether a valued fact is here, as the same value or in the same words; `dosing`: also as a dose."""
        return form(fact) in (self.forms if dosing else self.free_forms) or self._words(fact, dosing)

    def _words(self, fact: Fact, dosing: bool) -> bool:
        """Whether the words of a fact are here with its value and bound, as a fact of another kind."""
        return any(self._same_words(fact, match.start(), dosing) for match in _whole(fact.text).finditer(self.text))

    def _same_words(self, fact: Fact, place: int, dosing: bool) -> bool:
        holder = next((one for one in self.valued if one.start <= place < one.end), None)
        if holder is None:
            return True
        if is_dosing(holder) and (is_dosing(fact) or not dosing):
            return False  # of two doses the forms decide: 10mg is not 10mg/kg
        same = (holder.value, holder.high, holder.relation[:1]) == (fact.value, fact.high, fact.relation[:1])
        return same and (holder.kind != fact.kind or holder.unit == fact.unit)

    def spells(self, fact: Fact, where: str) -> bool:
        """Whether a bare number (3种) is here as a Chinese numeral before the same word (三种)."""
        if fact.kind != "number" or fact.text not in _NUMERALS:
            return False
        behind = where[fact.end : fact.end + 1]
        return bool(behind.strip()) and any(numeral + behind in self.text for numeral in _NUMERALS[fact.text])

    def has(self, words: str) -> bool:
        """Whether the words are here, not as a part of a longer number."""
        return bool(_whole(words).search(self.text))

    def names(self, entity: Entity) -> bool:
        """Whether an entity is here, with or without whose it is."""
        return entity.name in self.plain or _bare(entity.name) in self.plain


def _bounded(fact: Fact, text: str) -> Fact:
    """A bare number with its bound as well (超过38.5)."""
    return replace(fact, relation=relation_of(text, fact.start, fact.end)) if fact.kind == "number" else fact


def _whole(words: str) -> re.Pattern[str]:
    """The words, not as a part of a longer number."""
    return re.compile(rf"(?<![\d.]){re.escape(words)}(?![\d.]*\d)")


def _added(given: _Said, heard: _Said | None, after: _Said, free: bool) -> Iterator[str]:
    both = [given, heard] if heard else [given]
    for fact in after.valued:
        free_of = fact.text in _rules()["free_numbers"] or any(said.spells(fact, after.text) for said in both)
        repeated = heard is not None and not is_dosing(fact) and heard.says(fact, dosing=False)
        if not (given.says(fact) or repeated or free_of):
            yield f"added {fact.kind}: {fact.text}"
    for kind, name in after.named:
        if not any((kind, name) in said.named for said in both):
            yield f"added {kind}: {name}"
    for number in after.numbers:
        if not any(said.has(number) for said in both) and number not in _rules()["free_numbers"]:
            yield f"added number: {number}"
    for entity in after.entities:
        if not (any(said.names(entity) for said in both) or (free and entity.net)):
            yield f"added {entity.kind}: {entity.name}"


def _missing(before: _Said, after: _Said) -> Iterator[str]:
    for fact in before.valued:
        if not after.says(fact) and not after.spells(fact, before.text):
            yield f"missing {fact.kind}: {fact.text}"
    for kind, name in before.named:
        if (kind, name) not in after.named:
            yield f"missing {kind}: {name}"
    for number in before.numbers:
        if not after.has(number):
            yield f"missing number: {number}"
    for entity in before.entities:
        if not after.names(entity):
            yield f"missing {entity.kind}: {entity.name}"


def _turned(before: _Said, after: _Said) -> Iterator[str]:
    """What is denied or forbidden on one side and said or advised on the other."""
    for key, polarity in before.named.items():
        if len(polarity) == 1 and len(after.named.get(key, ())) == 1 and polarity != after.named[key]:
            yield f"changed negation: {key[1]}"
    said, now = _polarities(before.entities), _polarities(after.entities)
    for name, polarity in said.items():
        if len(polarity) == 1 and len(now.get(name, ())) == 1 and polarity != now[name]:
            yield f"changed negation: {name}"
    yield from (f"changed negation: {words}" for words in before.denials if _said_instead(words, before, after))
    yield from (f"changed negation: {words}" for words in after.denials if _said_instead(words, after, before))


def _said_instead(words: str, denying: _Said, other: _Said) -> bool:
    """Whether the other text denies something less often than this one, and says it more often."""
    denied, less = denying.denied(words), other.denied(words)
    return less < denied and other.text.count(words) - less > denying.text.count(words) - denied


def _polarities(found: Iterable[Entity]) -> dict[str, set[bool]]:
    polarities: dict[str, set[bool]] = {}
    for entity in found:
        if entity.denied is not None and not entity.net:
            polarities.setdefault(entity.name, set()).add(entity.denied)
    return polarities


def entities(text: str) -> Iterator[Entity]:
    """Diseases, symptoms and examinations that a text names, the longest name at each place."""
    kinds = _names()[0]
    denial, neutral = re.compile(_rules()["denial"]), re.compile(_rules()["neutral"])
    for sentence in chinese.sentences(text):
        net = bool(_safety_net().search(sentence))
        for clause in _CLAUSE.findall(sentence):
            asks = bool(re.search(_rules()["question"], clause))
            for place, name in _named(clause):
                ahead = clause[:place]
                denied = None if asks or neutral.search(ahead) else bool(denial.search(ahead))
                yield Entity(name, kinds[name], denied, net)


def _named(clause: str) -> Iterator[tuple[int, str]]:
    """The names in a clause with their places, the longest at each."""
    names, longest = _names()
    place = 0
    while place < len(clause):
        lengths = longest.get(clause[place : place + 2], ())
        name = next((clause[place : place + n] for n in lengths if clause[place : place + n] in names), "")
        if name:
            yield place, name
        place += len(name) or 1


def _bare(name: str) -> str:
    return re.sub(_rules()["prefixes"], "", name) or name


@functools.cache
def _rules() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("fidelity.yaml").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    return content


@functools.cache
def _safety_net() -> re.Pattern[str]:
    return re.compile(_rules()["safety_net"])


@functools.cache
def _canonical() -> dict[str, str]:
    return {word: line[0] for line in _rules()["synonyms"] for word in line}


@functools.cache
def _synonyms() -> re.Pattern[str]:
    return re.compile("|".join(sorted(map(re.escape, _canonical()), key=len, reverse=True)))


@functools.cache
def _names() -> tuple[dict[str, str], dict[str, list[int]]]:
    """The kind of each name, and by the first two characters the lengths of names, longest first."""
    names: dict[str, str] = {}
    folder = resources.files(__package__).joinpath("entities")
    for kind in reversed(KINDS):  # what is a disease as well counts as one
        for name in folder.joinpath(f"{kind}.txt").read_text(encoding="utf-8").splitlines():
            if not name.startswith("#"):
                names[name] = kind
    for line in _rules()["synonyms"]:
        names.setdefault(line[0], "symptom")
    for word in _rules()["common"]:
        names.pop(word, None)
    lengths: dict[str, set[int]] = {}
    for name in names:
        lengths.setdefault(name[:2], set()).add(len(name))
    return names, {start: sorted(found, reverse=True) for start, found in lengths.items()}
