"""Word lists and patterns over many texts at once find what Python's engine finds."""

from __future__ import annotations

import re

import pytest

from pediatricsgpt.corpus import department
from pediatricsgpt.corpus.prefilter import FEW_TEXTS, impossible, widened
from pediatricsgpt.corpus.rules import pattern, rules
from pediatricsgpt.corpus.words import Words

TEXTS = [
    "宝宝咳嗽三天",
    "",
    "我30岁，怀孕5周，头痛",
    "小儿\u3000麻痹症\n皮疹",
    "孩子１８岁上大学",
    "湿疹湿疹\0肺炎",
    "牙",
    "x" * 50,
]


def test_words_are_those_of_an_alternation_with_the_longest_first() -> None:
    words = [*department._words(), "疹疹", "湿疹湿"]
    expression = re.compile("|".join(map(re.escape, sorted(words, key=len, reverse=True))))
    texts = [*TEXTS, "".join(words), "".join(reversed(words))]
    assert Words(words).found(texts) == [expression.findall(text) for text in texts]


@pytest.mark.parametrize("key", sorted(rules("pediatric")))
def test_a_pattern_matches_nowhere_where_it_is_said_to_be_impossible(key: str) -> None:
    expression = pattern("pediatric", key)
    texts = [*TEXTS, *re.split(r"[|()]", expression.pattern)] * FEW_TEXTS
    for text, absent in zip(texts, impossible(texts, [expression]), strict=True):
        assert not (absent and expression.search(text)), text


@pytest.mark.parametrize("expression", [r"(?i)a", r"(a)\1", r"[\S]"])
def test_what_cannot_be_widened_is_said(expression: str) -> None:
    with pytest.raises(ValueError, match="cannot be widened"):
        widened(expression)
