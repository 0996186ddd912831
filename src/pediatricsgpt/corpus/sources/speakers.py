"""Who speaks when: doctor and caregiver, by voice and by what is said together.

A recording of a consultation has two speakers, and often two similar voices. Neither voice nor words decide a single
piece of speech, so both are joined: words give a first guess of who speaks (a table that was learned from real
consultations, `rules/roles.yaml`); the guesses give a model of each voice; the voices correct the guesses, a few times
over; and the most probable sequence is taken, in which a speaker rather changes after a long pause.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pediatricsgpt.corpus.rules import pattern, rules

Array = np.ndarray[Any, np.dtype[np.float64]]

RATE = 16_000
"""Samples per second of everything here"""
_FRAME, _HOP, _SPECTRUM = 1024, 160, 512
_PITCH = (70, 500)
"""Hertz: low men's to high women's voices"""
_PERIODIC = 0.6
_BANDS, _COEFFICIENTS = 26, 12
_CLAUSE_END = re.compile(r"[，。！？；：、,.!?;:\s]+")
_FIRST = 3  # the first cepstral coefficients tell vowels rather than voices
_FEATURES = 1 + _COEFFICIENTS - _FIRST + 1
_MAX_WORDS = 3.0
"""How much (log odds) the words of one piece may say: they are often wrong"""
_VOICE_SHARE = 0.15
"""Features depend on each other and on what is said: share of the voice's log odds that counts"""
_MAX_VOICE = 6.0
_ENOUGH = 60
"""Voiced frames (0.6 s) from which on a piece counts in full"""
_LEAST_SHARE = 0.08
_ROUNDS = 12
_MOST_CUTS = 18
_STAY, _PAUSE_WEIGHT, _USUAL_PAUSE = 1.6, 5.0, 0.35
"""Log odds against a change of speaker at a usual pause (seconds), and how much a longer one speaks for it"""


def clauses(text: str) -> list[str]:
    """The clauses of a text of two characters and more, without punctuation."""
    return [part for part in _CLAUSE_END.split(text) if len(part) > 1]


def grams(clause: str) -> set[str]:
    """The character n-grams (1 to 3) of a clause, its ends marked."""
    marked = f"^{clause}$"
    return {marked[start : start + size] for size in (1, 2, 3) for start in range(len(marked) - size + 1)}


@functools.cache
def _weights() -> tuple[dict[str, float], float]:
    table = rules("roles")
    weights = {gram: int(weight) / 100 for weight, line in table["weights"].items() for gram in line.split()}
    return weights, table["bias"] / 100


def caregiver_odds(text: str) -> float:
    """How much rather a caregiver says this than a doctor: log odds, the sum over its clauses; 0 for nothing."""
    weights, bias = _weights()
    return sum(
        bias + sum(weights.get(gram, 0.0) for gram in sorted(grams(clause))) + _form(clause) for clause in clauses(text)
    )


def _form(clause: str) -> float:
    """What the form of a clause says: a doctor asks 有没有呕吐, a caregiver 怎么办."""
    weight: float = rules("role_phrases")["weight"]
    sides = [pattern("role_phrases", role).search(clause) is not None for role in ("caregiver", "doctor")]
    return weight * (sides[0] - sides[1])


