from __future__ import annotations

import random

import pytest
from rouge import Rouge

from pediatricsgpt.evaluation.rouge import rouge_f


def package_f(said: list[str], wanted: list[str]) -> tuple[float, ...]:
    scores = Rouge().get_scores(" ".join(said), " ".join(wanted))[0]
    return tuple(scores[name]["f"] for name in ("rouge-1", "rouge-2", "rouge-l"))


def test_every_choice_among_equally_long_subsequences_is_the_packages():
    """Small vocabularies and many sentences make ties, and the ties decide which words are counted."""
    rng = random.Random(11)
    compared = 0
    while compared < 400:
        alphabet = rng.choice(["ab.", "abcdefg.", "abcdefgh", "abcdefghijklmnopq..  "])
        said, wanted = (rng.choices(alphabet, k=rng.randint(1, 40)) for _ in range(2))
        if set(said) <= {"."} or set(wanted) <= {"."}:
            continue
        assert rouge_f(said, wanted) == pytest.approx(package_f(said, wanted), abs=1e-12), (said, wanted)
        compared += 1


def test_union_of_subsequences_by_hand():
    # With "a b" the reference shares a b, with "c e" it shares c e: 4 of its 5 words; all 4 words said are wanted.
    said, wanted = list("ab.ce"), list("abcde")
    assert rouge_f(said, wanted)[2] == pytest.approx(2 * (1.0 * 0.8) / (1.0 + 0.8 + 1e-8))


def test_a_number_is_split_at_its_point_as_the_package_does():
    assert rouge_f(["38.5"], ["38", "5"])[0] == pytest.approx(1.0)


@pytest.mark.parametrize(("said", "wanted"), [([], ["a"]), (["a"], []), (["."], ["a"]), (["a"], ["..."]), ([], [])])
def test_a_side_without_a_sentence_scores_zero(said, wanted):
    assert rouge_f(said, wanted) == (0.0, 0.0, 0.0)
