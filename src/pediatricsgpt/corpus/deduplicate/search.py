"""The search for near-duplicates among rows with equal bands: every candidate is checked exactly, set by set.

Importing this module loads numba: do it inside functions.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic

from pediatricsgpt.corpus.shingles import compiled, jaccard_from, mix


@intrinsic  # type: ignore[untyped-decorator]
def _pointer(_typing: Any, _address: Any) -> Any:
    """A number as the address of 32-bit numbers: sets stay in the memory-mapped files and only candidates are read."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.inttoptr(values[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.uint32)(types.uint64), generate  # type: ignore[attr-defined]


@compiled("float64(uint64[::1], int64[::1], int64, int64, float64)")
def _similarity(addresses: Any, sizes: Any, one: Any, other: Any, threshold: Any) -> Any:
    """The Jaccard similarity of two rows where it reaches the threshold, else anything below."""
    left = numba.carray(_pointer(addresses[one]), sizes[one])
    right = numba.carray(_pointer(addresses[other]), sizes[other])
    return jaccard_from(left, right, threshold)


@compiled("boolean(uint32[:,::1], int64[::1], int64, int64, float64, int64, int64)")
def _promising(bands: Any, sizes: Any, one: Any, other: Any, threshold: Any, enough: Any, band: Any) -> Any:
    """Whether two rows may be similar enough; false also where an earlier band than `band` has shown them already."""
    small, large = min(sizes[one], sizes[other]), max(sizes[one], sizes[other])
    if small < threshold * large:
        return False
    agreeing, earlier = 0, 0
    for each in range(32):
        same = bands[one, each] == bands[other, each]
        agreeing += same
        earlier += same and each < band
    return agreeing >= enough and earlier == 0


@compiled("uint64(uint64, uint32, int64, int64)", inline=True)
def _slot(kind: Any, value: Any, band: Any, bits: Any) -> Any:
    """The place of a band's value in a table of 2 ** `bits` slots."""
    return mix(kind ^ (np.uint64(value) | (np.uint64(band) << np.uint64(32)))) >> np.uint64(64 - bits)


@compiled("int64(int64)")
def _bits(count: Any) -> Any:
    """How many bits number `count` slots, one at the least."""
    bits = 1
    while (1 << bits) < count:
        bits += 1
    return bits


@compiled("uint32[::1](int64[::1], uint32[:,::1], uint64[::1])")
def shared_bands(rows: Any, bands: Any, kinds: Any) -> Any:
    """In which bands a row may agree with another one of `rows` of its kind: bit `band` of its number.

    Most values of bands stand in one row alone. A table of saturating counters of 2 bits, 8 or more a row, tells: it
    overlooks no agreement, and sees one where there is none for about one value in ten.
    """
    masks = np.zeros(len(bands), np.uint32)
    bits = _bits(8 * len(rows) + 32)
    counts = np.empty((4, (1 << bits) >> 5), np.uint64)
    for start in range(0, 32, 4):  # four bands stand in one line of the cache
        counts[:] = np.uint64(0)
        for row in rows:
            for each in range(4):
                slot = _slot(kinds[row], bands[row, start + each], start + each, bits)
                low = (slot & np.uint64(31)) << np.uint64(1)
                word = counts[each, slot >> np.uint64(5)]
                once = np.uint64((word >> low) & np.uint64(3) < np.uint64(2))
                counts[each, slot >> np.uint64(5)] = word + (once << low)
        for row in rows:
            for each in range(4):
                slot = _slot(kinds[row], bands[row, start + each], start + each, bits)
                low = (slot & np.uint64(31)) << np.uint64(1)
                several = (counts[each, slot >> np.uint64(5)] >> (low + np.uint64(1))) & np.uint64(1)
                masks[row] |= np.uint32(several) << np.uint32(start + each)
    return masks


@compiled("int64(int64[::1], uint32[::1])")
def _entries(rows: Any, masks: Any) -> Any:
    """How many bits are set in the masks of rows."""
    entries = 0
    for row in rows:
        mask = masks[row]
        while mask:
            mask &= mask - np.uint32(1)
            entries += 1
    return entries


