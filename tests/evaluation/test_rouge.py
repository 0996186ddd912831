from __future__ import annotations

import random
import sys

import numpy as np
import pytest
from rouge import Rouge

from pediatricsgpt.evaluation.cut import Words, joined
from pediatricsgpt.evaluation.metrics.counting import COLUMNS, count_words
from pediatricsgpt.evaluation.metrics.formulas import sentence_scores


def rouge_f(said: list[str], wanted: list[str]) -> tuple[float, ...]:
    """ROUGE of words that no segmenter made."""
    points, places = joined([*said, *wanted])
    out = np.zeros((1, COLUMNS), np.int64)
    first = np.array([0, len(said), len(said) + len(wanted)])
    count_words(Words(points, places[:-1].copy(), places[1:].copy(), first), out)
    return sentence_scores(out.tolist())[0][:3]


def package_f(said: list[str], wanted: list[str]) -> tuple[float, ...]:
    scores = Rouge().get_scores(" ".join(said), " ".join(wanted))[0]
    return tuple(round(scores[name]["f"], 4) for name in ("rouge-1", "rouge-2", "rouge-l"))


def test_every_choice_among_equally_long_subsequences_is_the_packages():
    """Small vocabularies and many sentences make ties, and the ties decide which words are counted."""
    rng = random.Random(11)
    compared = 0
    while compared < 600:
        alphabet = rng.choice(["ab.", "abcdefg.", "abcdefgh", "abcdefghijklmnopq..  "])
        said, wanted = (rng.choices(alphabet, k=rng.randint(1, rng.choice([40, 150]))) for _ in range(2))
        if not set(said) - {".", " "} or not set(wanted) - {".", " "}:
            continue
        assert rouge_f(said, wanted) == package_f(said, wanted), (said, wanted)
        compared += 1


@pytest.mark.parametrize("letters", [12, 120, 900, 6000])
def test_subsequences_of_many_words_are_the_packages(letters):
    """Rows of several machine words, with few or many columns that match."""
    rng = random.Random(letters)
    alphabet = [chr(0x4E00 + at) for at in range(letters)]
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        for round_ in range(16):
            said, wanted = (rng.choices(alphabet, k=rng.randint(100, 420)) for _ in range(2))
            if round_ % 2:
                wanted[40:90] = said[10:60]
            elif round_ % 4 == 0:
                wanted = rng.sample(said, len(said))  # every column has its row, seldom one that grows early
            assert rouge_f(said, wanted) == package_f(said, wanted), (said, wanted)
    finally:
        sys.setrecursionlimit(limit)


def test_union_of_subsequences_by_hand():
    # With "a b" the reference shares a b, with "c e" it shares c e: 4 of its 5 words; all 4 words said are wanted.
    said, wanted = list("ab.ce"), list("abcde")
    assert rouge_f(said, wanted)[2] == pytest.approx(2 * (1.0 * 0.8) / (1.0 + 0.8 + 1e-8), abs=5.1e-5)


def test_a_number_is_split_at_its_point_as_the_package_does():
    assert rouge_f(["38.5"], ["38", "5"])[0] == pytest.approx(1.0)


@pytest.mark.parametrize(("said", "wanted"), [([], ["a"]), (["a"], []), (["."], ["a"]), (["a"], ["..."]), ([], [])])
def test_a_side_without_a_sentence_scores_zero(said, wanted):
    assert rouge_f(said, wanted) == (0.0, 0.0, 0.0)
