"""Quality: small scored filters, each with a reason and a threshold in the recipe, and one score to choose by.

filter_quality(records, settings) kept and rejected, a map: each record on its own
quality(record)                   one number, 0 to 1: which of two near-duplicates is kept
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pediatricsgpt.corpus.quality import measures
from pediatricsgpt.corpus.quality.unsafe import unsafe_advice
from pediatricsgpt.corpus.settings import QualitySettings
from pediatricsgpt.records import Record, Reject, Step

STEP = Step("quality", 1)


@dataclass(slots=True)
class _Said:
    """What the filters read of a record: the sides of a dialogue, or a section as `whole`."""

    record: Record
    whole: str
    question: str
    answers: list[str]
    answer: str


def filter_quality(records: Iterable[Record], settings: QualitySettings) -> tuple[list[Record], list[Reject]]:
    """Reject the records that fail a filter; the first that fails gives the reason.

    Returns:
        Kept records, in their order, and rejects; together as many as were read.
    """
    kept: list[Record] = []
    rejects: list[Reject] = []
    bounds = _bounds(settings)
    for record in records:
        reason = _reason(_said(record), bounds, settings.reject_unsafe)
        if reason:
            where = f"{record.source.file}, {record.source.locator}"
            rejects.append(Reject("quality", reason, where, record.as_dict()))
        else:
            kept.append(dataclasses.replace(record, steps=[*record.steps, STEP]))
    return kept, rejects


def quality(record: Record) -> float:
    """One number from 0 (keep anything else) to 1: much said, clean, to the point and safe."""
    said = _said(record)
    text = said.answer or said.whole
    value = len(text) / (len(text) + 30)
    value *= 1 - measures.repetition(said.whole)
    value *= 1 - min(1.0, measures.synonym_noise(said.whole) / 8)
    value *= 1 - 0.9 * measures.promotion(text)
    value *= 1 - min(1.0, 20 * measures.garbled(said.whole))
    if said.answers:
        value *= 1 - 0.5 * measures.mismatch(said.question, said.answer)
        value *= 0.2 if _unsafe(said) else 1
    return value


def _said(record: Record) -> _Said:
    if not record.messages:
        fact = record.source.kind == "knowledge_graph"  # its entity and relation are what it says, too
        return _Said(record, "\n".join([*record.title, record.text]) if fact else record.text, "", [], "")
    answering = record.chosen or record.messages
    answers = [turn["content"] for turn in answering if turn["role"] == "assistant"]
    question = "\n".join([turn["content"] for turn in record.messages if turn["role"] == "user"])
    answer = "\n".join(answers)
    return _Said(record, f"{question}\n{answer}", question, answers, answer)


def _unsafe(said: _Said) -> str:
    return unsafe_advice(said.question, said.answers, said.record.age_months)


@dataclass(frozen=True, slots=True)
class _Check:
    """One filter: a measure and the setting that bounds it, from below where `setting` begins with `min_`."""

    reason: str
    setting: str
    measure: Callable[[_Said], float]
    shape: str = ""

    def fits(self, said: _Said) -> bool:
        if self.shape == "consultation":  # general preference pairs hold product texts, riddles, code
            return bool(said.answers) and not said.record.chosen
        return not self.shape or (self.shape == "dialogue") is bool(said.answers)

    def fails(self, said: _Said, bound: float) -> str:
        if not self.fits(said):
            return ""
        value = self.measure(said)
        if value >= bound if self.setting.startswith("min_") else value <= bound:
            return ""
        side = "at least" if self.setting.startswith("min_") else "at most"
        return f"{self.reason}: {value:.4g} ({side} {bound:.4g})"


_CHECKS = (
    _Check("too long", "max_section_characters", lambda said: len(said.whole), "section"),
    _Check("too long", "max_dialogue_characters", lambda said: len(said.whole), "dialogue"),
    _Check(
        "question too short",
        "min_question_characters",
        lambda said: measures.letters(said.question),
        "dialogue",
    ),
    _Check(
        "only courtesies",
        "min_answered_characters",
        lambda said: max(map(measures.answered, said.answers)),
        "dialogue",
    ),
    _Check("little Chinese", "min_han_share", lambda said: measures.han_share(said.whole)),
    _Check("garbled", "max_garbled", lambda said: measures.garbled(said.whole)),
    _Check("repetition", "max_repetition", lambda said: measures.repetition(said.answer or said.whole)),
    _Check("synonym noise", "max_synonym_noise", lambda said: measures.synonym_noise(said.whole)),
    _Check("advertisement", "max_promotion", lambda said: measures.promotion(said.answer), "consultation"),
    _Check(
        "answer does not fit the question",
        "max_mismatch",
        lambda said: measures.mismatch(said.question, said.answer),
        "consultation",
    ),
)


def _bounds(settings: QualitySettings) -> list[tuple[_Check, float]]:
    values = ((check, getattr(settings, check.setting)) for check in _CHECKS)
    return [(check, float(value)) for check, value in values if value is not None]


def _reason(said: _Said, bounds: Sequence[tuple[_Check, float]], reject_unsafe: bool) -> str:
    failed = next(filter(None, (check.fails(said, bound) for check, bound in bounds)), "")
    if not failed and reject_unsafe and said.answers and (found := _unsafe(said)):
        return f"unsafe advice: {found}"
    return failed
