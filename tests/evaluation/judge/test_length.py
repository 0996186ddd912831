"""Preference at equal length: the fit is the maximum it claims to be, and finds what was planted."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pediatricsgpt.evaluation.judge.length import RIDGE, covariate, fit, length_controlled, separable

Array = NDArray[np.float64]


def penalised(beta: Array, y: Array, x: Array, w: Array) -> float:
    """The log-likelihood less its penalties, term by term."""
    total = 0.0
    for preference, place, weight in zip(y, x, w, strict=True):
        eta = beta[0] + beta[1] * place
        total += weight * (preference * eta - np.logaddexp(0.0, eta))
    return total - 0.5 * (RIDGE[0] * beta[0] ** 2 + RIDGE[1] * beta[1] ** 2)


def planted(n: int, theta: float, phi: float, mean: float, rng: np.random.Generator) -> tuple[Array, Array]:
    longer = np.round(rng.normal(mean, 100.0, n))
    chance = 1 / (1 + np.exp(-(theta + phi * covariate(longer))))
    return (rng.random(n) < chance).astype(float), longer


@pytest.mark.parametrize("seed", range(4))
def test_the_fit_is_the_maximum_of_the_penalised_likelihood(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, x = rng.choice([0.0, 0.5, 1.0], 40), rng.uniform(-1, 1, 40)
    w = rng.integers(0, 4, (2, 40)).astype(float)
    for beta, weights in zip(fit(y, x, w), w, strict=True):
        best = penalised(beta, y, x, weights)
        for step in rng.normal(0, 0.01, (50, 2)):
            assert penalised(beta + step, y, x, weights) < best


def test_a_judge_that_always_prefers_one_side_has_a_finite_fit() -> None:
    x = np.tanh(np.linspace(-2, 2, 50))
    beta = fit(np.ones(50), x, np.ones((1, 50)))
    assert np.isfinite(beta).all()
    assert beta[0, 0] > 4


def test_without_an_effect_of_length_the_rate_is_the_raw_one() -> None:
    y = np.array([1.0, 0.0] * 30 + [1.0] * 20)
    found = length_controlled(y, np.zeros(80))
    assert found is not None
    assert found.mean == pytest.approx(y.mean(), abs=0.002)  # the ridge pulls a little
    assert found.n == 80
    assert found.low < found.mean < found.high


def test_the_planted_preference_is_found_where_the_raw_rate_is_off() -> None:
    rng = np.random.default_rng(3)
    y, longer = planted(4000, theta=-0.4, phi=2.0, mean=80.0, rng=rng)
    found = length_controlled(y, longer, resamples=200)
    truth = 1 / (1 + np.exp(0.4))
    assert found is not None
    assert found.low < truth < found.high
    assert abs(found.mean - truth) < 0.03
    assert y.mean() > truth + 0.1


def test_its_interval_covers_the_truth_in_about_95_of_100_sets() -> None:
    rng = np.random.default_rng(5)
    covered = 0
    for seed in range(200):
        y, longer = planted(120, theta=0.5, phi=1.0, mean=40.0, rng=rng)
        found = length_controlled(y, longer, seed=seed, resamples=300)
        assert found is not None
        covered += found.low <= 1 / (1 + np.exp(-0.5)) <= found.high
    assert 182 <= covered <= 198  # binomial, 3.3 standard errors around 190


def test_whole_cases_are_resampled_together() -> None:
    rng = np.random.default_rng(1)
    y, longer = planted(40, theta=0.3, phi=0.5, mean=0.0, rng=rng)
    single = length_controlled(y, longer)
    fourfold = length_controlled(
        np.repeat(y, 4), np.repeat(longer, 4), groups=[str(i) for i in np.repeat(range(40), 4)]
    )
    naive = length_controlled(np.repeat(y, 4), np.repeat(longer, 4))
    assert single is not None
    assert fourfold is not None
    assert naive is not None
    width = [one.high - one.low for one in (single, fourfold, naive)]
    assert width[1] == pytest.approx(width[0], rel=0.1)
    assert width[2] < 0.6 * width[0]


def test_nothing_is_said_where_one_model_is_always_the_longer_one() -> None:
    y = np.array([1.0, 0.0] * 20)
    assert length_controlled(y, np.full(40, 50.0)) is None
    assert not separable(np.array([5.0] * 36 + [-1.0] * 4))
    assert separable(np.array([5.0] * 35 + [-1.0] * 5))
