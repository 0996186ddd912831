"""How far raters agree beyond chance: percent, Cohen's kappa, Gwet's AC1, Krippendorff's alpha, each with an interval.

Ratings are a list of units, each a list with one rating per rater, always in the same order of raters; None where a
rater did not rate the unit. Intervals are percentile bootstraps over units (over whole groups of units where units
belong together), seeded. A coefficient that the ratings leave undefined, for example where everybody always said the
same, is given as none with the reason and never as a number.

Sources: Cohen 1960 and 1968; Light 1971 (several raters: the mean over pairs); Gwet 2008, and 2014 for missing ratings;
Krippendorff 2011, "Computing Krippendorff's alpha-reliability".
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pediatricsgpt.evaluation.statistics import LEVEL, RESAMPLES, SEED, Interval, by_group, resampled_means

Rating = str | float | None
Ratings = Sequence[Sequence[Rating]]
Level = Literal["nominal", "ordinal", "interval"]
Weights = Literal["linear", "quadratic"]

_Array = NDArray[np.float64]
# Sums [..., features] over (re)sampled units -> the coefficient [...], nan where it is undefined
_Statistic = Callable[[_Array], _Array]
_TINY = 1e-12
_NO_UNITS = "no unit was rated by two raters"
_NO_VARIATION = "every rating is the same category, so chance agreement is complete and nothing is left to measure"


@dataclass(frozen=True)
class Coefficient:
    """An agreement coefficient, or why there is none."""

    interval: Interval | None
    """Its value (`mean`) with a 95 % interval; `n` is the number of units that it is over"""
    why: str | None = None
    """Why it is undefined"""

    def as_dict(self) -> dict[str, Any] | None:
        """The interval as {"mean", "low", "high", "n"}, or None."""
        return asdict(self.interval) if self.interval else None


def agreement(
    ratings: Ratings,
    level: Level = "nominal",
    groups: Sequence[Hashable] | None = None,
    categories: Sequence[str | float] | None = None,
) -> dict[str, Any]:
    """All coefficients of one table of ratings.

    Args:
        ratings: units x raters, None where a rating is missing.
        level: the level of measurement that Krippendorff's alpha takes; percent, kappa and AC1 are nominal.
        groups: one label per unit; units of one label are resampled together.
        categories: all categories that a rater could choose; those that occur, if not given. AC1 depends on how many.

    Returns:
        {"raters", "units", "percent", "kappa", "ac1", "alpha", "why": {name: reason}}; each coefficient is an interval
        as a dictionary, or None with its reason in `why`. With more than two raters `kappa` is the mean over pairs.
    """
    found = {
        "percent": percent_agreement(ratings, groups),
        "kappa": light_kappa(ratings, groups),
        "ac1": gwet_ac1(ratings, groups, categories),
        "alpha": krippendorff_alpha(ratings, level, groups),
    }
    width = _width(ratings)
    raters = sum(any(unit[rater] is not None for unit in ratings) for rater in range(width))
    units = sum(sum(rating is not None for rating in unit) >= 2 for unit in ratings)
    return {
        "raters": raters,
        "units": units,
        **{name: one.as_dict() for name, one in found.items()},
        "why": {name: one.why for name, one in found.items() if one.why},
    }


def percent_agreement(ratings: Ratings, groups: Sequence[Hashable] | None = None) -> Coefficient:
    """Share of pairs of raters that agree, 0..1: the mean over units that two raters or more rated."""
    counts, labels = _counts(ratings, groups, at_least=2)
    return _coefficient(_observed(counts), lambda sums: _ratio(sums[..., 0], sums[..., 1]), labels, _NO_UNITS)


def cohen_kappa(
    a: Sequence[Rating],
    b: Sequence[Rating],
    weights: Weights | None = None,
    order: Sequence[str | float] | None = None,
    groups: Sequence[Hashable] | None = None,
) -> Coefficient:
    """Cohen's kappa of two raters, over the units that both rated.

    Args:
        a: one rater's ratings.
        b: the other's, of the same units in the same order.
        weights: linear or quadratic by the distance of categories; None counts every disagreement alike.
        order: the categories from low to high; needed for weights between words, numbers are in their own order.
        groups: one label per unit; units of one label are resampled together.

    Raises:
        ValueError: the two differ in length, or weights are asked for words that have no order.
    """
    if len(a) != len(b):
        raise ValueError(f"two raters rate the same units, not {len(a)} and {len(b)}")
    return _pairwise_kappa(list(zip(a, b, strict=True)), groups, weights, order)


def light_kappa(ratings: Ratings, groups: Sequence[Hashable] | None = None) -> Coefficient:
    """Mean of Cohen's kappa over all pairs of raters (Light 1971); with two raters, Cohen's kappa itself."""
    return _pairwise_kappa(ratings, groups, None, None)


def gwet_ac1(
    ratings: Ratings, groups: Sequence[Hashable] | None = None, categories: Sequence[str | float] | None = None
) -> Coefficient:
    """Gwet's AC1 of two raters or more, with missing ratings.

    Unlike kappa it does not collapse where nearly all ratings are of one category (the paradox of Feinstein and
    Cicchetti 1990). It depends on the number of categories that could be chosen.

    Args:
        ratings: units x raters.
        groups: one label per unit; units of one label are resampled together.
        categories: all categories that could be chosen; those that occur, if not given.

    Raises:
        ValueError: a rating is none of `categories`.
    """
    counts, labels = _counts(ratings, groups, at_least=1, categories=categories)
    size = counts.shape[1]
    if size < 2:
        return Coefficient(None, _NO_VARIATION if len(counts) else _NO_UNITS)
    shares = counts / counts.sum(axis=1, keepdims=True)

    def statistic(sums: _Array) -> _Array:
        observed = _ratio(sums[..., 0], sums[..., 1])
        prevalence = sums[..., 3:] / sums[..., 2, None]
        chance = (prevalence * (1.0 - prevalence)).sum(axis=-1) / (size - 1)
        return _ratio(observed - chance, 1.0 - chance)

    features = np.concatenate([_observed(counts), np.ones((len(counts), 1)), shares], axis=1)
    return _coefficient(features, statistic, labels, _NO_UNITS)


def krippendorff_alpha(
    ratings: Ratings, level: Level = "nominal", groups: Sequence[Hashable] | None = None
) -> Coefficient:
    """Krippendorff's alpha of two raters or more, with missing ratings.

    Args:
        ratings: units x raters; numbers where the level is ordinal or interval.
        level: nominal, ordinal (distance by ranks of the ratings at hand) or interval (by value).
        groups: one label per unit; units of one label are resampled together.

    Raises:
        ValueError: ordinal or interval distances are asked for words.
    """
    values = _categories(ratings)
    if level != "nominal" and any(isinstance(value, str) for value in values):
        raise ValueError(f"an {level} alpha needs numbers, not {next(v for v in values if isinstance(v, str))!r}")
    counts, labels = _counts(ratings, groups, at_least=2)
    if not len(counts):
        return Coefficient(None, _NO_UNITS)
    # A category that only lone ratings have would change neither sum below; ranks and values need the others alone.
    numbers = np.array(values, dtype=np.float64) if level == "interval" else np.zeros(len(values))
    features, statistic = _ordinal(counts) if level == "ordinal" else _scalar(counts, numbers, level)
    return _coefficient(features, statistic, labels, _NO_VARIATION)


def _scalar(counts: _Array, numbers: _Array, level: Level) -> tuple[_Array, _Statistic]:
    """Alpha where both disagreements are sums over units: nominal and interval."""
    size = counts.sum(axis=1)
    if level == "nominal":
        within, features = size**2 - (counts**2).sum(axis=1), counts
    else:
        # Alpha does not change with the zero or the unit of the values; so moved, their squares stay exact enough.
        moved = numbers - numbers.mean()
        moved /= max(np.abs(moved).max(), _TINY)
        features = np.stack([counts @ moved, counts @ moved**2], axis=1)
        within = 2.0 * (size * features[:, 1] - features[:, 0] ** 2)

    def statistic(sums: _Array) -> _Array:
        total, observed, rest = sums[..., 0], sums[..., 1], sums[..., 2:]
        if level == "nominal":
            expected = total**2 - (rest**2).sum(axis=-1)
        else:
            expected = 2.0 * (total * rest[..., 1] - rest[..., 0] ** 2)
        return 1.0 - _ratio((total - 1.0) * observed / total**2, expected / total**2)

    return np.concatenate([size[:, None], (within / (size - 1.0))[:, None], features], axis=1), statistic


def _ordinal(counts: _Array) -> tuple[_Array, _Statistic]:
    """Alpha with ordinal distances, which are squared differences of mid-ranks and so depend on all ratings drawn."""
    kinds = counts.shape[1]
    size = counts.sum(axis=1)
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(kinds)
    coincidences = (pairs / (size - 1.0)[:, None, None]).reshape(len(counts), kinds * kinds)

    def statistic(sums: _Array) -> _Array:
        table = sums.reshape(*sums.shape[:-1], kinds, kinds)
        times = table.sum(axis=-1)
        total = times.sum(axis=-1)
        ranks = (np.cumsum(times, axis=-1) - times / 2.0) / total[..., None]
        squares = (times * ranks**2).sum(axis=-1)
        observed = 2.0 * (squares - np.einsum("...ck,...c,...k->...", table, ranks, ranks))
        expected = 2.0 * (total * squares - (times * ranks).sum(axis=-1) ** 2)
        return 1.0 - _ratio((total - 1.0) * observed / total**2, expected / total**2)

    return coincidences, statistic


def _pairwise_kappa(
    ratings: Ratings, groups: Sequence[Hashable] | None, weights: Weights | None, order: Sequence[str | float] | None
) -> Coefficient:
    values = _ordered(ratings, weights, order)
    kinds, pairs = len(values), list(combinations(range(_width(ratings)), 2))
    rated = [i for i, unit in enumerate(ratings) if sum(rating is not None for rating in unit) >= 2]
    if not rated or not pairs:
        return Coefficient(None, _NO_UNITS)
    place = {value: i for i, value in enumerate(values)}
    tables = np.zeros((len(rated), len(pairs), kinds, kinds))
    for row, unit in enumerate(rated):
        for pair, (one, other) in enumerate(pairs):
            first, second = ratings[unit][one], ratings[unit][other]
            if first is not None and second is not None:
                tables[row, pair, place[first], place[second]] = 1.0
    distance = _distance(kinds, weights)

    def statistic(sums: _Array) -> _Array:
        table = sums.reshape(*sums.shape[:-1], len(pairs), kinds, kinds)
        total = table.sum(axis=(-2, -1))
        observed = (table * distance).sum(axis=(-2, -1))
        rows, columns = table.sum(axis=-1), table.sum(axis=-2)
        expected = np.einsum("...i,ij,...j->...", rows, distance, columns)
        both = np.maximum(total, 1.0)
        return _mean_of_defined(1.0 - _ratio(observed / both, expected / both**2))

    labels = None if groups is None else [groups[i] for i in rated]
    return _coefficient(tables.reshape(len(rated), -1), statistic, labels, _NO_VARIATION)


def _distance(kinds: int, weights: Weights | None) -> _Array:
    steps = np.abs(np.subtract.outer(np.arange(kinds), np.arange(kinds))).astype(np.float64)
    if weights == "linear":
        return steps
    return steps**2 if weights == "quadratic" else (steps > 0).astype(np.float64)


def _mean_of_defined(values: _Array) -> _Array:
    """Mean over the last axis of what is a number; nan where nothing is."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1))


