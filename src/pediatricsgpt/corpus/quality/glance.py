"""A first look at many texts at once: what can be counted in one go, and what needs no second look.

Most texts repeat nothing and hold no trace of a wrong encoding. One pass over their characters finds those that may;
only for them are the measures themselves taken.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pediatricsgpt.corpus.shingles import compiled

if TYPE_CHECKING:
    import numpy.typing as npt

SPACE, CLAUSE_END, HAN, WORD, ODD = 1, 2, 4, 8, 16
VISIBLE_COUNT, HAN_COUNT, WORD_COUNT, MAYBE_ODD, MAYBE_REPEATED = range(5)
_LETTERS_END = 0x40000
"""No letter, digit or space has a code point from here on"""
_MANY_CLAUSES = 256
_SEEN = 0x10000
"""Characters are told apart by so much of their code points: two that are taken for one make a text suspicious only"""


def glance(
    text: str, starts: Sequence[int], ends: Sequence[int], table: npt.NDArray[np.uint8], clause: int, share: float
) -> npt.NDArray[np.int64]:
    """Look at stretches of a long text.

    Args:
        text: everything, for example many texts behind each other.
        starts: where in it each stretch begins; stretches may overlap.
        ends: where each ends.
        table: of `character_table`.
        clause: letters from which on a clause counts.
        share: of different characters among the first 300; a text with fewer may go round in circles.

    Returns:
        A row a stretch: visible characters, Han characters, letters and digits, whether there is an odd one, and
        whether it may repeat something (never 0 where it does).
    """
    points = np.array(np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32))
    found = np.zeros((len(starts), 5), np.int64)
    seen = np.zeros(_SEEN, np.int32)
    _glance(points, np.asarray(starts, np.int64), np.asarray(ends, np.int64), table, clause, share, seen, found)
    return found


def character_table(clause_end: str, han: str, odd: str) -> npt.NDArray[np.uint8]:
    """What each code point is, as a sum of SPACE, CLAUSE_END, HAN, WORD and ODD.

    Args:
        clause_end: expression that matches one character that ends a clause.
        han: expression that matches one Han character.
        odd: expression that matches one odd character.
    """
    return _character_table(clause_end, han, odd)


@functools.cache
def _character_table(clause_end: str, han: str, odd: str) -> npt.NDArray[np.uint8]:
    table = np.zeros(0x110000, np.uint8)
    every = "".join(map(chr, range(_LETTERS_END)))
    for expression, mark in ((r"\s", SPACE), (clause_end, CLAUSE_END), (han, HAN), (r"\w", WORD), (odd, ODD)):
        for run in re.finditer(f"(?:{expression})+", every):
            table[run.start() : run.end()] |= np.uint8(mark)
    return table


@compiled("void(uint32[::1], int64[::1], int64[::1], uint8[::1], int64, float64, int32[::1], int64[:,::1])")
def _glance(points: Any, starts: Any, ends: Any, table: Any, clause: Any, share: Any, seen: Any, found: Any) -> None:
    """See `glance`; `seen` are `_SEEN` zeros."""
    clauses = np.empty(_MANY_CLAUSES, np.uint64)
    for text in range(len(starts)):
        distinct, count, letters = 0, 0, 0
        value = np.uint64(0)
        repeated = False
        size = ends[text] - starts[text]
        for place in range(starts[text], ends[text] + 1):
            mark = np.uint8(2)  # the end of the text ends a clause
            if place < ends[text]:
                point = points[place]
                mark = table[point]
                found[text, 0] += (mark & 1) == 0
                found[text, 1] += (mark & 4) != 0
                found[text, 2] += (mark & 8) != 0
                found[text, 3] |= (mark & 16) != 0
                if seen[point & 0xFFFF] != text + 1:
                    seen[point & 0xFFFF] = np.int32(text + 1)
                    distinct += 1
                if (mark & 2) == 0:
                    value = (value ^ np.uint64(point)) * np.uint64(0x9E3779B97F4A7C15)
                    value ^= value >> np.uint64(29)
                    letters += 1
            if (mark & 2) != 0:
                if letters >= clause and not repeated:
                    repeated = count == _MANY_CLAUSES  # more than are compared here
                    for earlier in range(count):
                        repeated |= clauses[earlier] == value
                    if not repeated:
                        clauses[count] = value
                        count += 1
                value = np.uint64(0)
                letters = 0
        found[text, 4] = repeated or distinct < share * min(size, 300)
