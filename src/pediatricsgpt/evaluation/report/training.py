"""The four phases: what each started from and ate, and its curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pediatricsgpt.curves import METRICS, OWN, curve
from pediatricsgpt.curves import charts as charts_of
from pediatricsgpt.evaluation.compare import MODELS
from pediatricsgpt.evaluation.report import words
from pediatricsgpt.evaluation.report.charts import LineChart, line_chart
from pediatricsgpt.evaluation.report.files import PHASES, TRAIN_SETS, RunFiles, expected
from pediatricsgpt.evaluation.report.mixture import Account, Part, account, parts
from pediatricsgpt.manifest import MANIFEST, Manifest


@dataclass(frozen=True, slots=True)
class Ending:
    """Means over the last quarter of what preference training logged: where it ended."""

    chosen: float
    """Change of the log-probability of the preferred answers against the model before, in nats"""
    rejected: float
    accuracy: float
    """Share of pairs whose preferred answer gained more than the low one"""
    accuracy_per_token: float
    n: int
    """Logged values in the quarter"""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The loss of a watched set before and after a phase."""

    name: str
    before: float
    after: float
    rows: int
    own: bool


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of training; without a manifest it has not run."""

    name: str
    title: str
    before: str
    data: str
    manifest: Manifest | None
    learning_rate: Any
    charts: Sequence[tuple[LineChart, int]]
    """Each with the number of values that were logged for it"""
    held_out: Sequence[HeldOut]
    """What was measured on the way, with the phase's own rows last"""
    stopped: str
    """Why the phase ended before its last step, if it did"""
    passes: float | None
    """How often the phase went over its data; below one it has seen only a part"""
    ending: Ending | None
    account: Account | None
    parts: Sequence[Part]

    def count(self, name: str) -> str:
        """One count of its manifest, for a table."""
        return words.number(self.manifest.counts.get(name)) if self.manifest else "–"


def phases(run: RunFiles) -> list[Phase]:
    """The four phases in their order, run or not.

    Raises:
        UserError: a log is damaged.
    """
    return [_phase(run, name, before) for name, before in zip(PHASES, MODELS, strict=False)]


def chosen_warning(phase: Phase) -> str:
    """A sentence if the preferred answers are less likely after preference training than before; else empty."""
    end = phase.ending
    if end is None or end.chosen >= 0:
        return ""
    both = ", and the rejected ones too" if end.rejected < 0 else ""
    return (
        f"The chosen answers became less likely{both}: their log-probability lies "
        f"{words.brief(abs(end.chosen))} nats below that of the model before (n = {end.n} logged values at the end). "
        "More weight on the likelihood term (mu) or a lower learning rate holds it."
    )


def parameters(run: RunFiles) -> int | None:
    """How many parameters the base has; a base that is only referred to is counted by the first phase."""
    for node in ("base", "cpt", "sft", "dfpo"):
        found = run.count(node, "parameters")
        if isinstance(found, int):
            return found
    return None


def _phase(run: RunFiles, name: str, before: str) -> Phase:
    manifest = run.manifest(name)
    log = _log(run, name) if manifest else []
    charts = [(line_chart(title, curves), max(map(len, curves.values()))) for title, curves in charts_of(log).items()]
    settings = manifest.settings if manifest and isinstance(manifest.settings, dict) else {}
    return Phase(
        name,
        words.PHASE_TITLES[name],
        before,
        TRAIN_SETS[name],
        manifest,
        (settings.get("trainer") or {}).get("learning_rate"),
        [(chart, n) for chart, n in charts if chart is not None],
        _held_out(manifest),
        str(manifest.counts.get("stopped", "")) if manifest else "",
        log[-1].get("epoch") if log else None,
        _ending(log, settings.get("beta")),
        account(manifest),
        parts(manifest),
    )


def _log(run: RunFiles, name: str) -> list[dict[str, Any]]:
    path = f"{name}/{METRICS}"
    lines = run.lines(path)
    with expected(run.folder / path):
        return [dict(line) for line in lines or []]


def _held_out(manifest: Manifest | None) -> list[HeldOut]:
    if manifest is None:
        return []
    found = manifest.counts.get("held_out", {})
    with expected(Path(manifest.node) / MANIFEST):
        rows = [HeldOut(name, one["before"], one["after"], one["rows"], name == OWN) for name, one in found.items()]
    return sorted(rows, key=lambda row: row.own)


def _ending(log: Sequence[dict[str, Any]], beta: Any) -> Ending | None:
    """None of a phase without preferences.

    Rewards are taken and not log-probabilities: each logged value is of other pairs, and only the reward sets the
    same pair's log-probability against that of the model before.
    """
    names = ("rewards/chosen", "rewards/rejected", "rewards/accuracies", "rewards/accuracies_length_normalised")
    curves = [[value for _, value in curve(log, name)] for name in names]
    n = -(-len(curves[0]) // 4)
    if not n or not isinstance(beta, int | float) or len({len(curve) for curve in curves}) > 1:
        return None
    chosen, rejected, plain, per_token = (sum(curve[-n:]) / n for curve in curves)
    return Ending(chosen / beta, rejected / beta, plain, per_token, n)
