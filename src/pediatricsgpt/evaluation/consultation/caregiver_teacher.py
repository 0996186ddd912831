"""A caregiver played by a language model, held to its card: what it may not say is not let through.

The rules decide which facts a turn asks for; the model only words them. An answer that holds another fact of the card,
or a diagnosis, is asked for once more, and then the rules' own words stand in its place and are counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from pediatricsgpt import text as chinese
from pediatricsgpt.endpoint import Answer, Endpoint, Failure, Request
from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.consultation.card import BASICS, Card, Fact
from pediatricsgpt.evaluation.consultation.caregiver import Reply, Turn, asked_facts, reply
from pediatricsgpt.evaluation.consultation.data import lists, prompt
from pediatricsgpt.evaluation.paid import server_failed

LEAK_SHARE = 0.5
"""Share of a fact's own pairs of characters that an answer must hold to count as telling it"""
TOLD_SHARE = 0.2
"""Share that it must hold where it says itself that it told the fact"""
LONGEST = 300
"""Characters of an answer, beside what the rules would say"""
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_NONE = "（无）"
_REPAIR = "注意：上一次的回答不合要求（{problem}）。请只回答医生这一次问到的内容，不要提其他情况，不要说病名。"


class Said(BaseModel):
    """The form of an answer."""

    reply: str
    told: list[str] = []


class TeacherCaregiver:
    """Words the card's facts by an endpoint.

    Args:
        endpoint: who plays the caregiver; its paid answers are kept, so that the same turn gets the same words.
        deidentified: whether cards may leave this machine where the endpoint is on another one: cards that are about
            no patient.
    """

    def __init__(self, endpoint: Endpoint, deidentified: bool = False) -> None:
        self._endpoint = endpoint
        self._deidentified = deidentified

    @property
    def name(self) -> str:
        """The model's name."""
        return self._endpoint.name

    @property
    def signature(self) -> list[Any]:
        """Address, model, temperature, prompt and word lists."""
        settings = self._endpoint.settings
        own = prompt("caregiver")
        versions = [lists("topics")["version"], lists("speech")["version"]]
        return [settings.base_url, settings.model, settings.temperature, own.version, own.sha256, *versions]

    def replies(self, turns: Sequence[Turn]) -> list[Reply]:
        """One reply to each turn; turns that ask nothing get the rules' words, which need no model.

        Raises:
            UserError, BudgetReached: as `Endpoint.ask_all`; or the server failed on some turns, for which another
                run may get an answer: words in their place would make that run another one. What is paid for is kept.
        """
        found = {place: reply(turn) for place, turn in enumerate(turns)}
        waiting = [place for place, turn in enumerate(turns) if turn.heard.topics or asked_facts(turn)]
        reasons = dict.fromkeys(waiting, "")
        for _ in range(2):
            asked = list(reasons)
            results = self._endpoint.ask_all([self._request(turns[place], reasons[place]) for place in asked])
            self._check(results)
            for place, result in zip(asked, results, strict=True):
                said = _said(result, turns[place])
                if isinstance(said, Reply):
                    found[place] = said
                    del reasons[place]
                else:
                    reasons[place] = said
        for place, reason in reasons.items():
            own = found[place]
            found[place] = Reply(own.text, own.told, own.asked, reason)
        return [found[place] for place in range(len(turns))]

    def _check(self, results: Sequence[Answer | Failure]) -> None:
        failed = [one.reason for one in results if isinstance(one, Failure) and server_failed(one)]
        if failed:
            raise UserError(
                f"the caregiver's server did not answer {len(failed)} of {len(results)} turns ({failed[0]}); nothing "
                "that was paid for is lost, run again to go on",
                self._endpoint.settings.base_url,
            )

    def _request(self, turn: Turn, problem: str) -> Request:
        sections = prompt("caregiver").sections
        user = sections["user"].format(**_filled(turn))
        if problem:
            user += "\n\n" + _REPAIR.format(problem=problem)
        # The system section shows the form of the answer, with doubled braces as the other one has
        messages = [
            {"role": "system", "content": sections["system"].format()},
            {"role": "user", "content": user},
        ]
        return Request(messages, Said, self._deidentified)


