"""Medical facts in Chinese text, as exact decimals with their place: one extractor for all that compare them."""

from __future__ import annotations

from pediatricsgpt.facts.ages import ADULT_MONTHS, DAYS_PER_MONTH, Age, ages, patient_age, present_ages
from pediatricsgpt.facts.canonical import Canonical, canonical, normalised
from pediatricsgpt.facts.compare import Difference, difference
from pediatricsgpt.facts.extract import extract
from pediatricsgpt.facts.fact import KINDS, Fact
from pediatricsgpt.facts.lexicon import generic, ingredients

__all__ = [
    "ADULT_MONTHS",
    "DAYS_PER_MONTH",
    "KINDS",
    "Age",
    "Canonical",
    "Difference",
    "Fact",
    "ages",
    "canonical",
    "difference",
    "extract",
    "generic",
    "ingredients",
    "normalised",
    "patient_age",
    "present_ages",
]
