"""From texts to counts: all that BLEU, GLEU, ROUGE and Distinct are computed from, for many pairs at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pediatricsgpt.evaluation.cut import Words, cut_texts, joined
from pediatricsgpt.evaluation.metrics.formulas import sentence_scores
from pediatricsgpt.evaluation.metrics.names import METRICS, cut_of, is_corpus

Pairs = Sequence[tuple[str, str]]
Table = NDArray[np.int64]

COLUMNS = 15
"""Of a table of counts, a row per pair: words of the prediction and of the reference; clipped matches of 1- to
4-grams; different ROUGE words of the prediction, of the reference and of both; the same of pairs of words; different
words in the union of longest common subsequences; different words and different pairs of words of the prediction."""

_CHUNK = 100_000
"""Characters that are counted between two reports of progress"""
_SPACE_END = 0x3001
"""No white space lies behind it"""


@dataclass(frozen=True, slots=True)
class Grams:
    """The words of predictions as numbers, for Distinct over a corpus: item `i` has `ids[ends[i] : ends[i + 1]]`."""

    ids: Table
    ends: Table

    def subset(self, members: Sequence[int]) -> Grams:
        """Those of some items."""
        parts = [self.ids[self.ends[index] : self.ends[index + 1]] for index in members]
        ends = np.zeros(len(parts) + 1, np.int64)
        np.cumsum([len(part) for part in parts], out=ends[1:])
        return Grams(np.concatenate(parts) if parts else self.ids[:0], ends)


@dataclass(frozen=True, slots=True)
class Counted:
    """What was counted in pairs of prediction and reference."""

    profile: str
    table: Table
    """[pairs, COLUMNS]"""
    values: NDArray[np.float64]
    """Scores of each pair, 0..1, rounded [pairs, metrics]"""
    empty: NDArray[np.bool_]
    """Pairs of which a side has no text, or only white space"""
    grams: Grams | None
    """Only profiles over the whole corpus need them"""

    def subset(self, members: Sequence[int]) -> Counted:
        """Those of some pairs."""
        grams = None if self.grams is None else self.grams.subset(members)
        chosen = np.asarray(members, np.int64)
        return Counted(self.profile, self.table[chosen], self.values[chosen], self.empty[chosen], grams)

    def per_sample(self) -> list[dict[str, float]]:
        """One dictionary per pair in the order of `METRICS`."""
        return [dict(zip(METRICS, row, strict=True)) for row in self.values.tolist()]


def count(
    pairs: Pairs,
    profile: str,
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
) -> Counted:
    """Count pairs of prediction and reference.

    Args:
        pairs: any number.
        profile: one of `PROFILES`.
        progress: told (pairs done, pairs in all) now and then, and at the end.
        workers: threads; None takes the processors that this process may use. The result does not depend on it.
    """
    table = np.zeros((len(pairs), COLUMNS), np.int64)
    ranges = list(_ranges(pairs))
    words_of([], cut_of(profile))  # loads the dictionary once, not in every thread
    done = 0
    for size in _map(lambda ends: _count(pairs, cut_of(profile), table, *ends), ranges, workers):
        done += size
        if progress is not None:
            progress(done, len(pairs))
    values = np.array(sentence_scores(table.tolist()), np.float64).reshape(len(pairs), len(METRICS))
    empty = (table[:, 0] == 0) | (table[:, 1] == 0)
    return Counted(profile, table, values, empty, _grams(pairs, cut_of(profile)) if is_corpus(profile) else None)


def words_of(texts: Sequence[str], cut: str) -> Words:
    """Words of texts by `paper` or `char`; those of `paper` include white space."""
    if cut == "paper":
        return cut_texts(texts)
    points, ends = joined(texts)
    spaces = _spaces()
    starts = np.flatnonzero(~spaces[np.minimum(points, len(spaces) - 1)])
    return Words(points, starts, starts + 1, np.searchsorted(starts, ends))


def _count(pairs: Pairs, cut: str, table: Table, start: int, end: int) -> int:
    """Fill the rows `start` to `end` of the table; how many they are."""
    # A text of nothing but white space has no words, though jieba gives some.
    words = words_of([text if text.strip() else "" for pair in pairs[start:end] for text in pair], cut)
    count_words(words, table[start:end])
    return end - start


def count_words(words: Words, table: Table) -> None:
    """Fill a table, a row per pair, from the words of predictions and references by turns."""
    from pediatricsgpt.evaluation.metrics import kernels

    many = np.diff(words.first)
    letters = np.diff(np.concatenate([[0], np.cumsum(words.ends - words.starts)])[words.first])
    longest, room = int(letters.max(initial=0)) + 2, int((letters + many).reshape(-1, 2).sum(axis=1).max(initial=0)) + 8
    kernels.count_pairs(words.points, words.starts, words.ends, words.first, _spaces(), longest, room, table)


def _ranges(pairs: Pairs) -> Iterator[tuple[int, int]]:
    """Parts of some size in characters."""
    start, size = 0, 0
    for index, (prediction, reference) in enumerate(pairs):
        size += len(prediction) + len(reference)
        if size >= _CHUNK:
            yield start, index + 1
            start, size = index + 1, 0
    if start < len(pairs):
        yield start, len(pairs)


def _map(
    work: Callable[[tuple[int, int]], int], ranges: Sequence[tuple[int, int]], workers: int | None
) -> Iterator[int]:
    threads = min(len(ranges), workers if workers is not None else _processors())
    if threads < 2:
        yield from map(work, ranges)
        return
    with ThreadPoolExecutor(threads) as pool:  # compiled code lets other threads run
        yield from pool.map(work, ranges)


def _processors() -> int:
    """How many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def _grams(pairs: Pairs, cut: str) -> Grams:
    """The words of the predictions as numbers; a prediction of nothing but white space has none."""
    texts = ["" if not prediction.strip() else prediction for prediction, _ in pairs]
    words = words_of(texts, cut)
    joined_text, numbers = "".join(texts), dict[str, int]()
    ends = zip(words.starts.tolist(), words.ends.tolist(), strict=True)
    ids = [numbers.setdefault(joined_text[start:end], len(numbers)) for start, end in ends]
    return Grams(np.array(ids, np.int64), words.first)


@cache
def _spaces() -> NDArray[np.bool_]:
    """Which code points are white space to `str.split`; the last entry stands for all beyond."""
    return np.array([chr(point).isspace() for point in range(_SPACE_END)] + [False])


def is_empty(text: str) -> bool:
    """Whether a text is none, or only white space."""
    return not text or text.isspace()


def count_empty(pairs: Pairs) -> int:
    """How many pairs have an empty side, that is no text or only white space."""
    return sum(is_empty(prediction) or is_empty(reference) for prediction, reference in pairs)
