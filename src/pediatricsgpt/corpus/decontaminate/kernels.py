"""The loops of decontamination, compiled. Importing this module loads numba."""

from __future__ import annotations

from typing import Any

import numpy as np

from pediatricsgpt.corpus.shingles import compiled, jaccard, mix


@compiled("int64(uint32[::1], int64, uint64[::1])")
def long_grams(points: Any, length: Any, out: Any) -> Any:
    """Write the 64-bit hash of every n-gram; how many there are. A rolling hash: linear whatever their length."""
    count = max(len(points) - length + 1, 0)
    factor, highest = np.uint64(0x9E3779B97F4A7C15), np.uint64(1)
    for _ in range(length - 1):
        highest *= factor
    value = np.uint64(0)
    for place in range(len(points)):
        if place >= length:
            value -= (np.uint64(points[place - length]) + np.uint64(1)) * highest
        value = value * factor + np.uint64(points[place]) + np.uint64(1)
        if place >= length - 1:
            out[place - length + 1] = mix(value)
    return count


@compiled("int64(uint32[::1], int64[::1], int64, uint64[::1], int64[::1])")
def all_long_grams(points: Any, ends: Any, length: Any, out: Any, out_ends: Any) -> Any:
    """The n-grams of many texts behind each other; how many there are."""
    written = 0
    for text in range(len(ends) - 1):
        written += long_grams(points[ends[text] : ends[text + 1]], length, out[written:])
        out_ends[text + 1] = written
    return written


