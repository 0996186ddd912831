"""What went in: sources, what was dropped and why, the sets, and whether training and held-out rows keep apart."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pediatricsgpt.evaluation.report import words
from pediatricsgpt.evaluation.report.files import HELD_OUT, REJECTS, ROWS, TRAIN_SETS, RunFiles, expected
from pediatricsgpt.manifest import Manifest
from pediatricsgpt.records import AGE_BANDS, FAMILIES, TASKS

STATISTICS = "corpus/card/statistics.json"
PAIR_STATISTICS = "corpus/preferences/statistics.json"
CURATED_COUNTS = "corpus/curated/counts.json"
EXPERT_COUNTS = "corpus/experts/counts.json"
_EXAMPLES = 3
_SHORT = 160
_LABEL_TITLES = {
    "form": "Form",
    "aspect": "Aspect",
    "task": "Task",
    "family": "Family of sources",
    "department": "Department",
    "age_band": "Age band",
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


@dataclass(frozen=True, slots=True)
class Drop:
    """What one step read and dropped. `read` and `kept` are None for steps that make several rows of one record."""

    step: str
    read: int | None
    kept: int | None
    rejected: int
    reasons: Mapping[str, int]
    examples: Sequence[Example]


@dataclass(frozen=True, slots=True)
class Example:
    """One item that was dropped, shortened."""

    where: str
    reason: str
    text: str


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


@dataclass(frozen=True, slots=True)
class Leakage:
    """Groups (documents, dialogues, patients) on the two sides of the split."""

    counted: Sequence[str]
    """The training sets that were there to be counted"""
    missing: Sequence[str]
    train: int
    held_out: int
    both: Sequence[str]
    """Groups on both sides: there must be none"""


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


def drops(run: RunFiles) -> list[Drop]:
    """What was dropped, step by step in the order of the run."""
    return [*_read_drops(run), *_curated_drops(run), *_built_drops(run)]


def _read_drops(run: RunFiles) -> list[Drop]:
    nodes = [f"corpus/sources/{name}" for name in run.sources if run.manifest(f"corpus/sources/{name}")]
    if not nodes:
        return []
    rejects = [reject for node in nodes for reject in _rejects(run, node)]
    read, kept = (sum(int(run.count(node, name) or 0) for node in nodes) for name in ("read", "kept"))
    return [Drop("read", read, kept, len(rejects), _reasons(rejects), _examples(rejects))]


def _curated_drops(run: RunFiles) -> list[Drop]:
    counts = run.json(CURATED_COUNTS)
    if counts is None:
        return []
    by_step = _by_step(_rejects(run, "corpus/curated"))
    with expected(run.folder / CURATED_COUNTS):
        return [
            Drop(
                step,
                counts[step]["read"],
                counts[step]["kept"],
                counts[step]["rejected"],
                dict(counts[step]["reasons"]),
                _examples(by_step.get(step, [])),
            )
            for step in sorted(counts, key=lambda step: (-int(counts[step]["read"]), int(counts[step]["kept"])))
            if counts[step]["rejected"]
        ]


def _built_drops(run: RunFiles) -> list[Drop]:
    rejects = [reject for node in ("corpus/instructions", "corpus/preferences") for reject in _rejects(run, node)]
    return [
        Drop(step, None, None, len(found), _reasons(found), _examples(found))
        for step, found in _by_step(rejects).items()
    ]


def _rejects(run: RunFiles, node: str) -> list[Mapping[str, Any]]:
    name = f"{node}/{REJECTS}"
    rejects = run.lines(name) if run.manifest(node) else None
    with expected(run.folder / name):
        return [{key: reject[key] for key in ("step", "reason", "where", "row")} for reject in rejects or []]


def _by_step(rejects: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for reject in rejects:
        found.setdefault(str(reject["step"]), []).append(reject)
    return found


def _reason(reject: Mapping[str, Any]) -> str:
    """A reason without its details after the colon."""
    return str(reject["reason"]).split(":")[0]


def _reasons(rejects: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    counted = Counter(map(_reason, rejects))
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


def _examples(rejects: Sequence[Mapping[str, Any]]) -> list[Example]:
    """The first reject of each reason, at most three."""
    first: dict[str, Mapping[str, Any]] = {}
    for reject in rejects:
        first.setdefault(_reason(reject), reject)
    return [
        Example(str(one["where"]), str(one["reason"]), words.shortened(_text_of(one["row"]), _SHORT))
        for one in list(first.values())[:_EXAMPLES]
    ]


def _text_of(row: Any) -> str:
    """What a rejected item said: raw text, a record's text or turns, or whatever else it was, as JSON."""
    if isinstance(row, str):
        return row
    if isinstance(row, dict):
        if isinstance(row.get("text"), str) and row["text"]:
            return str(row["text"])
        turns = row.get("messages")
        if isinstance(turns, list) and turns and all(isinstance(turn, dict) for turn in turns):
            return " / ".join(str(turn.get("content", "")) for turn in turns)
    return json.dumps(row, ensure_ascii=False)


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


def leakage(run: RunFiles) -> Leakage | None:
    """The groups of the training sets against those of the held-out set; None while one of the sides is missing."""
    held_out = run.column(f"{HELD_OUT}/{ROWS}", "group")
    by_set = {node: run.column(f"{node}/{ROWS}", "group") for node in TRAIN_SETS.values()}
    counted = {node: set(groups) for node, groups in by_set.items() if groups is not None}
    if held_out is None or not counted:
        return None
    train: set[str] = set().union(*counted.values())
    short = [node.removeprefix("corpus/") for node in counted]
    missing = [node.removeprefix("corpus/") for node in by_set if node not in counted]
    return Leakage(short, missing, len(train), len(set(held_out)), sorted(train & set(held_out)))
