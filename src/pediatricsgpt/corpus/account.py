"""What each step read, kept and rejected, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pediatricsgpt.records import Reject


@dataclass(slots=True)
class Account:
    """What one step did. `extra` are a step's own figures, for example how many names were replaced."""

    read: int = 0
    kept: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    extra: Counter[str] = field(default_factory=Counter)

    def add(self, step: str, read: int, kept: int, reasons: Iterable[str]) -> None:
        """Count a batch.

        Raises:
            RuntimeError: the step lost or invented a record.
        """
        dropped = [reason.split(":")[0] for reason in reasons]
        if kept + len(dropped) != read:
            raise RuntimeError(f"step '{step}' read {read} records but kept {kept} and rejected {len(dropped)}")
        self.read += read
        self.kept += kept
        self.rejected += len(dropped)
        self.reasons.update(dropped)

    def join(self, other: dict[str, Any]) -> None:
        """Add what `as_dict` of another part's account gave."""
        self.read += other["read"]
        self.kept += other["kept"]
        self.rejected += other["rejected"]
        self.reasons.update(other["reasons"])
        self.extra.update(other.get("extra", {}))

    def as_dict(self) -> dict[str, Any]:
        """Plain values; reasons by their number, most frequent first."""
        counts = {"read": self.read, "kept": self.kept, "rejected": self.rejected, "reasons": ranked(self.reasons)}
        return {**counts, "extra": ranked(self.extra)} if self.extra else counts


def ranked(counter: Counter[str]) -> dict[str, int]:
    """Counts by their number, most frequent first, then by name."""
    return dict(sorted(counter.items(), key=lambda item: (-item[1], item[0])))


def reasons(rejects: Sequence[Reject]) -> dict[str, int]:
    """How often each reason occurs, most frequent first; details after a colon are left out."""
    return ranked(Counter(reject.reason.split(":")[0] for reject in rejects))
