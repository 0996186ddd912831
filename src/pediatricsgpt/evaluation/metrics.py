"""The metrics of the paper (METHOD section 3), equal to NLTK and the `rouge` package but without them and faster.

Per sample, both sides are cut into tokens; every value is rounded to 4 places; a corpus value is the mean over
samples, times 100. Profile `paper` cuts with `jieba.cut`; profile `char` takes characters without white space.

An item with an empty side (no text, or only white space) scores 0 on every metric, Distinct included, stays in the
mean, and is counted in `Scores.empty`.
"""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.rouge import rouge_f
from pediatricsgpt.evaluation.statistics import LEVEL, RESAMPLES, SEED, Interval, bootstrap_means

METRICS = ("rouge-1", "rouge-2", "rouge-l", "bleu-1", "bleu-2", "bleu-3", "bleu-4", "gleu", "distinct-1", "distinct-2")
PROFILES = ("paper", "char")

VERSION = 1
"""Raised whenever a change of this code could change a score"""

# The three weights of BLEU-3 are 0.33 each, so they sum to 0.99: the published numbers have it so.
_BLEU_WEIGHTS = ((1.0,), (0.5, 0.5), (0.33, 0.33, 0.33), (0.25, 0.25, 0.25, 0.25))
_ORDERS = (1, 2, 3, 4)
_PLACES = 4


@dataclass(frozen=True)
class Scores:
    """Scores of a set of items."""

    per_sample: list[dict[str, float]]
    """One dictionary per item in the order of `METRICS`, values 0..1"""
    summary: dict[str, Interval]
    """Mean over the items with its interval, times 100"""
    signature: str
    """Everything that the numbers depend on: scores with different signatures cannot be compared"""
    warnings: list[str]
    empty: int
    """Items of which a side was empty; they score 0 and are in the mean"""

    @property
    def n(self) -> int:
        """Number of items."""
        return len(self.per_sample)


def score_pair(prediction: str, reference: str, profile: str = "paper") -> dict[str, float]:
    """Scores of one answer, 0..1 and rounded to 4 places, keyed and ordered as `METRICS`.

    Raises:
        UserError: the profile is unknown.
    """
    return _score(prediction, reference, _tokenizer(profile))


