from __future__ import annotations

import json
import random

import jieba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.translate.bleu_score import SmoothingFunction, corpus_bleu
from nltk.translate.gleu_score import corpus_gleu

from pediatricsgpt.evaluation.metrics import METRICS, score
from pediatricsgpt.evaluation.metrics.corpus import differences, distinct
from pediatricsgpt.evaluation.metrics.counting import count

jieba.setLogLevel("ERROR")
BLEU_WEIGHTS = ((1,), (0.5, 0.5), (0.33, 0.33, 0.33), (0.25, 0.25, 0.25, 0.25))


def nltk_scores(pairs: list[tuple[str, str]], cut: str) -> dict[str, float]:
    """What NLTK says of the whole corpus; an empty side has no words."""

    def words(text: str) -> list[str]:
        if not text.strip():
            return []
        return jieba.lcut(text) if cut == "paper" else [c for c in text if not c.isspace()]

    said, wanted = [words(pair[0]) for pair in pairs], [[words(pair[1])] for pair in pairs]
    smoothing = SmoothingFunction().method3
    found = {
        f"bleu-{len(weights)}": 100.0 * corpus_bleu(wanted, said, weights=weights, smoothing_function=smoothing)
        for weights in BLEU_WEIGHTS
    }
    grams = [[tuple(text[at : at + order]) for text in said for at in range(len(text) - order + 1)] for order in (1, 2)]
    for order, all_ in enumerate(grams, 1):
        found[f"distinct-{order}"] = 100.0 * len(set(all_)) / len(all_) if all_ else 0.0
    found["gleu"] = 100.0 * corpus_gleu(wanted, said)
    return found


def values(pairs, profile, **options):
    return {name: one.mean for name, one in score(pairs, profile, **options).summary.items()}


PIECES = ["宝宝", "发热", "咳嗽", "38.5", ".", "。", " ", "a", "mg", "的"]
TEXT = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


@settings(max_examples=100)
@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6))
def test_generated_corpora_score_as_nltk_says(pairs):
    for cut in ("paper", "char"):
        expected = nltk_scores(pairs, cut)
        found = values(pairs, f"{cut}-corpus", resamples=1)
        assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("cut", ["paper", "char"])
def test_a_real_corpus_scores_as_nltk_says(shared, cut):
    rows = json.loads((shared / "data/distilled/huatuo26m_test.json").read_text("utf-8"))
    answers = [row["output"][0] for row in rows][:600]
    pairs = list(zip(answers[::2], answers[1::2], strict=True))
    expected = nltk_scores(pairs, cut)
    found = values(pairs, f"{cut}-corpus", resamples=1)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)


def test_rouge_over_the_corpus_is_of_summed_counts():
    # First item 1 of 2 and 1 of 1, second 2 of 2 and 2 of 4: together 3 of 4 words said and 3 of 5 wanted.
    found = values([("甲乙", "甲"), ("丙丁", "丙丁戊己")], "char-corpus")
    assert found["rouge-1"] == pytest.approx(100 * 2 * (3 / 4 * 3 / 5) / (3 / 4 + 3 / 5 + 1e-8))
    assert found["rouge-2"] == pytest.approx(100 * 2 * (1 / 2 * 1 / 3) / (1 / 2 + 1 / 3 + 1e-8))


def test_one_item_scores_the_same_alone_and_as_a_corpus_but_for_rounding():
    pair = ("发热多喝水，多休息", "发热要多喝水")
    for cut in ("paper", "char"):
        assert values([pair], f"{cut}-corpus") == pytest.approx(values([pair], cut), abs=0.0051)


def corpus(n: int, seed: int = 3) -> list[tuple[str, str]]:
    rng = random.Random(seed)
    letters = "宝发热咳嗽腹泻的了不是水药医院诊查体温"
    texts = ["".join(rng.choices(letters, k=rng.randint(4, 30))) for _ in range(n)]
    return [(text, "".join(letter for letter in text if rng.random() < 0.7) or text) for text in texts]


def test_intervals_are_those_of_a_plain_bootstrap_of_the_corpus():
    pairs = corpus(25)
    drawn = np.random.default_rng(17).integers(0, 25, size=(40, 25))
    resampled = [nltk_scores([pairs[at] for at in row], "char") for row in drawn]
    found = score(pairs, "char-corpus", resamples=40).summary
    for name in ("bleu-1", "bleu-2", "bleu-3", "bleu-4", "gleu"):
        low, high = np.quantile([one[name] for one in resampled], [0.025, 0.975])
        assert (found[name].low, found[name].high) == pytest.approx((low, high), abs=1e-9), name
        assert found[name].n == 25


def test_intervals_over_cases_draw_whole_cases():
    pairs = corpus(20)
    once, thrice = score(pairs, "char-corpus"), score(pairs * 3, "char-corpus", groups=list(range(20)) * 3)
    for name in METRICS[:8]:
        one, other = once.summary[name], thrice.summary[name]
        assert (other.mean, other.low, other.high) == pytest.approx((one.mean, one.low, one.high), abs=1e-9)


def test_distinct_without_each_case_is_that_of_the_others():
    pairs, groups = corpus(12), list("aabbbcddefgh")
    for order in (1, 2):
        value, without = distinct(count(pairs, "char-corpus").grams, order, groups)
        assert 100 * value == pytest.approx(nltk_scores(pairs, "char")[f"distinct-{order}"])
        names = list(dict.fromkeys(groups))
        for case, found in zip(names, without, strict=True):
            rest = [pair for pair, group in zip(pairs, groups, strict=True) if group != case]
            assert 100 * found == pytest.approx(nltk_scores(rest, "char")[f"distinct-{order}"])


def test_intervals_of_distinct_cover_its_expected_value_and_a_bootstrap_would_not():
    """The reason for the jackknife: resamples repeat texts, and repeated texts have no new n-grams."""
    samples = [score(corpus(60, seed), "char-corpus", resamples=1).summary["distinct-2"] for seed in range(80)]
    truth = float(np.mean([one.mean for one in samples]))
    covered = sum(one.low <= truth <= one.high for one in samples)
    assert covered >= 72
    pairs = corpus(60, 1)
    rng = np.random.default_rng(0)
    resampled = [nltk_scores([pairs[at] for at in rng.integers(0, 60, 60)], "char")["distinct-2"] for _ in range(100)]
    assert np.quantile(resampled, 0.975) < nltk_scores(pairs, "char")["distinct-2"]


def test_strata_of_a_corpus_profile_are_scored_as_corpora_of_their_own():
    pairs = corpus(10)
    counted = count(pairs, "char-corpus")
    from pediatricsgpt.evaluation.metrics import summarise

    assert summarise(counted.subset([1, 4, 7])) == score([pairs[at] for at in (1, 4, 7)], "char-corpus")


def test_a_better_corpus_is_found_better_and_an_equal_one_is_not():
    pairs = corpus(60)
    worse = [(said[::2], wanted) for said, wanted in pairs]
    a, b = count(pairs, "char-corpus"), count(worse, "char-corpus")
    found = dict(zip(METRICS, differences(a, b, None, 17, 300), strict=True))
    expected = values(pairs, "char-corpus")["bleu-4"] - values(worse, "char-corpus")["bleu-4"]
    assert found["bleu-4"][0].mean == pytest.approx(expected)
    assert found["bleu-4"][0].verdict == "better"
    assert found["bleu-4"][1] < 0.001
    for difference, p in differences(a, a, None, 17, 300):
        assert (difference.mean, difference.low, difference.high) == (0.0, 0.0, 0.0)
        assert (difference.verdict, p) == ("no verdict", 1.0)
