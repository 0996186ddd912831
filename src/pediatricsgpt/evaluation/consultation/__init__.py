"""Simulated consultations: the model leads, a caregiver answers from a card that the model does not see.

EviDiag is about several rounds, and n-gram overlap says little about those. Here is counted what the model found out
before it concluded: facts, age, weight, duration, signs of danger; whether it saw danger when it was told; whether it
closed too early; whether its diagnosis is the card's.
"""

from __future__ import annotations

from pediatricsgpt.evaluation.consultation.card import Card, read_cards
from pediatricsgpt.evaluation.consultation.caregiver import Caregiver, RuleCaregiver
from pediatricsgpt.evaluation.consultation.consult import Consultation, consult
from pediatricsgpt.evaluation.consultation.measure import measure
from pediatricsgpt.evaluation.consultation.score import score, write_results

__all__ = [
    "Card",
    "Caregiver",
    "Consultation",
    "RuleCaregiver",
    "consult",
    "measure",
    "read_cards",
    "score",
    "write_results",
]
