"""From verdicts to what a rater holds of an item, against a slow and obvious counting."""

from __future__ import annotations

import itertools

import pytest

from pediatricsgpt.evaluation.judge.decide import Tally, held, majority, pooled
from tests.evaluation.judge.planted import A, B, verdict


@pytest.mark.parametrize(
    ("words", "outcome", "tally"),
    [
        (("left", "right"), 1, Tally(1, 0, 0, 2, 1)),  # A both times
        (("right", "left"), -1, Tally(1, 0, 0, 2, 1)),
        (("left", "left"), 0, Tally(1, 1, 1, 2, 2)),  # the first place both times
        (("right", "right"), 0, Tally(1, 1, 1, 2, 0)),
        (("tie", "tie"), 0, Tally(1, 0, 0, 0, 0)),
        (("left", "tie"), 0, Tally(1, 1, 0, 1, 1)),  # wavered
        (("left", "invalid"), None, Tally(0, 0, 0, 1, 1, 1)),
        (("invalid", "invalid"), None, Tally(0, 0, 0, 0, 0, 2)),
    ],
)
def test_an_answer_is_preferred_only_if_it_is_in_both_orders(
    words: tuple[str, str], outcome: int | None, tally: Tally
) -> None:
    said = [verdict("q", order, word) for order, word in enumerate(words)]  # type: ignore[arg-type]
    found = held(said, A)
    assert found.outcomes == {"q": outcome}
    assert found.tallies == {"q": tally}
    turned = held(said, B)
    assert turned.outcomes == {"q": None if outcome is None else -outcome}
    assert turned.tallies == {"q": tally}


def test_an_item_that_lacks_one_order_has_no_verdict_where_the_rater_saw_both() -> None:
    said = [verdict("q1", 0, "left"), verdict("q1", 1, "right"), verdict("q2", 0, "left")]
    assert held(said, A).outcomes == {"q1": 1, "q2": None}
    assert held(said[2:], A).outcomes == {"q2": 1}  # a rater that saw each pair once


def test_what_nobody_was_asked_for_is_a_tie_and_no_sign_of_a_bias() -> None:
    said = [verdict("q", order, "tie", asked=False) for order in (0, 1)]
    assert held(said, A).outcomes == {"q": 0}
    assert held(said, A).tallies == {"q": Tally()}


def test_repeats_decide_by_majority() -> None:
    said = [verdict("q", 0, word, repeat=repeat) for repeat, word in enumerate(("left", "left", "right"))]  # type: ignore[arg-type]
    assert held(said, A).outcomes == {"q": 1}


def test_majority_is_more_than_half_of_those_who_say_something() -> None:
    for size in range(1, 6):
        for votes in itertools.product((1, 0, -1, None), repeat=size):
            valid = [vote for vote in votes if vote is not None]
            wins, losses = valid.count(1), valid.count(-1)
            expected = None if not valid else 1 if wins > len(valid) / 2 else -1 if losses > len(valid) / 2 else 0
            assert majority(votes) == expected


def test_raters_are_pooled_over_those_who_have_a_verdict() -> None:
    words = {"x": "left", "y": "left", "z": "invalid"}
    raters = [held([verdict("q", 0, word, rater=name)], A) for name, word in words.items()]  # type: ignore[arg-type]
    found = pooled(raters)
    assert found.outcomes == {"q": 1}
    assert found.tallies == {"q": Tally(0, 0, 0, 2, 2, 1)}
