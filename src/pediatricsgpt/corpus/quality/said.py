"""What the filters and the score read of a record, with each measure taken at most once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from pediatricsgpt.corpus.quality import measures
from pediatricsgpt.corpus.quality.glance import HAN_COUNT, MAYBE_ODD, MAYBE_REPEATED, VISIBLE_COUNT, WORD_COUNT
from pediatricsgpt.corpus.quality.unsafe import unsafe_advice
from pediatricsgpt.records import Record

_UNKNOWN = -1.0  # no measure is below 0


@dataclass(slots=True)
class Said:
    """The sides of a dialogue, or a section as `whole`; and what a glance at its characters and words found.

    `visible`, `han`: characters of `whole`; `letters`: of the question's head. `odd`, `repeats` and `answer_repeats`
    are false where `whole` holds no trace of a wrong encoding, and where it or what is measured for repetition repeats
    nothing. `asked`, `told` are the words of question and answer that name an organ system.
    """

    record: Record
    whole: str
    question: str
    answers: list[str]
    answer: str
    visible: int = 0
    han: int = 0
    letters: int = 0
    odd: bool = True
    repeats: bool = True
    answer_repeats: bool = True
    asked: Sequence[str] = ()
    told: Sequence[str] = ()
    _synonym_noise: float = _UNKNOWN
    _promotion: float = _UNKNOWN
    _mismatch: float = _UNKNOWN
    _unsafe: str | None = None

    @property
    def han_share(self) -> float:
        """See `measures.han_share`, of the whole."""
        return 1 - (self.visible - self.han) / self.visible if self.visible else 0.0

    @property
    def garbled(self) -> float:
        """See `measures.garbled`, of the whole."""
        return measures.garbled(self.whole) if self.odd else 0.0

    @property
    def repetition(self) -> float:
        """See `measures.repetition`, of the answer or the section."""
        return measures.repetition(self.answer or self.whole) if self.answer_repeats else 0.0

    @property
    def repetition_of_whole(self) -> float:
        """See `measures.repetition`, of the whole."""
        return measures.repetition(self.whole) if self.repeats else 0.0

    @property
    def synonym_noise(self) -> float:
        """See `measures.synonym_noise`, of the whole."""
        if self._synonym_noise == _UNKNOWN:
            self._synonym_noise = measures.synonym_noise(self.whole)
        return self._synonym_noise

    @property
    def promotion(self) -> float:
        """See `measures.promotion`, of the answer."""
        if self._promotion == _UNKNOWN:
            self._promotion = measures.promotion(self.answer)
        return self._promotion

    @property
    def mismatch(self) -> float:
        """See `measures.mismatch`."""
        if self._mismatch == _UNKNOWN:
            self._mismatch = measures.mismatch_of(self.question, self.answer, self.asked, self.told)
        return self._mismatch

    @property
    def unsafe(self) -> str:
        """See `unsafe_advice`."""
        if self._unsafe is None:
            self._unsafe = unsafe_advice(self.question, self.answers, self.record.age_months)
        return self._unsafe


def said_of(records: Sequence[Record]) -> list[Said]:
    """What each record says."""
    said = list(map(_sides, records))
    _glance(said)
    for one, words in zip(said, measures.words_of([one.question for one in said]), strict=True):
        one.asked = words
    asking = [one for one in said if one.asked]
    for one, words in zip(asking, measures.words_of([one.answer for one in asking]), strict=True):
        one.told = words
    return said


def _sides(record: Record) -> Said:
    if not record.messages:
        fact = record.source.kind == "knowledge_graph"  # its entity and relation are what it says, too
        return Said(record, "\n".join([*record.title, record.text]) if fact else record.text, "", [], "")
    answering = record.chosen or record.messages
    answers = [turn["content"] for turn in answering if turn["role"] == "assistant"]
    question = "\n".join([turn["content"] for turn in record.messages if turn["role"] == "user"])
    answer = "\n".join(answers)
    return Said(record, f"{question}\n{answer}", question, answers, answer)


def _glance(said: Sequence[Said]) -> None:
    """Fill in what the characters tell: of all wholes, then of all answers (the ends of wholes), then of all heads."""
    count = len(said)
    ends = list(accumulate(len(one.whole) for one in said))
    starts = [0, *ends][:count]
    answers = [end - len(one.answer or one.whole) for one, end in zip(said, ends, strict=True)]
    heads = [start + min(len(one.question), measures.QUESTION_HEAD) for one, start in zip(said, starts, strict=True)]
    text = "".join([one.whole for one in said])
    found = measures.glanced(text, [*starts, *answers, *starts], [*ends, *ends, *heads])
    rows = zip(said, found[:count], found[count : 2 * count], found[2 * count :], strict=True)
    for one, whole, answer, head in rows:
        one.visible, one.han = whole[VISIBLE_COUNT], whole[HAN_COUNT]
        one.odd, one.repeats = bool(whole[MAYBE_ODD]), bool(whole[MAYBE_REPEATED])
        one.answer_repeats = bool(answer[MAYBE_REPEATED])
        one.letters = head[WORD_COUNT]
