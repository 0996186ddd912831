"""Text is cut at sentence ends, and nothing is lost."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from pediatricsgpt.corpus.build.pieces import first_piece, pieces

TEXT = "潜伏期一般为1～7天，多为2～4天。主要以发热起病，体温可达39.5℃。\n部分患者症状轻微；少数重症！"


def test_pieces_end_at_sentence_ends() -> None:
    assert pieces(TEXT, 25) == [
        "潜伏期一般为1～7天，多为2～4天。",
        "主要以发热起病，体温可达39.5℃。",
        "部分患者症状轻微；少数重症！",
    ]
    assert first_piece(TEXT, 20) == "潜伏期一般为1～7天，多为2～4天。"
    assert pieces(TEXT, 1000) == [TEXT]
    assert pieces("", 10) == []
    assert first_piece("", 10) == ""


def test_a_long_sentence_is_cut_at_its_commas() -> None:
    sentence = "每次口服10.5毫克，每日三次，连用七天，饭后服用"
    assert pieces(sentence, 15) == ["每次口服10.5毫克，", "每日三次，连用七天，饭后服用"]


@given(st.text(alphabet="孩子发热，。！\n12.5", max_size=120), st.integers(min_value=3, max_value=40))
def test_nothing_is_lost_and_no_piece_is_too_long(text: str, limit: int) -> None:
    found = pieces(text, limit)
    assert re.sub(r"\s", "", "".join(found)) == re.sub(r"\s", "", text)
    assert all(0 < len(piece) <= limit for piece in found)
