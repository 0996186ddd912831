"""Values of a whole corpus, of all items as one text, with their intervals.

All but Distinct are functions of sums over items, so a resample of cases is a resample of those sums, and the interval
is the percentile bootstrap. Distinct is not: a resample holds about a third of its cases twice, repeated texts bring no
new n-grams, and the bootstrap would sit far below the value. Its interval is that of the jackknife over cases, which
needs how many n-grams only one case has, and whose variance is on average too large rather than too small (Efron and
Stein 1981).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from pediatricsgpt.evaluation.metrics.counting import Counted, Grams
from pediatricsgpt.evaluation.metrics.formulas import corpus_scores, corpus_sums
from pediatricsgpt.evaluation.statistics import (
    FLIPS,
    LEVEL,
    Difference,
    Groups,
    Interval,
    by_group,
    resampled_means,
    verdict_of,
)

Array = NDArray[np.float64]


def summary(counted: Counted, groups: Groups | None, seed: int, resamples: int) -> list[Interval]:
    """One interval per metric, times 100."""
    n = len(counted.table)
    sums = by_group(corpus_sums(counted.table), groups)[0]
    values = 100.0 * corpus_scores(sums.sum(axis=0, keepdims=True))[0]
    drawn = 100.0 * corpus_scores(len(sums) * resampled_means(sums, seed, resamples))
    low, high = np.quantile(drawn, _tails(), axis=0)
    found = [Interval(float(v), float(a), float(b), n) for v, a, b in zip(values, low, high, strict=True)]
    for order in (1, 2):
        value, without = distinct(_grams(counted), order, groups)
        found.append(_jackknife(100.0 * value, 100.0 * without, n))
    return found


def differences(
    a: Counted, b: Counted, groups: Groups | None, seed: int, resamples: int, flips: int = FLIPS
) -> list[tuple[Difference, float]]:
    """For each metric how much higher `a` is than `b` on the same items (times 100), and the two-sided p-value.

    Resamples draw the same cases on both sides; the p-value is that of swapping the two sides of cases at random
    (approximate randomisation), for Distinct that of the jackknife.
    """
    n, sides = len(a.table), [by_group(corpus_sums(one.table), groups)[0] for one in (a, b)]
    cases = len(sides[0])
    drawn = [100.0 * corpus_scores(cases * resampled_means(side, seed, resamples)) for side in sides]
    low, high = np.quantile(drawn[0] - drawn[1], _tails(), axis=0)
    means, p_values = _swapped(sides[0], sides[1], seed, flips)
    found = []
    for mean, left, right, p in zip(means, low, high, p_values, strict=True):
        interval = Interval(float(mean), float(left), float(right), n)
        found.append((_difference(interval, cases), float(p)))
    for order in (1, 2):
        (ours, our_parts), (theirs, their_parts) = (distinct(_grams(one), order, groups) for one in (a, b))
        interval = _jackknife(100.0 * (ours - theirs), 100.0 * (our_parts - their_parts), n)
        found.append((_difference(interval, cases), _normal_p(interval)))
    return found


def distinct(grams: Grams, order: int, groups: Groups | None) -> tuple[float, Array]:
    """Different n-grams over all n-grams of a corpus, and the same without each case in turn [cases].

    N-grams do not cross from one item to the next.
    """
    lengths = np.diff(grams.ends)
    counts = np.maximum(0, lengths - order + 1)
    items = np.repeat(np.arange(len(lengths)), counts)
    starts = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + grams.ends[:-1][items]
    size = int(grams.ids.max(initial=0)) + 1
    ids = grams.ids[starts] if order == 1 else grams.ids[starts] * size + grams.ids[starts + 1]
    cases = _cases(groups, len(lengths))
    many = int(cases.max(initial=-1)) + 1
    _, numbers = np.unique(ids, return_inverse=True)
    held = np.unique(numbers * many + cases[items])  # each n-gram with each case that has it
    holders = np.bincount(held // many)
    only = np.bincount(held[holders[held // many] == 1] % many, minlength=many)
    total, of_case = len(ids), np.bincount(cases[items], minlength=many)
    rest = total - of_case
    without = np.where(rest > 0, (len(holders) - only) / np.maximum(rest, 1), 0.0)
    return (len(holders) / total if total else 0.0), without


def _cases(groups: Groups | None, n: int) -> NDArray[np.int64]:
    if groups is None:
        return np.arange(n)
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups], np.int64)


def _jackknife(value: float, without: Array, n: int) -> Interval:
    cases = len(without)
    spread = float(np.sqrt((cases - 1) / cases * ((without - without.mean()) ** 2).sum()))
    half = NormalDist().inv_cdf(0.5 + LEVEL / 2.0) * spread
    return Interval(float(value), float(value) - half, float(value) + half, n)


def _normal_p(interval: Interval) -> float:
    half = interval.high - interval.mean
    if half == 0.0:
        return 1.0 if interval.mean == 0.0 else 0.0
    z = interval.mean / half * NormalDist().inv_cdf(0.5 + LEVEL / 2.0)
    return math.erfc(abs(z) / math.sqrt(2.0))


def _swapped(a: Array, b: Array, seed: int, flips: int) -> tuple[Array, Array]:
    """The differences of two sides, and how often swapped sides differ at least as much."""
    total_a, total_b, between = a.sum(axis=0), b.sum(axis=0), b - a
    means = 100.0 * (corpus_scores(total_a[None]) - corpus_scores(total_b[None]))[0]
    rng = np.random.default_rng(seed)
    beyond = np.zeros(len(means))
    block = max(1, (1 << 20) // len(a))
    for start in range(0, flips, block):
        size = min(block, flips - start)
        bits = np.unpackbits(np.frombuffer(rng.bytes((size * len(a) + 7) // 8), np.uint8), count=size * len(a))
        moved = bits.reshape(size, -1).astype(np.float64) @ between
        swapped = 100.0 * (corpus_scores(total_a + moved) - corpus_scores(total_b - moved))
        beyond += (np.abs(swapped) >= np.abs(means) - 1e-9).sum(axis=0)
    return means, (beyond + 1.0) / (flips + 1.0)


def _difference(interval: Interval, cases: int) -> Difference:
    return Difference(interval.mean, interval.low, interval.high, interval.n, verdict_of(interval, cases))


def _tails() -> Sequence[float]:
    return (1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0


def _grams(counted: Counted) -> Grams:
    if counted.grams is None:
        raise ValueError(f"profile {counted.profile} does not keep words")
    return counted.grams
