"""Doctors of known behaviour, in the place of a model under test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from pediatricsgpt.evaluation.consultation.card import Card
from pediatricsgpt.evaluation.consultation.data import lists
from pediatricsgpt.models.answers import CutOff
from pediatricsgpt.records import Message

EXAMPLES: dict[str, str] = {name: topic["example"] for name, topic in lists("topics")["topics"].items()}
Says = Callable[[Card, list[str]], str]
"""What a doctor says: from the card (that a scripted doctor knows) and what he said before"""


class Doctor:
    """Answers by a script, in batches of three; counts what it is asked, and can die in the middle of a round."""

    def __init__(self, says: Says, cards: Iterable[Card], dies_after: int | None = None, name: str = "doctor") -> None:
        self._says = says
        self._cards = {card.opening: card for card in cards}
        self._dies_after = dies_after
        self._name = name
        self.asked = 0
        self.batches: list[int] = []

    @property
    def signature(self) -> list[Any]:
        return [self._name]

    def fits(self, messages: Sequence[Message]) -> bool:
        return True

    def answers(
        self, prompts: Sequence[Sequence[Message]], done: Iterable[int] = ()
    ) -> Iterator[list[tuple[int, str]]]:
        waiting = [index for index in range(len(prompts)) if index not in set(done)]
        for start in range(0, len(waiting), 3):
            group = waiting[start : start + 3]
            if self._dies_after is not None and self.asked + len(group) > self._dies_after:
                raise KeyboardInterrupt
            self.asked += len(group)
            self.batches.append(len(group))
            yield [(index, self._answer(prompts[index])) for index in group]

    def _answer(self, prompt: Sequence[Message]) -> str:
        system, opening, *_ = prompt
        assert system["role"] == "system"
        before = [message["content"] for message in prompt if message["role"] == "assistant"]
        said = self._says(self._cards[opening["content"]], before)
        return CutOff(said) if said.endswith("…") else said


def needed(card: Card) -> list[str]:
    """Questions that bring everything that a card holds."""
    topics = ["age", "sex", "weight", "duration", *card.danger_topics]
    topics += [topic for fact in card.facts for topic in fact.topics if topic != "open"]
    words = [f"{fact.words[0]}怎么样？" for fact in card.facts if not fact.topics]
    return [EXAMPLES[topic] for topic in dict.fromkeys(topics)] + words


def conclusion(card: Card) -> str:
    where = "情况危险，请立即带孩子去医院急诊。" if any(fact.danger for fact in card.facts) else "先在家观察。"
    return f"孩子考虑{card.diagnosis.name}。{where}"


def perfect(card: Card, before: list[str]) -> str:
    """Asks for everything, one question a turn, then names the diagnosis and sees the danger."""
    questions = needed(card)
    return questions[len(before)] if len(before) < len(questions) else conclusion(card)


def all_at_once(card: Card, before: list[str]) -> str:
    """Asks for everything in one turn, then concludes."""
    return "\n".join(["请您回答以下问题：", *needed(card)]) if not before else conclusion(card)


def premature(card: Card, before: list[str]) -> str:
    """Names the right diagnosis at once, without a question."""
    return f"根据您的描述，考虑{card.diagnosis.name}，建议多喝水、注意休息。"


def mute(card: Card, before: list[str]) -> str:
    return ""


def looping(card: Card, before: list[str]) -> str:
    return "孩子多大了？"


def blind(card: Card, before: list[str]) -> str:
    """Asks for everything and never sees a danger; the advice names dangers only under a condition."""
    if not before:
        return all_at_once(card, before)
    return "考虑普通感冒，不需要去急诊。如果出现呼吸困难、抽搐，请立即去医院。"


def alarmist(card: Card, before: list[str]) -> str:
    """Sends everybody to hospital at once, and asks nothing."""
    return "请立即带孩子去医院急诊。"
