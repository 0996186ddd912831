"""Decoding and normalising Chinese text."""

from __future__ import annotations

import os
import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pediatricsgpt.text import Decoded, decode, decode_lines, han_share, key, normalise, sentences

SIMPLIFIED = "孩子发烧三天，体温三十九度，咳嗽有痰，请问医生怎么办？"
TRADITIONAL = "孩子發燒三天，體溫三十九度，咳嗽有痰，請問醫生怎麼辦？"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gb18030"])
def test_the_encoding_of_a_chinese_file_is_found_and_said(encoding: str) -> None:
    found = decode(SIMPLIFIED.encode(encoding))
    assert found.text == SIMPLIFIED
    assert found.encoding == encoding


def test_big5_is_told_from_gb18030() -> None:
    assert decode(TRADITIONAL.encode("big5")) == Decoded(TRADITIONAL, "big5")
    assert decode(TRADITIONAL.encode("gb18030")).text == TRADITIONAL


def test_utf16_without_a_mark_is_told_with_and_without_line_ends() -> None:
    for text in (SIMPLIFIED, f"{SIMPLIFIED}\n{SIMPLIFIED}\n", f"{TRADITIONAL}\r\n38.5℃"):
        assert decode(text.encode("utf-16-le")) == Decoded(text, "utf-16-le")
        assert decode(text.encode("utf-16-be")) == Decoded(text, "utf-16-be")


def test_each_line_of_a_mixed_file_is_read_in_its_own_encoding() -> None:
    lines = [SIMPLIFIED.encode("gb18030")] * 3 + [SIMPLIFIED.encode(), b"plain", TRADITIONAL.encode("big5")]
    found = decode(b"\n".join(lines))
    assert found.text.split("\n") == [SIMPLIFIED] * 4 + ["plain", TRADITIONAL]
    assert found.encoding == "mixed: gb18030, utf-8, big5"
    assert found.main == "gb18030"
    assert decode(SIMPLIFIED.encode()).main == "utf-8"


def test_one_utf8_line_in_a_gb18030_file_is_not_read_as_garbage() -> None:
    text = f"{SIMPLIFIED}\n" * 200
    found = decode(text.encode("gb18030") + SIMPLIFIED.encode())
    assert found.text == text + SIMPLIFIED
    assert found.encoding == "mixed: gb18030, utf-8"


def test_lines_that_no_encoding_fits_are_named_and_the_others_keep_their_numbers() -> None:
    broken = b"\xff\x81\xff\x81\xff\xfe\x81\xff"
    data = b"\n".join([SIMPLIFIED.encode(), broken, SIMPLIFIED.encode("gb18030"), SIMPLIFIED.encode()])
    found = decode_lines(data)
    assert found.text.split("\n") == [SIMPLIFIED, "", SIMPLIFIED, SIMPLIFIED]
    assert found.broken == ((2, broken),)
    with pytest.raises(ValueError, match=r"mixed encodings: line 2 of a file in utf-8, gb18030 cannot be decoded"):
        decode(data)


def test_a_file_that_is_cut_inside_a_character_loses_one_line() -> None:
    data = (f"{SIMPLIFIED}\n" * 5).encode()[:-2]
    found = decode_lines(data)
    assert found.text == f"{SIMPLIFIED}\n" * 4
    assert [number for number, _ in found.broken] == [5]
    assert found.encoding == "utf-8"


@given(
    st.lists(st.sampled_from([SIMPLIFIED, TRADITIONAL, "38.5 C", "发热，体温38.5℃，布洛芬 5 mg/kg。"]), min_size=1),
    st.data(),
)
def test_any_mixture_of_lines_is_read_back(lines: list[str], data: st.DataObject) -> None:
    encodings = [data.draw(st.sampled_from(["utf-8", "gb18030"])) for _ in lines]
    written = b"\n".join(line.encode(name) for line, name in zip(lines, encodings, strict=True))
    assert decode(written).text.split("\n") == lines


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


def _slowly_normalised(text: str) -> str:
    """What `normalise` promises, one replacement after the other."""
    text = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n")
    text = re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060\ufeff\ufffd]", "", text)
    text = re.sub("[\ue000-\uf8ff\U000f0000-\U0010ffff]", "", text)
    text = "".join(chr(ord(sign) - 0xFEE0) if re.match("[０-９Ａ-Ｚａ-ｚ％]", sign) else sign for sign in text)
    text = re.sub(r"(?<=\d)．(?=\d)", ".", text)
    text = re.sub("[ \t\u00a0\u3000\u2000-\u200a]+", " ", text)
    han = "[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff，。；：？！、（）《》【】“”‘’…—]"
    text = re.sub(rf"(?<={han}) +(?={han})", "", text)
    return re.sub(r" ?\n ?", "\n", text).strip()


@given(st.text(st.sampled_from("中文，。 \t\u3000\n\r１Ａ％．1a.\u200b\ue000\x01e\u0301é"), max_size=20))
@settings(max_examples=1000)
def test_normalise_equals_its_plain_form(text: str) -> None:
    assert normalise(text) == _slowly_normalised(text)
