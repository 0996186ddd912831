"""What teachers were asked, what it cost, and what became of what they wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pediatricsgpt.evaluation.report import words
from pediatricsgpt.evaluation.report.files import RunFiles, expected

PASSES = "passes.jsonl"
_NODES = ("corpus/instructions", "corpus/preferences")
_REQUESTS = "_requests"
_SHORT = 240
_MOST_REASONS = 4


@dataclass(frozen=True, slots=True)
class Usage:
    """What one rule's teacher was asked and what it took; `money` is None where nothing was paid."""

    rule: str
    requests: int
    cached: int
    tokens: int
    money: float | None


@dataclass(slots=True)
class Pass:
    """One prompt and model: how many answers, how many of them were not kept and why, and one of each."""

    step: str
    teacher: str
    prompt_hash: str
    answers: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    kept_example: str = ""
    rejected_example: str = ""
    rejected_reason: str = ""

    def add(self, wrote: Any, reasons: Sequence[str]) -> None:
        """Count one answer."""
        self.answers += 1
        if not reasons:
            self.kept_example = self.kept_example or _shown(wrote)
            return
        self.rejected += 1
        self.reasons.update(str(reason).split(":")[0] for reason in reasons)
        if not self.rejected_example:
            self.rejected_example, self.rejected_reason = _shown(wrote), "; ".join(map(str, reasons))

    @property
    def most_frequent(self) -> list[tuple[str, int]]:
        """The most frequent reasons."""
        return sorted(self.reasons.items(), key=lambda item: (-item[1], item[0]))[:_MOST_REASONS]


def usage(run: RunFiles) -> list[Usage]:
    """Of every rule that has a teacher."""
    found = []
    for node in _NODES:
        manifest = run.manifest(node)
        counts: Mapping[str, Any] = manifest.counts if manifest else {}
        for rule in (name.removesuffix(_REQUESTS) for name in counts if name.endswith(_REQUESTS)):
            with expected(run.folder / node / "manifest.json"):
                requests, cached, tokens = (int(counts[f"{rule}_{name}"]) for name in ("requests", "cached", "tokens"))
                found.append(Usage(rule, requests, cached, tokens, counts.get(f"{rule}_money")))
    return found


def passes(run: RunFiles) -> list[Pass]:
    """Every prompt that was used, in the order in which it was."""
    found: dict[tuple[str, str, str], Pass] = {}
    for node in _NODES:
        name = f"{node}/{PASSES}"
        if run.manifest(node) is None:
            continue
        for line in run.stream(name):
            with expected(run.folder / name):
                key = str(line["step"]), str(line["teacher"]), str(line["prompt_hash"])
                found.setdefault(key, Pass(*key)).add(line["wrote"], list(line["reasons"]))
    return list(found.values())


def _shown(wrote: Any) -> str:
    """What was written, field by field; nothing where no answer came."""
    return words.shortened("\n".join(_lines(wrote)), _SHORT)


def _lines(wrote: Any) -> Iterator[str]:
    if isinstance(wrote, Mapping):
        for value in wrote.values():
            yield from _lines(value)
    elif isinstance(wrote, list):
        for value in wrote:
            yield from _lines(value)
    elif wrote is not None:
        yield str(wrote)
