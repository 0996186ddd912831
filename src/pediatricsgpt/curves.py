"""What a phase of training logs, step by step, and which curves are drawn of it: as a picture and in the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

METRICS = "metrics.jsonl"
"""Of a phase: one line for each logged step"""
PICTURE = "curves.png"
HELD_OUT = "held_out/"
"""What stands before the name of a set whose held-out loss was measured"""
OWN = "own"
"""Name of the set of the phase's own held-out rows"""

Point = tuple[float, float]

# Title of a chart -> name of a curve -> field of the log.
_CHARTS = {
    "training loss": {"loss": "loss"},
    "the two terms of the loss": {"preference": "loss/preference", "likelihood": "loss/likelihood"},
    "log-probability of the answers": {"chosen": "logps/chosen", "rejected": "logps/rejected"},
    "its change since the SFT model, times beta": {"chosen": "rewards/chosen", "rejected": "rewards/rejected"},
    "margin of chosen over rejected": {"margin": "rewards/margins"},
    "share of pairs ranked rightly": {
        "plain": "rewards/accuracies",
        "per token": "rewards/accuracies_length_normalised",
    },
}
_HELD_OUT_TITLE = "held-out loss"


def charts(log: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, list[Point]]]:
    """The charts of a log: title -> name of a curve -> (step, value), with what was never logged left out.

    Args:
        log: the lines of `metrics.jsonl`, in their order.
    """
    lines = list(log)
    fields = sorted({field for line in lines for field in line if field.startswith(HELD_OUT)})
    wanted = {**_CHARTS, _HELD_OUT_TITLE: {field.removeprefix(HELD_OUT): field for field in fields}}
    found = {title: {name: curve(lines, field) for name, field in named.items()} for title, named in wanted.items()}
    return {title: named for title, named in found.items() if any(named.values())}


def curve(log: Iterable[Mapping[str, Any]], field: str) -> list[Point]:
    """One logged value as (step, value)."""
    return [
        (float(line["step"]), float(line[field]))
        for line in log
        if isinstance(line.get(field), int | float) and isinstance(line.get("step"), int)
    ]
