"""Quality: small scored filters, each with a reason and a threshold in the recipe, and one score to choose by.

filter_quality(records, settings)   kept and rejected, a map: each record on its own
filter_and_score(records, settings) the same, with the quality of each kept record
quality(record)                     one number, 0 to 1: which of two near-duplicates is kept
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pediatricsgpt.corpus.quality import measures
from pediatricsgpt.corpus.quality.said import Said, said_of
from pediatricsgpt.corpus.settings import QualitySettings
from pediatricsgpt.records import Record, Reject, Step

STEP = Step("quality", 1)


def filter_quality(records: Iterable[Record], settings: QualitySettings) -> tuple[list[Record], list[Reject]]:
    """Reject the records that fail a filter; the first that fails gives the reason.

    Returns:
        Kept records, in their order, and rejects; together as many as were read.
    """
    kept, rejects, _ = _filtered(list(records), settings)
    return kept, rejects


def filter_and_score(
    records: Sequence[Record], settings: QualitySettings
) -> tuple[list[Record], list[Reject], list[float]]:
    """`filter_quality`, and `quality` of each kept record: together they cost half as much as apart."""
    kept, rejects, said = _filtered(records, settings)
    return kept, rejects, list(map(_quality, said))


def _filtered(records: Sequence[Record], settings: QualitySettings) -> tuple[list[Record], list[Reject], list[Said]]:
    kept: list[Record] = []
    rejects: list[Reject] = []
    understood: list[Said] = []
    bounds = _bounds(settings)
    for said in said_of(records):
        record = said.record
        if reason := _reason(said, bounds, settings.reject_unsafe):
            where = f"{record.source.file}, {record.source.locator}"
            rejects.append(Reject("quality", reason, where, record.as_dict()))
        else:
            kept.append(record.changed(steps=[*record.steps, STEP]))
            understood.append(said)
    return kept, rejects, understood


def quality(record: Record) -> float:
    """One number from 0 (keep anything else) to 1: much said, clean, to the point and safe."""
    return _quality(said_of([record])[0])


def _quality(said: Said) -> float:
    text = said.answer or said.whole
    value = len(text) / (len(text) + 30)
    value *= 1 - said.repetition_of_whole
    value *= 1 - min(1.0, said.synonym_noise / 8)
    value *= 1 - 0.9 * (said.promotion if said.answer else measures.promotion(text))
    value *= 1 - min(1.0, 20 * said.garbled)
    if said.answers:
        value *= 1 - 0.5 * said.mismatch
        value *= 0.2 if said.unsafe else 1
    return value


@dataclass(frozen=True, slots=True)
class _Check:
    """One filter: a measure and the setting that bounds it, from below where `setting` begins with `min_`."""

    reason: str
    setting: str
    measure: Callable[[Said], float]
    shape: str = ""

    def fits(self, said: Said) -> bool:
        if self.shape == "consultation":  # general preference pairs hold product texts, riddles, code
            return bool(said.answers) and not said.record.chosen
        return not self.shape or (self.shape == "dialogue") is bool(said.answers)

    def fails(self, said: Said, bound: float) -> str:
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
        lambda said: said.letters,
        "dialogue",
    ),
    _Check(
        "only courtesies",
        "min_answered_characters",
        lambda said: max(map(measures.answered, said.answers)),
        "dialogue",
    ),
    _Check("little Chinese", "min_han_share", lambda said: said.han_share),
    _Check("garbled", "max_garbled", lambda said: said.garbled),
    _Check("repetition", "max_repetition", lambda said: said.repetition),
    _Check("synonym noise", "max_synonym_noise", lambda said: said.synonym_noise),
    _Check("advertisement", "max_promotion", lambda said: said.promotion, "consultation"),
    _Check(
        "answer does not fit the question",
        "max_mismatch",
        lambda said: said.mismatch,
        "consultation",
    ),
)


def _bounds(settings: QualitySettings) -> list[tuple[_Check, float]]:
    values = ((check, getattr(settings, check.setting)) for check in _CHECKS)
    return [(check, float(value)) for check, value in values if value is not None]


def _reason(said: Said, bounds: Sequence[tuple[_Check, float]], reject_unsafe: bool) -> str:
    failed = next(filter(None, (check.fails(said, bound) for check, bound in bounds)), "")
    if not failed and reject_unsafe and said.answers and (found := said.unsafe):
        return f"unsafe advice: {found}"
    return failed
