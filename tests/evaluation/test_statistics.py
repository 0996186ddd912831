from __future__ import annotations

import numpy as np
import pytest

from pediatricsgpt.evaluation.statistics import (
    Interval,
    bootstrap_mean,
    bootstrap_means,
    paired_bootstrap_difference,
)


def test_the_same_seed_gives_the_same_interval():
    values = list(np.random.default_rng(0).normal(size=50))
    assert bootstrap_mean(values, seed=4) == bootstrap_mean(values, seed=4)
    assert bootstrap_mean(values, seed=4) != bootstrap_mean(values, seed=5)


def test_interval_is_that_of_a_plain_bootstrap():
    values = np.array([0.0, 1.0, 4.0, 9.0, 16.0])
    drawn = np.random.default_rng(17).integers(0, 5, size=(1000, 5))
    low, high = np.percentile([values[row].mean() for row in drawn], [2.5, 97.5])
    found = bootstrap_mean(values)
    assert (found.mean, found.n) == (6.0, 5)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_intervals_cover_the_true_mean_about_as_often_as_they_say():
    rng = np.random.default_rng(1)
    found = [bootstrap_mean(rng.exponential(2.0, size=60), seed=trial, resamples=300) for trial in range(200)]
    covered = sum(interval.low <= 2.0 <= interval.high for interval in found)
    assert 176 <= covered <= 198


def test_interval_of_many_items_has_the_width_that_theory_gives():
    # More items than fit into one block of draws.
    values = np.random.default_rng(2).normal(3.0, 1.0, size=20_000)
    found = bootstrap_mean(values, resamples=400)
    assert found.n == 20_000
    assert found.high - found.low == pytest.approx(2 * 1.96 / 20_000**0.5, rel=0.15)


def test_a_higher_level_gives_a_wider_interval():
    values = list(range(30))
    narrow, wide = bootstrap_mean(values, level=0.8), bootstrap_mean(values, level=0.99)
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high


def test_columns_share_their_resamples():
    values = np.random.default_rng(3).random((40, 1))
    first, second = bootstrap_means(np.hstack([values, 10 * values]))
    assert second.low == pytest.approx(10 * first.low)
    assert second == Interval(*(pytest.approx(10 * x) for x in (first.mean, first.low, first.high)), n=40)


def test_one_value_has_an_interval_of_no_width():
    assert bootstrap_mean([0.3]) == Interval(0.3, 0.3, 0.3, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(([],), "n = 0"), (([1.0], 17, 0), "resamples >= 1"), (([1.0], 17, 10, 95.0), "0 < level < 1")],
)
def test_impossible_bootstrap_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        bootstrap_mean(*arguments)


def test_consistent_difference_is_better_one_way_and_worse_the_other():
    a = [0.5 + 0.01 * index for index in range(20)]
    b = [value - 0.1 - 0.001 * index for index, value in enumerate(a)]
    found = paired_bootstrap_difference(a, b)
    assert (found.verdict, found.n) == ("better", 20)
    assert found.mean == pytest.approx(0.1095)
    assert 0 < found.low < found.mean < found.high
    assert paired_bootstrap_difference(b, a).verdict == "worse"


def test_interval_across_zero_gives_no_verdict():
    noise = list(np.random.default_rng(4).normal(size=50))
    found = paired_bootstrap_difference(noise, noise[::-1])
    assert found.low < 0 < found.high
    assert found.verdict == "no verdict"


def test_equal_sides_give_no_verdict():
    found = paired_bootstrap_difference([0.2] * 10, [0.2] * 10)
    assert (found.mean, found.low, found.high, found.verdict) == (0.0, 0.0, 0.0, "no verdict")


def test_pairing_finds_a_small_difference_among_very_different_items():
    items = np.random.default_rng(5).normal(scale=10.0, size=100)
    assert paired_bootstrap_difference(list(items + 0.1), list(items)).verdict == "better"


@pytest.mark.parametrize(("pairs", "verdict"), [(1, "no verdict"), (5, "no verdict"), (6, "better")])
def test_few_pairs_give_no_verdict_even_if_all_agree(pairs, verdict):
    assert paired_bootstrap_difference([1.0] * pairs, [0.0] * pairs).verdict == verdict


def test_unpaired_or_missing_scores_are_refused():
    with pytest.raises(ValueError, match="not 2 and 1"):
        paired_bootstrap_difference([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="n = 0"):
        paired_bootstrap_difference([], [])
