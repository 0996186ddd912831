"""The figures of judges whose true preferences are known are what was planted; who the raters are does not matter."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from pediatricsgpt.evaluation.judge.aggregate import aggregate
from pediatricsgpt.evaluation.judge.verdicts import Verdict
from tests.evaluation.judge.planted import (
    A,
    B,
    at_random,
    follows_length,
    follows_place,
    pair,
    perfect,
    quality,
    simulated,
    verdict,
)

FOUR = ("usefulness", "correctness", "consistency", "fluency")


def figures(said: Sequence[Verdict], **others: Any) -> dict[str, Any]:
    found: dict[str, Any] = aggregate(said, (A, B), **others)["dimensions"]["usefulness"]
    return found


def within(value: float, interval: dict[str, float]) -> bool:
    return interval["low"] <= value <= interval["high"]


def outcomes(n: int, win: float, tie: float, rng: np.random.Generator) -> list[Verdict]:
    """Verdicts of a rater that saw each pair once, with these true shares."""
    words = rng.choice(["left", "tie", "right"], size=n, p=[win, tie, 1 - win - tie])
    return [verdict(f"q{place:03}", 0, word) for place, word in enumerate(words)]


def test_a_perfect_judge_is_reported_as_it_is() -> None:
    questions = pair(200, better=0.7)
    truth = np.mean([quality(q.answers[0]) > quality(q.answers[1]) for q in questions.questions])
    found = figures(simulated(questions, perfect))
    assert (found["n"], found["invalid"], found["incomplete"]) == (200, 0, 0)
    assert found["win"]["mean"] == pytest.approx(truth)
    assert found["tie"]["mean"] == found["flip_rate"]["mean"] == found["reversed"]["mean"] == 0
    assert found["net"]["mean"] == pytest.approx(2 * truth - 1)
    assert found["first_shown"]["mean"] == 0.5  # each answer wins once from each place
    assert found["verdict"] == "better"
    assert found["p_holm"] < 0.01
    assert within(0.5, found["longer_wins"])
    assert abs(found["length_controlled"]["mean"] - truth) < 0.03


def test_the_other_model_s_view_is_the_mirror_image() -> None:
    said = simulated(pair(120, better=0.2), follows_place(0.3))
    ours, theirs = figures(said), aggregate(said, (B, A))["dimensions"]["usefulness"]
    assert ours["win"]["mean"] == pytest.approx(theirs["loss"]["mean"])
    assert ours["net"]["mean"] == pytest.approx(-theirs["net"]["mean"])
    assert ours["length_controlled"]["mean"] == pytest.approx(1 - theirs["length_controlled"]["mean"])
    assert {ours["verdict"], theirs["verdict"]} == {"better", "worse"}
    for same in ("tie", "flip_rate", "first_shown", "longer_wins"):
        assert ours[same] == theirs[same]


@pytest.mark.parametrize("p", [0.2, 0.5, 0.9])
def test_a_judge_that_follows_the_place_is_found_out(p: float) -> None:
    found = figures(simulated(pair(400, better=0.8), follows_place(p)))
    # Told without reading, an order agrees with the truth half of the time: where the better answer stands first.
    assert within(p, found["flip_rate"])
    assert found["flip_rate"] == {**found["reversed"]}
    assert within(0.5 + p / 2, found["first_shown"])
    assert found["tie"]["mean"] == pytest.approx(found["flip_rate"]["mean"])
    decided = found["win"]["mean"] / (found["win"]["mean"] + found["loss"]["mean"])
    assert abs(decided - 0.8) < 0.08  # the order drops out of what is decided


def test_a_judge_that_follows_length_is_found_out() -> None:
    found = figures(simulated(pair(600, better=0.5, longer=0.8), follows_length(0.6)))
    assert within(0.5 + 0.6 / 2, found["longer_wins"])
    raw = found["win"]["mean"] + found["tie"]["mean"] / 2
    truth_with_bias, truth = 0.6 * 0.8 + 0.4 * 0.5, 0.5
    assert abs(raw - truth_with_bias) < 0.06
    assert abs(found["length_controlled"]["mean"] - truth) < 0.06
    assert found["verdict"] == "better"  # which is why the rate at equal length stands beside it
    assert found["flip_rate"]["mean"] == 0


def test_intervals_cover_the_truth_in_about_95_of_100_sets() -> None:
    rng = np.random.default_rng(11)
    covered = {"win": 0, "tie": 0, "loss": 0, "net": 0}
    truth = {"win": 0.45, "tie": 0.2, "loss": 0.35, "net": 0.1}
    for seed in range(200):
        found = figures(outcomes(100, 0.45, 0.2, rng), resamples=400, seed=seed)
        for name, value in truth.items():
            covered[name] += within(value, found[name])
    assert all(180 <= count <= 199 for count in covered.values()), covered  # binomial: 190 with an error of 3.1


def test_a_judge_at_random_gives_no_verdict_in_about_95_of_100_sets() -> None:
    """On one dimension alone, and on any of four that are tested together."""
    rng = np.random.default_rng(7)
    single = several = 0
    for seed in range(150):
        said = [dataclasses.replace(one, dimension=name) for name in FOUR for one in outcomes(60, 0.35, 0.3, rng)]
        single += figures(said[:60], resamples=400, seed=seed)["verdict"] == "no verdict"
        found = aggregate(said, (A, B), resamples=400, seed=seed)["dimensions"]
        several += all(one["verdict"] == "no verdict" for one in found.values())
    assert 133 <= single <= 150  # 142.5 with an error of 2.7
    assert 133 <= several <= 150


def test_a_random_judge_that_sees_both_orders_mostly_flips() -> None:
    found = figures(simulated(pair(1000, better=0.9), at_random))
    for name, share in (("flip_rate", 2 / 3), ("reversed", 2 / 9), ("first_shown", 1 / 2)):
        assert abs(found[name]["mean"] - share) < 0.06, name  # four standard errors of 1,000 items
    assert found["verdict"] == "no verdict"


def test_figures_depend_neither_on_the_order_of_the_rows_nor_on_names() -> None:
    said = simulated(pair(60, better=0.6), follows_place(0.4)) + simulated(
        pair(60, better=0.6), follows_length(0.3), rater="other"
    )
    mixed = list(said)
    random.Random(4).shuffle(mixed)
    assert json.dumps(aggregate(mixed, (A, B))) == json.dumps(aggregate(said, (A, B)))
    assert aggregate(said)["models"] == [A, B]


def test_holm_is_over_the_dimensions() -> None:
    """One dimension with a small p among three without any: its p is multiplied by four."""
    rng = np.random.default_rng(2)
    clear = outcomes(80, 0.55, 0.15, rng)
    nothing = outcomes(80, 0.4, 0.2, rng)
    said = clear + [dataclasses.replace(one, dimension=name) for name in FOUR[1:] for one in nothing]
    found = aggregate(said, (A, B))["dimensions"]
    assert found["usefulness"]["p_holm"] == pytest.approx(4 * found["usefulness"]["p"])
    alone = figures(clear)
    assert alone["p_holm"] == alone["p"] == found["usefulness"]["p"]
    for one in found.values():
        assert (one["verdict"] == "no verdict") == (
            one["net"]["low"] <= 0 <= one["net"]["high"] or one["p_holm"] > 0.05
        )


def test_doctors_go_through_the_same_code() -> None:
    """Three doctors, dimensions of their own, each pair seen once by each, in an order of their own."""
    said = []
    for place in range(40):
        for doctor, prefers in (("d1", A), ("d2", A), ("d3", B)):
            order = (place + int(doctor[1])) % 2
            left = A if order == 0 else B
            said.append(
                verdict(f"q{place}", order, "left" if left == prefers else "right", dimension="safety", rater=doctor)
            )
    found = aggregate(said)
    safety = found["dimensions"]["safety"]
    assert (safety["n"], safety["win"]["mean"], safety["verdict"]) == (40, 1.0, "better")
    assert safety["flip_rate"] is None
    assert safety["length_controlled"] is None
    assert found["by_judge"]["d3"]["safety"]["win"]["mean"] == 0
    assert found["agreement"]["safety"]["raters"] == 3
    assert found["agreement"]["safety"]["percent"]["mean"] == pytest.approx(1 / 3)
    assert found["self_consistency"] is None


def test_one_rater_agrees_with_nobody_and_is_the_whole_panel() -> None:
    found = aggregate(simulated(pair(30, better=0.5), perfect), (A, B))
    assert found["agreement"] == {}
    assert found["by_judge"] == {"judge": found["dimensions"]}


def test_two_judges_that_disagree_make_a_tie() -> None:
    questions = pair(30, better=1.0)
    against = lambda first, second: {"甲": "乙", "乙": "甲", "平": "平"}[perfect(first, second)]  # noqa: E731
    said = simulated(questions, perfect, rater="one") + simulated(questions, against, rater="two")
    found = aggregate(said, (A, B))
    assert found["dimensions"]["usefulness"]["tie"]["mean"] == 1.0
    assert found["agreement"]["usefulness"]["percent"]["mean"] == 0.0


def test_strata_add_up_and_the_weakest_stands_first() -> None:
    said = [
        verdict(f"q{place}", 0, word, department=name, age_band=None)  # type: ignore[arg-type]
        for place, (word, name) in enumerate([("left", "内科")] * 8 + [("right", "儿科")] * 4 + [("tie", "外科")] * 3)
    ]
    found = aggregate(said, (A, B))
    assert list(found["strata"]) == ["department"]
    rows = found["strata"]["department"]
    assert list(rows) == ["儿科", "外科", "内科"]
    assert sum(row["usefulness"]["n"] for row in rows.values()) == found["dimensions"]["usefulness"]["n"] == 15
    assert rows["儿科"]["usefulness"]["loss"]["mean"] == 1.0


def test_invalid_verdicts_are_counted_and_their_items_left_out() -> None:
    said = simulated(pair(20, better=1.0), perfect)
    said[0] = dataclasses.replace(said[0], verdict="invalid", raw="都很好")
    said[3] = dataclasses.replace(said[3], verdict="invalid", raw="不知道")
    found = aggregate(said, (A, B))
    one = found["dimensions"]["usefulness"]
    assert (one["n"], one["invalid"], one["incomplete"], found["items"]) == (18, 2, 2, 20)
    assert any("2 of 20 (usefulness)" in warning for warning in found["warnings"])


def test_nothing_but_invalid_verdicts_gives_no_figures_and_no_crash() -> None:
    found = aggregate([verdict(f"q{place}", 0, "invalid") for place in range(5)], (A, B))
    one = found["dimensions"]["usefulness"]
    assert (one["n"], one["invalid"], one["win"], one["p"], one["verdict"]) == (0, 5, None, None, "no verdict")
    assert "no item has a whole verdict on usefulness (5 invalid verdicts)" in found["warnings"]
    with pytest.raises(ValueError, match="no verdict to count"):
        aggregate([])
    with pytest.raises(ValueError, match="about"):
        aggregate([verdict("q", 0, "left")], (A, "x"))


def test_whole_cases_are_resampled_together() -> None:
    rng = np.random.default_rng(9)
    alone = outcomes(50, 0.5, 0.2, rng)
    fourfold = [dataclasses.replace(one, id=f"{one.id}-{part}", group=one.id) for one in alone for part in range(4)]
    naive = [dataclasses.replace(one, group=None) for one in fourfold]
    width = [figures(said)["net"]["high"] - figures(said)["net"]["low"] for said in (alone, fourfold, naive)]
    assert width[1] == pytest.approx(width[0], rel=0.1)
    assert width[2] < 0.6 * width[0]
    assert figures(fourfold)["p"] == pytest.approx(figures(alone)["p"], abs=0.02)
    assert figures(naive)["p"] < figures(alone)["p"]


def test_self_consistency_is_the_share_of_equal_repeats() -> None:
    said = []
    for place in range(20):
        for repeat, word in enumerate(("left", "left", "right" if place < 10 else "left")):
            said.append(verdict(f"q{place}", 0, word, repeat=repeat))  # type: ignore[arg-type]
    found = aggregate(said, (A, B))["self_consistency"]["judge"]["usefulness"]
    assert found["mean"] == pytest.approx((10 * (1 / 3) + 10) / 20)
    assert found["n"] == 20


def test_items_without_a_label_have_a_stratum_of_their_own() -> None:
    said = [dataclasses.replace(verdict(f"q{n}", 0, "left"), department="儿科" if n < 3 else None) for n in range(5)]
    rows = aggregate(said, (A, B))["strata"]["department"]
    assert {value: one["usefulness"]["n"] for value, one in rows.items()} == {"儿科": 3, "(none)": 2}
