"""ROUGE-1, ROUGE-2 and ROUGE-L exactly as the `rouge` package (1.0.1) scores them, which the paper's code uses.

Its peculiarities are part of the published numbers and are kept: sentences end at every ".", also inside "3.5";
n-grams are sets and run across sentences; ROUGE-L counts the *distinct* words of the union of longest common
subsequences, and which subsequence of several equally long ones is taken matters. `rouge-chinese` differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, pairwise

Sentence = list[str]


def rouge_f(prediction: Sequence[str], reference: Sequence[str]) -> tuple[float, float, float]:
    """F of ROUGE-1, ROUGE-2 and ROUGE-L, each 0..1.

    Args:
        prediction: the words of the answer; words that are white space are ignored.
        reference: the words of the reference answer.

    A side without a sentence (no words, or nothing but ".") scores 0; the package raises there.
    """
    said, wanted = _sentences(prediction), _sentences(reference)
    if not said or not wanted:
        return 0.0, 0.0, 0.0
    said_words, wanted_words = list(chain.from_iterable(said)), list(chain.from_iterable(wanted))
    said_set, wanted_set = set(said_words), set(wanted_words)
    said_pairs, wanted_pairs = set(pairwise(said_words)), set(pairwise(wanted_words))
    return (
        _f(len(said_set), len(wanted_set), len(said_set & wanted_set)),
        _f(len(said_pairs), len(wanted_pairs), len(said_pairs & wanted_pairs)),
        _f(len(said_set), len(wanted_set), len(_union_lcs(said, wanted, wanted_set))),
    )


def _sentences(words: Sequence[str]) -> list[Sentence]:
    """The package's sentences. A piece of white space between two "." is a sentence of one empty word, as there."""
    return [piece.split() or [""] for piece in " ".join(words).split(".") if piece]


def _f(said: int, wanted: int, common: int) -> float:
    precision = common / said if said else 0.0
    recall = common / wanted if wanted else 0.0
    return 2.0 * ((precision * recall) / (precision + recall + 1e-8))


def _union_lcs(said: list[Sentence], wanted: list[Sentence], vocabulary: set[str]) -> set[str]:
    """Distinct words in the union of the longest common subsequences of every pair of sentences."""
    # A word that no reference sentence has never takes part; without it the bit vectors are shorter.
    # Equal sentences add nothing to a union, and a looping model writes hundreds of them.
    columns = [_positions([word for word in sentence if word in vocabulary]) for sentence in set(map(tuple, said))]
    union: set[str] = set()
    for sentence in set(map(tuple, wanted)):
        for positions, width in columns:
            union |= _lcs_words(sentence, positions, width)
    return union


def _positions(words: Sequence[str]) -> tuple[dict[str, int], int]:
    """For each word the places where it stands, as bits of one integer; and the number of places."""
    positions: dict[str, int] = {}
    for place, word in enumerate(words):
        positions[word] = positions.get(word, 0) | 1 << place
    return positions, len(words)


def _lcs_words(rows: Sequence[str], positions: dict[str, int], width: int) -> set[str]:
    """The words of that longest common subsequence which the package reconstructs.

    The table of lengths is never built. Row by row, `flat` (Hyyrö's bit-parallel recurrence) has a zero where
    the length grows from one column to the next. The package walks back from the last corner: diagonally on
    equal words, else up if the cell above is larger than the cell to the left, else left. The cell above is
    larger exactly where the length grows along the row, so within a row the walk goes left to the nearest
    column that either matches or grows, and leaves the row there.
    """
    if positions.keys().isdisjoint(rows):
        return set()
    full = (1 << width) - 1
    flat = full
    steps: list[tuple[str, int, int]] = []
    for word in rows:
        matches = positions.get(word, 0)
        if matches:
            common = flat & matches
            flat = ((flat + common) | (flat - common)) & full
        steps.append((word, matches, (full ^ flat) | matches))
    return _walk_back(steps, full)


def _walk_back(steps: list[tuple[str, int, int]], left: int) -> set[str]:
    """Collect the matched words from the last row up; `left` has a bit for each column not yet passed."""
    found: set[str] = set()
    for word, matches, stops in reversed(steps):
        here = stops & left
        if not here:
            break
        column = here.bit_length() - 1
        if matches >> column & 1:
            found.add(word)
            left = (1 << column) - 1
        else:
            left = (2 << column) - 1
    return found
