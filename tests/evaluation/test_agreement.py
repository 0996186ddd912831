"""Agreement coefficients against published examples, slow references and invariants."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pediatricsgpt.evaluation.agreement import (
    agreement,
    cohen_kappa,
    gwet_ac1,
    krippendorff_alpha,
    light_kappa,
    percent_agreement,
)

_ = None
# Krippendorff 2011, section D: four observers, twelve units, missing values
KRIPPENDORFF = list(
    zip(
        (1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _),
        (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3),
        (_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _),
        (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _),
        strict=True,
    )
)


def _table(yes_yes: int, yes_no: int, no_yes: int, no_no: int) -> tuple[list[str], list[str]]:
    cells = [("yes", "yes")] * yes_yes + [("yes", "no")] * yes_no + [("no", "yes")] * no_yes + [("no", "no")] * no_no
    return [a for a, _ in cells], [b for _, b in cells]


@pytest.mark.parametrize(("level", "value"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_of_krippendorffs_own_example(level, value):
    found = krippendorff_alpha(KRIPPENDORFF, level).interval
    assert found.mean == pytest.approx(value, abs=5e-4)
    assert found.low < found.mean < found.high
    assert found.n == 11  # unit 12 has one rating


def test_alpha_of_the_binary_example_by_hand():
    # Krippendorff 2011, section A: two observers, ten units; alpha = 1 - 19 * 4 / (14 * 6) = 0.095
    a = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    b = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    assert krippendorff_alpha(list(zip(a, b, strict=True))).interval.mean == pytest.approx(1 - 19 * 4 / (14 * 6))


def test_ac1_with_four_raters_and_missing_values():
    # Gwet 2014 (the table of Krippendorff's example): AC1 0.77544 with agreement 0.81818 and chance 0.19032
    assert gwet_ac1(KRIPPENDORFF).interval.mean == pytest.approx(0.77544, abs=1e-5)
    assert percent_agreement(KRIPPENDORFF).interval.mean == pytest.approx(0.8181818)


def test_ac1_stays_high_where_kappa_collapses():
    # 125 subjects, 118 of them "yes" by both: by hand kappa -0.0234, AC1 0.9408
    a, b = _table(118, 5, 2, 0)
    assert cohen_kappa(a, b).interval.mean == pytest.approx((0.944 - 0.94528) / (1 - 0.94528))
    assert gwet_ac1(list(zip(a, b, strict=True))).interval.mean == pytest.approx((0.944 - 0.054432) / (1 - 0.054432))


@pytest.mark.parametrize(
    ("cells", "kappa"),
    [((20, 5, 10, 15), 0.4), ((45, 15, 25, 15), 0.1304), ((25, 35, 5, 35), 0.2593), ((0, 10, 10, 0), -1.0)],
)
def test_kappa_of_known_tables(cells, kappa):
    assert cohen_kappa(*_table(*cells)).interval.mean == pytest.approx(kappa, abs=5e-5)


def test_weighted_kappa_by_hand():
    # 3 x 3 table; disagreement weights 0, 1, 2 (linear) and 0, 1, 4 (quadratic)
    table = np.array([[8, 2, 1], [3, 7, 2], [0, 1, 6]])
    a = [i for i in range(3) for j in range(3) for _ in range(table[i, j])]
    b = [j for i in range(3) for j in range(3) for _ in range(table[i, j])]
    expected = np.outer(table.sum(1), table.sum(0)) / table.sum()
    for weights, power in (("linear", 1), ("quadratic", 2)):
        distance = np.abs(np.subtract.outer(range(3), range(3))) ** power
        by_hand = 1 - (distance * table).sum() / (distance * expected).sum()
        assert cohen_kappa(a, b, weights).interval.mean == pytest.approx(by_hand)
        words = ["low", "middle", "high"]
        named = cohen_kappa([words[i] for i in a], [words[i] for i in b], weights, order=words)
        assert named.interval.mean == pytest.approx(by_hand)
    with pytest.raises(ValueError, match="order"):
        cohen_kappa(["low", "high"], ["low", "low"], "linear")


def test_two_categories_make_weights_matter_nothing():
    a, b = _table(20, 5, 10, 15)
    assert cohen_kappa(a, b, "linear", order=["no", "yes"]) == cohen_kappa(a, b)


def test_several_raters_have_the_mean_of_their_pairs():
    rng = np.random.default_rng(3)
    ratings = rng.integers(0, 3, size=(60, 3)).tolist()
    columns = list(zip(*ratings, strict=True))
    pairs = [cohen_kappa(a, b).interval.mean for a, b in combinations(columns, 2)]
    assert light_kappa(ratings).interval.mean == pytest.approx(sum(pairs) / 3)


def test_everybody_always_saying_the_same_leaves_kappa_and_alpha_undefined():
    found = agreement([["left", "left"]] * 30)
    assert found["percent"] == {"mean": 1.0, "low": 1.0, "high": 1.0, "n": 30}
    assert [found[name] for name in ("kappa", "ac1", "alpha")] == [_, _, _]
    assert all("same category" in found["why"][name] for name in ("kappa", "ac1", "alpha"))
    # What could have been said is enough for AC1, which then is 1
    assert agreement([["left", "left"]] * 30, categories=["left", "right", "tie"])["ac1"]["mean"] == 1.0


@pytest.mark.parametrize("n", [2, 3, 20])
def test_resamples_without_variation_do_not_spoil_the_interval(n):
    """One unit of another category: it is absent from about a third of the resamples."""
    said = ["a"] * (n - 1) + ["b"]
    found = cohen_kappa(said, said).interval
    assert (found.mean, found.low, found.high, found.n) == (1.0, 1.0, 1.0, n)


def test_nobody_rated_anything():
    for ratings in ([], [[_, _]], [["a", _], [_, "b"]]):
        found = agreement(ratings)
        assert found["units"] == 0
        assert [found[name] for name in ("percent", "kappa", "alpha")] == [_, _, _]
        assert "two raters" in found["why"]["kappa"]


def test_a_table_with_unequal_rows_is_refused():
    with pytest.raises(ValueError, match="one place per rater"):
        agreement([["a", "b"], ["a"]])
    with pytest.raises(ValueError, match="same units"):
        cohen_kappa(["a"], [])
    with pytest.raises(ValueError, match="needs numbers"):
        krippendorff_alpha([["a", "b"]], "ordinal")
    with pytest.raises(ValueError, match="none of the categories"):
        gwet_ac1([["a", "b"]], categories=["a"])
    with pytest.raises(ValueError, match="one group per unit"):
        gwet_ac1([["a", "b"]], groups=[])


TABLES = st.lists(
    st.lists(st.one_of(st.none(), st.integers(1, 4)), min_size=3, max_size=3), min_size=4, max_size=14
).filter(lambda table: len({r for unit in table for r in unit if r} | {0}) > 2)


def _points(ratings, **more):
    found = agreement(ratings, **more)
    return {name: found[name] and found[name]["mean"] for name in ("percent", "kappa", "ac1", "alpha")}


def _same(a, b) -> bool:
    return all((a[k] is None) == (b[k] is None) and (a[k] is None or math.isclose(a[k], b[k], abs_tol=1e-9)) for k in a)


@given(TABLES)
def test_names_of_categories_do_not_matter(table):
    names = {None: None, 1: "丙", 2: "甲", 3: "丁", 4: "乙"}
    assert _same(_points(table), _points([[names[r] for r in unit] for unit in table]))


@given(TABLES)
def test_order_of_raters_does_not_matter(table):
    expected = _points(table)
    for order in permutations(range(3)):
        assert _same(expected, _points([[unit[i] for i in order] for unit in table]))


@given(TABLES)
def test_a_unit_that_nobody_rated_changes_nothing(table):
    before, after = agreement(table), agreement([*table, [_, _, _]])
    assert before == after


@given(TABLES)
def test_alpha_equals_the_definition_by_pairs(table):
    """1 - D_o / D_e over all pairs of values, written down as slowly as possible."""
    units = [[r for r in unit if r is not None] for unit in table]
    units = [unit for unit in units if len(unit) > 1]
    pooled = sorted(r for unit in units for r in unit)
    n, times = len(pooled), Counter(pooled)

    def ordinal(c, k):
        low, high = min(c, k), max(c, k)
        return (sum(t for g, t in times.items() if low <= g <= high) - (times[c] + times[k]) / 2) ** 2

    distances = {"nominal": lambda c, k: float(c != k), "interval": lambda c, k: (c - k) ** 2, "ordinal": ordinal}
    for level, distance in distances.items():
        found = krippendorff_alpha(table, level)
        expected = sum(distance(a, b) for a, b in permutations(pooled, 2)) / (n * (n - 1)) if n > 1 else 0.0
        if not expected:
            assert found.interval is None
            continue
        observed = sum(distance(a, b) / (len(unit) - 1) for unit in units for a, b in permutations(unit, 2)) / n
        assert found.interval.mean == pytest.approx(1 - observed / expected, abs=1e-9)


def test_units_and_scale_of_values_do_not_matter_to_an_interval_alpha():
    rng = np.random.default_rng(5)
    truth = rng.normal(size=200)
    ratings = np.stack([truth + rng.normal(scale=0.3, size=200) for _ in range(2)], axis=1)
    small = krippendorff_alpha((ratings * 1e-9 + 7e-9).tolist(), "interval").interval
    whole = krippendorff_alpha(ratings.tolist(), "interval").interval
    assert small.mean == pytest.approx(whole.mean, abs=1e-6)
    assert whole.mean == pytest.approx(1 / 1.09, abs=0.03)  # the intraclass correlation that was planted


def test_intervals_are_reproducible_and_cover_what_was_planted():
    """Two raters who say the truth with probability p and else toss a coin: kappa is p * p."""
    p, inside = 0.8, 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        truth = rng.integers(0, 2, size=150)
        a, b = (np.where(rng.random(150) < p, truth, rng.integers(0, 2, size=150)).tolist() for _ in range(2))
        found = cohen_kappa(a, b)
        assert found == cohen_kappa(a, b)
        inside += found.interval.low <= p * p <= found.interval.high
    assert inside >= 35


def test_units_that_belong_together_widen_the_interval():
    rng = np.random.default_rng(1)
    truth, other = rng.integers(0, 2, size=50), rng.integers(0, 2, size=50)
    said = np.where(rng.random(50) < 0.7, truth, other)
    a, b = np.repeat(truth, 6).tolist(), np.repeat(said, 6).tolist()
    alone, together = cohen_kappa(a, b).interval, cohen_kappa(a, b, groups=np.repeat(range(50), 6).tolist()).interval
    assert (together.mean, together.n) == (alone.mean, 300)
    assert together.high - together.low > 1.8 * (alone.high - alone.low)
    # Six copies of a unit in a group tell as much as the unit alone
    single = cohen_kappa(truth.tolist(), said.tolist()).interval
    assert (together.low, together.high) == pytest.approx((single.low, single.high))