def voice(samples: Array) -> Array | None:
    """What a voice sounds like, a row for each voiced frame: log pitch (octaves) and cepstral coefficients.

    Args:
        samples: shape [samples], 16 kHz, -1 to 1.

    Returns:
        Shape [frames, 13], or None where nothing is voiced.
    """
    if len(samples) < _FRAME:
        return None
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), _FRAME)[::_HOP]
    frames = frames - frames.mean(axis=1, keepdims=True)
    power = (frames**2).mean(axis=1)
    spectrum = np.fft.rfft(frames, 2 * _FRAME, axis=1)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2, axis=1)[:, : _FRAME // 2]
    correlation /= correlation[:, :1] + 1e-12
    shortest, longest = RATE // _PITCH[1], RATE // _PITCH[0]
    period = shortest + np.argmax(correlation[:, shortest:longest], axis=1)
    periodic = correlation[np.arange(len(frames)), period]
    voiced = (periodic > _PERIODIC) & (power > 0.05 * np.percentile(power, 95)) & (power > 1e-7)
    if not voiced.any():
        return None
    middle = frames[voiced][:, (_FRAME - _SPECTRUM) // 2 : (_FRAME + _SPECTRUM) // 2]
    energy = np.abs(np.fft.rfft(middle * np.hanning(_SPECTRUM), axis=1)) ** 2 @ _mel_filters().T
    cepstrum = np.log(energy + 1e-8) @ _cosines().T / _BANDS
    return np.column_stack([np.log2(RATE / period[voiced]), cepstrum])


@functools.cache
def _mel_filters() -> Array:
    """Triangular filters of equal width in mel, shape [bands, frequencies]."""
    edges = 700 * (10 ** (np.linspace(_mel(60), _mel(7600), _BANDS + 2) / 2595) - 1)
    frequencies = np.fft.rfftfreq(_SPECTRUM, 1 / RATE)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rise, fall = (frequencies - low) / (middle - low), (high - frequencies) / (high - middle)
    filters: Array = np.clip(np.minimum(rise, fall), 0, None)
    return filters


def _mel(frequency: float) -> float:
    return float(2595 * np.log10(1 + frequency / 700))


@functools.cache
def _cosines() -> Array:
    return np.cos(np.pi * np.outer(np.arange(1, _COEFFICIENTS + 1), np.arange(_BANDS) + 0.5) / _BANDS)


def caregiver_speaks(pieces: Sequence[Array], texts: Sequence[str], pauses: Sequence[float]) -> list[bool]:
    """Whether the caregiver (True) or the doctor speaks each piece of speech.

    Args:
        pieces: samples of each piece, 16 kHz.
        texts: what was understood of each, in simplified characters.
        pauses: seconds of silence before each; that of the first counts for nothing.
    """
    words = np.clip([caregiver_odds(text) for text in texts], -_MAX_WORDS, _MAX_WORDS)
    if len(pieces) < 2:
        return [bool(value > 0) for value in words]
    voices = _Voices.of([voice(samples) for samples in pieces])
    # Expectation maximisation finds the nearest optimum, so that it starts from many places; the best one wins.
    found = [_settle(words, voices, pauses, start) for start in _starts(words)]
    merits = [round(merit, 9) for _, merit in found]
    return [bool(value) for value in found[merits.index(max(merits))][0]]


@dataclass(frozen=True, slots=True)
class _Voices:
    """What each piece sounds like: `means` [pieces, features], standardised, and its number of voiced `frames`."""

    means: Array
    frames: Array

    @classmethod
    def of(cls, voices: Sequence[Array | None]) -> _Voices:
        voiced = [frames for frames in voices if frames is not None]
        means = np.zeros((len(voices), _FEATURES))
        if voiced:
            known = np.array([np.concatenate([[np.median(frames[:, 0])], frames[:, _FIRST:].mean(axis=0)])
                              for frames in voiced])  # fmt: skip
            means[[frames is not None for frames in voices]] = (known - known.mean(axis=0)) / (known.std(axis=0) + 1e-6)
        return cls(means, np.array([0 if frames is None else len(frames) for frames in voices], dtype=np.float64))

    def models(self, share: Array) -> tuple[list[Array], Array] | None:
        """Centres of the two voices and their common variance; None where one of them has next to nothing."""
        sides = [self.frames * share, self.frames * (1 - share)]
        if min(side.sum() for side in sides) <= _LEAST_SHARE * self.frames.sum():
            return None
        centres = [side @ self.means / side.sum() for side in sides]
        squares = [side @ (self.means - centre) ** 2 for side, centre in zip(sides, centres, strict=True)]
        return centres, (squares[0] + squares[1]) / self.frames.sum() + 0.05

    def odds(self, share: Array) -> Array:
        """Log odds of the caregiver's voice at each piece, short pieces counting less."""
        models = self.models(share)
        if models is None:
            return np.zeros(len(self.frames))
        centres, variance = models
        distance = [((self.means - centre) ** 2 / variance).sum(axis=1) / 2 for centre in centres]
        weight = _VOICE_SHARE * np.minimum(1, self.frames / _ENOUGH)
        odds: Array = np.clip(weight * (distance[1] - distance[0]), -_MAX_VOICE, _MAX_VOICE)
        return odds


def _starts(words: Array) -> list[Array]:
    """First guesses: what the words say, and every run of pieces as the other speaker's (long recordings: coarser)."""
    places = np.unique(np.linspace(0, len(words), min(len(words), _MOST_CUTS) + 1).astype(int))
    starts = [1 / (1 + np.exp(-words))]
    for number, first in enumerate(places[:-1]):
        for last in places[number + 1 :]:
            guess = np.full(len(words), 0.85)
            guess[first:last] = 0.15
            starts += [guess, 1 - guess]
    return starts


def _settle(words: Array, voices: _Voices, pauses: Sequence[float], share: Array) -> tuple[Array, float]:
    """The sequence that is found from a first guess, and its merit: log likelihood of words, changes and voices."""
    odds = words
    for _ in range(_ROUNDS):
        odds = words + voices.odds(share)
        share = _posterior(odds, pauses)
    caregiver = _viterbi(odds, pauses)
    change = _change(pauses)[1:]
    moved = caregiver[1:] != caregiver[:-1]
    merit = float(-np.logaddexp(0, np.where(moved, -change, change)).sum())
    merit -= float(np.logaddexp(0, np.where(caregiver, -words, words)).sum())
    models = voices.models(caregiver.astype(np.float64))
    spread = np.ones(_FEATURES) if models is None else models[1]
    merit -= _VOICE_SHARE * len(words) * float(np.log(spread).sum()) / 2
    return caregiver, merit


def _change(pauses: Sequence[float]) -> Array:
    """Log odds of a change of speaker before each piece."""
    return _PAUSE_WEIGHT * (np.asarray(pauses, dtype=np.float64) - _USUAL_PAUSE).clip(-0.4, 1.0) - _STAY


def _posterior(odds: Array, pauses: Sequence[float]) -> Array:
    """Probability of the caregiver at each piece (forward-backward over the chain)."""
    change = 1 / (1 + np.exp(-_change(pauses)))
    emission = np.stack([1 / (1 + np.exp(-odds)), 1 / (1 + np.exp(odds))], axis=1)
    forward, backward = emission.copy(), np.ones_like(emission)
    for place in range(1, len(odds)):
        moved = forward[place - 1] * (1 - change[place]) + forward[place - 1][::-1] * change[place]
        forward[place] = moved * emission[place] / (moved * emission[place]).sum()
    for place in range(len(odds) - 2, -1, -1):
        after = backward[place + 1] * emission[place + 1]
        moved = after * (1 - change[place + 1]) + after[::-1] * change[place + 1]
        backward[place] = moved / moved.sum()
    both = forward * backward
    share: Array = both[:, 0] / both.sum(axis=1)
    return share


def _viterbi(odds: Array, pauses: Sequence[float]) -> Array:
    """The most probable sequence: True where the caregiver speaks."""
    change = _change(pauses)
    stay, move = -np.logaddexp(0, change), -np.logaddexp(0, -change)
    emission = np.stack([-np.logaddexp(0, -odds), -np.logaddexp(0, odds)], axis=1)
    best, back = emission[0], []
    for place in range(1, len(odds)):
        paths = np.array(
            [[best[0] + stay[place], best[1] + move[place]], [best[0] + move[place], best[1] + stay[place]]]
        )
        back.append(paths.argmax(axis=1))
        best = paths.max(axis=1) + emission[place]
    states = [int(best.argmax())]
    for step in reversed(back):
        states.append(int(step[states[-1]]))
    caregiver: Array = np.array(states[::-1]) == 0
    return caregiver
