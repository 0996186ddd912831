"""Keys, n-gram sets and the search agree with slow, obvious references."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba.core.caching import IndexDataCacheFile

from pediatricsgpt.corpus.minhash import BANDS, enough_bands, gram_sets, sign
from pediatricsgpt.corpus.shingles import (
    characters,
    forget_stale,
    gram_hashes,
    jaccard,
    jaccard_from,
    mix,
    sort_unique,
)
from pediatricsgpt.text import key

# A final sigma depends on its neighbours in Python's lower(), which no Chinese text has.
TEXTS = st.lists(st.text(st.characters(exclude_characters="Σ", exclude_categories=("Cs",))), max_size=6)
MIXED = st.text("孩子发烧３８．５℃，Ａb½①…é́ﬁ㎎\0 \n가각ᄀ", max_size=30)


def key_of(texts, number):
    return "".join(map(chr, texts.key[texts.key_ends[number] : texts.key_ends[number + 1]]))


@given(TEXTS)
def test_keys_of_a_batch_are_those_of_single_texts(texts) -> None:
    found = characters(texts)
    assert [key_of(found, number) for number in range(len(texts))] == [key(text) for text in texts]


@given(st.lists(MIXED, max_size=5))
def test_keys_do_not_depend_on_the_neighbours_in_the_batch(texts) -> None:
    found = characters(texts)
    assert [key_of(found, number) for number in range(len(texts))] == [key(text) for text in texts]


def test_folded_text_keeps_the_point_of_a_number() -> None:
    found = characters(["体温３８．５℃", ""])
    assert "".join(map(chr, found.points)) == "体温38.5c"
    assert list(found.ends) == [0, 7, 7]


@given(st.lists(st.integers(0, 2**32 - 1) | st.sampled_from([0, 7, 2**32 - 1]), max_size=300))
def test_sorting_by_bins_is_sorting(values) -> None:
    numbers, out = np.array(values, np.uint32), np.empty(len(values), np.uint32)
    distinct = sort_unique(numbers, len(values), out, np.empty(2 * len(values) + 4, np.int64))
    assert list(out[:distinct]) == sorted(set(values))


@given(st.sets(st.integers(0, 50)), st.sets(st.integers(0, 50)))
def test_jaccard_is_that_of_sets(one, other) -> None:
    found = jaccard(*(np.array(sorted(each), np.uint32) for each in (one, other)))
    assert found == (len(one & other) / len(one | other) if one | other else 0.0)


@given(st.sets(st.integers(0, 40), max_size=40), st.sets(st.integers(0, 4)), st.floats(0.0, 1.0))
def test_jaccard_from_a_threshold_is_exact_there_and_below_it_stays_below(one, changed, threshold) -> None:
    sets = [np.array(sorted(each), np.uint32) for each in (one, one ^ changed)]
    exact, found = jaccard(*sets), jaccard_from(*sets, threshold)
    assert found == exact if exact >= threshold else found < threshold


@given(st.sets(st.integers(0, 2**32 - 1), max_size=11))
def test_bands_are_hashes_of_the_least_of_128_linear_functions(members) -> None:
    rng = np.random.default_rng(8)
    factors, summands = rng.integers(0, 2**32, (2, 128), np.uint32)
    grams, bands = np.array(sorted(members), np.uint32), np.zeros(BANDS, np.uint32)
    sign(grams, np.uint64(5), factors, summands, bands)
    for band in range(BANDS):
        value = int(mix(np.uint64(5 + band)))
        for place in range(4 * band, 4 * band + 4):
            images = [(int(factors[place]) * gram + int(summands[place])) % 2**32 for gram in members]
            value = int(mix(np.uint64(value ^ min(images, default=2**32 - 1))))
        assert bands[band] == value >> 32


def test_equal_grams_have_equal_hashes_and_others_do_not() -> None:
    text = "".join(chr(0x4E00 + number % 97 + number * number % 89) for number in range(3000))
    points, out = np.array(list(map(ord, text)), np.uint32), np.empty(3000, np.uint32)
    count = gram_hashes(points, 3, out)
    grams = [text[start : start + 3] for start in range(count)]
    assert count == 2998
    assert len(set(zip(grams, out[:count].tolist(), strict=True))) == len(set(grams)) == len(set(out[:count].tolist()))


def test_share_of_equal_bands_is_the_fourth_power_of_jaccard() -> None:
    rng = random.Random(3)
    pool = [chr(0x4E00 + number) for number in range(3000)]
    agreeing, expected = 0.0, 0.0
    for _ in range(60):
        text = rng.choices(pool, k=300)
        changed = [rng.choice(pool) if rng.random() < 0.05 else character for character in text]
        found = characters(["".join(text), "".join(changed)])
        grams, ends, bands = gram_sets(found.key, found.key_ends, np.zeros(2, np.uint64), 3, 20)
        agreeing += float(np.mean(bands[0] == bands[1]))
        expected += jaccard(grams[: ends[1]], grams[ends[1] : ends[2]]) ** 4
    assert agreeing / 60 == pytest.approx(expected / 60, abs=0.03)


def test_sets_of_another_scope_agree_in_no_band() -> None:
    text = "新生儿黄疸一般在出生后两三天出现，七到十天消退，早产儿会晚一些。"
    found = characters([text, text, text])
    _, _, bands = gram_sets(found.key, found.key_ends, np.array([1, 2, 1], np.uint64), 3, 20)
    assert (bands[0] == bands[2]).all()
    assert not (bands[0] == bands[1]).any()


def test_short_texts_have_no_set() -> None:
    found = characters(["孩子咳嗽", ""])
    grams, ends, bands = gram_sets(found.key, found.key_ends, np.zeros(2, np.uint64), 3, 20)
    assert len(grams) == 0
    assert list(ends) == [0, 0, 0]
    assert not bands.any()


def test_the_number_of_bands_asked_for_misses_one_pair_in_50_000_at_most() -> None:
    from math import comb

    for threshold in (0.75, 0.8, 0.9, 0.95):
        enough, equal = enough_bands(threshold), threshold**4
        missed = sum(comb(BANDS, n) * equal**n * (1 - equal) ** (BANDS - n) for n in range(enough))
        assert missed < 2e-5
    assert enough_bands(1.0) == BANDS


def test_kernels_compiled_before_a_change_are_compiled_again(tmp_path: Path) -> None:
    before, after = tmp_path / "__pycache__", tmp_path / "deduplicate/__pycache__"
    for folder, written in ((before, 100), (after, 300)):
        folder.mkdir(parents=True)
        for ending in ("nbi", "1.nbc"):
            (folder / f"kernels.f-1.py311.{ending}").touch()
            os.utime(folder / f"kernels.f-1.py311.{ending}", (written, written))
    forget_stale(tmp_path, changed=200)
    assert not list(before.iterdir())
    assert len(list(after.iterdir())) == 2
    (tmp_path / "deduplicate/kernels.py").touch()
    os.utime(tmp_path / "deduplicate/kernels.py", (400, 400))
    forget_stale(tmp_path, changed=200)
    assert not list(after.iterdir())


def test_a_kill_between_numbas_index_and_its_code_leaves_no_old_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "__pycache__").mkdir()
    old, new = (
        IndexDataCacheFile(str(tmp_path / "__pycache__"), "kernels.f-1.py311", source_stamp) for source_stamp in "ab"
    )
    old.save("signature", "old code")
    (tmp_path / "kernels.py").touch()
    os.utime(tmp_path / "kernels.py", (time.time() + 1, time.time() + 1))

    def kill(name: str, data: object) -> None:
        raise KeyboardInterrupt

    forget_stale(tmp_path, changed=0)
    monkeypatch.setattr(new, "_save_data", kill)
    with pytest.raises(KeyboardInterrupt):
        new.save("signature", "new code")
    assert new.load("signature") is None


_COMPILE = """
import sys, time
from pathlib import Path
from pediatricsgpt.corpus.shingles import forget_stale
sys.path.insert(0, sys.argv[1])
forget_stale(Path(sys.argv[1]), time.time())
import kernels
print(kernels.twice(21), kernels.thrice(2.5))
"""
_KERNELS = """
from pediatricsgpt.corpus.shingles import compiled


@compiled("int64(int64)", "float64(float64)")
def twice(x):
    return 2 * x


@compiled("float64(float64)")
def thrice(x):
    return twice(x) + x
"""


@pytest.mark.check
def test_processes_that_compile_and_forget_at_once_get_the_right_code(tmp_path: Path) -> None:
    (tmp_path / "kernels.py").write_text(_KERNELS)
    command = [sys.executable, "-c", _COMPILE, str(tmp_path)]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    assert [worker.communicate()[0] for worker in workers] == ["42 7.5\n"] * 6
