"""Intervals, tests and verdicts: no number leaves the evaluation without n and an interval.

All intervals are percentile bootstraps over the items, seeded, so that the same scores give the same interval. Where
several items belong to one case (`groups`: the turns of a consultation, the questions on one patient), whole cases are
drawn: items of a case resemble each other, and drawing them singly would make intervals too narrow.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Verdict = Literal["better", "worse", "no verdict"]

SEED = 17
RESAMPLES = 2000
LEVEL = 0.95
FLIPS = 10_000
"""Random sign flips behind a p-value, where there are too many cases to try all"""

# Resamples are drawn in blocks of about this many indices, so that memory does not grow with the test set.
_BLOCK = 1 << 20

# Up to so many cases all sign flips are tried (2 ** 13 < FLIPS): the p-value is exact.
_ALL_FLIPS = 13

Groups = Sequence[Hashable]
"""For each item the case that it belongs to"""


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval."""

    mean: float
    low: float
    high: float
    n: int
    """Number of items that the mean is over"""


@dataclass(frozen=True)
class Difference:
    """The mean of paired differences `a - b`, with its confidence interval and what may be said about it."""

    mean: float
    low: float
    high: float
    n: int
    """Number of pairs"""
    verdict: Verdict
    """`a` is better or worse than `b`; no verdict when the interval touches zero or the pairs are too few"""


def bootstrap_mean(
    values: Sequence[float] | NDArray[np.float64],
    seed: int = SEED,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    groups: Groups | None = None,
) -> Interval:
    """Mean with a percentile bootstrap interval. One value gives an interval of no width; none raises ValueError."""
    return bootstrap_means(np.asarray(values, dtype=np.float64).reshape(-1, 1), seed, resamples, level, groups)[0]


def bootstrap_means(
    values: NDArray[np.float64],
    seed: int = SEED,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    groups: Groups | None = None,
) -> list[Interval]:
    """One interval for each column of `values` [items, quantities]; all columns share the same resamples.

    Args:
        values: see above.
        seed: of the draws.
        resamples: how often all cases are drawn anew.
        level: share of resamples between the ends.
        groups: for each item its case, if cases and not items are to be drawn. `Interval.n` counts items all the same.

    Raises:
        ValueError: there is no item, no resample, the level is not between 0 and 1, or `groups` has another length.
    """
    n = len(values)
    if n == 0:
        raise ValueError("there is nothing to take a mean of: n = 0")
    _check(resamples, level)
    means = values.mean(axis=0)
    sums, counts = by_group(values, groups)
    if len(sums) == 1:
        low = high = means
    elif groups is None:
        low, high = _ends(resampled_means(values, seed, resamples), level)
    else:
        drawn = resampled_means(np.column_stack([sums, counts]), seed, resamples)
        low, high = _ends(drawn[:, :-1] / drawn[:, -1:], level)
    return [Interval(float(m), float(a), float(b), n) for m, a, b in zip(means, low, high, strict=True)]


def bootstrap_share(
    values: Sequence[float] | NDArray[np.float64],
    seed: int = SEED,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    groups: Groups | None = None,
) -> Interval:
    """`bootstrap_mean` of values from 0 to 1; of equal ones, what they leave open (`beyond_data`)."""
    found = bootstrap_mean(values, seed, resamples, level, groups)
    return beyond_data(found, found.n if groups is None else len(set(groups)), level=level)


def beyond_data(
    interval: Interval, cases: int, bounds: tuple[float, float] = (0.0, 1.0), level: float = LEVEL
) -> Interval:
    """The interval of a bounded quantity of which all cases have the same value: what so few cases leave open.

    Resamples of equal values are all equal, so their interval has no width however few the cases are. Here a share of
    further cases, of which none of these shows with probability (1 - level) / 2, has the value of either bound: for
    shares of 0 and 1 these are the ends of Clopper and Pearson (1934). Intervals with a width stay as they are.
    """
    if interval.low != interval.high:
        return interval
    lowest, highest = bounds
    unseen = 1.0 - ((1.0 - level) / 2.0) ** (1.0 / cases)
    return replace(
        interval,
        low=interval.mean - unseen * (interval.mean - lowest),
        high=interval.mean + unseen * (highest - interval.mean),
    )


def paired_bootstrap_difference(
    a: Sequence[float],
    b: Sequence[float],
    seed: int = SEED,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    groups: Groups | None = None,
) -> Difference:
    """Is `a` better than `b` on the same items, in the same order? Higher values are better.

    Raises:
        ValueError: the two sides have different lengths, or none has an item.
    """
    differences = _differences(a, b)
    found = bootstrap_mean(differences, seed, resamples, level, groups)
    cases = len(differences) if groups is None else len(set(groups))
    return Difference(found.mean, found.low, found.high, found.n, verdict_of(found, cases, level))


def verdict_of(interval: Interval, cases: int, level: float = LEVEL) -> Verdict:
    """What an interval of differences allows to say: nothing where it touches zero or the cases are too few."""
    # So few pairs cannot reach the level even if all agree (sign test), but a bootstrap of them never sees
    # anything else than agreement: at 95 % a verdict needs six pairs.
    if 2.0 * 0.5**cases > 1.0 - level:
        return "no verdict"
    if interval.low > 0.0:
        return "better"
    if interval.high < 0.0:
        return "worse"
    return "no verdict"


