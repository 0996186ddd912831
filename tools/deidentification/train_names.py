"""Train the model of names: src/pediatricsgpt/corpus/deidentify/name_weights.npz.

    python tools/deidentification/train_names.py SET.jsonl [SET.jsonl …] --texts FOLDER [--out FILE]

Positives are names that are made up anew for every example (a surname, and a given name drawn character by
character), put in the place of the names of the labelled sets (their development rows), into the sentences of
phrases/*.txt, into the surroundings of train_names.yaml, and into real sentences where these speak of the baby, the
patient or a doctor, so that the model learns the shape of names and what stands around them, not who is named.
Negatives are all other candidates, there and in the real texts of the folder (every fifth sentence, by its hash, is
held out and counts the false alarms). Logistic regression with Adagrad (J. Duchi et al., 2011); the same arguments
give the same file.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numba
import numpy as np
from name_examples import COMMON, Composer, Example, Names, contexts, injected, rows_of
from real_examples import Slots, filled, lines_of

from pediatricsgpt.corpus.deidentify import candidates as c
from pediatricsgpt.corpus.deidentify.learned import EDGE, WEIGHTS, encoded, tables
from pediatricsgpt.text import decode

HERE = Path(__file__).parent
# log odds from which on a candidate counts, by its kind in the order of `candidates`: chosen on authors who were left
# out of the training
THRESHOLDS = (-2.8, -3.2, -1.0, -3.0, -3.0, -3.4, -3.4, -3.6, -2.6, -3.0, -2.0, -2.2, -2.5, -3.6, -4.0)


def sentences(folder: Path) -> Iterator[str]:
    """Real sentences of consultations and answers, each once."""
    seen: set[str] = set()
    for path in sorted([*folder.glob("dialogues/*"), *folder.glob("distilled/*")]):
        text = decode(path.read_bytes()).text if path.is_file() else ""
        text = re.sub(r"\\[nrt]|\\u[0-9a-f]{4}", "\n", text)
        for sentence in re.split(r"(?<=[。！？!?])|[\n\"{}\t<>|]+", text):
            sentence = sentence.strip()
            if 5 <= len(sentence) <= 150 and re.search("[\u4e00-\u9fff]{3}", sentence) and sentence not in seen:
                seen.add(sentence)
                yield sentence


# real sentences with somebody's name in them, mostly of made-up cases: they are no negatives
_SOMEBODY = re.compile(
    f"(?<![{COMMON[:20]}])[{COMMON[:60]}](?:先生|女士|小姐|某|医生|主任|教授|院长|大爷|阿姨|叔叔|大夫)"
)


def is_held_out(sentence: str) -> bool:
    return hashlib.blake2b(sentence.encode(), digest_size=2).digest()[0] % 5 == 0


@numba.njit  # type: ignore[untyped-decorator]  # a cached one would keep the features of its time
def learn(  # type: ignore[no-untyped-def]
    order, spans, texts, starts, labels, weights, squares, shapes, words, rate, decay, heavy, dropped, seed
):
    """One pass of Adagrad over the candidates in the given order; the features are made on the way, and some of them
    left out at random, so that no single one of a known surrounding carries a name alone."""
    np.random.seed(seed)
    buckets = np.empty(c.FEATURES, np.int32)
    loss = 0.0
    for i in order:
        row = spans[i, 3]
        text, known = texts[starts[row] : starts[row + 1]], words[:, starts[row] : starts[row + 1]]
        count = c.features(text, spans[i, 0], spans[i, 1], spans[i, 2], shapes, known, buckets)
        kept = 0
        for j in range(count):
            if np.random.random() >= dropped:
                buckets[kept] = buckets[j]
                kept += 1
        count = kept
        total = 0.0
        for j in range(count):
            total += weights[buckets[j]]
        chance = 1 / (1 + np.exp(-total))
        loss -= np.log(max(chance if labels[i] else 1 - chance, 1e-9))
        slope = (chance - labels[i]) * (heavy if labels[i] else 1.0)
        for j in range(count):
            b = buckets[j]
            step = slope + decay * weights[b]
            squares[b] += step * step
            weights[b] -= rate * step / np.sqrt(squares[b] + 1e-6)
    return loss / len(order)


def arranged(examples: Sequence[Example]) -> tuple[Any, Any, Any, Any, Any]:
    """All candidates of the examples: (start, end, kind, row), the texts joined, the words in them, their starts, and
    the labels."""
    known = tables()
    codes = [encoded(text) for text, _ in examples]
    starts = np.cumsum([0, *map(len, codes)])
    found, labels, words = [], [], []
    for row, ((_, true), code) in enumerate(zip(examples, codes, strict=True)):
        spans = np.empty((8 * len(code) + 16, 3), np.int32)
        words.append(c.entries_of(code, known.keys, known.entries))
        count = c.enumerate_candidates(code, known.flags, known.shapes, words[-1], spans)
        part = np.column_stack([spans[:count], np.full(count, row, np.int32)])
        whole = {(first + EDGE, last + EDGE) for first, last in true}
        labels.append(np.array([(int(a), int(b)) in whole for a, b in part[:, :2]], np.int8))
        found.append(part)
    joined = np.concatenate(words, axis=1)
    return np.concatenate(found).astype(np.int32), np.concatenate(codes), joined, starts, np.concatenate(labels)


def trained(examples: Sequence[Example], seed: int, passes: int = 3, dropped: float = 0.4) -> Any:
    """Weights (float32 by bucket) of all examples."""
    known = tables()
    spans, texts, words, starts, labels = arranged(examples)
    weights, squares = np.zeros(1 << c.BUCKETS_LOG2, np.float32), np.zeros(1 << c.BUCKETS_LOG2, np.float32)
    draw = np.random.default_rng(seed)
    for number in range(passes):
        order = draw.permutation(len(spans))
        loss = learn(order, spans, texts, starts, labels, weights, squares, known.shapes, words,
                     0.06, 1e-6, 1.5, dropped, seed + number)  # fmt: skip
        print(f"pass {number + 1}: {len(spans)} candidates, {labels.sum()} names, loss {loss:.4f}", flush=True)
    return weights


def examples_of(
    rows: Sequence[dict[str, Any]], phrases: Sequence[str], texts: Sequence[str], chosen: argparse.Namespace
) -> list[Example]:
    """Positives and negatives for one training."""
    names = Names(chosen.seed)
    found = [injected(row, names) for row in rows for _ in range(chosen.copies)]
    parts = contexts(HERE / "train_names.yaml")
    composer = Composer(parts, names, texts, rows)
    for line in phrases:
        found += [filled(line, names) for _ in range(chosen.copies)]
        found += [composer.carried(*filled(line, names)) for _ in range(chosen.copies)]
    found += [composer.make() for _ in range(chosen.made)]
    slots = Slots(texts, names, parts["others"])
    found += [slots.make() for _ in range(chosen.real)]
    return found + [(text, []) for text in texts]


def cutoff_of(examples: Sequence[Example], weights: Any, share: float = 0.0007) -> int:
    """The sum of the first features below which only this share of the names is."""
    known = tables()
    spans, texts, _, starts, labels = arranged(examples)
    buckets, sums = np.empty(c.FEATURES, np.int32), []
    for start, end, kind, row in spans[labels == 1]:
        c.near(texts[starts[row] : starts[row + 1]], start, end, kind, known.shapes, buckets)
        sums.append(int(weights[buckets[: c.NEAR]].astype(np.int64).sum()))
    return int(np.quantile(sums, share))


def packed(weights: Any) -> tuple[Any, float]:
    """The weights as int8, and what one step is worth."""
    step = float(np.quantile(np.abs(weights[weights != 0]), 0.9995)) / 127
    return np.clip(np.round(weights / step), -127, 127).astype(np.int8), step


def main(arguments: Sequence[str]) -> None:
    """Train and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", type=Path, nargs="+")
    parser.add_argument("--texts", type=Path, required=True, help="folder with dialogues/ and distilled/")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--copies", type=int, default=6, help="times that each row of a set is filled anew")
    parser.add_argument(
        "--made", type=int, default=120000, help="examples from tools/deidentification/train_names.yaml"
    )
    parser.add_argument("--real", type=int, default=150000, help="real sentences into which names are put")
    parser.add_argument(
        "--phrases", type=Path, default=HERE / "phrases", help="folder of sentences with places for names"
    )
    parser.add_argument("--dropped", type=float, default=0.4, help="share of the features left out at each step")
    parser.add_argument("--passes", type=int, default=4)
    parser.add_argument("--limit", type=int, default=10**9, help="real sentences at the most")
    chosen = parser.parse_args(arguments)
    real = list(sentences(chosen.texts))
    used = [text for text in real if not is_held_out(text) and not _SOMEBODY.search(text)][: chosen.limit]
    print(f"{len(real)} sentences, {len(used)} used", flush=True)
    rows = [row for path in chosen.sets for row in rows_of(path)]
    phrases = lines_of(sorted(chosen.phrases.glob("*.txt")))
    examples = examples_of(rows, phrases, used, chosen)
    weights = trained(examples, chosen.seed, chosen.passes, chosen.dropped)
    small, step = packed(weights)
    cutoff = cutoff_of([example for example in examples if example[1]][:: max(1, len(examples) // 20000)], small)
    thresholds = (np.array(THRESHOLDS, np.float32) / np.float32(step)).astype(np.float32)
    np.savez_compressed(chosen.out, weights=small, thresholds=thresholds, step=np.float32(step), cutoff=cutoff)
    print(f"{chosen.out}: {chosen.out.stat().st_size} bytes, {np.count_nonzero(small)} weights")


if __name__ == "__main__":
    main(sys.argv[1:])
