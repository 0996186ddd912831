from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from pediatricsgpt.evaluation.statistics import (
    Interval,
    beyond_data,
    bootstrap_mean,
    bootstrap_means,
    bootstrap_ratio,
    bootstrap_share,
    holm,
    paired_bootstrap_difference,
    paired_p,
    paired_p_values,
)


def test_the_same_seed_gives_the_same_interval():
    values = list(np.random.default_rng(0).normal(size=50))
    assert bootstrap_mean(values, seed=4) == bootstrap_mean(values, seed=4)
    assert bootstrap_mean(values, seed=4) != bootstrap_mean(values, seed=5)


def test_interval_is_that_of_a_plain_bootstrap():
    values = np.array([0.0, 1.0, 4.0, 9.0, 16.0])
    drawn = np.random.default_rng(17).integers(0, 5, size=(2000, 5))
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


def test_groups_of_one_item_each_draw_as_items_do():
    values = np.random.default_rng(6).random((30, 2))
    grouped = bootstrap_means(values, groups=[f"case {index}" for index in range(30)])
    for alone, one in zip(bootstrap_means(values), grouped, strict=True):
        assert (one.mean, one.low, one.high, one.n) == pytest.approx((alone.mean, alone.low, alone.high, 30))


def test_drawing_cases_is_a_plain_bootstrap_of_whole_cases():
    cases = [[1.0, 3.0], [5.0], [0.0, 0.0, 6.0]]
    values = [value for case in cases for value in case]
    groups = [name for name, case in zip("xyz", cases, strict=True) for _ in case]
    drawn = np.random.default_rng(17).integers(0, 3, size=(2000, 3))
    means = [np.concatenate([cases[case] for case in row]).mean() for row in drawn]
    found = bootstrap_mean(values, groups=groups)
    assert (found.mean, found.n) == (2.5, 6)
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])))
    order = [3, 0, 5, 2, 1, 4]
    mixed = bootstrap_mean([values[place] for place in order], groups=[groups[place] for place in order])
    assert mixed.mean == pytest.approx(2.5)


def test_items_that_repeat_a_case_do_not_narrow_the_interval():
    cases = np.random.default_rng(7).normal(size=40)
    once, thrice = bootstrap_mean(cases), bootstrap_mean(np.repeat(cases, 3), groups=list(np.repeat(range(40), 3)))
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))
    naive = bootstrap_mean(np.repeat(cases, 3))
    assert naive.high - naive.low < 0.7 * (once.high - once.low)


def test_one_case_has_an_interval_of_no_width_and_wrong_groups_are_refused():
    assert bootstrap_mean([1.0, 2.0], groups=["a", "a"]) == Interval(1.5, 1.5, 1.5, 2)
    with pytest.raises(ValueError, match="1 groups for 2 items"):
        bootstrap_mean([1.0, 2.0], groups=["a"])


def test_five_cases_are_too_few_for_a_verdict_however_many_items_they_have():
    a, b, groups = [1.0] * 50, [0.0] * 50, [index % 5 for index in range(50)]
    assert paired_bootstrap_difference(a, b, groups=groups).verdict == "no verdict"
    assert paired_bootstrap_difference(a, b).verdict == "better"


def test_ratio_over_cases_equals_the_ratio_of_their_sums():
    found = bootstrap_ratio([1, 1, 4, 2], [2, 2, 4, 4], groups=["a", "a", "b", "c"])
    assert found.mean == pytest.approx(8 / 12)
    whole = bootstrap_ratio([2, 4, 2], [4, 4, 4])
    assert (found.low, found.high, found.n) == (pytest.approx(whole.low), pytest.approx(whole.high), 4)


def test_sign_flip_p_is_that_of_all_flips_written_out():
    differences = [0.3, -0.1, 0.4, 0.4, 0.0, -0.2, 0.5]
    observed = abs(sum(differences))
    flips = list(product((1, -1), repeat=7))
    beyond = sum(abs(sum(s * d for s, d in zip(signs, differences, strict=True))) >= observed - 1e-9 for signs in flips)
    assert paired_p(differences, [0.0] * 7) == pytest.approx(beyond / len(flips))


def test_random_flips_agree_with_a_t_test_where_that_holds():
    from scipy.stats import ttest_1samp

    for shift in (0.0, 0.15, 0.3):
        differences = np.random.default_rng(8).normal(shift, 1.0, size=150)
        expected = ttest_1samp(differences, 0.0).pvalue
        assert paired_p(list(differences), [0.0] * 150) == pytest.approx(expected, abs=0.02)


def test_p_is_two_sided_seeded_and_one_where_nothing_differs():
    rng = np.random.default_rng(9)
    a, b = list(rng.random(40)), list(rng.random(40))
    assert paired_p(a, b) == paired_p(b, a) == paired_p(a, b)
    assert paired_p(a, a) == 1.0
    assert paired_p([2.0] * 40, [1.0] * 40) == 1 / 10_001
    with pytest.raises(ValueError, match="n = 0"):
        paired_p([], [])


def test_p_values_under_the_null_are_uniform():
    differences = np.random.default_rng(10).normal(size=(30, 400))
    found = np.sort(paired_p_values(differences, flips=500))
    assert np.abs(found - (np.arange(400) + 0.5) / 400).max() < 0.07


def test_p_over_cases_flips_whole_cases():
    rng = np.random.default_rng(11)
    cases = rng.normal(0.5, 1.0, size=12)
    repeated = list(np.repeat(cases, 10))
    groups = list(np.repeat(range(12), 10))
    assert paired_p(repeated, [0.0] * 120, groups) == paired_p(list(cases), [0.0] * 12)
    assert paired_p(repeated, [0.0] * 120) < paired_p(repeated, [0.0] * 120, groups)


def test_holm_is_the_step_down_written_out():
    # Sorted .005 .01 .03 .04: times 4, 3, 2, 1 and never falling.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.7, 0.9]) == [1.0, 1.0]
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([float("nan")])


@pytest.mark.parametrize("n", [1, 3, 20, 300])
def test_a_share_that_nothing_or_everything_has_is_not_known_exactly(n: int) -> None:
    none, all_ = bootstrap_share([0.0] * n), bootstrap_share([1.0] * n)
    assert (none.mean, none.low, all_.mean, all_.high) == (0.0, 0.0, 1.0, 1.0)
    # At this share, none of n cases has it with a chance of 2.5 %: the definition of the exact upper end.
    assert (1 - none.high) ** n == pytest.approx(0.025)
    assert all_.low == pytest.approx(1 - none.high)
    cases = [place // 3 for place in range(n)]
    assert bootstrap_share([0.0] * n, groups=cases).high == pytest.approx(1 - 0.025 ** (1 / len(set(cases))))


def test_a_share_in_between_keeps_its_bootstrap_interval() -> None:
    values = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0]
    assert bootstrap_share(values) == bootstrap_mean(values)


def test_equal_values_in_between_leave_both_sides_open() -> None:
    ties = beyond_data(bootstrap_mean([0.0] * 6), 6, (-1.0, 1.0))
    unseen = 1 - 0.025 ** (1 / 6)
    assert (ties.low, ties.mean, ties.high) == pytest.approx((-unseen, 0.0, unseen))
    alone = bootstrap_share([0.5])
    assert alone.low < 0.02
    assert alone.high > 0.98


def test_a_net_win_at_its_end_has_a_verdict_from_as_many_cases_as_a_sign_test() -> None:
    def low(n: int) -> float:
        return beyond_data(bootstrap_mean([1.0] * n), n, (-1.0, 1.0)).low

    assert low(5) < 0 < low(6)