def paired_p(
    a: Sequence[float],
    b: Sequence[float],
    groups: Groups | None = None,
    seed: int = SEED,
    flips: int = FLIPS,
) -> float:
    """Two-sided p-value of the mean difference of paired scores, by flipping signs of differences at random.

    Under the null hypothesis the two sides are exchangeable within each case, so every sign is as likely (the
    Fisher-Pitman permutation test). Exact up to 13 cases, else of `flips` random flips, the observed one counted in.

    Raises:
        ValueError: the two sides have different lengths, or none has an item.
    """
    return paired_p_values(_differences(a, b).reshape(-1, 1), groups, seed, flips)[0]


def paired_p_values(
    differences: NDArray[np.float64], groups: Groups | None = None, seed: int = SEED, flips: int = FLIPS
) -> list[float]:
    """`paired_p` of each column of differences [items, quantities]; all columns share the same flips.

    Raises:
        ValueError: there is no item, or `groups` has another length.
    """
    if len(differences) == 0:
        raise ValueError("there is nothing to test: n = 0")
    sums, _ = by_group(differences, groups)
    sums = sums[np.any(sums != 0.0, axis=1)]  # a case without any difference stays the same under a flip
    # Sums of the same numbers in another order may differ in the last bits; they are equal all the same.
    observed = np.abs(sums.sum(axis=0)) - 1e-12 * np.abs(sums).sum(axis=0)
    if len(sums) <= _ALL_FLIPS:
        masks = np.arange(1 << len(sums))[:, None] >> np.arange(len(sums)) & 1
        return [float(p) for p in (np.abs((1.0 - 2.0 * masks) @ sums) >= observed).mean(axis=0)]
    beyond = np.zeros(differences.shape[1])
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // len(sums))
    for start in range(0, flips, block):
        size = min(block, flips - start)
        bits = np.unpackbits(np.frombuffer(rng.bytes((size * len(sums) + 7) // 8), np.uint8), count=size * len(sums))
        flipped = sums.sum(axis=0) - 2.0 * (bits.reshape(size, -1).astype(np.float64) @ sums)
        beyond += (np.abs(flipped) >= observed).sum(axis=0)
    return [float(p) for p in (beyond + 1.0) / (flips + 1.0)]


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for testing all of them together, in the same order (Holm 1979, step-down Bonferroni).

    The chance of even one false verdict among those with an adjusted value of at most 0.05 is at most 5 %, whatever
    the tests have to do with each other.

    Raises:
        ValueError: a value is not between 0 and 1.
    """
    if any(not 0.0 <= p <= 1.0 for p in p_values):
        raise ValueError(f"p-values lie between 0 and 1: {list(p_values)}")
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def bootstrap_ratio(
    numerators: Sequence[float],
    denominators: Sequence[float],
    seed: int = SEED,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    groups: Groups | None = None,
) -> Interval:
    """Sum of numerators over sum of denominators, with an interval over items: a loss per token from losses per row.

    A resample of which the denominators add up to zero has no ratio and is left out.

    Raises:
        ValueError: the two differ in length, there is no item, or the denominators add up to zero.
    """
    if len(numerators) != len(denominators):
        raise ValueError(f"{len(numerators)} numerators and {len(denominators)} denominators")
    pairs = np.stack([np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)], axis=1)
    if len(pairs) == 0 or pairs[:, 1].sum() == 0:
        raise ValueError("there is nothing to take a ratio of")
    _check(resamples, level)
    drawn = resampled_means(by_group(pairs, groups)[0], seed, resamples)
    drawn = drawn[drawn[:, 1] != 0.0]
    low, high = _ends(drawn[:, :1] / drawn[:, 1:], level)
    return Interval(float(pairs[:, 0].sum() / pairs[:, 1].sum()), float(low[0]), float(high[0]), len(pairs))


def by_group(values: NDArray[np.float64], groups: Groups | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The sums of `values` [items, quantities] over each case, and how many items each has; cases as they first come.

    Raises:
        ValueError: `groups` has another length than `values`.
    """
    if groups is None:
        return values, np.ones(len(values))
    if len(groups) != len(values):
        raise ValueError(f"{len(groups)} groups for {len(values)} items")
    numbers: dict[Hashable, int] = {}
    members = np.array([numbers.setdefault(group, len(numbers)) for group in groups], dtype=np.int64)
    sums = np.zeros((len(numbers), values.shape[1]))
    np.add.at(sums, members, values)
    return sums, np.bincount(members, minlength=len(numbers)).astype(np.float64)


def cases_of(groups: Sequence[str | None]) -> list[str] | None:
    """The case of each item: its group, or one of its own where it has none; None where no item has a group."""
    if all(group is None for group in groups):
        return None
    return [f"item {place}" if group is None else f"group {group}" for place, group in enumerate(groups)]


def resampled_means(values: NDArray[np.float64], seed: int, resamples: int) -> NDArray[np.float64]:
    """Means [resamples, quantities] over rows of `values` [cases, quantities] drawn with replacement."""
    n = len(values)
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // n)
    means = []
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = rng.integers(0, n, size=(size, n)) + np.arange(size)[:, None] * n
        # How often each item was drawn is all that a mean needs, and serves every column at once.
        times = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)
        means.append(times.astype(np.float64) @ values / n)
    return np.concatenate(means)


def _differences(a: Sequence[float], b: Sequence[float]) -> NDArray[np.float64]:
    if len(a) != len(b):
        raise ValueError(f"paired scores need the same items on both sides, not {len(a)} and {len(b)}")
    return np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)


def _check(resamples: int, level: float) -> None:
    if resamples < 1 or not 0.0 < level < 1.0:
        raise ValueError(f"a bootstrap needs resamples >= 1 and 0 < level < 1, not {resamples} and {level}")


def _ends(drawn: NDArray[np.float64], level: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper end of each column."""
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(drawn, [tail, 1.0 - tail], axis=0)
    return low, high
