"""Decoding and normalising Chinese text."""

from __future__ import annotations

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pediatricsgpt.text import decode, han_share, key, normalise, sentences

SIMPLIFIED = "孩子发烧三天，体温三十九度，咳嗽有痰，请问医生怎么办？"
TRADITIONAL = "孩子發燒三天，體溫三十九度，咳嗽有痰，請問醫生怎麼辦？"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_the_encoding_of_a_chinese_file_is_found_and_said(encoding: str) -> None:
    found = decode(SIMPLIFIED.encode(encoding))
    assert found.text == SIMPLIFIED
    assert found.encoding == encoding


def test_big5_is_told_from_gb18030() -> None:
    assert decode(TRADITIONAL.encode("big5")).text == TRADITIONAL
    assert decode(TRADITIONAL.encode("gb18030")).text == TRADITIONAL


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown encoding"):
        decode(os.urandom(4000))


def test_full_width_digits_letters_and_points_become_ordinary_punctuation_stays() -> None:
    assert normalise("体温３８．５℃，用药１０ｍｇ／ｋｇ。") == "体温38.5℃，用药10mg／kg。"


def test_spaces_inside_chinese_go_and_between_words_stay() -> None:
    assert normalise("目 前 是 我 国 5 岁 and  older\r\n儿\u3000童") == "目前是我国 5 岁 and older\n儿童"


def test_control_private_and_invisible_characters_go() -> None:
    assert normalise("发\u200b烧\ue123\x07了\ufeff") == "发烧了"


@given(st.text())
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@given(st.text(alphabet="0123456789.mgkl发烧不无，。 \n（）%", max_size=60))
def test_no_digit_unit_or_negation_is_lost(text: str) -> None:
    assert re.sub(r"\s", "", normalise(text)) == re.sub(r"\s", "", text)


def test_keys_ignore_width_case_spaces_and_punctuation() -> None:
    assert key("ＣＯＶＩＤ-19 感染？") == key("covid19感染") == "covid19感染"


def test_sentences_keep_their_marks_and_quotes() -> None:
    assert sentences("发烧了。“别怕。”她说！\n好") == ["发烧了。", "“别怕。”她说！", "好"]


def test_share_of_han() -> None:
    assert han_share("发烧 ab") == 0.5
    assert han_share(" \n") == 0
