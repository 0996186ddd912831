"""Recordings: speech becomes a dialogue whose every turn can be found again by its seconds."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks import recordings
from pydantic import ValidationError

from pediatricsgpt.corpus.settings import SourceSettings
from pediatricsgpt.corpus.sources.recording import MIN_CONFIDENCE, REVIEW_CONFIDENCE, Turn, listen, write_down
from pediatricsgpt.corpus.sources.speech import RATE, Piece, Word, _stretches, find_speech, load_model, read_audio
from pediatricsgpt.errors import UserError

Read = Callable[..., Any]
NAMED = {"name": "source", "kind": "recording", "path": "a.wav"}
GROUNDS = {"licence": "CC0", "consent": "no personal data", "purpose": "testing"}


@pytest.fixture(scope="session")
def model_folder(shared: Path) -> Path:
    """A Whisper model, made once on this machine."""
    folder = Path(tempfile.gettempdir()) / "pediatricsgpt-speech-model"
    if not (folder / "model.bin").is_file():
        with tempfile.TemporaryDirectory(dir=folder.parent) as made:
            out = Path(made) / "model"
            subprocess.run([sys.executable, str(shared / "tools" / "speech_model.py"), str(out)], check=True)
            os.replace(out, folder)  # noqa: PTH105
    return folder


def write_wave(path: Path, samples: Any) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def converted(path: Path, out: Path, codec: str) -> Path:
    """The same sound in another format."""
    import av

    with av.open(str(path)) as source, av.open(str(out), "w") as target:
        stream = target.add_stream(codec, rate=RATE, layout="mono")
        for frame in source.decode(audio=0):
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return out


def spoken(text: str, start: float, probability: float = 0.9, pace: float = 0.2) -> Piece:
    words = [
        Word(character, start + pace * place, start + pace * (place + 1), probability)
        for place, character in enumerate(text)
    ]
    return Piece(start, start + pace * len(text), words)


def test_a_recording_needs_a_model() -> None:
    with pytest.raises(ValidationError, match="kind recording needs it: the folder of a CTranslate2 Whisper model"):
        SourceSettings.model_validate({**NAMED, **GROUNDS})
    assert SourceSettings.model_validate({**NAMED, **GROUNDS, "kind": "conversation"}).speech_model is None


def test_a_missing_model_folder_is_named(read: Read, tmp_path: Path) -> None:
    path = write_wave(tmp_path / "a.wav", np.zeros(RATE))
    with pytest.raises(UserError, match="gone: no such folder") as error:
        read(path, "recording", speech_model="gone")
    assert "\n" not in str(error.value)


def test_a_folder_that_is_no_model_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"not a CTranslate2 Whisper model: model\.bin, tokenizer\.json missing"):
        load_model(tmp_path)


def test_files_that_only_look_like_a_model_are_refused(tmp_path: Path) -> None:
    for name in ("config.json", "model.bin", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(UserError, match="not a CTranslate2 Whisper model") as error:
        load_model(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"no sound at all " * 100, b"RIFF\x00\x00\x00\x00WAVE"])
def test_what_is_no_audio_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.wav: (not an audio file|no audio|the audio file is damaged)") as error:
        read_audio(path)
    assert "\n" not in str(error.value)


def test_audio_is_read_at_sixteen_thousand_samples_a_second(tmp_path: Path) -> None:
    samples = 0.5 * np.sin(2 * np.pi * 220 * np.arange(RATE) / RATE)
    assert np.abs(read_audio(write_wave(tmp_path / "a.wav", samples)) - samples).max() < 1e-3


@pytest.mark.parametrize("level", [0.0, 0.02])
def test_silence_and_noise_are_no_speech_and_need_no_model(level: float) -> None:
    noise = (level * np.random.default_rng(0).standard_normal(5 * RATE)).astype(np.float32)
    assert find_speech(noise) == []
    assert listen(None, noise) == []


def test_long_speech_is_cut_at_its_longest_pauses() -> None:
    pieces = [Piece(start, start + 9.0, []) for start in (0.0, 9.2, 19.5, 28.8, 40.0)]
    runs = _stretches(pieces)
    assert [piece for run in runs for piece in run] == pieces
    assert [[piece.start for piece in run] for run in runs] == [[0.0, 9.2], [19.5, 28.8], [40.0]]
    assert all(run[-1].end - run[0].start <= 28 for run in runs)


def test_turns_are_in_simplified_characters_and_keep_times_and_confidence() -> None:
    pieces = [spoken("寶寶發燒", 1.0, 0.9), spoken("有黃膽", 2.5, 0.5)]
    (turn,) = write_down([("user", pieces)], recordings.load_lexicon())
    assert (turn.role, turn.start, turn.end) == ("user", 1.0, pytest.approx(3.1))
    assert turn.text == "宝宝发烧，有黄疸。"
    assert turn.corrections == ["黄胆->黄疸 at 2.7"]
    assert turn.confidence == pytest.approx((4 * 0.9 + 0.5 + 3 * 0.5) / 8, abs=0.06)
    assert turn.review


def test_without_a_lexicon_the_words_stay_as_heard() -> None:
    (turn,) = write_down([("user", [spoken("有黄胆", 0.0, 0.5)])], None)
    assert (turn.text, turn.corrections) == ("有黄胆。", [])


def test_unsure_turns_are_marked() -> None:
    sure, unsure = (Turn("assistant", 1.04, 2.0, "", chance, []) for chance in (REVIEW_CONFIDENCE, 0.5))
    assert str(sure) == "医生 1.0-2.0 (0.80)"
    assert str(unsure) == "医生 1.0-2.0 (0.50, review)"
    assert MIN_CONFIDENCE < REVIEW_CONFIDENCE


@pytest.mark.check
def test_a_recording_without_speech_is_a_reject(read: Read, tmp_path: Path, shared: Path, model_folder: Path) -> None:
    folder = tmp_path / "audio"
    folder.mkdir()
    write_wave(folder / "a.wav", 0.01 * np.random.default_rng(0).standard_normal(8 * RATE))
    (folder / "b.wav").write_bytes((shared / "data" / "audio" / "consult_jaundice_02.wav").read_bytes())
    records, rejects = read(folder, "recording", speech_model=str(model_folder))
    assert len(records) == 1
    assert [reject.reason for reject in rejects] == [
        "no speech: nobody speaks in the 8.0 s of this recording, or nothing was understood"
    ]
    assert rejects[0].where == "audio/a.wav"


@pytest.mark.check
def test_a_single_speaker_is_no_dialogue(read: Read, tmp_path: Path, shared: Path, model_folder: Path) -> None:
    folder = tmp_path / "audio"
    folder.mkdir()
    for name in ("consult_jaundice_02.wav", "chinese.flac"):
        (folder / name).write_bytes((shared / "data" / "audio" / name).read_bytes())
    records, rejects = read(folder, "recording", speech_model=str(model_folder))
    assert len(records) == 1
    assert [reject.where for reject in rejects] == ["audio/chinese.flac"]
    assert rejects[0].reason.startswith(("one speaker: ", "low confidence: "))


@pytest.mark.check
def test_a_consultation_becomes_a_dialogue_that_can_be_traced(
    read: Read, tmp_path: Path, shared: Path, model_folder: Path
) -> None:
    original = shared / "data" / "audio" / "consult_fever_01.wav"
    (tmp_path / "wav").mkdir()
    path = tmp_path / "wav" / "a.wav"
    path.write_bytes(original.read_bytes())
    (record,), rejects = read(path, "recording", speech_model=str(model_folder))
    assert not rejects
    assert [message["role"] for message in record.messages] == ["user", "assistant", "user", "assistant"]
    assert "拉肚子" in record.messages[2]["content"]
    assert "对乙酰氨基酚" in record.messages[3]["content"]
    assert record.family == "conversation"
    assert record.group.startswith("recording:")
    assert [step.name for step in record.steps][:3] == ["read", "transcribe", "lexicon"]
    locator = record.source.locator
    assert locator.seconds == pytest.approx(0.0, abs=0.3)
    assert locator.section is not None
    turns, _, changes = locator.section.partition(" | ")
    assert [turn.split()[0] for turn in turns.split("; ")] == ["家长", "医生", "家长", "医生"]
    starts = [float(turn.split()[1].split("-")[0]) for turn in turns.split("; ")]
    assert starts == pytest.approx([0.0, 8.43, 14.39, 19.28], abs=0.5)
    assert "->血常规 at " in changes
    # The same sound without loss gives the same words; again and in another format.
    (again,), _ = read(converted(path, tmp_path / "a.flac", "flac"), "recording", speech_model=str(model_folder))
    assert again.messages == record.messages
    assert again.source.locator == locator
    (third,), _ = read(converted(path, tmp_path / "a.mp3", "libmp3lame"), "recording", speech_model=str(model_folder))
    assert [message["role"] for message in third.messages] == ["user", "assistant", "user", "assistant"]


@pytest.mark.check
def test_an_audio_file_that_was_cut_off_is_refused(tmp_path: Path, shared: Path) -> None:
    whole = converted(shared / "data" / "audio" / "consult_fever_01.wav", tmp_path / "whole.flac", "flac").read_bytes()
    cut = tmp_path / "cut.flac"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"cut\.flac: (the audio file is damaged or cut off|not an audio file)"):
        read_audio(cut)


@pytest.mark.check
def test_the_measured_quality_on_the_reference_consultations_holds(shared: Path, model_folder: Path) -> None:
    figures = recordings.speech(model_folder, shared / "data" / "audio")
    before, after = figures["before"], figures["after"]
    assert after["n"]["characters"] == 284
    assert after["character_error_rate"] <= 0.08 < before["character_error_rate"]
    assert after["term_error_rate"] <= 0.23
    assert after["term_error_rate"] < before["term_error_rate"]
    assert after["speaker_attribution"] >= 0.97