@compiled("int64(uint64, uint64[::1])")
def _place(value: Any, values: Any) -> Any:
    """Where a value stands in rising ones; -1 where it does not."""
    low, high = 0, len(values)
    while low < high:
        middle = (low + high) // 2
        if values[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low if low < len(values) and values[low] == value else -1


@compiled("int64(int64[::1])")
def _longest(ends: Any) -> Any:
    longest = 1
    for text in range(len(ends) - 1):
        longest = max(longest, ends[text + 1] - ends[text])
    return longest


@compiled("void(uint64[::1], uint64[::1])")
def fill_filter(values: Any, bits: Any) -> None:
    """Set the bit of each value in a filter; its size is a power of two words."""
    for value in values:
        word = value & np.uint64(len(bits) - 1)
        bits[word] |= np.uint64(1) << (value >> np.uint64(58))


@compiled("int64(uint64, uint64[::1], uint64[::1])")
def _known(value: Any, bits: Any, grams: Any) -> Any:
    """Where an n-gram stands among those of the targets; -1 where it does not. The filter spares most searches."""
    if not bits[value & np.uint64(len(bits) - 1)] >> (value >> np.uint64(58)) & np.uint64(1):
        return -1
    return _place(value, grams)


@compiled("void(uint32[::1], int64[::1], int64, int64, uint64[::1], uint64[::1], int64[::1])")
def count_rows(points: Any, ends: Any, per_row: Any, length: Any, bits: Any, grams: Any, counts: Any) -> None:
    """Add to each n-gram of the targets in how many rows it stands; a row is `per_row` texts behind each other."""
    seen = np.full(len(grams), np.int32(-1), np.int32)
    hashes = np.empty(_longest(ends), np.uint64)
    for text in range(len(ends) - 1):
        row = np.int32(text // per_row)
        for each in range(long_grams(points[ends[text] : ends[text + 1]], length, hashes)):
            gram = _known(hashes[each], bits, grams)
            if gram >= 0 and seen[gram] != row:
                seen[gram] = row
                counts[gram] += 1


@compiled(
    "int64(int64, uint64[::1], uint64[::1], uint64[::1], boolean[::1], int64[::1], int32[::1], int64, int32[::1],"
    " int32[:,::1], int32[::1])",
    inline=True,
)
def _count_shared(
    count: Any,
    hashes: Any,
    bits: Any,
    grams: Any,
    common: Any,
    owner_ends: Any,
    owners: Any,
    text: Any,
    seen: Any,
    shared: Any,
    touched: Any,
) -> Any:
    """Count in `shared` the n-grams, and the rare ones, that a text of `count` hashes has in common with each target;
    how many targets it touches, which are written into `touched`. `seen` is the last text that had an n-gram.
    """
    touches = 0
    for each in range(count):
        gram = _known(hashes[each], bits, grams)
        if gram < 0 or seen[gram] == text:
            continue
        seen[gram] = np.int32(text)
        for place in range(owner_ends[gram], owner_ends[gram + 1]):
            target = owners[place]
            if shared[target, 0] == 0:
                touched[touches] = target
                touches += 1
            shared[target, 0] += np.int32(1)
            shared[target, 1] += np.int32(not common[gram])
    return touches


@compiled("int64(int64, int64, int32[::1], int32[:,::1], int32[:,::1], int64[:,::1], int64)", inline=True)
def _write_matches(text: Any, touches: Any, touched: Any, shared: Any, needed: Any, found: Any, written: Any) -> Any:
    """Write the targets of which the text holds as many as needed, and set all counts back; how many rows there are."""
    for touch in range(touches):
        target = touched[touch]
        whole, rare = shared[target, 0], shared[target, 1]
        if whole >= needed[target, 0] or rare >= needed[target, 1]:
            found[written, 0], found[written, 1] = text, target
            found[written, 2], found[written, 3] = whole, rare
            written += 1
        shared[target, 0] = 0
        shared[target, 1] = 0
    return written


@compiled(
    "int64(uint32[::1], int64[::1], int64, uint64[::1], uint64[::1], boolean[::1], int64[::1], int32[::1],"
    " int32[:,::1], int64[:,::1], int64)"
)
def overlaps(
    points: Any,
    ends: Any,
    length: Any,
    bits: Any,
    grams: Any,
    common: Any,
    owner_ends: Any,
    owners: Any,
    needed: Any,
    found: Any,
    first: Any,
) -> Any:
    """Write (text, target, shared n-grams, rare ones of them) for targets of which a text holds as many as needed.

    Args:
        points: keys of all texts, text `i` is `points[ends[i] : ends[i + 1]]`.
        ends: see `points`.
        length: n.
        bits: the filter of `fill_filter`.
        grams: the n-grams of all targets, rising; `owners[owner_ends[g] : owner_ends[g + 1]]` have gram `g`.
        common: which of them stand in many training rows.
        owner_ends: see `grams`.
        owners: see `grams`.
        needed: for each target how many n-grams of all, or how many rare ones, make a match.
        found: room for the result.
        first: the text to begin with.

    Returns:
        The text to go on with where there was no more room, else -1; the row after the last has a negative text.
    """
    hashes = np.empty(_longest(ends), np.uint64)
    shared = np.zeros((len(needed), 2), np.int32)
    touched = np.empty(len(needed), np.int32)
    seen = np.full(len(grams), np.int32(-1), np.int32)
    written = 0
    for text in range(first, len(ends) - 1):
        count = long_grams(points[ends[text] : ends[text + 1]], length, hashes)
        touches = _count_shared(count, hashes, bits, grams, common, owner_ends, owners, text, seen, shared, touched)
        if written + touches >= len(found) - 1:
            found[written, 0] = -1
            return text
        written = _write_matches(text, touches, touched, shared, needed, found, written)
    found[written, 0] = -1
    return -1


@compiled("void(uint32[:,::1], int32[:,::1], int32[:,::1])")
def fill_buckets(bands: Any, heads: Any, older: Any) -> None:
    """Chain the targets of equal bands: `heads[band, slot]` is the last, `older[band, target]` the one before it."""
    for target in range(len(bands)):
        for band in range(32):
            slot = np.uint64(bands[target, band]) * np.uint64(heads.shape[1]) >> np.uint64(32)
            older[band, target] = heads[band, slot]
            heads[band, slot] = target


@compiled(
    "int64(uint32[::1], int64[::1], uint32[:,::1], uint32[::1], int64[::1], uint32[:,::1], int32[:,::1], int32[:,::1],"
    " float64, int64, int64[:,::1], int64)"
)
def similar(
    grams: Any,
    ends: Any,
    bands: Any,
    target_grams: Any,
    target_ends: Any,
    target_bands: Any,
    heads: Any,
    older: Any,
    threshold: Any,
    enough: Any,
    found: Any,
    first: Any,
) -> Any:
    """Write (text, target, similarity in billionths) of near-duplicates; returns as `overlaps` does."""
    written = 0
    seen = np.full(len(target_bands), np.int32(-1), np.int32)
    for text in range(first, len(ends) - 1):
        mine = grams[ends[text] : ends[text + 1]]
        before = written
        for band in range(32 if len(mine) else 0):
            slot = np.uint64(bands[text, band]) * np.uint64(heads.shape[1]) >> np.uint64(32)
            target = np.int64(heads[band, slot])
            while target >= 0:
                size = target_ends[target + 1] - target_ends[target]
                if (
                    target_bands[target, band] == bands[text, band]
                    and seen[target] != text
                    and min(size, len(mine)) >= threshold * max(size, len(mine))
                ):
                    seen[target] = np.int32(text)
                    agreeing = 0
                    for each in range(32):
                        agreeing += target_bands[target, each] == bands[text, each]
                    if agreeing >= enough:
                        score = jaccard(mine, target_grams[target_ends[target] : target_ends[target + 1]])
                        if score >= threshold:
                            if written >= len(found) - 1:
                                found[before, 0] = -1
                                return text
                            found[written, 0], found[written, 1] = text, target
                            found[written, 2] = np.int64(np.rint(score * 1e9))
                            written += 1
                target = np.int64(older[band, target])
    found[written, 0] = -1
    return -1
