"""Speed of the metrics beside the reference stack (jieba + NLTK + rouge), by hand.

    python benchmarks/metrics.py [FILE.jsonl] [--pairs 5000] [--repeat 3] [--texts ../shared/data]

FILE holds `prediction` and `reference` on each line. Without it, pairs are made of texts of 100 to 300 characters that
lie below --texts (neighbours of a seeded shuffle of the different ones); where there are none, of texts drawn from
jieba's dictionary by word frequency, which cut slower than real text, because chance neighbours are not in the
dictionary. Every repetition runs both sides, one after the other, and compares every score; medians are printed. The
reference computes scores; ours computes scores and intervals (2,000 resamples), as `pedgpt score` does. One process is
measured in processor time, two cores on the clock. NLTK is asked once for each BLEU-n, as one would read the paper;
"one BLEU call" is the same stack with all four weights in one call. Dictionaries are loaded and code is compiled
before.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any

import jieba
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from nltk.translate.gleu_score import sentence_gleu
from rouge import Rouge

from pediatricsgpt.evaluation.metrics import METRICS, score, summarise
from pediatricsgpt.evaluation.metrics.counting import count, words_of
from pediatricsgpt.evaluation.predictions import read_predictions

Pair = tuple[str, str]
Words = list[tuple[list[str], list[str]]]
WEIGHTS = [(1,), (0.5, 0.5), (0.33, 0.33, 0.33), (0.25, 0.25, 0.25, 0.25)]
SMOOTH = SmoothingFunction().method3
CLOCK = "on the clock: "
FOLDERS = ("distilled", "dialogues", "benchmarks", "preferences")


def main() -> None:
    """Time both sides and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--pairs", type=int, default=5000, help="how many pairs at most")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--texts", type=Path, default=Path(__file__).parents[1] / "../shared/data")
    arguments = parser.parse_args()
    if arguments.file:
        pairs = [(item.prediction, item.reference) for item in read_predictions(arguments.file)]
    else:
        pairs = real_pairs(arguments.texts) or drawn_pairs(arguments.pairs)
    pairs = [pair for pair in pairs[: arguments.pairs] if all(text.strip() for text in pair)]
    # The rouge package walks recursively and stops at Python's limit on texts of about a thousand words.
    sys.setrecursionlimit(100_000)
    jieba.setLogLevel(logging.ERROR)
    score(pairs[:2]), jieba.lcut("热身")  # both load their dictionary outside the measurement
    for profile in ("paper", "char"):
        runs = [run(pairs, profile) for _ in range(arguments.repeat)]
        report(pairs, profile, {name: median(times[name] for times in runs) for name in runs[0]})


def real_pairs(folder: Path) -> list[Pair]:
    """Pairs of different texts of 100 to 300 characters from files of JSON, JSON lines and text."""
    found: set[str] = set()
    for name in FOLDERS:
        for path in sorted((folder / name).rglob("*")):
            if path.suffix in (".json", ".jsonl", ".txt"):
                found |= {text.strip() for text in strings(path) if 100 <= len(text.strip()) <= 300}
    texts = sorted(found)
    random.Random(17).shuffle(texts)
    return list(zip(texts[::2], texts[1::2], strict=False))


def strings(path: Path) -> Iterator[str]:
    """All texts of a file; lines that are not JSON are passed over."""
    text = path.read_text("utf-8", errors="replace")
    if path.suffix == ".txt":
        yield from text.split("\n")
        return
    for part in [text] if path.suffix == ".json" else text.split("\n"):
        try:
            yield from inside(json.loads(part))
        except json.JSONDecodeError:
            continue


