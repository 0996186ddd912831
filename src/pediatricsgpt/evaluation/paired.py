"""Several models on the same items: paired differences, with one correction over everything that is compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.metrics import METRICS, Scores, check_profile, is_corpus
from pediatricsgpt.evaluation.predictions import LABELS, Prediction, by_id, first_few, read_predictions
from pediatricsgpt.evaluation.scoring import ScoreReport, score_items
from pediatricsgpt.evaluation.statistics import (
    FLIPS,
    RESAMPLES,
    SEED,
    Difference,
    Groups,
    Verdict,
    bootstrap_means,
    cases_of,
    holm,
    paired_p_values,
    verdict_of,
)

if TYPE_CHECKING:
    from rich.table import Table

ALPHA = 0.05
"""A corrected p-value above it gives no verdict"""

# The smallest p-value of so many flips, times the number of tests, stays well below `ALPHA`.
_FLIPS_PER_TEST = 100


@dataclass(frozen=True, slots=True)
class Compared:
    """One metric of two models on the same items, times 100."""

    a: str
    b: str
    metric: str
    difference: Difference
    """Of `a` minus `b`; its own verdict looks at its interval alone"""
    p: float
    """Two-sided, of this comparison alone (sign flips of cases)"""
    p_holm: float
    """Corrected for all comparisons of the report"""

    @property
    def verdict(self) -> Verdict:
        """Of `a`: better or worse only where the interval leaves out zero and the corrected p-value is small."""
        return self.difference.verdict if self.p_holm <= ALPHA else "no verdict"


@dataclass(frozen=True)
class PairedReport:
    """Several predictions files on the same items."""

    reports: dict[str, ScoreReport]
    """Name of the model -> its scores on the common items, in the order of the files"""
    comparisons: list[Compared]
    """By pair of models, then metric"""
    warnings: list[str]

    @property
    def n(self) -> int:
        """Items that every model answered."""
        return next(iter(self.reports.values())).overall.n

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "n": self.n,
            "tests": len(self.comparisons),
            "correction": "holm",
            "models": {name: report.to_dict() for name, report in self.reports.items()},
            "comparisons": [_row(one) for one in self.comparisons],
            "warnings": self.warnings,
        }


def compare_files(
    paths: Sequence[str | Path],
    profile: str = "paper",
    metrics: Sequence[str] = METRICS,
    *,
    by: Sequence[str] = LABELS,
    intersect: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> PairedReport:
    """Score several files of predictions and compare each with each.

    Args:
        paths: at least two files of the same questions, told apart by id; see `read_predictions`.
        profile: one of `PROFILES`.
        metrics: what is compared. Every further one makes the correction stricter for all.
        by: see `score_file`.
        intersect: compare on the items that all have instead of refusing different sets.
        progress: told (items done, items of this file) now and then.

    Raises:
        UserError: a file is not as it must be, an item has no id, the files answer different questions, or no item
            is common to all.
    """
    check_profile(profile)
    unknown = [metric for metric in metrics if metric not in METRICS]
    if unknown:
        raise UserError(f"unknown metric '{unknown[0]}'; known are {', '.join(METRICS)}")
    files = {str(path): by_id(read_predictions(path)) for path in paths}
    if len(files) < len(paths):
        raise UserError("the same file is given twice")
    items, warnings = _aligned(files, intersect)
    names = _names(items)
    reports = {names[path]: score_items(path, chosen, profile, by, progress) for path, chosen in items.items()}
    cases = _cases(list(items.values()))
    comparisons = compare({name: report.overall for name, report in reports.items()}, cases, metrics)
    warnings += [f"{name}: {warning}" for name, report in reports.items() for warning in report.warnings]
    return PairedReport(reports, comparisons, warnings)


def compare(
    scores: Mapping[str, Scores],
    cases: Groups | None,
    metrics: Sequence[str] = METRICS,
    *,
    seed: int = SEED,
    resamples: int = RESAMPLES,
) -> list[Compared]:
    """Compare each model with each, on the same items in the same order; p-values are corrected over all together.

    Args:
        scores: of each model, of one profile.
        cases: for each item its case; None where each is one.
        metrics: what is compared.
        seed: of resamples and sign flips.
        resamples: of the bootstrap.
    """
    couples = list(combinations(scores, 2))
    flips = max(FLIPS, _FLIPS_PER_TEST * len(couples) * len(metrics))
    found = []
    for a, b in couples:
        rows = dict(zip(METRICS, _differences(scores[a], scores[b], cases, seed, resamples, flips), strict=True))
        found += [(a, b, metric, *rows[metric]) for metric in metrics]
    corrected = holm([p for *_, p in found])
    return [Compared(*one, adjusted) for one, adjusted in zip(found, corrected, strict=True)]


def _differences(
    a: Scores, b: Scores, cases: Groups | None, seed: int, resamples: int, flips: int
) -> list[tuple[Difference, float]]:
    """Difference and p-value of each metric."""
    if is_corpus(a.counted.profile):
        from pediatricsgpt.evaluation.metrics.corpus import differences

        return differences(a.counted, b.counted, cases, seed, resamples, flips)
    values = 100.0 * (a.counted.values - b.counted.values)
    p_values = paired_p_values(values, cases, seed, flips)
    many = len(values) if cases is None else len(set(cases))
    return [
        (Difference(one.mean, one.low, one.high, one.n, verdict_of(one, many)), p)
        for one, p in zip(bootstrap_means(values, seed, resamples, groups=cases), p_values, strict=True)
    ]


def render_comparisons(report: PairedReport) -> list[Table]:
    """For each pair of models a table of differences."""
    from rich.table import Table
    from rich.text import Text

    tables = []
    for a, b in combinations(report.reports, 2):
        caption = (
            f"n {report.n} · difference x100 [95 % interval] · p corrected (Holm) for {len(report.comparisons)} "
            f"comparisons · no verdict: interval touches zero or p above {ALPHA}"
        )
        table = Table(title=Text(f"{a} against {b}"), caption=Text(caption))
        for name in ("metric", a, b, "difference", "p (Holm)", "verdict"):
            table.add_column(Text(name), justify="left" if name in ("metric", "verdict") else "right")
        for one in report.comparisons:
            if (one.a, one.b) != (a, b):
                continue
            sides = [f"{report.reports[name].overall.summary[one.metric].mean:.2f}" for name in (a, b)]
            shown = f"{one.difference.mean:+.2f} [{one.difference.low:+.2f}, {one.difference.high:+.2f}]"
            verdict = one.verdict if one.verdict == "no verdict" else f"{a} {one.verdict}"
            table.add_row(
                one.metric, *sides, Text(shown), "<0.001" if one.p_holm < 0.001 else f"{one.p_holm:.3f}", Text(verdict)
            )
        tables.append(table)
    return tables


def _row(one: Compared) -> dict[str, Any]:
    names = {"a": one.a, "b": one.b, "metric": one.metric}
    tested = {"p": one.p, "p_holm": one.p_holm, "verdict": one.verdict}
    return {**names, **dataclasses.asdict(one.difference), **tested}


def _cases(files: Sequence[Sequence[Prediction]]) -> list[str] | None:
    """The case of each item, as whichever file says it: one that says nothing does not make the items independent."""
    return cases_of([next((one.group for one in same if one.group), None) for same in zip(*files, strict=True)])


def _aligned(
    files: Mapping[str, Mapping[str, Prediction]], intersect: bool
) -> tuple[dict[str, list[Prediction]], list[str]]:
    """The items of each file in the order of the first, and what is to be said about those left out."""
    first_path, first = next(iter(files.items()))
    everything = {name for items in files.values() for name in items}
    missing = {
        path: [name for other in files.values() for name in other if name not in items] for path, items in files.items()
    }
    missing = {path: list(dict.fromkeys(names)) for path, names in missing.items() if names}
    common = [name for name in first if all(name in items for items in files.values())]
    warnings = []
    if missing:
        said = "; ".join(f"{path} lacks {len(names)} ({first_few(names)})" for path, names in missing.items())
        text = f"the models answered different questions: of {len(everything)} ids {said}"
        if not common:
            raise UserError(f"{text}; none is common to all, nothing can be compared", first_path)
        if not intersect:
            raise UserError(f"{text}; --intersect compares on the {len(common)} common ones", first_path)
        warnings.append(f"{text}; compared on the {len(common)} common ones")
    chosen = {path: [items[name] for name in common] for path, items in files.items()}
    _check_same(chosen[first_path], chosen)
    return chosen, warnings


def _check_same(first: Sequence[Prediction], files: Mapping[str, Sequence[Prediction]]) -> None:
    """Refuse items that have one id and are not one question."""
    for items in files.values():
        for ours, theirs in zip(first, items, strict=True):
            what = "reference" if ours.reference != theirs.reference else None
            if ours.messages is not None and theirs.messages is not None and ours.messages != theirs.messages:
                what = "question"
            if what:
                raise UserError(f"item '{ours.id}' has another {what} than at {ours.where}", theirs.where)


def _names(items: Mapping[str, Sequence[Prediction]]) -> dict[str, str]:
    """What each file's model is called: as the file says if that tells them apart, else by file name, else by path."""
    models = {path: {item.model for item in chosen} for path, chosen in items.items()}
    by_model = {path: next(iter(found)) if len(found) == 1 else None for path, found in models.items()}
    for names in (by_model, {path: Path(path).stem for path in items}):
        if None not in names.values() and len(set(names.values())) == len(names):
            return {path: str(name) for path, name in names.items()}
    return {path: path for path in items}
