"""Speech to text: where somebody speaks, and what a Whisper model understands, each word with its time and confidence.

Pauses are found first (Silero voice detection, which comes with faster-whisper). The model hears stretches of at most
28 seconds, cut at the longest pauses and decoded without its own time marks: with them it leaves out what follows a
pause. One thread and no sampling, so that a recording always gives the same transcript.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pediatricsgpt.errors import UserError, require_extra

RATE = 16_000
"""Samples per second of everything here"""
_LONGEST = 28.0  # the model hears 30 seconds at once
_PAUSE_MS, _PAD_MS = 150, 50
_MARGIN = 0.1
_MODEL_FILES = ("config.json", "model.bin", "tokenizer.json")
_LOOP = 2.4  # OpenAI's own threshold: a text that compresses better repeats itself
_NOT_HEARD = 1.0
_TAIL_WORDS, _TAIL_PROBABILITY = 4, 0.05

Samples = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, slots=True)
class Word:
    """A word or character as the model wrote it, with seconds from the start and its probability, 0 to 1."""

    text: str
    start: float
    end: float
    probability: float


@dataclass(slots=True)
class Piece:
    """A stretch of speech between two pauses, in seconds, and what was understood of it."""

    start: float
    end: float
    words: list[Word]

    @property
    def text(self) -> str:
        """Everything that was understood, as it was written."""
        return "".join(word.text for word in self.words)


@functools.cache
def load_model(folder: Path) -> Any:
    """The model of a folder, for the processor, in 8-bit numbers, with one thread.

    Raises:
        UserError: the folder is missing or holds no CTranslate2 Whisper model, or the extra `speech` is missing.
    """
    if not folder.is_dir():
        raise UserError("no such folder; speech_model names the folder of a CTranslate2 Whisper model", folder)
    missing = [name for name in _MODEL_FILES if not (folder / name).is_file()]
    if missing:
        raise UserError(f"not a CTranslate2 Whisper model: {', '.join(missing)} missing", folder)
    try:
        from faster_whisper import WhisperModel
    except ImportError as error:
        raise require_extra("speech", error) from error
    try:
        return WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True)
    except (RuntimeError, ValueError, OSError) as error:
        raise UserError(f"not a CTranslate2 Whisper model: {_first_line(error)}", folder) from error
    except Exception as error:  # the tokenizer's reader raises no narrower class
        if type(error) is not Exception:
            raise
        raise UserError(f"not a CTranslate2 Whisper model: {_first_line(error)}", folder) from error


def read_audio(path: Path) -> Samples:
    """The samples of an audio file: one channel, 16 kHz, -1 to 1.

    Raises:
        UserError: it is no audio file, is damaged or cut off; or the extra `speech` is missing.
    """
    try:
        import av
        from faster_whisper.audio import decode_audio
    except ImportError as error:
        raise require_extra("speech", error) from error
    try:
        with av.open(str(path), mode="r", metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise UserError("no audio in this file", path)
            promised = (container.duration or 0) / av.time_base
        samples: Samples = decode_audio(str(path), sampling_rate=RATE)
    except (av.FFmpegError, ValueError, TypeError) as error:
        raise UserError(f"not an audio file, or a damaged one: {_first_line(error)}", path) from error
    if len(samples) / RATE < 0.98 * promised - 0.5:
        found = f"{len(samples) / RATE:.1f} of {promised:.1f} s can be read"
        raise UserError(f"the audio file is damaged or cut off: {found}; replace it, or save what is there anew", path)
    return samples


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def find_speech(samples: Samples) -> list[Piece]:
    """Where somebody speaks: pieces between pauses of 0.15 s and more, without words yet; none in noise and silence.

    Raises:
        UserError: the extra `speech` is missing.
    """
    try:
        from faster_whisper.vad import VadOptions, get_speech_timestamps
    except ImportError as error:
        raise require_extra("speech", error) from error
    options = VadOptions(min_silence_duration_ms=_PAUSE_MS, speech_pad_ms=_PAD_MS, max_speech_duration_s=_LONGEST)
    found = get_speech_timestamps(samples, options)
    return [Piece(piece["start"] / RATE, piece["end"] / RATE, []) for piece in found]


def transcribe(model: Any, samples: Samples, pieces: Sequence[Piece]) -> None:
    """Fill in the words of every piece of speech."""
    for stretch in _stretches(pieces):
        _understand(model, samples, stretch)


def _stretches(pieces: Sequence[Piece]) -> list[Sequence[Piece]]:
    """Runs of pieces of at most 28 seconds, cut at the longest pauses."""
    waiting, done = [pieces], []
    while waiting:
        run = waiting.pop()
        if len(run) > 1 and run[-1].end - run[0].start > _LONGEST:
            waiting += reversed(_halves(run))
        elif run:
            done.append(run)
    return done


def _halves(pieces: Sequence[Piece]) -> tuple[Sequence[Piece], Sequence[Piece]]:
    """Cut at the longest pause; of equal ones nearest to the middle."""
    middle = (pieces[0].start + pieces[-1].end) / 2

    def merit(place: int) -> tuple[float, float]:
        before, after = pieces[place - 1], pieces[place]
        return round(after.start - before.end, 2), -abs((before.end + after.start) / 2 - middle)

    cut = max(range(1, len(pieces)), key=merit)
    return pieces[:cut], pieces[cut:]


def _understand(model: Any, samples: Samples, pieces: Sequence[Piece]) -> None:
    """Let the model hear a run of pieces; where it loops or leaves pieces out, the halves of the run each."""
    start = max(0.0, pieces[0].start - _MARGIN)
    heard = samples[int(start * RATE) : int((pieces[-1].end + _MARGIN) * RATE)]
    segments, _ = model.transcribe(
        heard,
        language="zh",
        temperature=0.0,
        word_timestamps=True,
        without_timestamps=True,
        condition_on_previous_text=False,
        no_speech_threshold=None,
        log_prob_threshold=None,
        compression_ratio_threshold=None,
    )
    segments = list(segments)
    for piece in pieces:
        piece.words.clear()
    for word in _without_tail([word for segment in segments for word in segment.words or ()]):
        where = Word(word.word.strip(), start + word.start, start + word.end, float(word.probability))
        _nearest(pieces, where).words.append(where)
    looped = any(segment.compression_ratio > _LOOP for segment in segments)
    silent = any(not piece.words and piece.end - piece.start > _NOT_HEARD for piece in pieces)
    if (looped or silent) and len(pieces) > 1:
        for half in _halves(pieces):
            _understand(model, samples, half)


def _without_tail(words: Sequence[Any]) -> Sequence[Any]:
    """Without what a model adds when it does not find the end (请注意): the last words from one of no probability."""
    for place in range(max(0, len(words) - _TAIL_WORDS), len(words)):
        if words[place].probability < _TAIL_PROBABILITY:
            return words[:place]
    return words


def _nearest(pieces: Sequence[Piece], word: Word) -> Piece:
    """The piece that a word overlaps most, or that is nearest to it."""

    def overlap(piece: Piece) -> tuple[float, float]:
        shared = min(piece.end, word.end) - max(piece.start, word.start)
        return shared, -abs(piece.start - word.start)

    return max(pieces, key=overlap)
