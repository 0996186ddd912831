"""Who speaks: what is said and what a voice sounds like."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pediatricsgpt.corpus.sources.speakers import RATE, caregiver_odds, caregiver_speaks, voice


def hum(pitch: float, seconds: float, seed: int, tilt: float = 1.0) -> Any:
    """A voiced sound: harmonics of a pitch that wavers a little, with breath noise."""
    draw = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(pitch * (1 + 0.01 * np.sin(2 * np.pi * 3 * time))) / RATE
    tones = sum(np.sin(number * phase) / number**tilt for number in range(1, 12))
    return 0.1 * tones + 0.003 * draw.standard_normal(len(time))


@pytest.mark.parametrize("pitch", [95, 140, 220, 310])
def test_the_pitch_of_a_voice_is_found(pitch: float) -> None:
    frames = voice(hum(pitch, 0.5, 0))
    assert frames is not None
    assert frames.shape[1] == 13
    assert 2 ** np.median(frames[:, 0]) == pytest.approx(pitch, rel=0.03)


def test_silence_and_noise_have_no_voice() -> None:
    assert voice(np.zeros(RATE)) is None
    assert voice(np.zeros(10)) is None
    frames = voice(0.1 * np.random.default_rng(0).standard_normal(RATE))
    assert frames is None or len(frames) < 5


@pytest.mark.parametrize("text", ["医生您好，我家孩子三岁", "宝宝一直哭，怎么办", "我女儿昨天发烧了"])
def test_what_a_caregiver_says(text: str) -> None:
    assert caregiver_odds(text) > 1


@pytest.mark.parametrize("text", ["有没有呕吐", "建议您带孩子到医院复查", "注意多喝水，必要时口服布洛芬"])
def test_what_a_doctor_says(text: str) -> None:
    assert caregiver_odds(text) < -1


def test_voices_decide_what_words_leave_open() -> None:
    said = [
        ("医生您好，我家孩子发烧了怎么办", True),
        ("三十九度", True),
        ("有没有呕吐", False),
        ("三天了", True),
        ("三天", False),
        ("建议您带孩子到医院复查血常规", False),
    ]
    pieces = [hum(150 if mine else 260, 1.0, place, 1.0 if mine else 1.6) for place, (_, mine) in enumerate(said)]
    found = caregiver_speaks(pieces, [text for text, _ in said], [0.0, *[0.4] * 5])
    assert found == [mine for _, mine in said]
    assert found == caregiver_speaks(pieces, [text for text, _ in said], [0.0, *[0.4] * 5])


def test_one_piece_and_none_are_told_by_words() -> None:
    assert caregiver_speaks([], [], []) == []
    assert caregiver_speaks([np.zeros(RATE)], ["有没有呕吐"], [0.0]) == [False]
    assert caregiver_speaks([np.zeros(RATE)] * 2, ["我家孩子发烧", "有没有呕吐"], [0.0, 1.0]) == [True, False]
