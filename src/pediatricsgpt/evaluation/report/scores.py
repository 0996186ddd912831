"""What was measured: held-out loss, metrics by task, change from phase to phase, by department and age band."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pediatricsgpt.evaluation.compare import MODELS, Change, Compared, changes
from pediatricsgpt.evaluation.evaluate import LOSS, TEXT_LOSS
from pediatricsgpt.evaluation.likelihood import change as change_of_loss
from pediatricsgpt.evaluation.metrics import METRICS
from pediatricsgpt.evaluation.report import words
from pediatricsgpt.evaluation.report.charts import Axis, axis
from pediatricsgpt.evaluation.report.downloads import csv_address, with_parts
from pediatricsgpt.evaluation.report.files import RunFiles, expected
from pediatricsgpt.evaluation.report.plots import Dots, dots
from pediatricsgpt.evaluation.report.singles import counted, item_scores, unequal
from pediatricsgpt.evaluation.report.strata import order_note, weakest_first
from pediatricsgpt.evaluation.scoring import ITEM_SCORES, SCORES
from pediatricsgpt.evaluation.statistics import SEED, Difference, Interval
from pediatricsgpt.records import AGE_BANDS, PEDIATRIC_TASKS

GROUP_METRIC = "rouge-l"
_TOLERANCE = 0.005


@dataclass(frozen=True, slots=True)
class Loss:
    """Held-out loss of one model, in nats per answer token."""

    model: str
    value: Interval
    tokens: int
    too_long: int


@dataclass(frozen=True, slots=True)
class LossChange:
    """What became of the loss between two models on the same rows, in nats per token; less is better."""

    model: str
    before: str
    on: str
    """`dialogues` or `texts`"""
    difference: Difference


@dataclass(frozen=True, slots=True)
class Perplexity:
    """One group of texts under every model that was measured on it."""

    kind: str
    """`all`, `form` or `source`"""
    name: str
    rows: int
    tokens: int
    values: Sequence[tuple[str, Interval]]
    """Model and perplexity"""


@dataclass(frozen=True, slots=True)
class Losses:
    """Held-out loss of all models that have one."""

    rows: Sequence[Loss]
    axis: Axis | None
    same: bool
    """Whether all were measured on equally many rows and tokens"""
    changes: Sequence[LossChange]
    """From each model to the next, on the same rows"""
    change_axis: Axis | None
    texts: Sequence[Perplexity]
    """Perplexity on texts: of all, then by form, then by source"""

    @property
    def data(self) -> str:
        """The losses as CSV."""
        rows = [[loss.model, loss.value, loss.tokens, loss.too_long] for loss in self.rows]
        return csv_address(["model", *with_parts("loss"), "tokens", "too long"], rows)

    @property
    def change_data(self) -> str:
        """Their changes as CSV."""
        rows = [[one.before, one.model, one.on, one.difference, one.difference.verdict] for one in self.changes]
        return csv_address(["from", "to", "on", *with_parts("change"), "verdict"], rows)

    @property
    def text_data(self) -> str:
        """Perplexities as CSV."""
        rows = [[one.kind, one.name, model, value, one.tokens] for one in self.texts for model, value in one.values]
        return csv_address(["texts", "name", "model", *with_parts("perplexity"), "tokens"], rows)


@dataclass(frozen=True, slots=True)
class ModelScores:
    """Scores of one model on one task, in the order of `METRICS`."""

    model: str
    n: int
    empty: int
    values: Sequence[Interval]


@dataclass(frozen=True, slots=True)
class TaskScores:
    """All models on one task, and what changed from each to the next."""

    task: str
    models: Sequence[ModelScores]
    changes: Sequence[Sequence[Change]]
    """For each pair of models its changes, one a metric"""
    axis: Axis | None

    @property
    def data(self) -> str:
        """The scores as CSV."""
        header = ["model", "n", "empty", *(each for name in METRICS for each in with_parts(name))]
        return csv_address(header, [[one.model, one.n, one.empty, *one.values] for one in self.models])

    @property
    def change_data(self) -> str:
        """The changes as CSV."""
        header = ["from", "to", "metric", *with_parts("change"), "verdict", "p", "p (Holm)"]
        rows = [
            [one.before, one.model, one.metric, one.difference, one.difference.verdict, one.p, one.p_holm]
            for pair in self.changes
            for one in pair
        ]
        return csv_address(header, rows)


@dataclass(frozen=True, slots=True)
class GroupTable:
    """One metric by department or age band: value of the label -> n and one interval per model."""

    field: str
    models: Sequence[str]
    rows: Sequence[tuple[str, int, Sequence[Interval | None]]]
    plot: Dots | None


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything that the metrics section shows."""

    models: Sequence[str]
    tasks: Sequence[TaskScores]
    groups: Sequence[GroupTable]
    signatures: Sequence[str]
    warnings: Sequence[tuple[str, str]]
    """(model, warning)"""
    paired: int
    """Items that all models answered"""
    tests: int


