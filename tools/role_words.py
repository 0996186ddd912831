"""Make the table that tells doctor from caregiver by what is said: src/pediatricsgpt/corpus/rules/roles.yaml, by hand.

    python tools/role_words.py FOLDER_OF_DIALOGUES

The folder holds real consultations whose speakers are known (hetmc_train.dialog: MIT; remedi_dev_human.txt: MIT;
cmtmedqa_test.json: Apache-2.0). A logistic regression over the character n-grams of their clauses is fitted; every
fifth dialogue is held out and scored. What is written are n-grams of at most three characters with a weight each.
"""

from __future__ import annotations

import math
import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pediatricsgpt.corpus.settings import SourceSettings
from pediatricsgpt.corpus.sources import read_source
from pediatricsgpt.corpus.sources.speakers import clauses, grams

FILES = ("hetmc_train.dialog", "remedi_dev_human.txt", "cmtmedqa_test.json")
OUT = Path(__file__).parents[1] / "src" / "pediatricsgpt" / "corpus" / "rules" / "roles.yaml"
FEATURES, MIN_COUNT, EPOCHS, RATE, SHRINK = 1500, 12, 6, 0.2, 1e-3
Clause = tuple[str, str]


def main() -> None:
    """Fit, score on the held-out dialogues, write."""
    dialogues = read_dialogues(Path(sys.argv[1]))
    train = [clause for place, dialogue in enumerate(dialogues) if place % 5 for clause in dialogue]
    held = [clause for place, dialogue in enumerate(dialogues) if not place % 5 for clause in dialogue]
    weights, bias = fit(train, features(train))
    for role in ("user", "assistant"):
        right = [(bias + score(weights, text) > 0) == (role == "user") for said_by, text in held if said_by == role]
        print(f"{role}: {sum(right)} of {len(right)} held-out clauses, {sum(right) / len(right):.3f}")
    write(weights, bias)


def read_dialogues(folder: Path) -> list[list[Clause]]:
    """Clauses with their speakers, a list for each distinct dialogue, in a fixed random order."""
    draw, seen, found = random.Random(1), set[str](), []
    for name in FILES:
        settings = SourceSettings(
            name="roles", kind="conversation", path=Path(name), licence="see above",
            consent="published anonymised by the source", purpose="speaker roles",
        )  # fmt: skip
        for record in read_source(settings, folder).records:
            if record.id not in seen:
                seen.add(record.id)
                found.append(
                    [clause for turn in record.messages for clause in said(turn["role"], turn["content"], draw)]
                )
    draw.shuffle(found)
    return found


def said(role: str, content: str, draw: random.Random) -> list[Clause]:
    """The clauses of a turn; of a doctor's essay six, so that essays do not rule."""
    parts = clauses(content)
    if role == "assistant" and len(parts) > 6:
        parts = draw.sample(parts, 6)
    return [(role, part) for part in parts]


def features(rows: Sequence[Clause]) -> list[str]:
    """The n-grams whose share differs most between the roles, by the z-score of their log odds."""
    number = Counter(role for role, _ in rows)
    counts: dict[str, Counter[str]] = {"user": Counter(), "assistant": Counter()}
    for role, text in rows:
        counts[role].update(grams(text))
    scores = {}
    for gram in sorted(counts["user"].keys() | counts["assistant"].keys()):
        user, doctor = counts["user"][gram] + 1, counts["assistant"][gram] + 1
        if user + doctor >= MIN_COUNT:
            odds = math.log(user / (number["user"] + 2)) - math.log(doctor / (number["assistant"] + 2))
            scores[gram] = abs(odds) / math.sqrt(1 / user + 1 / doctor)
    return sorted(scores, key=lambda gram: (-scores[gram], gram))[:FEATURES]


def fit(rows: Sequence[Clause], names: Sequence[str]) -> tuple[dict[str, float], float]:
    """Logistic regression by AdaGrad, both roles with equal weight; positive is the caregiver."""
    place = {name: number for number, name in enumerate(names)}
    number = Counter(role for role, _ in rows)
    items = [
        (np.array([*sorted(place[gram] for gram in grams(text) if gram in place), len(names)]), role == "user", role)
        for role, text in rows
    ]
    weights, squares, draw = np.zeros(len(names) + 1), np.full(len(names) + 1, 1e-2), random.Random(3)
    for _ in range(EPOCHS):
        draw.shuffle(items)
        for where, caregiver, role in items:
            error = 1 / (1 + math.exp(-weights[where].sum())) - caregiver
            slope = error * 0.5 * len(rows) / number[role] + SHRINK * weights[where]
            squares[where] += slope * slope
            weights[where] -= RATE * slope / np.sqrt(squares[where])
    return {name: float(weights[number]) for name, number in place.items()}, float(weights[-1])


def score(weights: dict[str, float], text: str) -> float:
    """The sum of the weights of a clause's n-grams."""
    return sum(weights.get(gram, 0.0) for gram in grams(text))


def write(weights: dict[str, float], bias: float) -> None:
    """Write the table, hundredths as whole numbers, grouped by weight."""
    groups: dict[int, list[str]] = {}
    for gram, weight in weights.items():
        groups.setdefault(round(100 * weight), []).append(gram)
    lines = [
        "# Who speaks, by what is said: weights (hundredths of log odds, positive: caregiver) of character n-grams of",
        "# a clause; ^ and $ are its ends. Fitted by tools/role_words.py on real consultations: HET-MC",
        "# (cuhksz-nlp/HET-MC, MIT), ReMeDi (yanguojun123/Medical-Dialogue, MIT), CMtMedQA (SupritYoung/Zhongjing,",
        "# Apache-2.0). Made by that program: change it there.",
        f"bias: {round(100 * bias)}",
        "weights:",
    ]
    lines += [f'  {weight}: "{" ".join(sorted(groups[weight]))}"' for weight in sorted(groups) if weight]
    OUT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
