"""The words of profile `paper`: exactly those of `jieba.cut` with jieba's own dictionary, cut faster and silently.

This module imports jieba, so import it where words are needed, not at the top of a module.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from math import log
from typing import Any

with warnings.catch_warnings():
    # jieba's old string escapes and its use of pkg_resources warn on newer Pythons; neither concerns the user.
    warnings.simplefilter("ignore")
    import jieba


class _Cutter(jieba.Tokenizer):
    """A tokenizer of our own: words that the user adds to jieba's global dictionary cannot change a score.

    The dictionary is read straight from the package. jieba's own `initialize` would log to stderr, write a
    cache to the temporary folder, and trust whatever another version has left there; and it is no faster.
    """

    def __init__(self) -> None:
        super().__init__()
        self.FREQ, self.total = self.gen_pfdict(self.get_dict_file())
        self.initialized = True

    def get_DAG(self, sentence: str) -> dict[int, list[int]]:
        """Nothing: `calc` walks the dictionary itself, in the same pass."""
        return {}

    def calc(self, sentence: str, DAG: Any, route: dict[int, tuple[float, int]]) -> None:
        """Fill `route` with the most probable cut from each position on: jieba's search, without the graph between.

        Sums keep jieba's order of operations and ties go to the longer word, as there, so results are equal
        to the last bit.
        """
        frequency, log_total, length = self.FREQ.get, log(self.total), len(sentence)
        route[length] = (0.0, 0)
        for start in range(length - 1, -1, -1):
            end = start + 1
            count = frequency(sentence[start:end])
            best = (-log_total + route[end][0], start)
            found = False
            while count is not None:
                if count:  # zero marks a beginning of a word that is no word itself
                    score = log(count) - log_total + route[end][0]
                    if not found or score >= best[0]:
                        best, found = (score, end - 1), True
                end += 1
                if end > length:
                    break
                count = frequency(sentence[start:end])
            route[start] = best


@lru_cache(maxsize=1)
def _cutter() -> _Cutter:
    return _Cutter()


def cut(text: str) -> list[str]:
    """Words of a text, equal to `list(jieba.cut(text))` with jieba's default dictionary; white space included."""
    return list(_cutter().cut(text))


def cut_version() -> str:
    """What cut the words, for a metric signature."""
    return f"jieba-{jieba.__version__}"
