"""The formulas: from counts to BLEU, GLEU, ROUGE and Distinct, for single items and for resamples of a whole corpus."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# The three weights of BLEU-3 are 0.33 each, so they sum to 0.99: the published numbers have it so.
BLEU_WEIGHTS = ((1.0,), (0.5, 0.5), (0.33, 0.33, 0.33), (0.25, 0.25, 0.25, 0.25))
PLACES = 4
_ORDERS = (1, 2, 3, 4)


def sentence_scores(rows: Iterable[Sequence[int]]) -> list[tuple[float, ...]]:
    """Scores of single items in the order of `METRICS`, 0..1, rounded; see `counting.COLUMNS` for what a row has.

    An item with an empty side scores 0 on all.
    """
    return [_sentence(row) for row in rows]


def _sentence(row: Sequence[int]) -> tuple[float, ...]:
    said, wanted = row[0], row[1]
    if not said or not wanted:
        return (0.0,) * 10
    values = (
        _f(row[6], row[7], row[8]),
        _f(row[9], row[10], row[11]),
        _f(row[6], row[7], row[12]),
        *bleu(row[2:6], [max(1, said - order + 1) for order in _ORDERS], said, wanted),
        sum(row[2:6]) / max(_possible(said), _possible(wanted)),
        # Distinct: different n-grams over all n-grams of the answer; one word has no pair and scores 0.
        row[13] / said,
        row[14] / max(1, said - 1),
    )
    return tuple([round(value, PLACES) for value in values])


def _f(said: int, wanted: int, common: int) -> float:
    """F as the `rouge` package has it, with its small number against a division by zero."""
    precision = common / said if said else 0.0
    recall = common / wanted if wanted else 0.0
    return 2.0 * ((precision * recall) / (precision + recall + 1e-8))


def bleu(matches: Sequence[float], possible: Sequence[float], said: float, wanted: float) -> list[float]:
    """BLEU-1 to BLEU-4 as NLTK computes them with one reference and smoothing `method3`.

    Args:
        matches: clipped matches of 1- to 4-grams.
        possible: how many n-grams the prediction has, at least one of each order and item.
        said: words of the prediction.
        wanted: words of the reference.
    """
    if not matches[0]:
        return [0.0] * len(BLEU_WEIGHTS)
    brevity = 1.0 if said > wanted else math.exp(1 - wanted / said)
    logarithms = []
    missing = 0
    for matched, all_ in zip(matches, possible, strict=True):
        if matched:
            precision = matched / all_
        else:  # the k-th order without a match counts 1 / 2^k matches
            missing += 1
            precision = 1 / (2**missing * all_)
        logarithms.append(math.log(precision))
    return [
        brevity * math.exp(math.fsum([weight * value for weight, value in zip(weights, logarithms, strict=False)]))
        for weights in BLEU_WEIGHTS
    ]


def _possible(length: int) -> int:
    """How many 1- to 4-grams so many words have."""
    return 4 * length - 6 if length > 3 else length * (length + 1) // 2


def corpus_sums(table: NDArray[np.int64]) -> Array:
    """What the corpus-level values are ratios of, for each item [items, 19]; sums of rows over items are enough.

    An item with an empty side is counted as NLTK counts it: with what the other side has.
    """
    said, wanted = table[:, 0], table[:, 1]
    grams = [np.maximum(1, said - order + 1) for order in _ORDERS]
    longer = np.maximum(said, wanted)
    most = np.where(longer > 3, 4 * longer - 6, longer * (longer + 1) // 2)  # 1- to 4-grams of the longer side
    columns = [said, wanted, *table[:, 2:6].T, *grams, table[:, 2:6].sum(axis=1), most, *table[:, 6:12].T, table[:, 12]]
    return np.stack(columns, axis=1).astype(np.float64)


def corpus_scores(sums: Array) -> Array:
    """ROUGE-1, -2, -L, BLEU-1 to -4 and GLEU, 0..1 [rows, 8], of rows of summed counts [rows, 19].

    ROUGE is the F of precision and recall over the summed counts (micro average), BLEU and GLEU are those of NLTK's
    `corpus_bleu` (smoothing `method3`) and `corpus_gleu`.
    """
    said, wanted, matches, possible = sums[:, 0], sums[:, 1], sums[:, 2:6], sums[:, 6:10]
    first_said, first_wanted, first, pair_said, pair_wanted, pair, longest = sums[:, 12:19].T
    with np.errstate(divide="ignore", invalid="ignore"):
        found = [
            _f_of(first_said, first_wanted, first),
            _f_of(pair_said, pair_wanted, pair),
            _f_of(first_said, first_wanted, longest),
            *_bleu_of(matches, possible, said, wanted),
            np.where(sums[:, 10] > 0, sums[:, 10] / sums[:, 11], 0.0),
        ]
    return np.stack(found, axis=1)


def _f_of(said: Array, wanted: Array, common: Array) -> Array:
    precision = np.where(said > 0, common / said, 0.0)
    recall = np.where(wanted > 0, common / wanted, 0.0)
    return np.asarray(2.0 * precision * recall / (precision + recall + 1e-8), np.float64)


def _bleu_of(matches: Array, possible: Array, said: Array, wanted: Array) -> list[Array]:
    brevity = np.where(said > wanted, 1.0, np.exp(1.0 - wanted / said))
    missing = np.cumsum(matches == 0, axis=1)
    logarithms = np.log(np.where(matches > 0, matches / possible, 1.0 / (2.0**missing * possible)))
    values = [brevity * np.exp(logarithms[:, : len(weights)] @ np.array(weights)) for weights in BLEU_WEIGHTS]
    return [np.where(matches[:, 0] > 0, value, 0.0) for value in values]