def _filled(turn: Turn) -> dict[str, str]:
    card, topics = turn.card, lists("topics")["topics"]
    facts = asked_facts(turn)
    allowed = [f"[{topic}] {_basic(card, topic)}" for topic in turn.heard.topics if topic in BASICS]
    allowed += [f"[{fact.id}] {fact.text}" for fact in facts]
    bare = [topic for topic in turn.heard.topics if topic not in BASICS and not _answers(topic, facts)]
    *before, last = turn.messages
    return {
        "who": card.who,
        "allowed": "\n".join(allowed) or _NONE,
        "absent": "、".join(topics[topic]["label"] for topic in bare if topic in card.absent) or _NONE,
        "unknown": "、".join(topics[topic]["label"] for topic in bare if topic not in card.absent) or _NONE,
        "dialogue": "\n".join(f"{'医生' if m['role'] == 'assistant' else '家长'}：{m['content']}" for m in before),
        "asked": last["content"],
    }


def _answers(topic: str, facts: Sequence[Fact]) -> bool:
    return any(topic in fact.topics for fact in facts)


def _basic(card: Card, topic: str) -> str:
    values = {"age": card.age, "sex": card.sex, "weight": card.weight or "不清楚", "duration": card.duration}
    return values[topic]


def _said(result: Answer | Failure, turn: Turn) -> Reply | str:
    """The model's reply, or why it cannot stand."""
    if isinstance(result, Failure):
        return f"no answer: {result.reason}"
    value = result.value
    assert isinstance(value, Said)
    facts = asked_facts(turn)
    problem = next(_problems(value, turn, facts), None)
    if problem:
        return problem
    told = tuple(fact.id for fact in facts if fact.id in value.told or _share(value.reply, fact, "") >= LEAK_SHARE)
    return Reply(value.reply.strip(), told, turn.heard.topics)


def _problems(said: Said, turn: Turn, facts: Sequence[Fact]) -> Iterator[str]:
    if not said.reply.strip():
        yield "empty: 没有回答"
    if len(said.reply) > LONGEST + len(reply(turn).text):
        yield "too long: 太长"
    card = turn.card
    named = [name for name in [*card.diagnosis.names, *card.diagnosis.differentials] if name in said.reply]
    # A name that the doctor or the card's own words brought up is no secret any more
    heard = [message["content"] for message in turn.messages] + [fact.text for fact in facts]
    if leaked := next((name for name in named if not any(name in words for words in heard)), None):
        yield f"diagnosis: 说了病名“{leaked}”"
    allowed = {fact.id for fact in facts} | turn.told
    if unknown := sorted(set(said.told) - {fact.id for fact in facts} - turn.told - set(BASICS)):
        yield f"fact not asked for: 说了没有问到的内容（{'、'.join(unknown)}）"
    known = "".join([*heard, card.age, card.duration, card.weight or ""])
    for fact in card.facts:
        if fact.id not in allowed and _share(said.reply, fact, known) >= LEAK_SHARE:
            yield f"fact not asked for: 说了没有问到的内容（{fact.id}）"
    for fact in facts:
        if fact.id in said.told and _share(said.reply, fact, "") < TOLD_SHARE:
            yield f"fact not told: 没有说出 {fact.id}"
    if missing := _changed_numbers(said, facts):
        yield f"numbers changed: 数字与病情卡不符（{missing}）"


def _share(words: str, fact: Fact, known: str) -> float:
    """The share of a fact's pairs of characters that an answer holds, of those that are not known already.

    A paraphrase without one word of the card gets through: this finds copies and near copies.
    """
    own = _pairs(fact.text) - _pairs(known)
    return len(own & _pairs(words)) / len(own) if own else 0.0


def _pairs(words: str) -> set[str]:
    key = chinese.key(words)
    return {key[place : place + 2] for place in range(len(key) - 1)}


def _changed_numbers(said: Said, facts: Sequence[Fact]) -> str:
    """Numbers of a fact that the answer says it told, but that are not in it, where it holds others in their place."""
    theirs = set(_NUMBER.findall(said.reply))
    for fact in facts:
        own = set(_NUMBER.findall(fact.text))
        if fact.id in said.told and own and theirs and not own & theirs:
            return fact.text
    return ""