def losses(run: RunFiles) -> Losses:
    """The held-out losses of the run's models, as far as they are measured.

    Raises:
        UserError: a file is damaged.
    """
    found = []
    for model in MODELS:
        name = f"evaluation/{model}/{LOSS}"
        loss = run.json(name)
        if loss is not None:
            with expected(run.folder / name):
                value = _interval(loss, "rows")
                found.append(Loss(model, value, int(loss["tokens"]), int(loss["left_out_too_long"])))
    same = len({(loss.value.n, loss.tokens) for loss in found}) < 2
    changed = [*_loss_changes(run, LOSS, "dialogues"), *_loss_changes(run, TEXT_LOSS, "texts")]
    ends = [(one.difference.low, one.difference.high) for one in changed]
    return Losses(
        found,
        axis([(loss.value.low, loss.value.high) for loss in found]),
        same,
        changed,
        axis(ends, zero=True),
        _perplexities(run),
    )


def _loss_changes(run: RunFiles, file: str, on: str) -> list[LossChange]:
    """From each measured model to the next; none where a file keeps no rows or the two saw other tokens."""
    found: list[LossChange] = []
    before: tuple[str, list[dict[str, Any]]] | None = None
    for model in MODELS:
        name = f"evaluation/{model}/{file}"
        loss = run.json(name)
        if loss is None:
            continue
        with expected(run.folder / name):
            items = [dict(item) for item in loss.get("items", ())]
            difference = change_of_loss(before[1], items, SEED) if before else None
            if before and difference is not None:
                found.append(LossChange(model, before[0], on, difference))
        before = (model, items)
    return found


def _perplexities(run: RunFiles) -> list[Perplexity]:
    groups: dict[tuple[str, str], list[tuple[str, int, int, Interval]]] = {}
    for model in MODELS:
        name = f"evaluation/{model}/{TEXT_LOSS}"
        loss = run.json(name)
        if loss is None:
            continue
        with expected(run.folder / name):
            named = [("all", "", loss["whole"])]
            named += [("form", form, one) for form, one in loss["by_form"].items()]
            named += [("source", source, one) for source, one in loss["by_source"].items()]
            for kind, value, one in named:
                rows = int(one["rows"])
                interval = Interval(float(one["ppl"]), float(one["ppl_low"]), float(one["ppl_high"]), rows)
                groups.setdefault((kind, value), []).append((model, rows, int(one["tokens"]), interval))
    return [
        Perplexity(kind, value, rows[-1][1], rows[-1][2], [(model, interval) for model, _, _, interval in rows])
        for (kind, value), rows in groups.items()
    ]


def measured(run: RunFiles, items: Sequence[Compared]) -> Measured | None:
    """The scores of the run's models; None where none is scored.

    Args:
        items: what all models answered, from `compared`.

    Raises:
        UserError: a file is damaged.
    """
    scores = _scores(run)
    if not scores:
        return None
    found: list[Change] = []
    warnings = []
    for model, one in scores.items():
        with expected(_path(run, model)):
            warnings += [(model, str(warning)) for warning in one["warnings"]]
        warnings += [(model, said) for said in counted(run, f"evaluation/{model}")]
    profiles = {str(one.get("profile")) for one in scores.values()}
    if len(profiles) == 1:
        singles = {model: item_scores(run, f"evaluation/{model}/{ITEM_SCORES}") for model in scores}
        warnings += unequal(singles)
        found = changes(items, profiles.pop(), scored=singles)
    else:
        warnings.append(("all", "the models were scored with different profiles: nothing can be compared"))
    tasks = [_task(run, scores, task, found) for task in _values(run, scores, "task")]
    warnings += [warning for task in tasks for warning in _contradictions(task)]
    groups = [_groups(run, scores, field) for field in ("task", "department", "age_band")]
    signatures = sorted({str(one.get("signature")) for one in scores.values()})
    return Measured(
        list(scores), tasks, [group for group in groups if group.rows], signatures, warnings, len(items), len(found)
    )


