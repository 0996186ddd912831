"""What went in: the sources, the sets, and what these are made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pediatricsgpt.evaluation.report.files import HELD_OUT, ROWS, TRAIN_SETS, RunFiles, expected
from pediatricsgpt.manifest import Manifest
from pediatricsgpt.records import AGE_BANDS, FAMILIES, TASKS

STATISTICS = "corpus/card/statistics.json"
PAIR_STATISTICS = "corpus/preferences/statistics.json"
EXPERT_COUNTS = "corpus/experts/counts.json"
_ENCODING = "encoding "
_ACCOUNT = ("read", "kept", "rejected", "files")
_LABEL_TITLES = {
    "form": "Form",
    "aspect": "Aspect",
    "task": "Task",
    "family": "Family of sources",
    "department": "Department",
    "age_band": "Age band",
    "teacher": "Written by a teacher",
}
_ORDERS: dict[str, Sequence[str]] = {
    "task": TASKS,
    "family": FAMILIES,
    "age_band": [*(name for name, _ in AGE_BANDS), "unknown"],
}
_MOST_VALUES = 24


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One source: on what grounds it may be used, and what was read."""

    name: str
    settings: Mapping[str, Any]
    manifest: Manifest | None

    @property
    def files(self) -> int:
        """How many files it has."""
        return len(self.manifest.inputs) if self.manifest else 0

    @property
    def encodings(self) -> list[tuple[str, int]]:
        """Encodings of its text files, and in how many of them each was found."""
        counts = self.manifest.counts if self.manifest else {}
        return [(name.removeprefix(_ENCODING), int(n)) for name, n in counts.items() if name.startswith(_ENCODING)]

    @property
    def others(self) -> list[tuple[str, Any]]:
        """What else its reader counted: rows, pages, seconds and the like."""
        counts = self.manifest.counts if self.manifest else {}
        named = {name: n for name, n in counts.items() if n and name not in _ACCOUNT and not name.startswith(_ENCODING)}
        return [(name.replace("_", " "), n) for name, n in named.items()]


@dataclass(frozen=True, slots=True)
class SetRow:
    """One training set, or the held-out set."""

    name: str
    phase: str
    """The phase that trains on it; empty for the held-out set"""
    rows: int | None
    characters: int | None
    tokens: int | None
    distinct: int
    """Different rows: the expert set repeats those of a small task"""
    groups: int


@dataclass(frozen=True, slots=True)
class Share:
    """How often a label occurs in one set; `percent` of the set's rows."""

    count: int
    percent: float


@dataclass(frozen=True, slots=True)
class LabelTable:
    """How the sets are made up by one label: value -> one share per set, in the order of `sets`."""

    title: str
    sets: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Share | None]]]
    left_out: int
    """Rarer values that are not shown"""


def sources(run: RunFiles) -> list[SourceRow]:
    """The sources in the order of the recipe, read or not."""
    with expected(run.folder / "recipe.yaml"):
        listed = run.recipe.get("corpus", {}).get("sources", [])
        settings = {source["name"]: source for source in listed}
    found = []
    for name in run.sources:
        manifest = run.manifest(f"corpus/sources/{name}")
        # What was read counts, not what the recipe says now.
        used = manifest.settings if manifest else settings.get(name)
        found.append(SourceRow(name, used if isinstance(used, dict) else {}, manifest))
    return found


def sets(run: RunFiles) -> list[SetRow]:
    """The sets that are built, training sets first."""
    statistics = _set_statistics(run)
    found = []
    for phase, node in (*TRAIN_SETS.items(), ("", HELD_OUT)):
        groups = run.column(f"{node}/{ROWS}", "group")
        if groups is None:
            continue
        characters = statistics.get(node.removeprefix("corpus/"), {}).get("characters")
        tokens = run.count(phase, "tokens") if phase else None
        distinct = len(set(run.column(f"{node}/{ROWS}", "id") or []))
        short = node.removeprefix("corpus/")
        found.append(SetRow(short, phase, len(groups), characters, tokens, distinct, len(set(groups))))
    return found


def expert_tasks(run: RunFiles) -> list[tuple[str, int, int, int]]:
    """(task, different rows at hand, rows in the set, how often one row occurs at most) of the expert set."""
    counts = run.json(EXPERT_COUNTS)
    if counts is None:
        return []
    with expected(run.folder / EXPERT_COUNTS):
        found = {task: tuple(int(one[key]) for key in ("available", "rows", "repeats")) for task, one in counts.items()}
    ordered = sorted(found, key=lambda task: _place(task, TASKS, 0))
    return [(task, *found[task]) for task in ordered]


def label_tables(run: RunFiles) -> list[LabelTable]:
    """How the sets are made up, one table for each label that the corpus card counts."""
    statistics = _set_statistics(run)
    tables = []
    with expected(run.folder / STATISTICS):
        for field, title in _LABEL_TITLES.items():
            counted = {name: one[field] for name, one in statistics.items() if isinstance(one.get(field), dict)}
            counted = {name: values for name, values in counted.items() if values}
            if counted:
                tables.append(_label_table(field, title, counted))
        if sides := statistics.get("preferences", {}).get("sides"):
            tables.append(_sides_table(sides, int(statistics["preferences"]["rows"])))
    return tables


def _sides_table(sides: Mapping[str, Mapping[str, Any]], rows: int) -> LabelTable:
    """By what the two sides of the preference pairs could be told apart without reading them."""
    found: list[tuple[str, Sequence[Share | None]]] = []
    for name, title in (("longer", "longer side"), ("greeting", "begins with a greeting"), ("list", "holds a list")):
        shares = [float(side[name]) for side in sides.values()]
        found.append(
            (title, [Share(round(share * rows), round(100 * share, 2)) if share else None for share in shares])
        )
    return LabelTable("Sides of the preference pairs", list(sides), found, 0)


def _set_statistics(run: RunFiles) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for path in (STATISTICS, PAIR_STATISTICS):
        statistics = run.json(path)
        if statistics is not None:
            with expected(run.folder / path):
                found |= {str(name): dict(one) for name, one in statistics["sets"].items()}
    return found


def _label_table(field: str, title: str, counted: Mapping[str, Mapping[str, int]]) -> LabelTable:
    totals: Counter[str] = Counter()
    for values in counted.values():
        totals.update(values)
    known = _ORDERS.get(field)
    # Ages and tasks have an order of their own; everything else comes with the most frequent first.
    ordered = sorted(totals, key=lambda value: _place(value, known, totals[value]))
    wholes = {name: sum(values.values()) for name, values in counted.items()}
    rows = [(value, [_share(values.get(value), wholes[name]) for name, values in counted.items()]) for value in ordered]
    return LabelTable(title, list(counted), rows[:_MOST_VALUES], max(0, len(rows) - _MOST_VALUES))


def _place(value: str, known: Sequence[str] | None, total: int) -> tuple[int, int, str]:
    if known is not None and value in known:
        return known.index(value), 0, value
    return len(known or ()), -total, value


def _share(count: int | None, whole: int) -> Share | None:
    return None if not count else Share(count, round(100 * count / whole, 2))
