"""The metrics of the paper (METHOD section 3), equal to NLTK and the `rouge` package but without them and faster.

Per sample, both sides are cut into tokens; every value is rounded to 4 places; a corpus value is the mean over
samples, times 100. Profile `paper` cuts as `jieba.cut` does; profile `char` takes characters without white space. Of
`paper-corpus` and `char-corpus` the values are those of all items as one text (NLTK's `corpus_bleu` and `corpus_gleu`,
ROUGE over summed counts, Distinct over all answers together), while single items score as in `paper` and `char`.

An item with an empty side (no text, or only white space) scores 0 on every metric, Distinct included, stays in the
mean, and is counted in `Scores.empty`. Over a whole corpus it counts with what its other side has.

Counting is compiled: the first use on a machine waits some seconds for the compiler, whose work is then kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.metrics.counting import Counted, Pairs, count, count_empty
from pediatricsgpt.evaluation.metrics.formulas import PLACES
from pediatricsgpt.evaluation.metrics.names import METRICS, PROFILES, check_profile, cut_of, is_corpus
from pediatricsgpt.evaluation.statistics import LEVEL, RESAMPLES, SEED, Groups, Interval, beyond_data, bootstrap_means

__all__ = [
    "METRICS",
    "PROFILES",
    "VERSION",
    "Scores",
    "check_profile",
    "count",
    "count_empty",
    "is_corpus",
    "monotonicity_warnings",
    "score",
    "score_pair",
    "signature",
    "summarise",
]

VERSION = 1
"""Raised whenever a change of this code could change a score"""

_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Scores:
    """Scores of a set of items."""

    per_sample: list[dict[str, float]]
    """One dictionary per item in the order of `METRICS`, values 0..1"""
    summary: dict[str, Interval]
    """Value over the items with its interval, times 100"""
    signature: str
    """Everything that the numbers depend on: scores with different signatures cannot be compared"""
    warnings: list[str]
    empty: int
    """Items of which a side was empty"""
    counted: Counted = field(repr=False, compare=False)
    """What the values are computed from"""

    @property
    def n(self) -> int:
        """Number of items."""
        return len(self.per_sample)


def score_pair(prediction: str, reference: str, profile: str = "paper") -> dict[str, float]:
    """Scores of one answer, 0..1 and rounded to 4 places, keyed and ordered as `METRICS`.

    Raises:
        UserError: the profile is unknown.
    """
    check_profile(profile)
    return count([(prediction, reference)], cut_of(profile), workers=1).per_sample()[0]


def score(
    pairs: Pairs,
    profile: str = "paper",
    *,
    seed: int = SEED,
    resamples: int = RESAMPLES,
    groups: Groups | None = None,
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
) -> Scores:
    """Score (prediction, reference) pairs.

    Args:
        pairs: at least one.
        profile: one of `PROFILES`.
        seed: of the bootstrap behind the intervals.
        resamples: of the bootstrap.
        groups: for each pair its case, if several belong to one; intervals are then over cases.
        progress: told (pairs done, pairs in all) now and then, and at the end.
        workers: threads; None takes the processors that this process may use. No number depends on it.

    Raises:
        UserError: the profile is unknown, or there is no pair.
    """
    check_profile(profile)
    return summarise(count(pairs, profile, progress, workers), seed=seed, resamples=resamples, groups=groups)


def summarise(
    counted: Counted, *, seed: int = SEED, resamples: int = RESAMPLES, groups: Groups | None = None
) -> Scores:
    """Values, intervals and warnings of items that are counted already.

    Raises:
        UserError: there is no item.
    """
    n, profile, empty = len(counted.table), counted.profile, int(counted.empty.sum())
    if not n:
        raise UserError("there is nothing to score: no pair of prediction and reference")
    if is_corpus(profile):
        from pediatricsgpt.evaluation.metrics.corpus import summary as corpus_summary

        intervals = corpus_summary(counted, groups, seed, resamples)
    else:
        intervals = bootstrap_means(100.0 * counted.values, seed, resamples, groups=groups)
    cases = n if groups is None else len(set(groups))
    if cases == 1:  # of which every resample is the same
        intervals = [beyond_data(interval, cases, (0.0, 100.0)) for interval in intervals]
    summary = dict(zip(METRICS, intervals, strict=True))
    warnings = monotonicity_warnings({name: interval.mean for name, interval in summary.items()})
    if empty:
        how = "count with their other side" if is_corpus(profile) else "score 0"
        warnings.insert(0, f"{empty} of {n} items have an empty prediction or reference and {how}")
    line = signature(profile, n, cases, seed=seed, resamples=resamples)
    return Scores(counted.per_sample(), summary, line, warnings, empty, counted)


def signature(profile: str, n: int, cases: int | None = None, *, seed: int = SEED, resamples: int = RESAMPLES) -> str:
    """Everything that scores and intervals of a profile depend on, as one line.

    Args:
        profile: one of `PROFILES`.
        n: items.
        cases: that they belong to; None where each item is one.
        seed: of the bootstrap.
        resamples: of the bootstrap.

    Raises:
        UserError: the profile is unknown.
    """
    check_profile(profile)
    parts = {
        "profile": profile,
        "cut": _cut_version(profile),
        "bleu": "nltk,cumulative,method3,weights3:0.33" + (",corpus" if is_corpus(profile) else ""),
        "gleu": "nltk,1-4" + (",corpus" if is_corpus(profile) else ""),
        "rouge": "rouge-1.0.1,f" + (",micro" if is_corpus(profile) else ""),
        "distinct": "corpus" if is_corpus(profile) else "within",
        "empty": "other-side-counts" if is_corpus(profile) else "score-0",
        "round": "no" if is_corpus(profile) else str(PLACES),
        "n": str(n),
        "interval": f"percentile,{LEVEL},resamples:{resamples},seed:{seed}",
    }
    if cases not in (None, n):
        parts["cases"] = str(cases)
    if is_corpus(profile):
        parts["interval"] += ",distinct:jackknife"
    return "|".join([f"pedgpt-metrics:{VERSION}", *(f"{name}:{value}" for name, value in parts.items())])


def monotonicity_warnings(means: Mapping[str, float]) -> list[str]:
    """A warning for each BLEU-n above BLEU-(n-1), of our scores or of anybody's table.

    Two things can do it and both are said: a clipped n-gram precision may exceed the one below when an answer
    repeats itself, and the weights of BLEU-3 sum to 0.99. Smoothing `method3` cannot: a smoothed precision is never
    above the one before it.
    """
    found = []
    for order in (2, 3, 4):
        above, below = means.get(f"bleu-{order}"), means.get(f"bleu-{order - 1}")
        if above is None or below is None or above <= below + _TOLERANCE:
            continue
        weights = ", or the weights of BLEU-3, which sum to 0.99," if order == 3 else ""
        found.append(
            f"BLEU-{order} ({above:.2f}) is above BLEU-{order - 1} ({below:.2f}): only answers that repeat the same "
            f"words{weights} can do this, and only by a little; smoothing cannot. Look for looping answers; a large "
            "gap means that the two numbers do not come from the same computation"
        )
    return found


def _cut_version(profile: str) -> str:
    if cut_of(profile) == "char":
        return "char"
    from pediatricsgpt.evaluation.cut import cut_version

    return cut_version()
