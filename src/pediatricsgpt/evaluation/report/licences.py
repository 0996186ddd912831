"""On what grounds each set may be used: its rows by source, with licence, consent and purpose."""

from __future__ import annotations

from dataclasses import dataclass

from pediatricsgpt.evaluation.report.files import HELD_OUT, ROWS, TRAIN_SETS, RunFiles

_FIELDS = ("name", "licence", "consent", "purpose")


@dataclass(frozen=True, slots=True)
class Ground:
    """The rows of one set that come from one source. `percent` is their share of the set."""

    training_set: str
    first: bool
    """Whether it is the first of its set"""
    source: str
    licence: str
    consent: str
    purpose: str
    rows: int
    percent: float


def grounds(run: RunFiles) -> list[Ground]:
    """Counted from the rows themselves, set by set, the largest source first."""
    found: list[Ground] = []
    for node in (*TRAIN_SETS.values(), HELD_OUT):
        counted = run.counted(f"{node}/{ROWS}", "source", _FIELDS)
        if counted:
            whole = sum(counted.values())
            ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
            name = node.removeprefix("corpus/")
            for place, ((source, licence, consent, purpose), rows) in enumerate(ordered):
                share = 100 * rows / whole
                found.append(Ground(name, place == 0, source, licence, consent, purpose, rows, share))
    return found


def licences(found: list[Ground]) -> list[tuple[str, list[tuple[str, int]]]]:
    """For each set how many rows stand under each licence."""
    sets: dict[str, dict[str, int]] = {}
    for one in found:
        counted = sets.setdefault(one.training_set, {})
        counted[one.licence] = counted.get(one.licence, 0) + one.rows
    return [(name, sorted(counted.items(), key=lambda item: (-item[1], item[0]))) for name, counted in sets.items()]
