from __future__ import annotations

import logging

import jieba
from hypothesis import given, settings
from hypothesis import strategies as st

from pediatricsgpt.evaluation.cut import _Cutter, cut, cut_version

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


def test_version_names_the_cutter():
    assert cut_version() == f"jieba-{jieba.__version__}"


def test_of_equally_probable_cuts_the_longer_word_wins_as_in_jieba():
    tokenizers = jieba.Tokenizer(), _Cutter()
    for tokenizer in tokenizers:
        # Two words of one half each are exactly as probable as the one word of one quarter.
        tokenizer.FREQ, tokenizer.total, tokenizer.initialized = {"甲": 2, "乙": 2, "甲乙": 1}, 4, True
    assert [tokenizer.lcut("甲乙") for tokenizer in tokenizers] == [["甲乙"], ["甲乙"]]
