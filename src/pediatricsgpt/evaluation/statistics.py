"""Intervals and verdicts: no number leaves the evaluation without n and an interval.

All intervals are percentile bootstraps over the items: seeded, so that the same scores give the same interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Verdict = Literal["better", "worse", "no verdict"]

SEED = 17
RESAMPLES = 1000
LEVEL = 0.95

# Resamples are drawn in blocks of about this many indices, so that memory does not grow with the test set.
_BLOCK = 1 << 20


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
) -> Interval:
    """Mean with a percentile bootstrap interval. One value gives an interval of no width; none raises ValueError."""
    return bootstrap_means(np.asarray(values, dtype=np.float64).reshape(-1, 1), seed, resamples, level)[0]


def bootstrap_means(
    values: NDArray[np.float64], seed: int = SEED, resamples: int = RESAMPLES, level: float = LEVEL
) -> list[Interval]:
    """One interval for each column of `values` [items, quantities]; all columns share the same resamples.

    Raises:
        ValueError: there is no item, no resample, or the level is not between 0 and 1.
    """
    n = len(values)
    if n == 0:
        raise ValueError("there is nothing to take a mean of: n = 0")
    if resamples < 1 or not 0.0 < level < 1.0:
        raise ValueError(f"a bootstrap needs resamples >= 1 and 0 < level < 1, not {resamples} and {level}")
    means = values.mean(axis=0)
    if n == 1:
        low = high = means
    else:
        tail = (1.0 - level) / 2.0
        low, high = np.quantile(_resampled_means(values, seed, resamples), [tail, 1.0 - tail], axis=0)
    return [Interval(float(m), float(a), float(b), n) for m, a, b in zip(means, low, high, strict=True)]


def paired_bootstrap_difference(
    a: Sequence[float],
    b: Sequence[float],
    seed: int = SEED,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Difference:
    """Is `a` better than `b` on the same items, in the same order? Higher values are better.

    Raises:
        ValueError: the two sides have different lengths, or none has an item.
    """
    if len(a) != len(b):
        raise ValueError(f"paired scores need the same items on both sides, not {len(a)} and {len(b)}")
    differences = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    found = bootstrap_mean(differences, seed, resamples, level)
    return Difference(found.mean, found.low, found.high, found.n, _verdict(found, level))


def _verdict(interval: Interval, level: float) -> Verdict:
    # So few pairs cannot reach the level even if all agree (sign test), but a bootstrap of them never sees
    # anything else than agreement: at 95 % a verdict needs six pairs.
    if 2.0 * 0.5**interval.n > 1.0 - level:
        return "no verdict"
    if interval.low > 0.0:
        return "better"
    if interval.high < 0.0:
        return "worse"
    return "no verdict"


def _resampled_means(values: NDArray[np.float64], seed: int, resamples: int) -> NDArray[np.float64]:
    """Means [resamples, quantities] over items drawn with replacement."""
    n = len(values)
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // n)
    means = []
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = rng.integers(0, n, size=(size, n)) + np.arange(size)[:, None] * n
        # How often each item was drawn is all that a mean needs, and serves every column at once.
        times = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)
        means.append(times @ values / n)
    return np.concatenate(means)


def bootstrap_ratio(
    numerators: Sequence[float],
    denominators: Sequence[float],
    seed: int = SEED,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Sum of numerators over sum of denominators, with an interval over items: a loss per token from losses per row.

    Raises:
        ValueError: the two differ in length, there is no item, or the denominators add up to zero.
    """
    pairs = np.stack([np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)], axis=1)
    if len(pairs) == 0 or pairs[:, 1].sum() == 0:
        raise ValueError("there is nothing to take a ratio of")
    drawn = _resampled_means(pairs, seed, resamples)
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [tail, 1.0 - tail])
    return Interval(float(pairs[:, 0].sum() / pairs[:, 1].sum()), float(low), float(high), len(pairs))
