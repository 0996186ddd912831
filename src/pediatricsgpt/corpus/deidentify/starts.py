"""Which patterns may match in a text, told by the first few characters of all their matches: it spares most searches.

Of every pattern the sets of characters that its matches can begin with are read off its syntax tree, with what stands
before and behind them where lookarounds say so. One pass over a batch of texts then tells for each text which patterns
may match somewhere in it; the others need not be searched for. The sets are never too small, so that nothing is missed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from re import _constants as code  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import numpy as np

EVERY = -1
"""That every pattern may match"""
# the character before a match, and its first ones
DEPTH, _BEFORE = 5, 0
_PARTS = 8
# what stands for the end of a text, and for every character beyond the basic plane
_END, _BEYOND = 0, 0xFFFF
_GAP = "\0" * DEPTH + "\n"
_ALL = (1 << 0x10000) - 1
_ZERO_WIDTH = frozenset({code.ASSERT, code.ASSERT_NOT, code.AT})
_REPEATS = frozenset({code.MAX_REPEAT, code.MIN_REPEAT, code.POSSESSIVE_REPEAT})
_SINGLE = frozenset({code.ANY, code.LITERAL, code.NOT_LITERAL, code.IN})
# a pattern of one character twice
_DOUBLED = re.compile(r"\(\[[^\[\]]+\]\)\\1[^|]*")
# A set of characters is an integer with a bit for each; of a pattern there is one for each place.
Sets = list[int]


class Starts:
    """Which of some patterns may match in a text.

    The alternatives of a pattern are dealt out to a few bits, because the sets of one alternative are much smaller than
    those of all together.

    Args:
        patterns: compiled from strings, without flags.

    Raises:
        ValueError: a pattern has flags.
    """

    def __init__(self, patterns: Sequence[re.Pattern[str]]) -> None:
        self._words, self._doubled, used = [np.zeros((DEPTH, 0x10000), np.uint64)], [np.uint64(0)], 0
        self._bits: list[tuple[int, np.uint64]] = []
        for pattern in patterns:
            parts = _parts(pattern)
            if used + len(parts) > 64:
                self._words.append(np.zeros((DEPTH, 0x10000), np.uint64))
                self._doubled.append(np.uint64(0))
                used = 0
            for bit, sets in enumerate(parts, used):
                self._words[-1] |= _unpacked(sets) << np.uint64(bit)
            bits = np.uint64(((1 << len(parts)) - 1) << used)
            self._bits.append((len(self._words) - 1, bits))
            if _DOUBLED.fullmatch(pattern.pattern):
                self._doubled[-1] |= bits
            used += len(parts)

    def __call__(self, texts: Sequence[str]) -> list[int]:
        """For each text a number with a bit for every pattern that may match in it, or in it behind a line break."""
        from pediatricsgpt.corpus.deidentify.candidates import beginning_bits

        joined = _GAP.join(["", *texts, ""])
        raw = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
        codes = np.minimum(raw, _BEYOND).astype(np.uint16)
        ends = np.cumsum([DEPTH, *(len(text) + len(_GAP) for text in texts)])
        found = [
            beginning_bits(codes, ends, word, doubled) for word, doubled in zip(self._words, self._doubled, strict=True)
        ]
        may = np.stack([found[word] & bits for word, bits in self._bits], axis=1) != 0
        return [int.from_bytes(row.tobytes(), "little") for row in np.packbits(may, axis=1, bitorder="little")]


def _unpacked(sets: Sets) -> Any:
    """Sets as uint64 (0 or 1) of shape (DEPTH, 65536)."""
    packed = np.frombuffer(b"".join(each.to_bytes(0x2000, "little") for each in sets), np.uint8)
    return np.unpackbits(packed, bitorder="little").reshape(DEPTH, 0x10000).astype(np.uint64)


def _parts(pattern: re.Pattern[str]) -> list[Sets]:
    """The sets of the alternatives of a pattern, dealt out to `_PARTS` of them at the most."""
    if pattern.flags & ~re.UNICODE:
        raise ValueError(f"a pattern with flags: {pattern.pattern[:40]}")
    sets = [_sets(way) for way in _ways(list(parser.parse(pattern.pattern)))]
    # those that allow much are kept apart from those that allow little
    sets.sort(key=lambda places: [place.bit_count() for place in reversed(places)])
    size = -(-len(sets) // _PARTS)
    return [_union(sets[start : start + size]) for start in range(0, len(sets), size)]


def _union(sets: Sequence[Sets]) -> Sets:
    return [functools.reduce(int.__or__, place) for place in zip(*sets, strict=True)]


def _ways(items: list[Any]) -> list[list[Any]]:
    """The alternatives with which a sequence begins or goes on after its first character, each with what follows."""
    places = [number for number, (kind, _) in enumerate(items) if kind not in _ZERO_WIDTH]
    if places and items[places[0]][0] in _SINGLE:
        places = [number for number in range(places[0] + 1, len(items)) if items[number][0] is not code.ASSERT_NOT]
    if not places:
        return [items]
    before, (kind, value), rest = items[: places[0]], items[places[0]], items[places[0] + 1 :]
    if kind is code.SUBPATTERN and not value[1] and not value[2] and not _refers(rest):
        branches = [list(value[3])]
    elif kind is code.BRANCH:
        branches = [list(branch) for branch in value[1]]
    elif kind in _REPEATS and value[1] <= 2 * DEPTH:
        least, most, again = value
        branches = [[]] if least == 0 else []
        if most:
            branches.append([*again, (kind, (max(0, least - 1), most - 1, again))])
    else:
        return [items]
    return [way for branch in branches for way in _ways([*before, *branch, *rest])]


def _refers(items: list[Any]) -> bool:
    return any(kind is code.GROUPREF for kind, _ in items)


def _sets(items: list[Any]) -> Sets:
    """The characters that may stand before what a sequence matches and at its first places."""
    sets = [0] * DEPTH
    for left in _walk(items, frozenset({_BEFORE + 1}), sets, last=True):
        sets[left:] = [_ALL] * (DEPTH - left)
    sets[_BEFORE] = _ALL
    place = _BEFORE + 1
    for kind, value in items:
        # as long as every item is one character, a lookbehind speaks of places that are known
        if kind is code.ASSERT and value[0] == -1:
            behind = [_characters(*item) for item in value[1]]
            for back, characters in enumerate(reversed(behind), 1):
                if characters is None:
                    break
                if 0 <= place - back < DEPTH:
                    sets[place - back] &= characters
        elif kind in _SINGLE:
            place += 1
        elif kind not in _ZERO_WIDTH:
            break
    return sets


def _walk(items: list[Any], at: frozenset[int], sets: Sets, last: bool) -> frozenset[int]:
    """Enter what a sequence allows at the places `at` and behind; where it may end.

    Args:
        items: of the syntax tree.
        at: places at which the sequence may begin; `DEPTH` stands for all that are too far to matter.
        sets: as `_sets` gives them.
        last: whether nothing follows the sequence in the pattern.
    """
    for number, (kind, value) in enumerate(items):
        closing = last and all(name in _ZERO_WIDTH or _may_lack(name, each) for name, each in items[number + 1 :])
        at = _step(kind, value, at, sets, closing)
    return at


def _may_lack(kind: Any, value: Any) -> bool:
    return kind in _REPEATS and value[0] == 0


def _step(kind: Any, value: Any, at: frozenset[int], sets: Sets, closing: bool) -> frozenset[int]:
    """The same of one item; `closing` if nothing must follow it."""
    near = [place for place in at if place < DEPTH]
    if not near:
        return at
    if kind is code.SUBPATTERN and not value[1] and not value[2]:
        return _walk(list(value[3]), at, sets, closing)
    if kind is code.BRANCH:
        return frozenset().union(*(_walk(list(branch), at, sets, closing) for branch in value[1]))
    if kind in _REPEATS:
        return _repeated(value, at, sets)
    if kind is code.ASSERT and value[0] == 1 and closing:
        # what follows a lookahead could only narrow what it says of the same characters
        for left in _walk(list(value[1]), at, sets, last=True):
            sets[left:] = [_ALL] * (DEPTH - left)
        return frozenset({DEPTH})
    if kind is code.AT and value is code.AT_END and closing:
        for place in near:
            sets[place] |= 1 << ord("\n")
            sets[place:] = [each | 1 << _END for each in sets[place:]]
        return frozenset({DEPTH})
    if kind in _ZERO_WIDTH:
        return at
    characters = _characters(kind, value)
    if characters is None:  # what this does not know
        sets[min(near) :] = [_ALL] * (DEPTH - min(near))
        return frozenset({DEPTH})
    for place in near:
        sets[place] |= characters
    return frozenset(min(place + 1, DEPTH) for place in at)


def _repeated(value: tuple[int, int, Any], at: frozenset[int], sets: Sets) -> frozenset[int]:
    least, most, items = value
    ends = at if least == 0 else frozenset()
    for times in range(1, min(int(most), 2 * DEPTH) + 1):
        at = _walk(list(items), at, sets, last=False)
        if times >= min(least, DEPTH):
            ends |= at
    return ends


def _characters(kind: Any, value: Any) -> int | None:
    """The characters of one item; None of what is no single character."""
    if kind is code.ANY:
        return _ALL ^ 1 << ord("\n")
    if kind is code.LITERAL:
        return _range(value, value)
    if kind is code.NOT_LITERAL:
        return _ALL ^ _range(value, value) | 1 << _BEYOND
    return _class(tuple(value)) if kind is code.IN else None


@functools.lru_cache(512)
def _class(items: tuple[Any, ...]) -> int:
    """The characters between square brackets."""
    single, characters = bytearray(0x2000), 0
    for name, value in items:
        if name is code.LITERAL:
            place = min(value, _BEYOND)
            single[place >> 3] |= 1 << (place & 7)
        elif name is code.RANGE:
            characters |= _range(*value)
        elif name is code.CATEGORY:
            characters |= _category(str(value))
    characters |= int.from_bytes(single, "little")
    return _ALL ^ characters | 1 << _BEYOND if items[0][0] is code.NEGATE else characters


def _range(first: int, last: int) -> int:
    first, last = min(first, _BEYOND), min(last, _BEYOND)
    return (1 << last + 1) - (1 << first)


@functools.cache
def _category(name: str) -> int:
    r"""The characters of \d, \s, \w or their opposites."""
    letter = {"DIGIT": "d", "SPACE": "s", "WORD": "w"}[name.rpartition("_")[2]]
    matches = re.compile("\\" + (letter.upper() if "_NOT_" in name else letter)).match
    bits = "".join("1" if matches(chr(character)) else "0" for character in reversed(range(0x10000)))
    return int(bits, 2) | 1 << _BEYOND