def _path(run: RunFiles, model: str) -> Path:
    return run.folder / "evaluation" / model / SCORES


def _scores(run: RunFiles) -> dict[str, dict[str, Any]]:
    found = {}
    for model in MODELS:
        one = run.json(f"evaluation/{model}/{SCORES}")
        if one is not None:
            with expected(_path(run, model)):
                found[model] = dict(one)
    return found


def _contradictions(task: TaskScores) -> list[tuple[str, str]]:
    """Scores that are not those of the single items: the changes are computed from these."""
    scores = {one.model: one for one in task.models}
    found = []
    for change in (change for pair in task.changes for change in pair):
        place = METRICS.index(change.metric)
        after, before = (scores[name].values[place] for name in (change.model, change.before))
        paired = change.difference.n == after.n == before.n
        if paired and abs(after.mean - before.mean - change.difference.mean) > _TOLERANCE:
            text = f"task {task.task}: {change.metric} of {change.before} and {change.model} in {SCORES} does not fit"
            found.append((change.model, f"{text} the scores of their items; evaluate both again"))
    return found


def _values(run: RunFiles, scores: Mapping[str, Any], field: str) -> list[str]:
    """The values of a label over all models: tasks and ages in their own order, others by their number of items."""
    totals: dict[str, int] = {}
    for model, one in scores.items():
        with expected(_path(run, model)):
            for value, group in one["groups"].get(field, {}).items():
                totals[value] = max(totals.get(value, 0), int(group["n"]))
    known = {"task": PEDIATRIC_TASKS, "age_band": (*(name for name, _ in AGE_BANDS), "unknown")}.get(field, ())
    return sorted(totals, key=lambda value: _place(value, known, totals[value]))


def _place(value: str, known: Sequence[str], total: int) -> tuple[int, int, str]:
    return (known.index(value), 0, value) if value in known else (len(known), -total, value)


def _task(run: RunFiles, scores: Mapping[str, Any], task: str, found: Sequence[Change]) -> TaskScores:
    models = []
    for model, one in scores.items():
        with expected(_path(run, model)):
            group = one["groups"].get("task", {}).get(task)
            if group is not None:
                values = [_interval(group["metrics"][metric]) for metric in METRICS]
                models.append(ModelScores(model, int(group["n"]), int(group["empty"]), values))
    own = [change for change in found if change.task == task]
    by_pair: dict[tuple[str, str], list[Change]] = {}
    for change in own:
        by_pair.setdefault((change.before, change.model), []).append(change)
    intervals = [(change.difference.low, change.difference.high) for change in own]
    return TaskScores(task, models, list(by_pair.values()), axis(intervals, zero=True))


def _groups(run: RunFiles, scores: Mapping[str, Any], field: str) -> GroupTable:
    found: dict[str, list[Interval | None]] = {}
    for value in _values(run, scores, field):
        cells: list[Interval | None] = []
        for model, one in scores.items():
            with expected(_path(run, model)):
                group = one["groups"].get(field, {}).get(value)
                cells.append(None if group is None else _interval(group["metrics"][GROUP_METRIC]))
        found[value] = cells
    ordered = weakest_first(list(scores), found)
    rows = [(value, max(cell.n for cell in cells if cell), cells) for value, cells in ordered.items()]
    title = f"{words.metric(GROUP_METRIC)} by {words.field(field)}"
    note = f"Mean times 100 with 95 % interval. {order_note(list(scores))}"
    plot = dots(title, f"held-out-{field}", list(scores), ordered, note)
    return GroupTable(field, list(scores), rows, plot)


def _interval(found: Mapping[str, Any], n: str = "n") -> Interval:
    return Interval(float(found["mean"]), float(found["low"]), float(found["high"]), int(found[n]))
