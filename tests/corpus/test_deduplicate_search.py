"""The search in chains of equal bands agrees with loops that look at everything."""

from __future__ import annotations

import random
from itertools import combinations

import numpy as np
import pytest

from pediatricsgpt.corpus.deduplicate.facts import fact_hashes
from pediatricsgpt.corpus.deduplicate.search import find, join_similar, lead, shared_bands
from pediatricsgpt.corpus.minhash import BANDS, enough_bands, gram_sets
from pediatricsgpt.corpus.shingles import characters, jaccard

THRESHOLD = 0.8
POOL = [chr(0x4E00 + number) for number in range(500)]


class Rows:
    """Texts that resemble each other more or less, as the search sees them."""

    def __init__(self, seed: int, count: int = 300, templates: int = 12) -> None:
        rng = random.Random(seed)
        frames = ["".join(rng.choices(POOL, k=120)) for _ in range(templates)]
        texts = []
        for _ in range(count):
            text = list(rng.choice(frames))
            for _ in range(rng.randrange(8)):
                text[rng.randrange(len(text))] = rng.choice(POOL)
            texts.append("".join(text))
        found = characters(texts)
        self.kinds = np.array([rng.randrange(2) for _ in texts], np.uint64)
        self.grams, self.ends, self.bands = gram_sets(found.key, found.key_ends, self.kinds * np.uint64(0), 3, 20)
        self.addresses = (self.grams.ctypes.data + 4 * self.ends[:-1]).astype(np.uint64)
        self.sizes = np.diff(self.ends)
        self.enough = enough_bands(THRESHOLD)

    def similarity(self, one: int, other: int) -> float:
        """By whole sets, 0 for pairs with too few equal bands."""
        if (self.bands[one] == self.bands[other]).sum() < self.enough:
            return 0.0
        return jaccard(*(self.grams[self.ends[row] : self.ends[row + 1]] for row in (one, other)))


def test_an_agreement_in_a_band_is_never_overlooked_and_few_are_made_up() -> None:
    rng = np.random.default_rng(5)
    bands = rng.integers(0, 2**32, (4000, BANDS), np.uint32)
    rows = np.arange(0, 4000, 2)
    kinds = rng.integers(0, 2**63, 4000, np.uint64)
    for one, other in rng.choice(rows, (500, 2), replace=False):
        band = rng.integers(BANDS)
        bands[one, band], kinds[one] = bands[other, band], kinds[other]
    masks = shared_bands(rows, bands, kinds)
    agree = np.zeros((4000, BANDS), np.bool_)
    for one, other in combinations(rows.tolist(), 2):
        if kinds[one] == kinds[other]:
            agree[[one, other]] |= bands[one] == bands[other]
    seen = (masks[:, None] >> np.arange(BANDS, dtype=np.uint32) & 1).astype(bool)
    assert agree.sum() == 1000
    assert seen[agree].all()
    assert seen[rows].mean() < 0.2
    assert not masks[1::2].any()


@pytest.mark.parametrize("seed", range(3))
def test_the_leader_is_the_first_similar_row_without_a_leader(seed) -> None:
    rows = Rows(seed)
    order = np.random.default_rng(seed).permutation(len(rows.sizes))
    leader, similarity = np.full(len(order), -1, np.int64), np.zeros(len(order), np.float32)
    masks = shared_bands(np.sort(order), rows.bands, rows.kinds)
    limits = (THRESHOLD, rows.enough)
    lead(order, rows.bands, rows.kinds, masks, rows.addresses, rows.sizes, *limits, leader, similarity)
    leaders: list[int] = []
    for row in order.tolist():
        scores = {other: rows.similarity(row, other) for other in leaders if rows.kinds[row] == rows.kinds[other]}
        first = next((other for other, score in scores.items() if score >= THRESHOLD), -1)
        assert leader[row] == first
        if first < 0:
            leaders.append(row)
        else:
            assert similarity[row] == np.float32(scores[first])
    assert len(order) / 10 < len(leaders) < len(order)


@pytest.mark.parametrize("window", [1, 3, 64])
def test_groups_and_variants_are_those_of_all_pairs_in_the_windows(window) -> None:
    rows = Rows(7)
    everyone = np.arange(len(rows.sizes))
    variants, parents = np.full(len(everyone), -1), np.arange(len(everyone), dtype=np.int32)
    masks = shared_bands(everyone, rows.bands, np.zeros(len(everyone), np.uint64))
    limits = (THRESHOLD, rows.enough, window)
    codes = everyone.astype(np.int32)
    join_similar(everyone, rows.bands, masks, rows.addresses, rows.sizes, *limits, codes, parents, variants)
    groups, expected = list(range(len(everyone))), np.full(len(everyone), -1)
    for band in range(BANDS):
        for row in everyone.tolist():
            before = [other for other in range(row) if rows.bands[other, band] == rows.bands[row, band]]
            for other in reversed(before[-window:]):
                if rows.similarity(row, other) >= THRESHOLD:
                    smaller, larger = sorted((groups[row], groups[other]))
                    groups = [smaller if group == larger else group for group in groups]
                    expected[row] = other if expected[row] < 0 else expected[row]
    assert (variants == expected).all()
    assert [find(parents, row) for row in everyone.tolist()] == groups
    assert (expected >= 0).sum() > 100


def test_the_facts_of_a_row_do_not_depend_on_its_neighbours() -> None:
    rng = random.Random(9)
    pieces = [
        "布洛",
        "芬",
        "不",
        "没有",
        "38.",
        "5",
        "度",
        "三",
        "天",
        "m",
        "l",
        "，",
        "孩子",
        "头孢",
        "克肟",
        "发热",
        "a",
    ]
    texts = ["".join(rng.choices(pieces, k=rng.randrange(6))) for _ in range(500)]
    together = fact_hashes(characters(texts), np.arange(501))
    alone = [fact_hashes(characters([text]), np.arange(2))[0] for text in texts]
    assert together.tolist() == alone
    assert len(set(alone)) > 100
