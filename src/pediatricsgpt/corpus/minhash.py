"""MinHash signatures, their bands, and the search for near-duplicates that checks every candidate exactly.

Two sets of n-grams with Jaccard similarity J agree in each of 128 minima with probability J (Broder 1997), and in one
of 32 bands of 4 with J^4. Rows that agree in a band are candidates; those that agree in too few bands for the wanted
similarity are passed over, the others are compared set by set. So nothing below the threshold is ever reported, and at
0.8 about one pair in 80,000 is missed. Importing this module loads numba: do it inside functions.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from numba.core import types
from numba.extending import intrinsic

from pediatricsgpt.corpus.shingles import compiled, gram_hashes, jaccard, mix, sort_unique

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
    for gram in grams:
        for place in range(128):
            value = np.uint32(factors[place] * gram + summands[place])
            if value < minima[place]:
                minima[place] = value
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


# -- the search --------------------------------------------------------------------------------------------------------


@intrinsic  # type: ignore[untyped-decorator]
def _pointer(_typing: Any, _address: Any) -> Any:
    """A number as the address of 32-bit numbers: sets stay in the memory-mapped files and only candidates are read."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.inttoptr(values[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.uint32)(types.uint64), generate  # type: ignore[attr-defined]


@compiled("float64(uint64[::1], int64[::1], int64, int64)")
def _similarity(addresses: Any, sizes: Any, one: Any, other: Any) -> Any:
    left = numba.carray(_pointer(addresses[one]), sizes[one])
    right = numba.carray(_pointer(addresses[other]), sizes[other])
    return jaccard(left, right)


@compiled("boolean(uint32[:,::1], int64[::1], int64, int64, float64, int64, int64)")
def _promising(bands: Any, sizes: Any, one: Any, other: Any, threshold: Any, enough: Any, band: Any) -> Any:
    """Whether two rows may be similar enough; false also where an earlier band than `band` has shown them already."""
    small, large = min(sizes[one], sizes[other]), max(sizes[one], sizes[other])
    if small < threshold * large:
        return False
    agreeing = 0
    for each in range(32):
        if bands[one, each] == bands[other, each]:
            if each < band:
                return False
            agreeing += 1
    return agreeing >= enough


@compiled(
    "void(int64[::1], uint32[:,::1], uint64[::1], uint64[::1], int64[::1], float64, int64, int64[::1], float32[::1])"
)
def lead(
    order: Any,
    bands: Any,
    kinds: Any,
    addresses: Any,
    sizes: Any,
    threshold: Any,
    enough: Any,
    leader: Any,
    similarity: Any,
) -> None:
    """Give each row that resembles an earlier one without a leader the first such row as its leader.

    Earlier means in `order`. Rows are compared only with rows of the same kind that have no leader themselves: a row is
    therefore similar to its leader, not to something that is similar to something. Of the rows that agree in one band
    the latest 2,000 are looked at, so that a template in very many rows costs linear time; true near-duplicates agree
    in many bands. Writes `leader` (-1: none) and `similarity`.
    """
    slots = max(len(order), 1)
    heads = np.full((32, slots), np.int32(-1), np.int32)
    older = np.empty((len(order), 32), np.int32)
    for place in range(len(order)):
        row = order[place]
        found, best = np.int64(-1), 0.0
        for band in range(32):
            slot = (mix(kinds[row] ^ np.uint64(bands[row, band])) >> np.uint64(32)) * np.uint64(slots) >> np.uint64(32)
            other_place = np.int64(heads[band, slot])
            looked = 0
            while other_place >= 0 and looked < 2000:
                looked += 1
                other = order[other_place]
                if (
                    (found < 0 or other_place < found)
                    and bands[other, band] == bands[row, band]
                    and kinds[other] == kinds[row]
                    and _promising(bands, sizes, row, other, threshold, enough, band)
                ):
                    similar = _similarity(addresses, sizes, row, other)
                    if similar >= threshold:
                        found, best = other_place, similar
                other_place = np.int64(older[other_place, band])
        if found >= 0:
            leader[row], similarity[row] = order[found], best
            continue
        for band in range(32):
            slot = (mix(kinds[row] ^ np.uint64(bands[row, band])) >> np.uint64(32)) * np.uint64(slots) >> np.uint64(32)
            older[place, band] = heads[band, slot]
            heads[band, slot] = place


@compiled("int64(int32[::1], int64)")
def find(parents: Any, name: Any) -> Any:
    """The representative of a group in a union-find: the smallest number that was joined."""
    root = name
    while parents[root] != root:
        root = np.int64(parents[root])
    while parents[name] != root:
        parents[name], name = root, np.int64(parents[name])
    return root


@compiled("void(int32[::1], int64, int64)")
def join(parents: Any, one: Any, other: Any) -> None:
    """Make one group of two."""
    one, other = find(parents, one), find(parents, other)
    parents[max(one, other)] = min(one, other)


@compiled("void(int32[::1], int32[::1], int32[::1])")
def join_all(parents: Any, ones: Any, others: Any) -> None:
    """Join groups pair by pair."""
    for pair in range(len(ones)):
        join(parents, np.int64(ones[pair]), np.int64(others[pair]))


@compiled(
    "void(int64[::1], int64, uint32[:,::1], uint64[::1], int64[::1], float64, int64, int64, int32[::1], int32[::1],"
    " int64[::1])"
)
def join_similar(
    rows: Any,
    band: Any,
    bands: Any,
    addresses: Any,
    sizes: Any,
    threshold: Any,
    enough: Any,
    window: Any,
    groups: Any,
    parents: Any,
    variant_of: Any,
) -> None:
    """Join the groups of similar rows that agree in one band, and note of each one earlier row that it resembles.

    Args:
        rows: int64, sorted by their value of `band`, then by number.
        band: which of the 32.
        bands: uint32 [n, 32].
        addresses: where the n-grams of each row stand.
        sizes: how many they are.
        threshold: least Jaccard similarity.
        enough: in how many bands rows have to agree to be compared.
        window: how many of the rows before it that agree a row is compared with, so that a template in very many rows
            costs linear time; groups are joined over chains, so that few rows suffice.
        groups: the group of each row, a place in `parents`.
        parents: the union-find of groups; is changed.
        variant_of: int64 [n], -1 where nothing was found yet; is changed.
    """
    for place in range(1, len(rows)):
        row = rows[place]
        before = place - 1
        while before >= 0 and before >= place - window and bands[rows[before], band] == bands[row, band]:
            other = rows[before]
            before -= 1
            one, another = np.int64(groups[row]), np.int64(groups[other])
            if variant_of[row] >= 0 and find(parents, one) == find(parents, another):
                continue
            if not _promising(bands, sizes, row, other, threshold, enough, 0):
                continue
            if _similarity(addresses, sizes, row, other) >= threshold:
                join(parents, one, another)
                if variant_of[row] < 0:
                    variant_of[row] = other
