"""How far a judge agrees with a reference, and whether that is enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pediatricsgpt.evaluation.agreement import agreement
from pediatricsgpt.evaluation.judge.decide import Outcome
from pediatricsgpt.evaluation.judge.prompt import DIMENSIONS
from pediatricsgpt.evaluation.statistics import bootstrap_share
from pediatricsgpt.evaluation.validation.labels import CATEGORIES, words
from pediatricsgpt.evaluation.validation.reference import Reference

BAR = 0.2
"""Landis and Koch 1977 call a kappa up to 0.2 slight agreement; a judge must be surely above it"""
DECIDING, OVERALL = "correctness", "overall"


@dataclass(frozen=True, slots=True)
class _Unit:
    """One pair on one dimension."""

    group: str
    reference: Outcome
    judge: Outcome


def validation_of(
    reference: Reference, judged: Mapping[str, Mapping[str, Outcome]], bar: float = BAR
) -> dict[str, Any]:
    """The entry of one judge in `validation.json`, but for its date and prompt.

    Args:
        reference: pairs with labels.
        judged: dimension -> pair -> what the judge holds, in the view of the pair's A.
        bar: what the lower bound of kappa must exceed.
    """
    units = {dimension: _units(reference, judged, dimension) for dimension in DIMENSIONS}
    units = {dimension: found for dimension, found in units.items() if found}
    dimensions = {dimension: _figures(found) for dimension, found in units.items()}
    overall = _figures([unit for found in units.values() for unit in found])
    on = _passed_on({**dimensions, OVERALL: overall}, reference.basis, bar)
    return {
        "against": reference.against,
        "what": reference.what,
        "pairs": len(reference.pairs),
        "counts": dict(reference.counts),
        "dimensions": dimensions,
        OVERALL: overall,
        "raters": reference.raters,
        "real": reference.real,
        "passed": on is not None and reference.real,
        "passed_on": on if reference.real else None,
        "basis": reference.basis,
        "bar": _bar(reference, bar),
    }


def _units(reference: Reference, judged: Mapping[str, Mapping[str, Outcome]], dimension: str) -> list[_Unit]:
    said = judged.get(dimension, {})
    return [
        _Unit(pair.group, pair.labels[dimension], said.get(pair.id))
        for pair in reference.pairs
        if dimension in pair.labels
    ]


def _figures(units: Sequence[_Unit]) -> dict[str, Any]:
    """Agreement with ties as a verdict of their own, agreement on the pairs that the reference decides, accuracy."""
    valid = [unit for unit in units if unit.judge is not None]
    decided = [unit for unit in valid if unit.reference != 0]
    right = [1.0 if unit.judge == unit.reference else 0.5 if unit.judge == 0 else 0.0 for unit in decided]
    return {
        "n": len(valid),
        "agreement": _agreement(valid, CATEGORIES),
        # The reference knows two verdicts there: AC1 with a third that nobody gave would credit a coin.
        "decided": _agreement(decided, None),
        "accuracy": asdict(bootstrap_share(right, groups=[unit.group for unit in decided])) if right else None,
        "ties": sum(unit.reference == 0 for unit in units),
        "judge_ties": sum(unit.judge == 0 for unit in valid),
        "without_verdict": len(units) - len(valid),
    }


def _agreement(units: Sequence[_Unit], categories: Sequence[str] | None) -> dict[str, Any]:
    ratings = [[words(unit.reference), words(unit.judge)] for unit in units]
    return agreement(ratings, groups=[unit.group for unit in units], categories=categories)


def _passed_on(figures: Mapping[str, Mapping[str, Any]], basis: str, bar: float) -> str | None:
    """Where the judge passes: on correctness, or else overall."""
    field = "decided" if basis == "decided" else "agreement"
    for name in (DECIDING, OVERALL):
        kappa = figures[name][field]["kappa"] if name in figures else None
        if kappa and kappa["low"] > bar:
            return name
    return None


def _bar(reference: Reference, bar: float) -> str:
    pairs = "the pairs that the reference decides" if reference.basis == "decided" else "all pairs, ties included"
    rule = f"the lower bound of kappa on {DECIDING}, or else {OVERALL}, must exceed {bar:g} on {pairs}"
    return rule if reference.real else f"{rule}; by simulated raters no judge passes"


def headline_allowed(
    validation: Mapping[str, Any] | None, rater: str, prompt_sha256: str | None = None
) -> tuple[bool, str]:
    """Whether a report may draw a conclusion from a judge's verdicts, and why (not).

    Args:
        validation: the content of `validation.json`, or None where there is none.
        rater: the judge's name in its verdicts.
        prompt_sha256: of the prompt that it judged with; one that it was not validated with does not count.
    """
    found = (validation or {}).get("judges", {}).get(rater)
    if found is None:
        return False, f"{rater} was never validated (pedgpt validate-judge)"
    if not found["passed"]:
        return False, f"{rater} did not pass its validation against {found['against']}: {found['bar']}"
    asked = (found.get("prompt") or {}).get("sha256")
    if prompt_sha256 and asked and asked != prompt_sha256:
        return False, f"{rater} was validated with another prompt ({asked[:12]}); validate it again"
    return True, f"{rater} passed its validation against {found['against']} on {found['passed_on']}"
