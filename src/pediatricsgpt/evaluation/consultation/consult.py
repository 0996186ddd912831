"""The consultations themselves: all open ones advance together, one batch of the model a round.

Each round's answers are kept as they come (`rounds/`), and everything else follows from them: a run that was killed
is played again up to where it was, without the model, and goes on with the same answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pediatricsgpt.evaluation.consultation.card import Card
from pediatricsgpt.evaluation.consultation.caregiver import Caregiver, Reply, Turn
from pediatricsgpt.evaluation.consultation.data import lists, prompt
from pediatricsgpt.evaluation.consultation.hearing import hear
from pediatricsgpt.manifest import digest, disk_errors, write_atomically
from pediatricsgpt.models.answers import Answerer, CutOff, Prompt, Unanswered, answer_all
from pediatricsgpt.records import Message

VERSION = 1
MAX_TURNS = 10
ROUNDS = "rounds"
TRANSCRIPTS = "transcripts.jsonl"


@dataclass(slots=True)
class Consultation:
    """One card's consultation.

    Args:
        card: what the caregiver knows.
        messages: from the caregiver's opening on, turn by turn, without the instruction to the model.
        notes: for each turn of the model that was answered: what was told and asked.
        ended: `concluded`, `max_turns`, `window` (the model's window is full); None while it goes on.
    """

    card: Card
    messages: list[Message]
    notes: list[dict[str, Any]] = field(default_factory=list)
    ended: str | None = None

    @property
    def told(self) -> frozenset[str]:
        """Ids of all facts that were told, volunteered ones too."""
        volunteered = {fact.id for fact in self.card.facts if fact.volunteered}
        return frozenset(volunteered.union(*(note["told"] for note in self.notes)))

    @property
    def turns(self) -> list[str]:
        """What the model said."""
        return [message["content"] for message in self.messages if message["role"] == "assistant"]

    def as_dict(self) -> dict[str, Any]:
        """A line of the transcripts."""
        return {"card": self.card.id, "messages": self.messages, "notes": self.notes, "ended": self.ended}


def consult(
    engine: Answerer,
    cards: Sequence[Card],
    caregiver: Caregiver,
    folder: Path,
    max_turns: int = MAX_TURNS,
    advance: Callable[[int], None] = lambda _: None,
    failed_as_empty: bool = False,
) -> list[Consultation]:
    """Let a model lead a consultation on each card.

    A consultation ends when the model concludes (gives a diagnosis or advice and asks nothing), after `max_turns` turns
    of the model, or when its window is full. Before the last turn the caregiver asks for the conclusion.

    Args:
        engine: the model under test.
        cards: the cases.
        caregiver: who answers.
        folder: where answers and transcripts are kept; the same folder goes on with what it holds.
        max_turns: of the model, at most.
        advance: told how many consultations have just ended.
        failed_as_empty: a turn that a server will not answer counts as an empty one.

    Raises:
        UserError: the model or the caregiver's endpoint cannot be used, or the folder cannot be written.
        Unanswered: some turns got no answer, and `failed_as_empty` is not set; the same call asks for these again.
    """
    found = [Consultation(card, [Message(role="user", content=card.opening)]) for card in cards]
    with disk_errors(folder):
        (folder / ROUNDS).mkdir(parents=True, exist_ok=True)
        for number in range(1, max_turns + 1):
            open_ = _that_fit(engine, [one for one in found if one.ended is None])
            if not open_:
                break
            answers = _answers(engine, open_, folder / ROUNDS / f"{number:02d}.jsonl", failed_as_empty)
            _round(open_, answers, caregiver, number, max_turns)
            _write_transcripts(found, folder)
            advance(sum(one.ended is not None for one in open_))
        _write_transcripts(found, folder)
    return found


def signature(engine: Answerer, cards: Sequence[Card], caregiver: Caregiver, max_turns: int) -> str:
    """What the results depend on, in one line: versions, cards, model, caregiver, turns."""
    doctor = prompt("doctor")
    parts = [
        f"consultations:{VERSION}",
        f"cards:{len(cards)}:{digest([card.model_dump() for card in cards])[:12]}",
        f"model:{digest(engine.signature)[:12]}",
        f"caregiver:{caregiver.name}:{digest(caregiver.signature)[:12]}",
        f"instruction:{doctor.version}:{doctor.sha256[:12]}",
        f"topics:{lists('topics')['version']}",
        f"speech:{lists('speech')['version']}",
        f"max_turns:{max_turns}",
    ]
    return "|".join(parts)


def _that_fit(engine: Answerer, consultations: Sequence[Consultation]) -> list[Consultation]:
    """Those that the model can still read; the others end here."""
    for one in consultations:
        if not engine.fits(_instructed(one)):
            one.ended = "window"
    return [one for one in consultations if one.ended is None]


def _instructed(one: Consultation) -> list[Message]:
    return [Message(role="system", content=prompt("doctor").sections[""]), *one.messages]


def _answers(engine: Answerer, open_: Sequence[Consultation], path: Path, failed_as_empty: bool) -> list[str]:
    prompts = [Prompt(one.card.id, _instructed(one)) for one in open_]
    try:
        answers = answer_all(engine, prompts, path)
    except Unanswered as error:
        if not failed_as_empty:
            raise
        found = {**error.answers, **dict.fromkeys(error.reasons, "")}
        answers = [found[index] for index in range(len(prompts))]
    return [_writable(answer) for answer in answers]


def _writable(answer: str) -> str:
    """Half a character, which a model may say, would break every file that it is written to."""
    text = answer.encode("utf-8", "replace").decode("utf-8")
    return CutOff(text) if isinstance(answer, CutOff) else text


def _round(
    open_: Sequence[Consultation], answers: Sequence[str], caregiver: Caregiver, number: int, max_turns: int
) -> None:
    waiting: list[tuple[Consultation, str, Turn]] = []
    for one, answer in zip(open_, answers, strict=True):
        told = one.told
        one.messages.append(Message(role="assistant", content=str(answer)))
        heard = hear(answer)
        if heard.concludes or number == max_turns:
            one.ended = "concluded" if heard.concludes else "max_turns"
            one.notes.append(_note(number, answer, (), heard.topics))
        else:
            waiting.append((one, answer, Turn(one.card, tuple(one.messages), heard, told)))
    replies = caregiver.replies([turn for *_, turn in waiting])
    for (one, answer, _), reply in zip(waiting, replies, strict=True):
        one.messages.append(Message(role="user", content=_words(reply, last=number == max_turns - 1)))
        extra = {} if reply.replaced is None else {"replaced": reply.replaced}
        one.notes.append(_note(number, answer, reply.told, reply.asked) | extra)


def _words(reply: Reply, last: bool) -> str:
    """What the caregiver says; before the model's last turn it asks for the conclusion, once."""
    speech = lists("speech")["caregiver"]
    if not last:
        return reply.text
    ask = str(speech["last"])
    if reply.text == speech["so_what"]:
        return ask
    # Nobody calls the doctor twice in one breath
    return reply.text + (ask.removeprefix("医生，") if reply.text.startswith("医生") else ask)


def _note(number: int, answer: str, told: Sequence[str], asked: Sequence[str]) -> dict[str, Any]:
    note: dict[str, Any] = {"turn": number, "told": list(told), "asked": list(asked)}
    return note | ({"cut_off": True} if isinstance(answer, CutOff) else {})


def _write_transcripts(consultations: Sequence[Consultation], folder: Path) -> None:
    lines = [json.dumps(one.as_dict(), ensure_ascii=False) + "\n" for one in consultations]
    write_atomically(folder / TRANSCRIPTS, "".join(lines))
