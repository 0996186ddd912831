"""A caregiver by rules: says what its card holds on what is asked, and nothing else. The same turn, the same answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pediatricsgpt.evaluation.consultation.card import BASICS, Card, Fact
from pediatricsgpt.evaluation.consultation.data import lists
from pediatricsgpt.evaluation.consultation.hearing import Heard
from pediatricsgpt.records import Message


@dataclass(frozen=True, slots=True)
class Turn:
    """A doctor's turn that waits for the caregiver.

    Args:
        card: what the caregiver knows.
        messages: the consultation so far, from the opening to the doctor's turn.
        heard: what that turn asks.
        told: ids of the facts that were told before, volunteered ones too.
    """

    card: Card
    messages: Sequence[Message]
    heard: Heard
    told: frozenset[str]


@dataclass(frozen=True, slots=True)
class Reply:
    """What the caregiver says.

    Args:
        text: the words.
        told: ids of the facts in it.
        asked: topics that the doctor's turn asked for.
        replaced: why these are the rules' words and not the endpoint's; None where they are what was asked for.
    """

    text: str
    told: tuple[str, ...]
    asked: tuple[str, ...]
    replaced: str | None = None


class Caregiver(Protocol):
    """Whoever answers for the card."""

    @property
    def name(self) -> str:
        """`rules`, or the model's name."""

    @property
    def signature(self) -> list[Any]:
        """What its answers depend on besides card and turn."""

    def replies(self, turns: Sequence[Turn]) -> list[Reply]:
        """One reply to each turn."""


class RuleCaregiver:
    """Answers from the card alone, by the word lists of `topics.yaml`."""

    name = "rules"

    @property
    def signature(self) -> list[Any]:
        """The versions of the word lists."""
        return ["rules", lists("topics")["version"], lists("speech")["version"]]

    def replies(self, turns: Sequence[Turn]) -> list[Reply]:
        """One reply to each turn."""
        return [reply(turn) for turn in turns]


def reply(turn: Turn) -> Reply:
    """What the rules say: facts on what is asked, "no" and "I do not know" where the card says so."""
    speech = lists("speech")["caregiver"]
    facts = asked_facts(turn)
    parts = list(_parts(turn, facts))
    if not parts and turn.heard.questions:
        parts = [speech["unclear"]]
    elif not parts:
        said = turn.messages[-1]["content"].strip() if turn.messages else ""
        parts = [speech["so_what"] if said else speech["waiting"]]
    return Reply("".join(parts), tuple(fact.id for fact in facts), turn.heard.topics)


def asked_facts(turn: Turn) -> list[Fact]:
    """The facts that this turn asks for, in the order of its topics.

    An open question (还有其他不舒服吗) brings one fact that was not told yet, of those that it may bring.
    """
    found: dict[str, Fact] = {}
    for topic in turn.heard.topics:
        if topic != "open":
            found |= {fact.id: fact for fact in turn.card.facts if topic in fact.topics}
    words = "\n".join(turn.heard.questions)
    found |= {fact.id: fact for fact in turn.card.facts if any(word in words for word in fact.words)}
    if "open" in turn.heard.topics:
        new = [fact for fact in turn.card.facts if "open" in fact.topics and fact.id not in turn.told | set(found)]
        found |= {fact.id: fact for fact in new[:1]}
    return list(found.values())


def _parts(turn: Turn, facts: Sequence[Fact]) -> Iterator[str]:
    """The sentences of an answer, each once, in the order in which they were asked for."""
    speech = lists("speech")["caregiver"]
    waiting = {fact.id: fact for fact in facts}
    again = False
    for topic in turn.heard.topics:
        if topic in BASICS:
            yield _basic(turn.card, topic)
        mine = [fact for fact in waiting.values() if topic in fact.topics]
        for fact in mine:
            del waiting[fact.id]
            repeated = fact.id in turn.told
            yield (speech["again"] if repeated and not again else "") + fact.text
            again = again or repeated
        answered = mine or topic in BASICS or any(topic in fact.topics for fact in facts)
        if not answered:
            yield speech["nothing_else"] if topic == "open" else without_facts(turn.card, topic)
    yield from (fact.text for fact in waiting.values())


def _basic(card: Card, topic: str) -> str:
    if topic == "age":
        return f"{card.age}。"
    if topic == "sex":
        return "是个男孩。" if card.sex == "男" else "是个女孩。"
    if topic == "weight":
        return f"{card.weight}。" if card.weight else without_facts(card, topic)
    return card.duration


def without_facts(card: Card, topic: str) -> str:
    """The answer on a topic on which the card holds no fact: no, or that the caregiver does not know."""
    words: dict[str, Any] = lists("topics")["topics"][topic]
    return str(words["absent"] if topic in card.absent else words["unknown"])
