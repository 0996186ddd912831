"""Texts as arrays of characters and sets of hashed n-grams, as fast as the machine allows.

What is compared is the key of a text (`text.key`: letters and digits, without width and case). Here whole batches are
made into keys at once, by a table over the code points; only texts with characters that a table cannot fold (combining
marks, ligatures) take the slow way through `unicodedata`. The kernels are compiled by numba with fixed signatures and
kept in its cache, so that only the first run on a machine waits for the compiler. Importing this module loads numba:
do it inside functions.
"""

from __future__ import annotations

import contextlib
import functools
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

Function = TypeVar("Function", bound=Callable[..., Any])
Points = npt.NDArray[np.uint32]
Offsets = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

_UNICODE = 0x110000
_TABULATED = 0x10000
_ASSIGNED = 0x40000
_SLOW = 0xFFFFFFFF
_SPACE = 0x20
_SEPARATOR = "\0"


def forget_stale(folder: Path, changed: float) -> None:
    """Remove what numba compiled below `folder` before the time `changed` (in seconds since 1970), or before its own
    source changed; what other processes compile meanwhile is newer and stays.

    Kernels of other files call those of this one, and numba does not see it when this one alone is replaced: it would
    go on with the old code. The code goes, and not its index alone: numba writes a new index before the new code, so
    that another process at that moment, or every one after a kill, would run the old code under the new index.
    """
    for cached in folder.rglob("*.nb[ci]"):
        source = cached.parent.parent / f"{cached.name.split('.')[0]}.py"
        with contextlib.suppress(OSError):  # somebody else was quicker, or the folder is not ours to write
            if cached.stat().st_mtime < max(changed, source.stat().st_mtime if source.is_file() else 0):
                cached.unlink()


forget_stale(Path(__file__).parent, Path(__file__).stat().st_mtime)


def compiled(*signatures: str, inline: bool = False) -> Callable[[Function], Function]:
    """Numba's compiler with what all kernels share: fixed signatures, a cache on disk, no hold on other threads.

    The cache looks at a kernel's own file only; `forget_stale` sees to those that call a kernel of this one.
    """

    def compile_(function: Function) -> Function:
        how = "always" if inline else "never"
        return cast(Function, numba.njit(list(signatures), cache=True, nogil=True, inline=how)(function))

    return compile_


@dataclass(frozen=True, slots=True)
class Characters:
    """Many texts behind each other, folded (NFKC, lower case).

    Text `i` is `points[ends[i] : ends[i + 1]]`, its key `key[key_ends[i] : key_ends[i + 1]]`.
    """

    points: Points
    ends: Offsets
    key: Points
    key_ends: Offsets


def characters(texts: Sequence[str]) -> Characters:
    """The code points and keys of texts; the key of each is that of `text.key`."""
    fold, is_key = _tables()
    raw = _joined(texts)
    slow = np.zeros(len(texts), np.bool_)
    room = np.empty((2, len(raw)), np.uint32)
    ends, key_ends = np.zeros(len(texts) + 1, np.int64), np.zeros(len(texts) + 1, np.int64)
    if _fold_all(raw, fold, is_key, room[0], ends, room[1], key_ends, slow):
        texts = list(texts)
        for number in np.flatnonzero(slow).tolist():
            texts[number] = _folded(texts[number])
        raw = _joined(texts)
        room = np.empty((2, len(raw)), np.uint32)
        _fold_all(raw, fold, is_key, room[0], ends, room[1], key_ends, slow)
    return Characters(room[0, : ends[-1]], ends, room[1, : key_ends[-1]], key_ends)


def _joined(texts: Sequence[str]) -> Points:
    """The code points of texts, a zero after each."""
    joined = _SEPARATOR.join((*texts, "")) if texts else ""
    if joined.count(_SEPARATOR) != len(texts):
        joined = _SEPARATOR.join((*(text.replace(_SEPARATOR, " ") for text in texts), ""))
    return np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)


def _folded(text: str) -> str:
    """A text as the table would fold it, where the table cannot."""
    if text.isascii() or unicodedata.is_normalized("NFKC", text):
        return text.lower()
    return unicodedata.normalize("NFKC", text).lower()


@functools.cache
def _tables() -> tuple[Points, npt.NDArray[np.bool_]]:
    """What each code point folds to (`_SLOW` where that is no single one), and which of them keys are made of."""
    fold = np.arange(_UNICODE, dtype=np.uint32)
    fold[:_TABULATED] = [_fold(point) for point in range(_TABULATED)]
    fold[_TABULATED:0x20000] = _SLOW
    fold[0x2F800:0x2FA20] = _SLOW  # compatibility ideographs
    is_key = np.zeros(_UNICODE, np.bool_)
    is_key[:_ASSIGNED] = [chr(point).isalnum() for point in range(_ASSIGNED)]
    return fold, is_key


def _fold(point: int) -> int:
    character = chr(point)
    if 0xD800 <= point < 0xE000:
        return point
    if _joins(point):
        return _SLOW
    folded = unicodedata.normalize("NFKC", character).lower()
    if len(folded) == 1:
        return ord(folded)
    key = [each for each in folded if each.isalnum()]
    if not key:
        return _SPACE  # an ellipsis, for example: nothing of it stands in a key
    return ord(key[0]) if len(key) == 1 else _SLOW


def _joins(point: int) -> bool:
    """Whether a character may become one with its neighbours: marks, the letters of Korean, the Greek final s."""
    character = chr(point)
    return unicodedata.category(character)[0] == "M" or 0x1100 <= point < 0x1200 or point in (0x3A3, 0x3C2, 0x3C3)


