"""Preference at equal length: what would remain of a win rate if no answer were longer than the other.

A logistic model of the preference with the difference of lengths as covariate, in the form of length-controlled
AlpacaEval (Dubois et al. 2024, "Length-Controlled AlpacaEval"):

    P(A is preferred) = sigmoid( theta + phi * tanh( d / s ) )

d is the length of A's answer less that of B's in characters as shown, s the standard deviation of d over the items; a
tie is half a win. The length-controlled win rate is sigmoid(theta): the model at d = 0. Their term for how difficult an
instruction is needs many models on the same instructions and is left out. The fit is Newton's (iteratively reweighted
least squares) with a small ridge, without which a judge that always prefers one side would have no finite fit; the
interval is a percentile bootstrap over items, with s as it is in all of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pediatricsgpt.evaluation.statistics import LEVEL, RESAMPLES, SEED, Groups, Interval

RIDGE = (0.01, 0.1)
"""Penalties theta**2 / 2 and phi**2 / 2 are weighted with; an item has weight 1"""
FEWEST = 5
"""Items needed on either side of equal length: with fewer, theta would be an extrapolation"""

_STEPS = 50
_LARGEST_STEP = 2.0
_CLOSE = 1e-9
_BLOCK = 1 << 21

_Array = NDArray[np.float64]


def length_controlled(
    preferences: _Array,
    longer: _Array,
    groups: Groups | None = None,
    seed: int = SEED,
    resamples: int = RESAMPLES,
) -> Interval | None:
    """The win rate of A at equal length, ties half, with its interval.

    Args:
        preferences: of A over B by item: 1, 0.5 or 0.
        longer: by how many characters A's answer is the longer one, by item.
        groups: the case of each item, where whole cases are resampled.

    Returns:
        None where one model's answers are the longer ones nearly everywhere: then nobody can tell length from model.
    """
    if not separable(longer):
        return None
    x = covariate(longer)
    rate = float(_sigmoid(fit(preferences, x, np.ones((1, len(x))))[0, 0]))
    drawn = np.concatenate([_sigmoid(fit(preferences, x, w)[:, 0]) for w in _weights(len(x), groups, seed, resamples)])
    low, high = np.quantile(drawn, [(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0])
    return Interval(rate, float(low), float(high), len(x))


def separable(longer: _Array) -> bool:
    """Whether there are items on either side of equal length."""
    return bool((longer <= 0).sum() >= FEWEST and (longer >= 0).sum() >= FEWEST)


def covariate(longer: _Array) -> _Array:
    """tanh of the difference in standard deviations; zero where all answers are equally long."""
    scale = float(longer.std())
    return np.tanh(longer / scale) if scale > 0 else np.zeros(len(longer))


def fit(preferences: _Array, x: _Array, weights: _Array) -> _Array:
    """Coefficients [fits, 2] (theta, phi) of the logistic model.

    Args:
        preferences: 0..1, by item.
        x: the covariate, by item.
        weights: [fits, items]: how often each item counts in each fit.
    """
    beta = np.zeros((len(weights), 2))
    for _ in range(_STEPS):
        expected = _sigmoid(beta[:, :1] + beta[:, 1:] * x)
        residual = weights * (preferences - expected)
        slope = np.stack([residual.sum(axis=1), residual @ x], axis=1) - beta * RIDGE
        step = _newton(weights * expected * (1.0 - expected), x, slope)
        beta += np.clip(step, -_LARGEST_STEP, _LARGEST_STEP)
        if np.abs(step).max() < _CLOSE:
            break
    return beta


def _newton(curvature: _Array, x: _Array, slope: _Array) -> _Array:
    """Solve the two-by-two systems of all fits."""
    aa = curvature.sum(axis=1) + RIDGE[0]
    ab = curvature @ x
    bb = curvature @ (x * x) + RIDGE[1]
    determinant = aa * bb - ab * ab
    step = np.stack([bb * slope[:, 0] - ab * slope[:, 1], aa * slope[:, 1] - ab * slope[:, 0]], axis=1)
    return np.asarray(step / determinant[:, None])


def _weights(n: int, groups: Groups | None, seed: int, resamples: int) -> list[_Array]:
    """How often each item is drawn, [resamples, items] in blocks; items of a case are drawn together."""
    members = np.arange(n) if groups is None else _members(groups)
    cases = int(members.max()) + 1
    rng = np.random.default_rng(seed)
    size = max(1, _BLOCK // n)
    return [
        rng.multinomial(cases, np.full(cases, 1.0 / cases), size=min(size, resamples - start))[:, members].astype(float)
        for start in range(0, resamples, size)
    ]


def _members(groups: Groups) -> NDArray[np.int64]:
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups], dtype=np.int64)


def _sigmoid(value: _Array) -> _Array:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * value)))