def score(
    pairs: Sequence[tuple[str, str]],
    profile: str = "paper",
    *,
    seed: int = SEED,
    resamples: int = RESAMPLES,
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """Score (prediction, reference) pairs.

    Args:
        pairs: at least one.
        profile: `paper` or `char`.
        seed: of the bootstrap behind the intervals.
        resamples: of the bootstrap.
        progress: called with (items done, items in all) after each item.

    Raises:
        UserError: the profile is unknown, or there is no pair.
    """
    tokenize = _tokenizer(profile)
    samples = []
    for done, (prediction, reference) in enumerate(pairs, 1):
        samples.append(_score(prediction, reference, tokenize))
        if progress is not None:
            progress(done, len(pairs))
    return summarise(samples, count_empty(pairs), profile, seed=seed, resamples=resamples)


def count_empty(pairs: Sequence[tuple[str, str]]) -> int:
    """How many pairs have an empty side, that is no text or only white space."""
    return sum(_is_empty(prediction) or _is_empty(reference) for prediction, reference in pairs)


def summarise(
    per_sample: list[dict[str, float]], empty: int, profile: str, *, seed: int = SEED, resamples: int = RESAMPLES
) -> Scores:
    """Means, intervals and warnings of items that are scored already.

    Raises:
        UserError: there is no item.
    """
    if not per_sample:
        raise UserError("there is nothing to score: no pair of prediction and reference")
    values = 100.0 * np.array([[sample[name] for name in METRICS] for sample in per_sample])
    summary = dict(zip(METRICS, bootstrap_means(values, seed, resamples), strict=True))
    warnings = monotonicity_warnings({name: interval.mean for name, interval in summary.items()})
    if empty:
        warnings.insert(0, f"{empty} of {len(per_sample)} items have an empty prediction or reference and score 0")
    return Scores(per_sample, summary, signature(profile, seed=seed, resamples=resamples), warnings, empty)


def signature(profile: str, *, seed: int = SEED, resamples: int = RESAMPLES) -> str:
    """Everything that scores and intervals of a profile depend on, as one line."""
    _check_profile(profile)
    parts = {
        "profile": profile,
        "cut": _cut_version(profile),
        "bleu": "cumulative,method3,weights3:0.33",
        "gleu": "1-4",
        "rouge": "rouge-1.0.1,f",
        "distinct": "within",
        "empty": "0",
        "round": str(_PLACES),
        "interval": f"percentile,{LEVEL},resamples:{resamples},seed:{seed}",
    }
    return "|".join([f"pedgpt-metrics:{VERSION}", *(f"{name}:{value}" for name, value in parts.items())])


def monotonicity_warnings(means: Mapping[str, float]) -> list[str]:
    """A warning for each BLEU-n above BLEU-(n-1), of our scores or of anybody's table.

    Two things can do it and both are said: a clipped n-gram precision may exceed the one below when an answer
    repeats itself, and the weights of BLEU-3 sum to 0.99. Smoothing `method3` cannot: a smoothed precision is never
    above the one before it.
    """
    found = []
    for order in _ORDERS[1:]:
        above, below = means.get(f"bleu-{order}"), means.get(f"bleu-{order - 1}")
        if above is None or below is None or above <= below + 1e-9:
            continue
        weights = ", or the weights of BLEU-3, which sum to 0.99," if order == 3 else ""
        found.append(
            f"BLEU-{order} ({above:.2f}) is above BLEU-{order - 1} ({below:.2f}): only answers that repeat the same "
            f"words{weights} can do this, and only by a little; smoothing cannot. Look for looping answers; a large "
            "gap means that the two numbers do not come from the same computation"
        )
    return found


def _check_profile(profile: str) -> None:
    if profile not in PROFILES:
        nearest = difflib.get_close_matches(profile, PROFILES, n=1)
        hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
        raise UserError(f"unknown metric profile '{profile}', known are {', '.join(PROFILES)}{hint}")


def _tokenizer(profile: str) -> Callable[[str], list[str]]:
    _check_profile(profile)
    if profile == "char":
        return _characters
    # jieba loads its dictionary here: half a second that only a run which scores has to pay.
    from pediatricsgpt.evaluation.cut import cut

    return cut


def _cut_version(profile: str) -> str:
    if profile == "char":
        return "char"
    from pediatricsgpt.evaluation.cut import cut_version

    return cut_version()


def _characters(text: str) -> list[str]:
    return list("".join(text.split()))


def _is_empty(text: str) -> bool:
    return not text or text.isspace()


def _score(prediction: str, reference: str, tokenize: Callable[[str], list[str]]) -> dict[str, float]:
    if _is_empty(prediction) or _is_empty(reference):
        return dict.fromkeys(METRICS, 0.0)
    said, wanted = tokenize(prediction), tokenize(reference)
    matches = _matches(said, wanted)
    values = (
        *rouge_f(said, wanted),
        *_bleu(matches, len(said), len(wanted)),
        _gleu(matches, len(said), len(wanted)),
        # Distinct: different n-grams over all n-grams of the answer; one word has no pair and scores 0.
        len(set(said)) / len(said),
        len(set(pairwise(said))) / max(1, len(said) - 1),
    )
    return {name: round(value, _PLACES) for name, value in zip(METRICS, values, strict=True)}


def _grams(words: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(words[start:] for start in range(order)), strict=False))


def _gram_count(length: int, order: int) -> int:
    return max(0, length - order + 1)


def _matches(said: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """For each order, how many n-grams the reference has too, each at most as often as the reference has it."""
    matches: list[int] = []
    for order in _ORDERS:
        if matches and not matches[-1]:  # without a common n-gram there is no longer one either
            matches.append(0)
            continue
        ours, theirs = _grams(said, order), _grams(wanted, order)
        common = ours.keys() & theirs.keys()
        matches.append(sum(map(min, map(ours.__getitem__, common), map(theirs.__getitem__, common))))
    return matches


def _bleu(matches: Sequence[int], said: int, wanted: int) -> list[float]:
    """BLEU-1 to BLEU-4 as NLTK's `sentence_bleu` computes them with one reference and smoothing `method3`."""
    if not matches[0]:
        return [0.0] * len(_BLEU_WEIGHTS)
    brevity = 1.0 if said > wanted else math.exp(1 - wanted / said)
    logarithms = []
    missing = 0
    for order, matched in zip(_ORDERS, matches, strict=True):
        possible = max(1, _gram_count(said, order))
        if matched:
            precision = matched / possible
        else:  # the k-th order without a match counts 1 / 2^k matches
            missing += 1
            precision = 1 / (2**missing * possible)
        logarithms.append(math.log(precision))
    return [
        brevity * math.exp(math.fsum(weight * value for weight, value in zip(weights, logarithms, strict=False)))
        for weights in _BLEU_WEIGHTS
    ]


def _gleu(matches: Sequence[int], said: int, wanted: int) -> float:
    """The lower of precision and recall over all 1- to 4-grams together, as NLTK's `sentence_gleu`."""
    possible = max(sum(_gram_count(length, order) for order in _ORDERS) for length in (said, wanted))
    return sum(matches) / possible
