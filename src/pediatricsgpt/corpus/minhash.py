"""MinHash signatures of sets of n-grams, and their bands.

Two sets of n-grams with Jaccard similarity J agree in each of 128 minima with probability J (Broder 1997), and in one
of 32 bands of 4 with J^4. Rows that agree in a band are candidates; those that agree in too few bands for the wanted
similarity are passed over, the others are compared set by set. So nothing below the threshold is ever reported, and at
0.8 about one pair in 80,000 is missed. Importing this module loads numba: do it inside functions.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from pediatricsgpt.corpus.shingles import compiled, gram_hashes, mix, sort_unique

BANDS = 32
ROWS = 4
MIN_THRESHOLD = 0.7
"""Below this similarity, 32 bands of 4 would miss more than one pair in 5,000"""
_MISSED = 2e-5

_numbers = np.random.default_rng(20_230_824).integers(0, 2**32, (2, BANDS * ROWS), np.uint32)
_FACTORS, _SUMMANDS = _numbers[0] | np.uint32(1), _numbers[1]


def enough_bands(threshold: float) -> int:
    """In how many bands two rows must agree to be compared: as many as all but 1 in 50,000 similar pairs do."""
    equal = threshold**ROWS
    missed = 0.0
    for agreeing in range(BANDS):
        missed += math.comb(BANDS, agreeing) * equal**agreeing * (1 - equal) ** (BANDS - agreeing)
        if missed > _MISSED:
            return max(agreeing, 1)
    return BANDS


@compiled("void(uint32[::1], uint64, uint32[::1], uint32[::1], uint32[::1])")
def sign(grams: Any, scope: Any, factors: Any, summands: Any, bands: Any) -> None:
    """Write the bands of a set of hashed n-grams; sets of different scope agree in none."""
    minima = np.full(128, np.uint32(0xFFFFFFFF), np.uint32)
    fours = len(grams) // 4 * 4
    for start in range(0, fours, 4):  # four at a time: the minima are loaded and stored a fourth as often
        first, second, third, fourth = grams[start], grams[start + 1], grams[start + 2], grams[start + 3]
        for place in range(128):
            factor, summand = factors[place], summands[place]
            one = min(np.uint32(factor * first + summand), np.uint32(factor * second + summand))
            other = min(np.uint32(factor * third + summand), np.uint32(factor * fourth + summand))
            minima[place] = min(minima[place], min(one, other))
    for gram in grams[fours:]:
        for place in range(128):
            minima[place] = min(minima[place], np.uint32(factors[place] * gram + summands[place]))
    for band in range(32):
        value = mix(scope + np.uint64(band))
        for row in range(4):
            value = mix(value ^ np.uint64(minima[4 * band + row]))
        bands[band] = np.uint32(value >> np.uint64(32))


@compiled(
    "int64(uint32[::1], int64[::1], uint64[::1], int64, int64, uint32[::1], uint32[::1], uint32[:,::1], uint32[::1],"
    " int64[::1])"
)
def _sets(
    points: Any,
    ends: Any,
    scopes: Any,
    length: Any,
    shortest: Any,
    factors: Any,
    summands: Any,
    bands: Any,
    out: Any,
    out_ends: Any,
) -> Any:
    longest = 0
    for text in range(len(ends) - 1):
        longest = max(longest, ends[text + 1] - ends[text])
    hashes = np.empty(longest, np.uint32)
    places = np.empty(2 * longest + 4, np.int64)
    written = 0
    for text in range(len(ends) - 1):
        if ends[text + 1] - ends[text] >= shortest:
            count = gram_hashes(points[ends[text] : ends[text + 1]], length, hashes)
            distinct = sort_unique(hashes, count, out[written:], places)
            sign(out[written : written + distinct], scopes[text], factors, summands, bands[text])
            written += distinct
        out_ends[text + 1] = written
    return written


def gram_sets(
    points: npt.NDArray[np.uint32],
    ends: npt.NDArray[np.int64],
    scopes: npt.NDArray[np.uint64],
    length: int,
    shortest: int,
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64], npt.NDArray[np.uint32]]:
    """The sets of hashed n-grams of many texts, and their bands.

    Args:
        points: the code points of all texts; text `i` is `points[ends[i] : ends[i + 1]]`.
        ends: int64 [n + 1].
        scopes: uint64 [n]; only texts of equal scope can be candidates of each other.
        length: n of the n-grams, in characters.
        shortest: texts with fewer characters get an empty set.

    Returns:
        grams: uint32, the sets behind each other, each distinct and rising; gram_ends: int64 [n + 1]; bands: uint32
        [n, 32].
    """
    count = len(ends) - 1
    grams, gram_ends = np.empty(len(points), np.uint32), np.zeros(count + 1, np.int64)
    bands = np.zeros((count, BANDS), np.uint32)
    shortest = max(shortest, length)
    written = _sets(points, ends, scopes, length, shortest, _FACTORS, _SUMMANDS, bands, grams, gram_ends)
    return grams[:written], gram_ends, bands
