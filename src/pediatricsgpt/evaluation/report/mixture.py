"""What a phase trained on: what became of the rows of its set, and what each part of the mixture gave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pediatricsgpt.evaluation.report.files import expected
from pediatricsgpt.manifest import MANIFEST, Manifest

KINDS = ("set", "task", "form", "source")
# Counts of the rows that are not trained on; those of pairs are `training.preference.data.REASONS`.
_REASONS = {
    "too_long": ("too long", "过长"),
    "without_loss": ("nothing to learn", "无可学内容"),
    "left_out_mixture": ("in no part of the mixture", "不属于配比的任何部分"),
    "equal_sides": ("equal sides", "两侧相同"),
    "empty_answer": ("empty answer", "回答为空"),
    "several_answers": ("several answers", "多条回答"),
}
NOT_DRAWN = ("not drawn, or a repeat", "未抽到或重复")


@dataclass(frozen=True, slots=True)
class Reason:
    """Why some rows are not trained on."""

    english: str
    chinese: str
    rows: int


@dataclass(frozen=True, slots=True)
class Cut:
    """Dialogues that were too long and lost their last turns."""

    rows: int
    turns: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Account:
    """What became of the rows: those of a pass and those left out are all."""

    rows: int
    used: int
    """Different rows, or pairs, of a pass"""
    reasons: Sequence[Reason]
    """Only those that left something out"""
    cut: Cut | None
    held_out: int
    """Rows of the user's own sets that have another split than train; not among `rows`"""

    @property
    def left_out(self) -> int:
        """Rows that no pass has."""
        return self.rows - self.used


@dataclass(frozen=True, slots=True)
class Part:
    """What one set, task, form or source gives to a pass."""

    kind: str
    name: str
    rows: int
    """Different ones"""
    tokens: int
    loss_tokens: int
    percent: float
    """Of the tokens"""


def account(manifest: Manifest | None) -> Account | None:
    """What became of the rows of a phase's set; None where the phase has not run, or did not say.

    Raises:
        UserError: the counts are not what a phase writes.
    """
    if manifest is None or not {"by_set", "pairs"} & set(manifest.counts):
        return None
    counts = manifest.counts
    with expected(Path(manifest.node) / MANIFEST):
        rows = int(counts["rows"])
        used = int(counts["pairs"]) if "pairs" in counts else sum(int(one["rows"]) for one in counts["by_set"].values())
        found = [Reason(*names, int(counts.get(key, 0))) for key, names in _REASONS.items()]
        found.append(Reason(*NOT_DRAWN, rows - used - sum(reason.rows for reason in found)))
        cut = Cut(*(int(counts[key]) for key in ("cut", "cut_turns", "cut_tokens"))) if counts.get("cut") else None
        held_out = int(counts.get("left_out_held_out", 0))
    return Account(rows, used, [reason for reason in found if reason.rows], cut, held_out)


def parts(manifest: Manifest | None) -> list[Part]:
    """What each part of the mixture gave, the largest of a kind first; a kind with one part alone is left out.

    Raises:
        UserError: the counts are not what a phase writes.
    """
    found: list[Part] = []
    if manifest is None:
        return found
    for kind in KINDS:
        with expected(Path(manifest.node) / MANIFEST):
            named = [
                Part(kind, str(name), one["rows"], one["tokens"], one["loss_tokens"], float(one["share_percent"]))
                for name, one in manifest.counts.get(f"by_{kind}", {}).items()
            ]
            if len(named) > 1:
                found += sorted(named, key=lambda part: (-part.tokens, part.name))
    return found
