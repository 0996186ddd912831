"""A hash of the medical facts of a text: near-duplicates with different ones are different training content.

"烧到38.5度" and "烧到39.5度" share most of their characters, and so do the sections of a guideline in two years of
which one says another dose. The hash covers, in their order, numbers with their units, numerals, negations, opposites
and findings of `rules/duplicates.yaml`, drugs and vaccines of the facts' lexicon by their generic names. It errs on the
side of keeping a row. Importing this module loads numba.
"""

from __future__ import annotations

import functools
import unicodedata
from typing import Any

import numpy as np
import numpy.typing as npt

from pediatricsgpt.corpus.rules import rules
from pediatricsgpt.corpus.shingles import Characters, compiled, hash_points, mix
from pediatricsgpt.facts.lexicon import lexicon

_FACT, _NEUTRAL, _UNIT = 1, 2, 3
_KINDS = {
    "negations": _FACT,
    "numerals": _FACT,
    "opposites": _FACT,
    "findings": _FACT,
    "neutral": _NEUTRAL,
    "units": _UNIT,
}
_LONGEST = 24


def fact_hashes(texts: Characters, first: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """The hash of the facts of each row.

    Args:
        texts: folded texts.
        first: int64 [n + 1], the first text of each row; row `i` is the texts from `first[i]` to `first[i + 1]`.

    Returns:
        uint64 [n].
    """
    out = np.empty(len(first) - 1, np.uint64)
    _hash(texts.points, texts.ends[first], _begins(), *_terms(), out)
    return out


def _words() -> dict[str, tuple[int, str]]:
    """All words with their kind and what they mean: a drug's trade names mean its generic."""
    words = {
        unicodedata.normalize("NFKC", spelling).lower(): (_FACT if entry.kind else _NEUTRAL, entry.name or spelling)
        for spelling, entry in lexicon().entries.items()
        if not entry.needs and 1 < len(spelling) <= _LONGEST  # herbs and food are drugs only by the amount behind them
    }
    for name, kind in _KINDS.items():
        words |= {word: (kind, word) for word in rules("duplicates")[name]}
    return words


@functools.cache
def _begins() -> npt.NDArray[np.uint8]:
    """What can begin with each code point: 1 a word of one character, 2 a longer one, 4 a number."""
    table = np.zeros(0x110000, np.uint8)
    for word in _words():
        table[ord(word[0])] |= 1 if len(word) == 1 else 2
    table[ord("0") : ord("9") + 1] = 4
    return table


@functools.cache
def _terms() -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """The words as a hash table (hashes, kinds, hashes of meanings), and how long they are by their beginnings."""
    words = _words()
    lengths = np.zeros(1 << 16, np.int8)
    size = 1 << (4 * len(words)).bit_length()
    hashes, kinds, values = np.zeros(size, np.uint64), np.zeros(size, np.int8), np.zeros(size, np.uint64)
    for word, (kind, meaning) in sorted(words.items()):
        points = np.array(list(map(ord, word)), np.uint32)
        for start in {int(_start(points[:1])), int(_start(points[:2]))}:
            length = len(word) if len(word) > 1 and start == int(_start(points[:2])) else 1
            lengths[start] = max(lengths[start], length)
        value = int(_prefix_hash(points))
        place = value & (size - 1)
        while kinds[place]:
            place = (place + 1) & (size - 1)
        hashes[place], kinds[place] = value, kind
        values[place] = hash_points(np.uint64(2), np.array(list(map(ord, meaning)), np.uint32))
    return lengths, hashes, kinds, values


@compiled("uint64(uint32[::1])")
def _start(points: Any) -> Any:
    """The place of one or two first characters in the table of lengths."""
    value = np.uint64(points[0]) << np.uint64(32)
    return mix(value | np.uint64(points[1])) >> np.uint64(48) if len(points) > 1 else mix(value) >> np.uint64(48)


@compiled("uint64(uint32[::1])")
def _prefix_hash(points: Any) -> Any:
    """A hash that goes on from that of a shorter beginning."""
    value = np.uint64(0)
    for point in points:
        value = mix(value ^ np.uint64(point))
    return value


@compiled("int64(uint64, uint64[::1], int8[::1])")
def _entry(value: Any, hashes: Any, kinds: Any) -> Any:
    """The place of a word in the table; -1 for one that is on no list."""
    place = np.int64(value & np.uint64(len(hashes) - 1))
    while kinds[place]:
        if hashes[place] == value:
            return place
        place = (place + 1) & (len(hashes) - 1)
    return -1


@compiled("boolean(uint32)")
def _digit(point: Any) -> Any:
    return 48 <= point <= 57


@compiled("boolean(uint32)")
def _unit_sign(point: Any) -> Any:
    """Latin and Greek letters and the signs of shares and degrees; a degree with its letter is folded to the letter."""
    return 97 <= point <= 122 or point in (0x25, 0x2F, 0x2030, 0xB0, 0x3BC)


@compiled("int64(uint32[::1], int64, int64)")
def _number_end(points: Any, start: Any, stop: Any) -> Any:
    """Where a number with its unit ends, `stop` at the latest: 38.5, 5mg/kg, 120/80."""
    end = start
    while end < stop:
        point = points[end]
        inside = point == 46 and end + 1 < stop and _digit(points[end + 1])
        if not (_digit(point) or inside or _unit_sign(point)):
            break
        end += 1
    return end


@compiled("int64(uint32[::1], int64, int64, boolean, uint64[::1], int8[::1], uint64[::1])")
def _word(points: Any, start: Any, longest: Any, counted: Any, hashes: Any, kinds: Any, prefixes: Any) -> Any:
    """The longest word that begins at a place: its place in the table x 32 + its length; 0 where none does."""
    value = np.uint64(0)
    for length in range(longest):
        value = mix(value ^ np.uint64(points[start + length]))
        prefixes[length] = value
    for length in range(longest, 0, -1):
        entry = _entry(prefixes[length - 1], hashes, kinds)
        if entry >= 0 and (counted or kinds[entry] != 3):
            return entry * 32 + length
    return 0


@compiled("void(uint32[::1], int64[::1], uint8[::1], int8[::1], uint64[::1], int8[::1], uint64[::1], uint64[::1])")
def _hash(points: Any, ends: Any, begins: Any, lengths: Any, hashes: Any, kinds: Any, values: Any, out: Any) -> None:
    prefixes = np.empty(32, np.uint64)
    for row in range(len(ends) - 1):
        stop = ends[row + 1]
        value = np.uint64(0)
        place = ends[row]
        counted: Any = False  # whether a number ends here
        while place < stop:
            begin = begins[points[place]]
            if begin == 4:
                end = _number_end(points, place, stop)
                value = mix(value ^ hash_points(np.uint64(1), points[place:end]))
                place, counted = end, True
                continue
            longest = np.int64(begin & 1)
            if begin & 2 and place + 1 < stop:
                pair = np.uint64(points[place]) << np.uint64(32) | np.uint64(points[place + 1])
                longest = min(max(longest, np.int64(lengths[mix(pair) >> np.uint64(48)])), stop - place)
            found = np.int64(0)
            if longest:
                found = _word(points, place, longest, counted, hashes, kinds, prefixes)
            entry, length = found // 32, found % 32
            told = length > 0 and kinds[entry] != 2
            if told:
                value = mix(value ^ values[entry])
            counted = told and kinds[entry] == 1
            place += max(length, 1)
        out[row] = value
