"""Speed of the metrics of profile `paper` beside the reference stack (jieba + NLTK + rouge), by hand.

    python benchmarks/metrics.py [FILE.jsonl] [--pairs 1000] [--repeat 3]

FILE holds `prediction` and `reference` on each line. Without it, texts are drawn (seeded) from jieba's own
dictionary by word frequency, so that it runs anywhere; they cut slower than real text, because chance
neighbours are not in the dictionary. Each repetition times both sides, the median repetition is printed, and
every score is compared. NLTK is asked once for each BLEU-n, as one would read the paper; the line "one BLEU call"
is the same stack with all four weights in one call.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any

import jieba
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from nltk.translate.gleu_score import sentence_gleu
from rouge import Rouge

from pediatricsgpt.evaluation.cut import cut
from pediatricsgpt.evaluation.metrics import METRICS, score_pair
from pediatricsgpt.evaluation.predictions import read_predictions

Pair = tuple[str, str]
Words = list[tuple[list[str], list[str]]]
WEIGHTS = [(1,), (0.5, 0.5), (0.33, 0.33, 0.33), (0.25, 0.25, 0.25, 0.25)]
SMOOTH = SmoothingFunction().method3


def main() -> None:
    """Time both sides and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--pairs", type=int, default=1000, help="how many pairs at most")
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.file:
        pairs = [(item.prediction, item.reference) for item in read_predictions(arguments.file)]
    else:
        pairs = sample_pairs(arguments.pairs)
    pairs = [pair for pair in pairs[: arguments.pairs] if all(text.strip() for text in pair)]
    # The rouge package walks recursively and stops at Python's limit on texts of about a thousand words.
    sys.setrecursionlimit(100_000)
    jieba.setLogLevel("ERROR")
    score_pair("热身", "热身"), jieba.lcut("热身")  # both load their dictionary outside the measurement
    runs = [run(pairs) for _ in range(arguments.repeat)]
    report(pairs, {name: median(times[name] for times in runs) for name in runs[0]})


def sample_pairs(count: int, words: int = 100) -> list[Pair]:
    """Texts of dictionary words by frequency; the prediction shares about half of its words with the reference."""
    entries = [line.split(" ") for line in (Path(jieba.__file__).parent / "dict.txt").read_text("utf-8").splitlines()]
    vocabulary, frequency = [entry[0] for entry in entries], list(accumulate(int(entry[1]) for entry in entries))
    vocabulary.extend("，。")
    frequency.extend((frequency[-1] * 8 // 7, frequency[-1] * 9 // 7))
    rng = random.Random(17)

    def draw() -> str:
        return rng.choices(vocabulary, cum_weights=frequency)[0]

    pairs = []
    for _ in range(count):
        reference = [draw() for _ in range(words)]
        prediction = [draw() if rng.random() < 0.5 else word for word in reference]
        pairs.append(("".join(prediction), "".join(reference)))
    return pairs


def run(pairs: Sequence[Pair]) -> dict[str, float]:
    """Seconds of each part of the reference stack and of ours, in one run; raises if a score differs."""
    times: dict[str, float] = {}
    words: Words = timed(times, "jieba", lambda: [(jieba.lcut(said), jieba.lcut(wanted)) for said, wanted in pairs])
    one_call = timed(times, "bleu, one call", lambda: [bleu(said, wanted, WEIGHTS) for said, wanted in words])
    bleus = timed(times, "bleu", lambda: [[bleu(said, wanted, w) for w in WEIGHTS] for said, wanted in words])
    gleus = timed(times, "gleu", lambda: [sentence_gleu([wanted], said) for said, wanted in words])
    rouges = timed(times, "rouge", lambda: [rouge(said, wanted) for said, wanted in words])
    distincts = timed(times, "distinct", lambda: [(distinct(said, 1), distinct(said, 2)) for said, _ in words])
    timed(times, "our cutting", lambda: [(cut(said), cut(wanted)) for said, wanted in pairs])
    ours = timed(times, "ours", lambda: [score_pair(said, wanted) for said, wanted in pairs])
    for index, scores in enumerate(ours):
        values = [*rouges[index], *bleus[index], gleus[index], *distincts[index]]
        expected = {name: round(value, 4) for name, value in zip(METRICS, values, strict=True)}
        assert scores == expected, f"pair {index}: {scores} is not {expected}"
        assert one_call[index] == bleus[index] or not any(bleus[index])
    return times


def timed(times: dict[str, float], name: str, work: Callable[[], Any]) -> Any:
    """The result of some work, its seconds noted under a name."""
    start = time.perf_counter()
    result = work()
    times[name] = time.perf_counter() - start
    return result


def bleu(said: list[str], wanted: list[str], weights: Any) -> Any:
    """NLTK's sentence BLEU: a number for one set of weights, a list for several."""
    return sentence_bleu([wanted], said, weights=weights, smoothing_function=SMOOTH)


def rouge(said: list[str], wanted: list[str]) -> list[float]:
    """F of the rouge package, 0 where it raises because a side has no sentence."""
    try:
        scores = Rouge().get_scores(" ".join(said), " ".join(wanted))[0]
    except ValueError:
        return [0.0, 0.0, 0.0]
    return [scores[name]["f"] for name in ("rouge-1", "rouge-2", "rouge-l")]


def distinct(words: list[str], order: int) -> float:
    """Different n-grams over all n-grams."""
    grams = list(zip(*(words[start:] for start in range(order)), strict=False))
    return len(set(grams)) / len(grams) if grams else 0.0


def report(pairs: Sequence[Pair], times: dict[str, float]) -> None:
    """Print the seconds and the ratios."""
    length = sum(len(said) + len(wanted) for said, wanted in pairs) / (2 * len(pairs))
    print(f"{len(pairs)} pairs, mean {length:.0f} characters a side; all scores equal; seconds:")
    for name, seconds in times.items():
        print(f"  {name:16}{seconds:8.3f}")
    rest = sum(times[name] for name in ("gleu", "rouge", "distinct"))
    after = rest + times["bleu"]
    stack, one_call = times["jieba"] + after, times["jieba"] + rest + times["bleu, one call"]
    print(f"reference stack {stack:.3f} s, ours {times['ours']:.3f} s: {stack / times['ours']:.1f} x")
    print(f"  with one BLEU call {one_call:.3f} s: {one_call / times['ours']:.1f} x")
    print(f"  after cutting: {after / (times['ours'] - times['our cutting']):.1f} x")
    print(f"  cutting alone: {times['jieba'] / times['our cutting']:.2f} x")


if __name__ == "__main__":
    main()