def _coefficient(features: _Array, statistic: _Statistic, groups: Sequence[Hashable] | None, why: str) -> Coefficient:
    """The statistic of all units with its interval over resampled units or groups of them."""
    if not len(features):
        return Coefficient(None, _NO_UNITS)
    value = float(statistic(features.sum(axis=0)))
    if np.isnan(value):
        return Coefficient(None, why)
    cases, _ = by_group(features, groups)
    drawn = statistic(resampled_means(cases, SEED, RESAMPLES) * len(cases))
    # Resamples without any variation leave the coefficient undefined; the interval is over the others.
    defined = drawn[~np.isnan(drawn)]
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.quantile(defined, [tail, 1.0 - tail])
    return Coefficient(Interval(value, float(low), float(high), len(features)))


def _observed(counts: _Array) -> _Array:
    """Per unit: share of agreeing pairs of ratings, and whether there is a pair."""
    size = counts.sum(axis=1)
    paired = size >= 2
    agreeing = (counts * (counts - 1.0)).sum(axis=1)
    share = np.where(paired, agreeing / np.where(paired, size * (size - 1.0), 1.0), 0.0)
    return np.stack([share, paired.astype(np.float64)], axis=1)


def _counts(
    ratings: Ratings,
    groups: Sequence[Hashable] | None,
    at_least: int,
    categories: Sequence[str | float] | None = None,
) -> tuple[_Array, list[Hashable] | None]:
    """How often each category was given to each unit that enough raters rated, and those units' groups."""
    if groups is not None and len(groups) != len(ratings):
        raise ValueError(f"one group per unit is needed, not {len(groups)} for {len(ratings)} units")
    _width(ratings)
    values = list(categories) if categories is not None else _categories(ratings)
    place = {value: i for i, value in enumerate(values)}
    kept = [i for i, unit in enumerate(ratings) if sum(rating is not None for rating in unit) >= at_least]
    counts = np.zeros((len(kept), len(values)))
    for row, unit in enumerate(kept):
        for rating in ratings[unit]:
            if rating is not None:
                if rating not in place:
                    raise ValueError(f"the rating {rating!r} is none of the categories {values}")
                counts[row, place[rating]] += 1.0
    return counts, None if groups is None else [groups[i] for i in kept]


def _categories(ratings: Ratings) -> list[str | float]:
    """Categories that occur, sorted: numbers by value, words by code point."""
    found = {rating for unit in ratings for rating in unit if rating is not None}
    return sorted(found, key=lambda value: (isinstance(value, str), value))


def _ordered(ratings: Ratings, weights: Weights | None, order: Sequence[str | float] | None) -> list[str | float]:
    values = _categories(ratings)
    if order is not None:
        if unknown := [value for value in values if value not in order]:
            raise ValueError(f"the rating {unknown[0]!r} is not in the order {list(order)}")
        return list(order)
    if weights and any(isinstance(value, str) for value in values):
        raise ValueError("weights between words need their order from low to high")
    return values


def _width(ratings: Ratings) -> int:
    """Number of raters; all units must have a place for each."""
    widths = {len(unit) for unit in ratings}
    if len(widths) > 1:
        raise ValueError(f"every unit needs one place per rater, not {sorted(widths)}")
    return widths.pop() if widths else 0


def _ratio(above: _Array, below: _Array) -> _Array:
    """Elementwise ratio, nan where the denominator is zero."""
    above, below = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    whole = np.abs(below) > _TINY
    return np.where(whole, above / np.where(whole, below, 1.0), np.nan)
