"""How the experts of phase 4 share the work: by task, and by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pediatricsgpt.evaluation.report.files import RunFiles, expected

ROUTING = "evaluation/experts/routing.json"
_CELL, _ROW = 30, 13
_LABEL = 210


@dataclass(frozen=True, slots=True)
class TaskShares:
    """The mean share of each specific expert on one task; they sum to 1."""

    task: str
    rows: int
    shares: Sequence[float]
    starts: Sequence[float]
    """Where each part of the bar begins, between 0 and 1"""


@dataclass(frozen=True, slots=True)
class Cell:
    """A share in the heat map."""

    x: int
    share: float
    strength: float
    """Opacity: 0 at no share, 1 at all of it"""


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One adapted layer: its shares task by task."""

    name: str
    y: int
    cells: Sequence[Cell]
    entropy: float
    """Mean over the tasks of the gates' entropy, 1 is even"""


@dataclass(frozen=True, slots=True)
class Routing:
    """What the report shows of the routers."""

    tasks: Sequence[TaskShares]
    experts: int
    layers: Sequence[LayerRow]
    spread: float
    """The largest difference between two tasks in the mean share of one expert"""
    entropy: float

    cell, row, label = _CELL, _ROW, _LABEL

    @property
    def width(self) -> int:
        """Of the heat map; a gap stands between tasks."""
        return _LABEL + len(self.tasks) * (self.experts * _CELL + 10)

    @property
    def height(self) -> int:
        """Of the heat map, with two lines of headings."""
        return 34 + len(self.layers) * _ROW

    def start(self, task: int) -> int:
        """Where the columns of a task begin."""
        return _LABEL + task * (self.experts * _CELL + 10)


def routing(run: RunFiles) -> Routing | None:
    """The routing of the run's experts; None where they were not measured.

    Raises:
        UserError: the file is damaged.
    """
    found = run.json(ROUTING)
    if not found:
        return None
    with expected(run.folder / ROUTING):
        tasks = [_task(name, found["rows"][name], shares) for name, shares in found["by_task"].items()]
        experts = len(tasks[0].shares)
        by_layer: dict[str, dict[str, tuple[list[float], float]]] = {}
        for one in found["layers"]:
            by_layer.setdefault(one["layer"], {})[one["task"]] = (one["shares"], one["entropy"])
        layers = [
            _layer(place, name, [by_task[task.task] for task in tasks], experts)
            for place, (name, by_task) in enumerate(by_layer.items())
        ]
        columns = list(zip(*(task.shares for task in tasks), strict=True))
        spread = max((max(column) - min(column) for column in columns), default=0.0)
        entropy = sum(layer.entropy for layer in layers) / len(layers)
    return Routing(tasks, experts, layers, spread, entropy)


def _task(name: str, rows: int, shares: list[float]) -> TaskShares:
    starts = [sum(shares[:place]) for place in range(len(shares))]
    return TaskShares(name, rows, shares, starts)


def _layer(place: int, name: str, shares: Sequence[tuple[list[float], float]], experts: int) -> LayerRow:
    cells = [
        Cell(_LABEL + task * (experts * _CELL + 10) + expert * _CELL, share, round(share, 3))
        for task, (values, _) in enumerate(shares)
        for expert, share in enumerate(values)
    ]
    return LayerRow(name.removeprefix("model."), 30 + place * _ROW, cells, sum(e for _, e in shares) / len(shares))
