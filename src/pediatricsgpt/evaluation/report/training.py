"""The four phases: what each started from and ate, and its curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pediatricsgpt.evaluation.compare import MODELS
from pediatricsgpt.evaluation.report import words
from pediatricsgpt.evaluation.report.charts import LineChart, Point, line_chart
from pediatricsgpt.evaluation.report.files import PHASES, TRAIN_SETS, RunFiles, expected
from pediatricsgpt.manifest import Manifest

LOG = "training.jsonl"

# Title of a chart -> name of a curve -> field of the trainer's log.
_LOSS = {"training loss": {"loss": "loss"}}
_PREFERENCE_CHARTS = {
    "the two terms of the loss": {"preference": "loss/preference", "likelihood": "loss/likelihood"},
    "log-probability of the answers": {"chosen": "logps/chosen", "rejected": "logps/rejected"},
    "reward margin, chosen over rejected": {"margin": "rewards/margins"},
    "pairs ranked rightly": {"plain": "rewards/accuracies", "per token": "rewards/accuracies_length_normalised"},
}
CHOSEN, REJECTED = "logps/chosen", "logps/rejected"
_ACCURACIES = ("rewards/accuracies", "rewards/accuracies_length_normalised")
_LEAST_POINTS = 4


@dataclass(frozen=True, slots=True)
class Fall:
    """Means over the first and the last quarter of the logged values, of one side of the pairs."""

    first: float
    last: float
    n: int
    """Logged values in each quarter"""

    @property
    def fell(self) -> bool:
        """Whether it is lower at the end."""
        return self.last < self.first


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of training; without a manifest it has not run."""

    name: str
    title: str
    before: str
    data: str
    manifest: Manifest | None
    learning_rate: Any
    charts: Sequence[LineChart]
    steps_logged: int
    chosen: Fall | None
    rejected: Fall | None
    accuracy: Fall | None
    accuracy_per_token: Fall | None

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
    """A sentence if the log-probability of the preferred answers fell during preference training; else empty."""
    fall = phase.chosen
    if fall is None or not fall.fell:
        return ""
    both = " The rejected ones fell too." if phase.rejected and phase.rejected.fell else ""
    return (
        f"The log-probability of the chosen answers fell from {fall.first:.1f} to {fall.last:.1f} (means of the first "
        f"and the last {fall.n} logged values): the model now finds the preferred answers less likely than before."
        f"{both} More weight on the likelihood term (mu) or a lower learning rate holds it."
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
    preference = any("loss/preference" in line for line in log)
    wanted = {**_LOSS, **(_PREFERENCE_CHARTS if preference else {})}
    charts = [
        line_chart(title, {curve: _curve(log, field) for curve, field in curves.items()})
        for title, curves in wanted.items()
    ]
    settings = manifest.settings if manifest and isinstance(manifest.settings, dict) else {}
    return Phase(
        name,
        words.PHASE_TITLES[name],
        before,
        TRAIN_SETS[name],
        manifest,
        (settings.get("trainer") or {}).get("learning_rate"),
        [chart for chart in charts if chart is not None],
        len(_curve(log, "loss")),
        *(_fall(_curve(log, field)) for field in (CHOSEN, REJECTED, *_ACCURACIES)),
    )


def _log(run: RunFiles, name: str) -> list[dict[str, Any]]:
    """The trainer's log without its summary, whose values are the last step's once more."""
    path = f"{name}/{LOG}"
    lines = run.lines(path)
    with expected(run.folder / path):
        return [dict(line) for line in lines or [] if "train_runtime" not in line]


def _curve(log: Sequence[dict[str, Any]], field: str) -> list[Point]:
    return [
        (float(line["step"]), float(line[field]))
        for line in log
        if isinstance(line.get(field), int | float) and isinstance(line.get("step"), int)
    ]


def _fall(curve: Sequence[Point]) -> Fall | None:
    """First against last quarter; None where too little was logged to say anything."""
    if len(curve) < _LEAST_POINTS:
        return None
    quarter = len(curve) // 4
    first, last = (sum(value for _, value in part) / quarter for part in (curve[:quarter], curve[-quarter:]))
    return Fall(first, last, quarter)
