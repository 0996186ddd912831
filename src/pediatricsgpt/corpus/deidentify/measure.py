"""How much of planted personal data the rules find: the measurement that every run makes on the packaged test set."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pediatricsgpt.corpus.deidentify.find import NAMES, PLACES, Finding, find
from pediatricsgpt.corpus.settings import DeidentifySettings
from pediatricsgpt.errors import UserError
from pediatricsgpt.records import read_json_lines

TEST_SET = Path(__file__).with_name("test_set.jsonl")
NAME_TYPES = frozenset({"patient_name", "parent_name", "doctor_name", "surname_title", "nickname"})
PLACE_TYPES = frozenset({"address", "school", "bed"})
Group = Literal["numbers", "names", "places"]


@dataclass(frozen=True, slots=True)
class Rate:
    """`hits` of `n`."""

    hits: int
    n: int

    @property
    def value(self) -> float:
        """The share; 1 of an empty set."""
        return self.hits / self.n if self.n else 1.0

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval (E. B. Wilson, 1927)."""
        if not self.n:
            return 0.0, 1.0
        z, p, n = 1.959963984540054, self.value, self.n
        centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
        return max(0.0, centre - half), min(1.0, centre + half)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a report."""
        low, high = self.interval
        return {"hits": self.hits, "n": self.n, "value": self.value, "low": low, "high": high}


@dataclass(slots=True)
class Measured:
    """Recall and precision by entity. A precision of a group counts the findings of that group's kinds."""

    recall_by_type: dict[str, Rate]
    recall: dict[Group, Rate]
    precision_by_kind: dict[str, Rate]
    precision_by_group: dict[Group, Rate]
    precision: Rate
    clean_sentences: Rate
    """Sentences without personal data in which nothing was replaced"""
    excess: Rate
    """Characters replaced together with a true item although they are none of it, of all that were replaced"""
    missed: list[dict[str, Any]] = field(default_factory=list)
    wrong: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a report, without the single sentences."""

        def rates(values: Mapping[Any, Rate]) -> dict[str, Any]:
            return {name: rate.as_dict() for name, rate in values.items()}

        return {
            "recall": rates(self.recall),
            "recall_by_type": rates(self.recall_by_type),
            "precision": self.precision.as_dict(),
            "precision_by_group": rates(self.precision_by_group),
            "precision_by_kind": rates(self.precision_by_kind),
            "clean_sentences": self.clean_sentences.as_dict(),
            "excess": self.excess.as_dict(),
        }


def measure(
    path: Path = TEST_SET,
    split: str | None = "blind",
    finder: Callable[[str], Sequence[Finding]] = find,
) -> Measured:
    """Measure a finder on a labelled set.

    A true item counts as found if every letter and digit of it is covered by findings; a finding is wrong if it
    overlaps no true item. Calendar dates of illness are shifted rather than replaced: they count for a date of birth,
    and never as wrong.

    Args:
        path: JSON lines with `split`, `text` and `items` (`start`, `end`, `type`).
        split: `blind`, `development`, or null for all.
        finder: text -> findings.

    Raises:
        UserError: the file is missing or damaged, or has no row of that split.
    """
    rows = [row for _, row in read_json_lines(path) if split is None or row["split"] == split]
    if not rows:
        raise UserError(f"no rows of the split '{split}'", path)
    tally = _Tally()
    for row in rows:
        tally.add(row, finder(row["text"]))
    return tally.result()


class _Tally:
    """Counts over rows."""

    def __init__(self) -> None:
        self.found: dict[str, list[bool]] = defaultdict(list)
        self.right: dict[str, list[bool]] = defaultdict(list)
        self.clean: list[bool] = []
        self.excess: list[bool] = []
        self.missed: list[dict[str, Any]] = []
        self.wrong: list[dict[str, Any]] = []

    def add(self, row: Mapping[str, Any], findings: Iterable[Finding]) -> None:
        findings = list(findings)
        text, items = row["text"], row["items"]
        covered = {place for item in findings for place in range(item.start, item.end)}
        for item in items:
            needed = (place for place in range(item["start"], item["end"]) if text[place].isalnum())
            hit = all(place in covered for place in needed)
            self.found[item["type"]].append(hit)
            if not hit:
                self.missed.append({"id": row["id"], **item, "value": text[item["start"] : item["end"]]})
        removing = [item for item in findings if item.kind != "date"]
        for finding in removing:
            self._finding(row, finding)
        if not items:
            self.clean.append(not removing)

    def _finding(self, row: Mapping[str, Any], finding: Finding) -> None:
        own = [item for item in row["items"] if finding.start < item["end"] and item["start"] < finding.end]
        self.right[finding.kind].append(bool(own))
        if not own:
            self.wrong.append({"id": row["id"], "kind": finding.kind, "value": finding.text})
            return
        true = {place for item in own for place in range(item["start"], item["end"])}
        self.excess += [place not in true for place in range(finding.start, finding.end)]

    def result(self) -> Measured:
        groups: tuple[Group, ...] = ("numbers", "names", "places")
        return Measured(
            recall_by_type={kind: _rate(hits) for kind, hits in sorted(self.found.items())},
            recall={group: _rate(_joined(self.found, group, _type_group)) for group in groups},
            precision_by_kind={kind: _rate(hits) for kind, hits in sorted(self.right.items())},
            precision_by_group={group: _rate(_joined(self.right, group, _kind_group)) for group in groups},
            precision=_rate([hit for hits in self.right.values() for hit in hits]),
            clean_sentences=_rate(self.clean),
            excess=_rate(self.excess),
            missed=self.missed,
            wrong=self.wrong,
        )


def _rate(hits: Sequence[bool]) -> Rate:
    return Rate(sum(hits), len(hits))


def _joined(by_name: Mapping[str, list[bool]], group: Group, group_of: Callable[[str], Group]) -> list[bool]:
    return [hit for name, hits in by_name.items() if group_of(name) == group for hit in hits]


def _type_group(name: str) -> Group:
    if name in NAME_TYPES:
        return "names"
    return "places" if name in PLACE_TYPES else "numbers"


def _kind_group(kind: str) -> Group:
    if kind in NAMES:
        return "names"
    return "places" if kind in PLACES else "numbers"


def check_floor(measured: Measured, settings: DeidentifySettings) -> None:
    """Refuse a corpus whose de-identification finds too little.

    Raises:
        UserError: the measured recall of numbers or names is below its floor.
    """
    groups: tuple[tuple[Group, str, float], ...] = (
        ("numbers", "floor_numbers", settings.floor_numbers),
        ("names", "floor_names", settings.floor_names),
    )
    for group, name, floor in groups:
        recall = measured.recall[group]
        if recall.value < floor:
            low, high = recall.interval
            raise UserError(
                f"de-identification finds {recall.value:.3f} of the {group} of its test set ({recall.hits} of "
                f"{recall.n}, 95 % interval {low:.3f} to {high:.3f}), below the floor of {floor}; improve the rules, "
                f"add a named-entity model (ner_model), or lower {name} and say so in the corpus card",
                f"corpus.deidentify.{name}",
            )