@compiled(
    "int64(Array(uint32, 1, 'C', True), uint32[::1], boolean[::1], uint32[::1], int64[::1], uint32[::1], int64[::1],"
    " boolean[::1])"
)
def _fold_all(raw: Any, fold: Any, is_key: Any, points: Any, ends: Any, key: Any, key_ends: Any, slow: Any) -> Any:
    """Write the folded characters of texts and those of their keys; how many the table cannot fold.

    These are written as they are, and their texts are marked in `slow`.
    """
    text, written, keyed, unknown = 0, 0, 0, 0
    for code in raw:
        point = fold[code]
        if point == 0:
            text += 1
            ends[text], key_ends[text] = written, keyed
            continue
        if point == np.uint32(0xFFFFFFFF):
            point = code
            slow[text] = True
            unknown += 1
        points[written] = point
        written += 1
        key[keyed] = point
        keyed += is_key[point]
    return unknown


# -- hashes ------------------------------------------------------------------------------------------------------------


@compiled("uint64(uint64)", inline=True)
def mix(value: Any) -> Any:
    """A 64-bit number of which every bit depends on every bit of `value` (SplitMix64, Steele et al. 2014)."""
    value = np.uint64(value) + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@compiled("uint64(uint64, uint32[::1])")
def hash_points(seed: Any, points: Any) -> Any:
    """The hash of a text's characters; other seeds give independent hashes."""
    value = mix(seed + np.uint64(len(points)))
    for point in points:
        value = mix(value ^ np.uint64(point))
    return value


@compiled("void(uint32[::1], uint64[::1])")
def hash_three(points: Any, out: Any) -> None:
    """The hashes of a text for the seeds 0, 1 and 2: as long as one takes, because none waits for the others."""
    length = np.uint64(len(points))
    first, second, third = mix(length), mix(np.uint64(1) + length), mix(np.uint64(2) + length)
    for point in points:
        first = mix(first ^ np.uint64(point))
        second = mix(second ^ np.uint64(point))
        third = mix(third ^ np.uint64(point))
    out[0], out[1], out[2] = first, second, third


@compiled("void(uint32[::1], int64[::1], uint64[:,::1])")
def hash_texts(points: Any, ends: Any, out: Any) -> None:
    """The hashes of each of many texts for the seeds 0, 1 and 2."""
    for text in range(len(ends) - 1):
        hash_three(points[ends[text] : ends[text + 1]], out[text])


# -- n-grams -----------------------------------------------------------------------------------------------------------


@compiled("int64(uint32[::1], int64, uint32[::1])")
def gram_hashes(points: Any, length: Any, out: Any) -> Any:
    """Write the 32-bit hash of every n-gram of `points` to `out`; how many there are."""
    count = max(len(points) - length + 1, 0)
    for start in range(count):
        value = np.uint64(0)
        for offset in range(length):
            value = value * np.uint64(0x9E3779B97F4A7C15) + np.uint64(points[start + offset]) + np.uint64(1)
        out[start] = np.uint32(mix(value) >> np.uint64(32))
    return count


@compiled("int64(uint32[::1], int64)")
def _unique(values: Any, count: Any) -> Any:
    distinct = 0
    for index in range(count):
        if index == 0 or values[index] != values[distinct - 1]:
            values[distinct] = values[index]
            distinct += 1
    return distinct


@compiled("int64(uint32[::1], int64, uint32[::1], int64[::1])")
def sort_unique(values: Any, count: Any, out: Any, places: Any) -> Any:
    """Write the distinct ones of `values[:count]` to `out` in rising order; how many they are.

    Hashes spread evenly: put into as many bins as there are values, they are all but sorted, in linear time. `places`
    is room for `2 * count + 1` numbers.
    """
    bits = 0
    while (1 << bits) < count:
        bits += 1
    bins = 1 << bits
    shift = np.uint64(32 - bits)
    for place in range(bins + 1):
        places[place] = 0
    for index in range(count):
        places[(np.uint64(values[index]) >> shift) + np.uint64(1)] += 1
    for place in range(bins):
        places[place + 1] += places[place]
    for index in range(count):
        bin_ = np.uint64(values[index]) >> shift
        out[places[bin_]] = values[index]
        places[bin_] += 1
    for index in range(1, count):
        value = out[index]
        before = index - 1
        while before >= 0 and out[before] > value:
            out[before + 1] = out[before]
            before -= 1
        out[before + 1] = value
    return _unique(out, count)


@compiled("float64(uint32[::1], uint32[::1])")
def jaccard(one: Any, other: Any) -> Any:
    """Shared over all members of two sets, each distinct and rising; 0 where both are empty."""
    left, right, shared = 0, 0, 0
    while left < len(one) and right < len(other):
        a, b = one[left], other[right]
        shared += a == b
        left += a <= b
        right += b <= a
    union = len(one) + len(other) - shared
    return shared / union if union else 0.0


@compiled("float64(uint32[::1], uint32[::1], float64)")
def jaccard_from(one: Any, other: Any, threshold: Any) -> Any:
    """As `jaccard`, but 0 as soon as it is certain that `threshold` is not reached."""
    # At the threshold t two sets share t / (1 + t) of their sizes together; one less, for the rounding.
    needed = np.int64(threshold / (1 + threshold) * (len(one) + len(other))) - 1
    spare_left, spare_right = len(one) - needed, len(other) - needed
    left, right, shared = 0, 0, 0
    while left < len(one) and right < len(other):
        if left - shared > spare_left or right - shared > spare_right:
            return 0.0
        a, b = one[left], other[right]
        shared += a == b
        left += a <= b
        right += b <= a
    union = len(one) + len(other) - shared
    return shared / union if union else 0.0
