"""How far style alone tells the sides of the preference pairs apart: what a model could learn instead of content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pediatricsgpt.evaluation.report.files import RunFiles, expected

SHORTCUTS = "dfpo/shortcuts.json"
_SHARES = ("longer", "greeting", "baby", "list")
_LENGTHS = ("p5", "p50", "p95")


@dataclass(frozen=True, slots=True)
class Side:
    """What the answers of one side look like."""

    name: str
    lengths: Sequence[int]
    """Characters: 5th, 50th and 95th percentile"""
    shares: Sequence[tuple[str, float]]
    """Of its answers: longer than the other side's, with a greeting, saying 宝宝, with a list"""


@dataclass(frozen=True, slots=True)
class Shortcuts:
    """What the phase was told of its pairs before training."""

    missing: str
    """Why nothing is known; else empty"""
    n: int
    """Pairs that the probe looked at"""
    auc: float | None
    """Area under the curve of a logistic regression on style alone, each pair held out; None of too few pairs"""
    chance: tuple[float, float]
    """Range of that area where sides are swapped at random"""
    pairs_right: float
    features: Sequence[tuple[str, float]]
    """Area under the curve of each by itself, the most telling first"""
    sides: Sequence[Side]
    limit: float | None
    """Area above which the recipe has the phase warn"""

    @property
    def above(self) -> bool:
        """Whether style tells the sides apart by more than the recipe lets pass."""
        return self.auc is not None and self.limit is not None and self.auc > self.limit

    @property
    def by_chance(self) -> bool:
        """Whether the area is one that swapped sides have, too."""
        return self.auc is not None and self.chance[0] <= self.auc <= self.chance[1]


def shortcuts(run: RunFiles) -> Shortcuts | None:
    """What `shortcuts.json` of the preference phase says; None while the phase has not run.

    Raises:
        UserError: the file is damaged.
    """
    manifest = run.manifest("dfpo")
    found = run.json(SHORTCUTS) if manifest else None
    if manifest is None or found is None:
        return None
    settings = manifest.settings if isinstance(manifest.settings, dict) else {}
    with expected(run.folder / SHORTCUTS):
        if "missing" in found:
            return Shortcuts(str(found["missing"]), 0, None, (0.0, 0.0), 0.0, [], [], None)
        return _shortcuts(found, settings.get("style_auc"))


def _shortcuts(found: dict[str, Any], limit: Any) -> Shortcuts:
    probe = found["probe"]
    known = "auc" in probe
    low, high = probe["chance"] if known else (0.0, 0.0)
    return Shortcuts(
        missing="",
        n=int(probe["n"]),
        auc=float(probe["auc"]) if known else None,
        chance=(float(low), float(high)),
        pairs_right=float(probe["pairs_right"]) if known else 0.0,
        features=sorted(
            ((str(name), float(area)) for name, area in probe.get("features", {}).items()),
            key=lambda one: (-abs(one[1] - 0.5), one[0]),
        ),
        sides=[_side(str(name), side) for name, side in found["sides"].items()],
        limit=None if limit is None else float(limit),
    )


def _side(name: str, side: dict[str, Any]) -> Side:
    lengths = [int(side["length"][place]) for place in _LENGTHS]
    return Side(name, lengths, [(share, float(side[share])) for share in _SHARES])
