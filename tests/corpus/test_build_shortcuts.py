"""The probe says how far style alone separates the sides of preference pairs."""

from __future__ import annotations

import random

import numpy as np
import pytest

from pediatricsgpt.corpus.build.shortcuts import FEATURES, auc, probe, side_statistics

WORDS = "孩子需要注意休息多喝水观察体温和精神状态必要时到医院检查"


def answers(count: int, seed: int, greeting: str = "", length: int = 40) -> list[str]:
    chooser = random.Random(seed)
    return [
        greeting + "".join(chooser.choices(WORDS, k=chooser.randint(length // 2, length))) + "。" for _ in range(count)
    ]


def test_sides_of_one_style_are_not_told_apart() -> None:
    found = probe(answers(400, 1), answers(400, 2))
    assert found["n"] == 400
    assert found["chance"][0] <= found["auc"] <= found["chance"][1]
    assert 0.4 < found["pairs_right"] < 0.6


@pytest.mark.parametrize("feature", ["greeting", "length", "baby", "list"])
def test_a_planted_shortcut_is_found_and_named(feature: str) -> None:
    plain = answers(200, 2)
    planted = {
        "greeting": answers(200, 1, "您好，"),
        "length": answers(200, 1, length=200),
        "baby": answers(200, 1, "宝宝"),
        "list": [f"1. 休息\n2. {text}" for text in answers(200, 1)],
    }[feature]
    found = probe(planted, plain)
    assert found["auc"] > 0.95 > found["chance"][1]
    assert found["pairs_right"] > 0.95
    assert found["features"][feature] > 0.9
    assert probe(plain, planted)["auc"] > 0.95  # which side has it makes no difference
    assert probe(plain, planted)["features"][feature] < 0.1


def test_few_pairs_are_not_probed() -> None:
    assert probe(answers(19, 1), answers(19, 2)) == {"n": 19}
    assert probe([], []) == {"n": 0}


def test_the_area_is_the_share_of_pairs_in_order() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        higher, lower = rng.integers(0, 6, 30).astype(float), rng.integers(0, 5, 20).astype(float)
        slow = np.mean([[(a > b) + (a == b) / 2 for b in lower] for a in higher])
        assert auc(higher, lower) == pytest.approx(slow)


def test_sides_are_described() -> None:
    told = side_statistics(["您好，宝宝没事。", "1. 休息\n2. 喝水"], ["没事。", "休息，多喝水，观察体温和精神。"])
    assert (told["greeting"], told["baby"], told["list"], told["longer"]) == (0.5, 0.5, 0.5, 0.5)
    assert side_statistics([], [])["greeting"] == 0.0


def test_style_is_measured_without_reading_what_is_said() -> None:
    one, other = "孩子可以吃布洛芬，注意观察。", "孩子不能吃阿司匹林，注意观察。"
    differing = {name for name, measure in FEATURES.items() if measure(one) != measure(other)}
    assert differing <= {"length", "sentence_length"}