@compiled(
    "void(int64[::1], uint32[:,::1], uint64[::1], uint32[::1], uint64[::1], int64[::1], float64, int64, int64[::1],"
    " float32[::1])"
)
def lead(
    order: Any,
    bands: Any,
    kinds: Any,
    masks: Any,
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
    in many bands. `masks` are those of `shared_bands`. Writes `leader` (-1: none) and `similarity`.
    """
    entries = _entries(order, masks)
    bits = _bits(entries)
    heads = np.full(1 << bits, np.int32(-1), np.int32)
    older = np.empty(entries, np.int32)
    owners = np.empty(entries, np.int64)  # place in `order` x 32 + band
    written = 0
    for place in range(len(order)):
        row = order[place]
        found, best = np.int64(-1), 0.0
        for band in range(32):
            if not masks[row] >> np.uint32(band) & np.uint32(1):
                continue
            entry = np.int64(heads[_slot(kinds[row], bands[row, band], band, bits)])
            looked = 0
            while entry >= 0 and looked < 2000:
                looked += 1
                other_place = owners[entry] >> 5
                other = order[other_place]
                if (
                    (found < 0 or other_place < found)
                    and owners[entry] & 31 == band
                    and bands[other, band] == bands[row, band]
                    and kinds[other] == kinds[row]
                    and _promising(bands, sizes, row, other, threshold, enough, band)
                ):
                    similar = _similarity(addresses, sizes, row, other, threshold)
                    if similar >= threshold:
                        found, best = other_place, similar
                entry = np.int64(older[entry])
        if found >= 0:
            leader[row], similarity[row] = order[found], best
            continue
        for band in range(32):
            if masks[row] >> np.uint32(band) & np.uint32(1):
                slot = _slot(kinds[row], bands[row, band], band, bits)
                owners[written], older[written] = 32 * place + band, heads[slot]
                heads[slot] = written
                written += 1


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


@compiled("void(int32[::1])")
def find_all(parents: Any) -> None:
    """Make every member of a union-find point at its representative."""
    for name in range(len(parents)):
        parents[name] = find(parents, name)


@compiled("void(int32[::1], int32[::1], int32[::1])")
def join_all(parents: Any, ones: Any, others: Any) -> None:
    """Join groups pair by pair."""
    for pair in range(len(ones)):
        join(parents, np.int64(ones[pair]), np.int64(others[pair]))


@compiled(
    "UniTuple(int64, 4)(int64, uint32[:,::1], uint32[::1], int32[::1], int32[::1], uint64[::1], int64, int64,"
    " int64[::1], int8[::1])"
)
def _meet(
    row: Any,
    bands: Any,
    masks: Any,
    heads: Any,
    older: Any,
    owners: Any,
    written: Any,
    window: Any,
    met: Any,
    meetings: Any,
) -> Any:
    """Put a row into the chains of its bands, and write to `met` the last `window` rows of each that agree with it.

    Returns:
        How many entries the chains have; how many rows were met, with repetitions (`meetings` counts them); the most
        bands in which any can agree; and how many bands may hold unseen agreements.
    """
    bits = _bits(len(older))
    count, most, cut = 0, np.int64(0), 0
    for band in range(32):
        if not masks[row] >> np.uint32(band) & np.uint32(1):
            continue
        value = np.uint64(bands[row, band])
        slot = _slot(np.uint64(0), bands[row, band], band, bits)
        entry = np.int64(heads[slot])
        owners[written], older[written] = value << np.uint64(32) | np.uint64(row), heads[slot]
        heads[slot] = written
        written += 1
        looked = 0
        while entry >= 0 and looked < window:
            owner = owners[entry]
            entry = np.int64(older[entry])
            if owner >> np.uint64(32) == value:
                other = np.int64(owner & np.uint64(0xFFFFFFFF))
                met[count] = other
                meetings[other] += np.int8(1)
                most = max(most, np.int64(meetings[other]))
                count, looked = count + 1, looked + 1
        cut += looked == window
    return written, count, most + cut, cut


@compiled(
    "void(int64[::1], uint32[:,::1], uint32[::1], uint64[::1], int64[::1], float64, int64, int64, int32[::1],"
    " int32[::1], int64[::1])"
)
def join_similar(
    rows: Any,
    bands: Any,
    masks: Any,
    addresses: Any,
    sizes: Any,
    threshold: Any,
    enough: Any,
    window: Any,
    groups: Any,
    parents: Any,
    variant_of: Any,
) -> None:
    """Join the groups of similar rows that agree in a band, and note of each one earlier row that it resembles.

    Args:
        rows: int64, rising.
        bands: uint32 [n, 32].
        masks: those of `shared_bands`.
        addresses: where the n-grams of each row stand.
        sizes: how many they are.
        threshold: least Jaccard similarity.
        enough: in how many bands rows have to agree to be compared.
        window: how many of the rows before it that agree in a band a row is compared with, so that a template in very
            many rows costs linear time; groups are joined over chains, so that few rows suffice.
        groups: the group of each row, a place in `parents`.
        parents: the union-find of groups; is changed.
        variant_of: int64 [n], -1 where nothing was found yet; is changed.
    """
    entries = _entries(rows, masks)
    heads = np.full(1 << _bits(entries), np.int32(-1), np.int32)
    older = np.empty(entries, np.int32)
    owners = np.empty(entries, np.uint64)  # value of the band x 2**32 + row
    met = np.empty(32 * window, np.int64)
    meetings = np.zeros(len(bands), np.int8)  # in how many bands the row at hand was seen to agree with another
    written = 0
    for row in rows:
        written, count, possible, cut = _meet(row, bands, masks, heads, older, owners, written, window, met, meetings)
        for other in met[: count if possible >= enough else 0]:
            one, another = np.int64(groups[row]), np.int64(groups[other])
            if (
                meetings[other] + cut < enough
                or (variant_of[row] >= 0 and find(parents, one) == find(parents, another))
                or not _promising(bands, sizes, row, other, threshold, enough, 0)
            ):
                continue
            if _similarity(addresses, sizes, row, other, threshold) >= threshold:
                join(parents, one, another)
                if variant_of[row] < 0:
                    variant_of[row] = other
        for other in met[:count]:
            meetings[other] = np.int8(0)
