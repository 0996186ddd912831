"""Words of a fixed list in many texts at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_SEPARATOR = "\0"


class Words:
    """A list of words to look for.

    Where words begin is found for a whole batch by the first two characters, a look into a table for each character of
    the texts; only there are the words themselves compared.
    """

    def __init__(self, words: Iterable[str]) -> None:
        import numpy as np

        self._words = frozenset(words)
        if "" in self._words or any(_SEPARATOR in word for word in self._words):
            raise ValueError("a word is empty or holds a zero character")
        self._lengths: dict[str, tuple[int, ...]] = {}
        for first in {word[0] for word in self._words}:
            lengths = {len(word) for word in self._words if word[0] == first}
            self._lengths[first] = tuple(sorted(lengths, reverse=True))
        self._first = _numbered(word[0] for word in self._words)
        self._second = _numbered(word[1] for word in self._words if len(word) > 1)
        self._begins = np.zeros((int(self._first.max(initial=0)) + 1, int(self._second.max(initial=0)) + 1), np.bool_)
        for word in self._words:
            row = self._first[ord(word[0])]
            self._begins[row, self._second[ord(word[1])] if len(word) > 1 else slice(None)] = True

    def found(self, texts: Sequence[str]) -> list[list[str]]:
        """The words in each text, from left to right, without overlap; of those that begin at one place the longest."""
        import numpy as np

        joined = _SEPARATOR.join((*texts, _SEPARATOR))
        codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
        places = np.flatnonzero(self._begins[self._first[codes[:-1]], self._second[codes[1:]]])
        ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)) + 1)
        numbers = np.searchsorted(ends, places, side="right")
        found: list[list[str]] = [[] for _ in texts]
        after = 0
        for place, number in zip(places.tolist(), numbers.tolist(), strict=True):
            if place < after:
                continue
            for length in self._lengths[joined[place]]:
                word = joined[place : place + length]
                if word in self._words:
                    found[number].append(word)
                    after = place + length
                    break
        return found


def _numbered(characters: Iterable[str]) -> npt.NDArray[np.uint16]:
    """A table over Unicode: each of the characters has a number of its own, from 1; all others have 0."""
    import numpy as np

    table = np.zeros(0x110000, np.uint16)
    for number, character in enumerate(sorted(set(characters)), 1):
        table[ord(character)] = number
    return table
