"""De-identification: what was replaced, and how well personal data are found, against the floors of the recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pediatricsgpt.evaluation.report.drops import CURATED_COUNTS
from pediatricsgpt.evaluation.report.files import RunFiles, expected, is_exempt

NODE = "corpus/deidentification"
MEASURED = f"{NODE}/measured.json"

# What SAFETY.md asks of this measurement; a recipe may ask less, and the report then says so.
USUAL_FLOORS = {"numbers": 0.98, "names": 0.95}

Verdict = Literal["above", "open", "below", ""]


@dataclass(frozen=True, slots=True)
class Rate:
    """`hits` of `n`, with Wilson's 95 % interval."""

    name: str
    hits: int
    n: int
    value: float
    low: float
    high: float
    floor: float | None = None

    @property
    def verdict(self) -> Verdict:
        """Against the floor: above or below it, or above with an interval that reaches below (`open`)."""
        if self.floor is None:
            return ""
        if self.value < self.floor:
            return "below"
        return "above" if self.low >= self.floor else "open"


@dataclass(frozen=True, slots=True)
class Deidentification:
    """The measurement and what was done."""

    enabled: bool
    recall: Sequence[Rate]
    precision: Sequence[Rate]
    by_type: Sequence[Rate]
    """Recall of each type of personal data"""
    by_kind: Sequence[Rate]
    """Precision of each kind of finding"""
    replaced: Sequence[tuple[str, int]]
    records: int | None
    """How many records went through the step; None before curation"""
    exempt: Sequence[str]
    """Sources that are left as they are by the kind that they have"""
    settings: Mapping[str, Any]

    @property
    def lowered(self) -> list[str]:
        """Groups whose floor the recipe sets below the usual one."""
        return [rate.name for rate in self.recall if (rate.floor or 0) < USUAL_FLOORS.get(rate.name, 0)]


def deidentification(run: RunFiles) -> Deidentification | None:
    """What is known of it; None while it was not measured."""
    manifest, measured = run.manifest(NODE), run.json(MEASURED)
    if manifest is None or measured is None:
        return None
    with expected(run.folder / MEASURED):
        settings = dict((manifest.settings or {}).get("deidentify", {}))
        enabled = bool(measured["enabled"])
        recall, precision, by_type, by_kind = _rates(measured, settings) if enabled else ([], [], [], [])
    replaced, records = _replaced(run)
    return Deidentification(
        enabled, recall, precision, by_type, by_kind, replaced, records, _exempt(run, settings), settings
    )


def _rates(
    measured: Mapping[str, Any], settings: Mapping[str, Any]
) -> tuple[list[Rate], list[Rate], list[Rate], list[Rate]]:
    """Recall by group, precision in all and by group, recall by type, precision by kind."""

    def rates(group: str, floors: bool = False) -> list[Rate]:
        return [
            _rate(name, one, settings.get(f"floor_{name}") if floors else None) for name, one in measured[group].items()
        ]

    precision = [_rate("all findings", measured["precision"]), *rates("precision_by_group")]
    if "clean_sentences" in measured:
        precision.append(_rate("sentences without personal data left alone", measured["clean_sentences"]))
    return rates("recall", floors=True), precision, rates("recall_by_type"), rates("precision_by_kind")


def _rate(name: str, one: Mapping[str, Any], floor: float | None = None) -> Rate:
    return Rate(
        name,
        int(one["hits"]),
        int(one["n"]),
        float(one["value"]),
        float(one["low"]),
        # Rounding of the formula may leave the upper bound of a full score a hair below 1.
        max(float(one["high"]), float(one["value"])),
        floor,
    )


def _replaced(run: RunFiles) -> tuple[list[tuple[str, int]], int | None]:
    counts = run.json(CURATED_COUNTS)
    if counts is None:
        return [], None
    with expected(run.folder / CURATED_COUNTS):
        step = counts.get("deidentify", {})
        found = {str(kind): int(number) for kind, number in step.get("extra", {}).items()}
        return sorted(found.items(), key=lambda item: (-item[1], item[0])), step.get("read")


def _exempt(run: RunFiles, settings: Mapping[str, Any]) -> list[str]:
    manifests = {name: run.manifest(f"corpus/sources/{name}") for name in run.sources}
    return [name for name, one in manifests.items() if one and is_exempt(one.settings or {}, settings)]
