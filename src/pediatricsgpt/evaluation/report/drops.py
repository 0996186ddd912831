"""What every step dropped and why, with examples; of a near-duplicate also what was kept in its place."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from pediatricsgpt.evaluation.report import words
from pediatricsgpt.evaluation.report.files import LEAKAGE, REJECTS, TRAIN_SETS, RunFiles, expected, is_exempt

CURATED_COUNTS = "corpus/curated/counts.json"
RECORDS = "corpus/curated/records.parquet"
_MOST_REASONS = 10
_PER_REASON = 2
_SHORT = 160
_BEFORE = 40
NOT_SHOWN = "(not shown: dropped before de-identification)"
_ORIGINAL = re.compile(r" of ([0-9a-f]{16})\b")


@dataclass(frozen=True, slots=True)
class Example:
    """One item that was dropped, shortened; `instead` is what was kept in place of a near-duplicate."""

    where: str
    reason: str
    text: str
    instead: str


@dataclass(frozen=True, slots=True)
class Drop:
    """What one step read and dropped. `read` and `kept` are None for steps that make several rows of one record."""

    step: str
    place: str
    """The set that it belongs to, where several have such a step"""
    read: int | None
    kept: int | None
    reasons: Mapping[str, int]
    examples: Sequence[Example]

    @property
    def rejected(self) -> int:
        """How many items were dropped."""
        return sum(self.reasons.values())


@dataclass(slots=True)
class _Seen:
    """The rejects of one step, counted, with the first of each reason."""

    reasons: Counter[str] = field(default_factory=Counter)
    first: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)

    def add(self, reject: Mapping[str, Any]) -> None:
        """Count one; it is kept only if it is one of the first of its reason."""
        reason = str(reject["reason"]).split(":")[0]
        self.reasons[reason] += 1
        kept = self.first.setdefault(reason, [])
        if len(kept) < _PER_REASON:
            kept.append(reject)

    def ranked(self) -> dict[str, int]:
        """Reasons, most frequent first."""
        return dict(sorted(self.reasons.items(), key=lambda item: (-item[1], item[0])))


def drops(run: RunFiles) -> list[Drop]:
    """What was dropped, step by step in the order of the run."""
    return [*_read_drops(run), *_curated_drops(run), *_built_drops(run)]


def _read_drops(run: RunFiles) -> list[Drop]:
    nodes = [f"corpus/sources/{name}" for name in run.sources if run.manifest(f"corpus/sources/{name}")]
    if not nodes:
        return []
    seen = _Seen()
    for node in nodes:
        open_text = _may_be_shown(run, node)
        for reject in _rejects(run, node):
            seen.add(reject if open_text else {**reject, "row": NOT_SHOWN})
    read, kept = (sum(int(run.count(node, name) or 0) for node in nodes) for name in ("read", "kept"))
    return [Drop("read", "", read, kept, seen.ranked(), _examples(run, seen))]


def _may_be_shown(run: RunFiles, node: str) -> bool:
    """Whether what a source holds may stand in a report: its rejects were dropped before de-identification."""
    manifest, checked = run.manifest(node), run.manifest("corpus/deidentification")
    if manifest is None or checked is None:
        return False
    settings = (checked.settings or {}).get("deidentify", {})
    return not settings.get("enabled", True) or is_exempt(manifest.settings or {}, settings)


def _curated_drops(run: RunFiles) -> list[Drop]:
    """All steps in their order: those that dropped nothing too, so that the records can be followed."""
    counts = run.json(CURATED_COUNTS)
    if counts is None:
        return []
    by_step = _by_step(_rejects(run, "corpus/curated"))
    with expected(run.folder / CURATED_COUNTS):
        return [
            Drop(
                step,
                "",
                int(one["read"]),
                int(one["kept"]),
                dict(one["reasons"]),
                _examples(run, by_step.get(step, _Seen())),
            )
            for step, one in counts.items()
        ]


def _built_drops(run: RunFiles) -> list[Drop]:
    found = []
    for node in dict.fromkeys(("corpus/instructions", *TRAIN_SETS.values())):
        for step, seen in _by_step(_rejects(run, node)).items():
            found.append(_built_drop(run, node, step, seen))
    return found


def _built_drop(run: RunFiles, node: str, step: str, seen: _Seen) -> Drop:
    name = node.removeprefix("corpus/")
    checked = run.leakage(node) if step == "decontaminate" else None
    with expected(run.folder / node / LEAKAGE):
        read = int(checked["rows"]) if checked else None
    kept = None if read is None else read - sum(seen.reasons.values())
    return Drop(step, name if name != step else "", read, kept, seen.ranked(), _examples(run, seen))


def _rejects(run: RunFiles, node: str) -> Iterator[Mapping[str, Any]]:
    name = f"{node}/{REJECTS}"
    if run.manifest(node) is None:
        return
    for reject in run.stream(name):
        with expected(run.folder / name):
            one = {key: reject[key] for key in ("step", "reason", "where", "row")}
        yield one


def _by_step(rejects: Iterable[Mapping[str, Any]]) -> dict[str, _Seen]:
    found: dict[str, _Seen] = {}
    for reject in rejects:
        found.setdefault(str(reject["step"]), _Seen()).add(reject)
    return found


def _examples(run: RunFiles, seen: _Seen) -> list[Example]:
    """The first two rejects of each of the most frequent reasons."""
    chosen = [reject for reason in list(seen.ranked())[:_MOST_REASONS] for reject in seen.first.get(reason, [])]
    # An exact duplicate says the same as what was kept.
    near = {str(one["reason"]): match[1] for one in chosen if (match := _original(str(one["reason"])))}
    kept = run.rows_with(RECORDS, near.values())
    return [_example(one, kept.get(near.get(str(one["reason"]), ""))) for one in chosen]


def _example(reject: Mapping[str, Any], instead: Mapping[str, Any] | None) -> Example:
    text, other = text_of(reject["row"]), text_of(instead) if instead else ""
    # Of two long texts that are nearly the same, the place where they part says why they are not equal.
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(text, other, strict=False)))
    start = max(0, same - _BEFORE) if other else 0
    shown = [words.shortened("…" * bool(start and one) + one[start:], _SHORT) for one in (text, other)]
    return Example(str(reject["where"]), str(reject["reason"]), *shown)


def _original(reason: str) -> re.Match[str] | None:
    return _ORIGINAL.search(reason) if reason.startswith("near-duplicate") else None


def text_of(row: Any) -> str:
    """What an item says: raw text, a record's text or turns, or whatever else it is, as JSON."""
    if isinstance(row, str):
        return row
    if isinstance(row, dict):
        if isinstance(row.get("text"), str) and row["text"]:
            return str(row["text"])
        turns = [turn for name in ("messages", "prompt", "chosen", "rejected") for turn in row.get(name) or []]
        if turns and all(isinstance(turn, dict) for turn in turns):
            return " / ".join(str(turn.get("content", "")) for turn in turns)
    return json.dumps(row, ensure_ascii=False)
