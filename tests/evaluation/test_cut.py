from __future__ import annotations

import hashlib
import logging
import math
import re
from pathlib import Path

import jieba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pediatricsgpt.evaluation import cut_kernels
from pediatricsgpt.evaluation.cut import _model, cut, cut_texts, cut_version, trie

jieba.setLogLevel(logging.ERROR)

PIECES = [
    "小儿",
    "支气管",
    "肺炎",
    "发热",
    "38.5",
    "%",
    "-",
    "+",
    "#",
    "_",
    ".",
    "a1",
    "B",
    " ",
    "\r\n",
    "，",
    "𠮷",
    "豉",
]
TEXTS = st.one_of(st.lists(st.sampled_from(PIECES), max_size=30).map("".join), st.text(max_size=30))


@settings(max_examples=200)
@given(TEXTS)
def test_words_are_those_of_jieba(text):
    assert cut(text) == list(jieba.cut(text))


def test_words_of_rare_and_common_characters_are_those_of_jieba():
    text = "".join(map(chr, range(0x4E00, 0x9FD6, 7))) + "南京市长江大桥上的小儿推拿师李明在南京大学附属儿童医院工作"
    assert cut(text) == list(jieba.cut(text))


def test_version_names_the_cutter_and_its_dictionary():
    dictionary = (Path(jieba.__file__).parent / "dict.txt").read_bytes()
    assert cut_version() == f"jieba-{jieba.__version__},dict:{hashlib.sha256(dictionary).hexdigest()[:12]}"


def _node(keys, word):
    node = -1
    for character in word:
        node = cut_kernels._slot(keys, node, ord(character))
        if not keys[node]:
            return None
    return node


def test_the_dictionary_is_jiebas_to_the_last_entry():
    jieba.initialize()
    keys, weights = _model().keys, _model().weights
    assert np.count_nonzero(keys) == len(jieba.dt.FREQ)
    total = math.log(jieba.dt.total)
    assert _model().unknown == -total
    for word, count in jieba.dt.FREQ.items():
        weight = weights[_node(keys, word)]
        assert weight == math.log(count) - total if count else np.isnan(weight), word


def test_a_dictionary_of_any_size_finds_room():
    letters = [chr(0x4E00 + at) for at in range(1000)]
    lines = [f"{first}{second} {at + 1} n" for first in letters for at, second in enumerate(letters)]
    keys, weights, _ = trie("\n".join(lines))
    assert len(keys) > np.count_nonzero(keys) == 1_001_000
    assert np.count_nonzero(~np.isnan(weights)) == 1_000_000


def test_the_hidden_markov_model_is_jiebas():
    from jieba import finalseg

    for column, state in enumerate("BEMS"):
        assert _model().begin[column] == finalseg.start_P[state]
        for row, before in enumerate("BEMS"):
            assert _model().move[row, column] == finalseg.trans_P[before].get(state, finalseg.MIN_FLOAT)
        emit = _model().emit[:, column]
        expected = [finalseg.emit_P[state].get(chr(point), finalseg.MIN_FLOAT) for point in range(0x4E00, 0x9FD6)]
        assert emit.tolist() == expected


# Characters that no word of the dictionary has or that are seldom make the hidden Markov model work, and its ties.
RARE = st.text(st.characters(min_codepoint=0x4DF0, max_codepoint=0x9FE0), max_size=20)
MIXED = st.lists(st.one_of(RARE, st.sampled_from([*PIECES, "1.5.", ".5", "5.%", "%%", "\r", "\n\r\n", "\ud800"])))


@settings(max_examples=300)
@given(MIXED.map("".join))
def test_rare_characters_and_numbers_are_cut_as_by_jieba(text):
    assert cut(text) == list(jieba.cut(text))


@given(st.lists(TEXTS, max_size=8))
def test_texts_are_cut_one_by_one_whatever_stands_beside_them(texts):
    words = cut_texts(texts)
    assert words.first[0] == 0
    assert np.diff(words.first).tolist() == [len(cut(text)) for text in texts]


def test_of_equally_probable_cuts_the_longer_word_wins_as_in_jieba():
    # Two words of one half each are exactly as probable as the one word of one quarter.
    reference = jieba.Tokenizer()
    reference.FREQ, reference.total, reference.initialized = {"甲": 2, "乙": 2, "甲乙": 1}, 4, True
    keys, weights, _ = trie("甲 2 n\n乙 2 n\n甲乙 1 n\n")  # their sum is 5
    weights = np.where(np.isnan(weights), np.nan, weights + math.log(5) - math.log(4))
    score, end = np.empty(3), np.empty(3, np.int32)
    block = np.array([ord("甲"), ord("乙")], np.uint32)
    weights[_node(keys, "甲")] = weights[_node(keys, "乙")] = math.log(2) - math.log(4)
    weights[_node(keys, "甲乙")] = math.log(1) - math.log(4)
    cut_kernels._route(block, keys, weights, -math.log(4), score, end)
    assert end[0] == 2
    assert reference.lcut("甲乙") == ["甲乙"]


@pytest.mark.check
def test_every_text_of_the_shared_data_is_cut_as_by_jieba(shared):
    texts = []
    for path in sorted((shared / "data").rglob("*")):
        if path.suffix in (".json", ".jsonl", ".txt", ".csv", ".dialog", ".md"):
            texts += path.read_text("utf-8", errors="replace").split("\n")
    texts = [part for text in texts for part in re.split(r"(?<=[。！？])", text[:20_000])]
    assert len(texts) > 200_000
    words, whole = cut_texts(texts), "".join(texts)
    starts, ends = words.starts.tolist(), words.ends.tolist()
    for number, text in enumerate(texts):
        mine = [whole[starts[word] : ends[word]] for word in range(words.first[number], words.first[number + 1])]
        assert mine == list(jieba.cut(text)), text