def inside(value: Any) -> Iterator[str]:
    """All texts of a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from inside(each)


def drawn_pairs(pairs: int, words: int = 100) -> list[Pair]:
    """Texts of dictionary words by frequency; the prediction shares about half of its words with the reference."""
    entries = [line.split(" ") for line in (Path(jieba.__file__).parent / "dict.txt").read_text("utf-8").splitlines()]
    vocabulary, frequency = [entry[0] for entry in entries], list(accumulate(int(entry[1]) for entry in entries))
    vocabulary.extend("，。")
    frequency.extend((frequency[-1] * 8 // 7, frequency[-1] * 9 // 7))
    rng = random.Random(17)

    def draw() -> str:
        return rng.choices(vocabulary, cum_weights=frequency)[0]

    found = []
    for _ in range(pairs):
        reference = [draw() for _ in range(words)]
        prediction = [draw() if rng.random() < 0.5 else word for word in reference]
        found.append(("".join(prediction), "".join(reference)))
    return found


def run(pairs: Sequence[Pair], profile: str) -> dict[str, float]:
    """Seconds of each part of the reference stack and of ours, in one run; raises if a score differs."""
    times: dict[str, float] = {}
    cut: Callable[[str], list[str]] = jieba.lcut if profile == "paper" else lambda text: list("".join(text.split()))
    words: Words = timed(times, "cutting", lambda: [(cut(said), cut(wanted)) for said, wanted in pairs])
    ours = timed(times, "ours", lambda: score(pairs, profile, workers=1))
    timed(times, "ours: cutting", lambda: words_of([text for pair in pairs for text in pair], profile))
    counted = timed(times, "ours: cutting, counting, formulas", lambda: count(pairs, profile, workers=1))
    timed(times, "ours: intervals", lambda: summarise(counted))
    one_call = timed(times, "bleu, one call", lambda: [bleu(said, wanted, WEIGHTS) for said, wanted in words])
    bleus = timed(times, "bleu", lambda: [[bleu(said, wanted, w) for w in WEIGHTS] for said, wanted in words])
    gleus = timed(times, "gleu", lambda: [sentence_gleu([wanted], said) for said, wanted in words])
    rouges = timed(times, "rouge", lambda: [rouge(said, wanted) for said, wanted in words])
    distincts = timed(times, "distinct", lambda: [(distinct(said, 1), distinct(said, 2)) for said, _ in words])
    assert timed(times, "ours, two threads", lambda: score(pairs, profile, workers=2)) == ours
    for index, scores in enumerate(ours.per_sample):
        values = [*rouges[index], *bleus[index], gleus[index], *distincts[index]]
        expected = {name: round(value, 4) for name, value in zip(METRICS, values, strict=True)}
        assert scores == expected, f"pair {index}: {scores} is not {expected}"
        assert one_call[index] == bleus[index] or not any(bleus[index])
    return times


def timed(times: dict[str, float], name: str, work: Callable[[], Any]) -> Any:
    """The result of some work; its seconds of processor time and on the clock are noted under a name."""
    clock, start = time.perf_counter(), time.process_time()
    result = work()
    times[name], times[CLOCK + name] = time.process_time() - start, time.perf_counter() - clock
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


def report(pairs: Sequence[Pair], profile: str, times: dict[str, float]) -> None:
    """Print the seconds and the ratios."""
    length = sum(len(said) + len(wanted) for said, wanted in pairs) / (2 * len(pairs))
    print(f"profile {profile}: {len(pairs)} pairs, mean {length:.0f} characters a side; all scores equal; seconds:")
    for name, seconds in times.items():
        if not name.startswith(CLOCK):
            print(f"  {name:34}{seconds:8.3f} {times[CLOCK + name]:8.3f} on the clock")
    for clock, name in (("", "ours"), (CLOCK, "ours, two threads")):
        rest = sum(times[clock + part] for part in ("cutting", "gleu", "rouge", "distinct"))
        stack, one_call = rest + times[clock + "bleu"], rest + times[clock + "bleu, one call"]
        seconds = times[clock + name]
        print(f"  {clock}{name}, with intervals: {stack / seconds:.1f} x ({one_call / seconds:.1f} x one BLEU call)")


if __name__ == "__main__":
    main()
