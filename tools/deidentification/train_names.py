"""Train the model of names: src/pediatricsgpt/corpus/deidentify/name_weights.npz.

    python tools/deidentification/train_names.py SET.jsonl [SET.jsonl …] --texts FOLDER [--out FILE]

Positives are names that are made up anew for every example (a surname, and a given name drawn character by character),
put in the place of the names of the labelled sets (their development rows) and into the surroundings of
train_names.yaml beside real sentences, so that the model learns the shape of names and what stands around them, not who
is named. Negatives are all other candidates, there and in the real texts of the folder (every fifth sentence, by its
hash, is held out and counts the false alarms). Logistic regression with Adagrad (J. Duchi et al., 2011); the same
arguments give the same file.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numba
import numpy as np
import yaml

from pediatricsgpt.corpus.deidentify import candidates as c
from pediatricsgpt.corpus.deidentify.learned import EDGE, WEIGHTS, _dictionary, encoded, tables
from pediatricsgpt.corpus.deidentify.lexicon import lexicon
from pediatricsgpt.corpus.rules import rules
from pediatricsgpt.text import decode

NAMES = {"patient_name": "n", "parent_name": "n", "doctor_name": "n", "surname_title": "t", "nickname": "k"}
HERE = Path(__file__).parent
COMMON = (
    "王李张刘陈杨黄赵周吴徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚卢姜"
    "崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤"
)  # fmt: skip
MODERN = (
    "子梓浩宇轩涵欣怡雨泽睿诗琪语桐一诺依思沐宸辰奕可馨俊杰晨曦佳文博雅静若嘉豪明皓然悦心瑶乐安宁希景行知夏予初"
    "清妍芷汐恩星野书瑾煜城昊天铭恒逸飞晗萱航承柏霖沫苒珩禾荞慕言以南望舒麦小满问兰紫凡尔岚曼冬夜雪"
)  # fmt: skip
OLDER = (
    "建国卫东红军志强伟芳秀英桂兰玉梅丽娟春花秋菊淑珍凤仙金水木生土根长林德福永贵大勇小平海燕爱民立新文斌晓燕"
    "亚军援朝解放学武进财有田来娣招腊银巧云彩霞敏静磊洋艳勇涛超杰霞刚平辉鹏飞莉萍婷慧颖琳倩蕾雯璐媛佩玲绮少惠宝"
)  # fmt: skip
_HOLES = re.compile(r"\{([ntk])\}")


class Names:
    """Draws names: character by character, so that hardly any comes twice."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        words, people = _dictionary()
        known = lexicon()
        self.surnames, self.compound = sorted(known.surnames), sorted(known.compound)
        persons = [name for name, _ in people if len(name) == 3 and name[0] in known.surnames]
        self.first, self.second = [name[1] for name in persons], [name[2] for name in persons]
        self.given = sorted(known.given)
        self.words = sorted(word for word in words if len(word) == 2 and word in known.nouns)
        self.nouns = sorted(word for word in known.nouns if len(word) in (2, 3))
        nicknames, own = rules("deidentify")["nicknames"], rules("deidentify_learned")
        self.pets = sorted({*nicknames["words"].split(), *nicknames["foods"].split(), *own["pet_words"].split()})
        self.doubled = sorted(set("".join(nicknames["doubled"].split())))
        self.tails = sorted(set(own["pet_tails"]) - {"儿"})
        self.barred = set("".join(own["barred"].split()))

    def surname(self) -> str:
        chance = self.draw.random()
        if chance < 0.04:
            return self.draw.choice(self.compound)
        if chance < 0.62:
            return COMMON[min(int(self.draw.expovariate(1 / 25)), len(COMMON) - 1)]
        return self.draw.choice(self.surnames)

    def _characters(self, count: int) -> str:
        chance, pick = self.draw.random(), self.draw.choice
        if chance < 0.35:
            return "".join(pick(part) for part in (self.first, self.second)[2 - count :])
        if chance < 0.6:
            return "".join(pick(MODERN) for _ in range(count))
        if chance < 0.78:
            return "".join(pick(OLDER) for _ in range(count))
        if chance < 0.85:
            return pick(MODERN + OLDER) * count
        if chance < 0.96:
            return "".join(pick(self.given) for _ in range(count))
        return pick(self.words)[-count:]

    def full(self) -> str:
        while True:
            surname = self.surname()
            if self.draw.random() < 0.03 and len(surname) == 1:
                surname += self.surname()[:1]
                given = self._characters(2)
            else:
                given = self._characters(1 if self.draw.random() < 0.25 else 2)
            if not self.barred & set(given):
                return surname + given

    def nickname(self) -> str:
        chance, pick = self.draw.random(), self.draw.choice
        character = pick(self.doubled) if self.draw.random() < 0.5 else pick(MODERN + OLDER + "".join(self.given))
        if chance < 0.36:
            return character * 2
        if chance < 0.48:
            return "小" + character
        if chance < 0.54:
            return "阿" + character
        if chance < 0.64:
            return character + pick(self.tails)
        if chance < 0.88:
            return pick(self.pets)
        if chance < 0.91:
            return "小" + pick(self.pets)[:2]
        if chance < 0.94:
            return "".join(pick("abcdeiklmnostuy") for _ in range(pick((3, 4, 5)))).capitalize()
        word = pick(self.nouns)
        return word if not self.barred & set(word) else character * 2

    def fill(self, hole: str) -> str:
        return {"n": self.full, "t": self.surname, "k": self.nickname}[hole]()


Example = tuple[str, list[tuple[int, int]]]


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The development rows of a labelled set; blind ones are never trained on."""
    with path.open(encoding="utf-8") as lines:
        return [row for row in map(json.loads, lines) if row["split"] == "development"]


def injected(row: dict[str, Any], names: Names) -> Example:
    """A row of a labelled set with fresh names in the place of its own."""
    text, spans, position = "", [], 0
    for item in sorted(row["items"], key=lambda item: item["start"]):
        if item["type"] not in NAMES:
            continue
        text += row["text"][position : item["start"]]
        fresh = names.fill(NAMES[item["type"]])
        spans.append((len(text), len(text) + len(fresh)))
        text += fresh
        position = item["end"]
    return text + row["text"][position:], spans


def composed(parts: dict[str, list[str]], names: Names, carriers: Sequence[str]) -> Example:
    """Something before a name, the name, something after it, beside a real sentence."""
    draw, pick = names.draw.random, names.draw.choice
    chance = draw()
    if chance < 0.12:
        template = pick(parts["whole"])
    else:
        left, right, hole = pick((("name", "name", "n"),) * 4 + (("doctor", "doctor", "n"),) * 3
                                 + (("title", "title", "t"),) * 2 + (("pet", "pet", "k"),) * 4)  # fmt: skip
        before = pick(parts[f"{left}_left"]) if draw() < 0.75 else ""
        after = pick(parts[f"{right}_right"]) if draw() < 0.75 or not before else ""
        if hole == "t":
            after = pick(parts["titles"]) + (after if draw() < 0.8 else "")
        while not before and not re.match("[\u4e00-\u9fff]", after) and hole == "k":
            after = pick(parts["pet_right"])
        link = pick(("", "", "", "", "：", " ", "是", "叫")) if before and hole != "t" else ""
        gap = " " if draw() < 0.05 else ""
        template = f"{before}{link}{{{hole}}}{gap}{after}"
    carrier, text, spans, position = pick(carriers), "", [], 0
    for match in _HOLES.finditer(template):
        text += template[position : match.start()]
        fresh = names.fill(match[1])
        spans.append((len(text), len(text) + len(fresh)))
        text += fresh
        position = match.end()
    text += template[position:]
    joint = pick(("，", "。", " ", "\n", "", "；", "，", "。"))
    if draw() < 0.5:
        return text + (joint or "，") + carrier, spans
    shift = len(carrier) + len(joint)
    if not joint and draw() < 0.7:
        joint, shift = "。", len(carrier) + 1
    return carrier + joint + text, [(first + shift, last + shift) for first, last in spans]


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


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
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
        count = c.enumerate_candidates(code, known.flags, words[-1], spans)
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
    sets: Sequence[Path], parts: dict[str, list[str]] | None, texts: Sequence[str], seed: int, copies: int, made: int
) -> list[Example]:
    """Positives and negatives for one training."""
    names = Names(seed)
    found = [injected(row, names) for path in sets for row in rows_of(path) for _ in range(copies)]
    if parts:
        found += [composed(parts, names, texts) for _ in range(made)]
    return found + [(text, []) for text in texts]


def contexts() -> dict[str, list[str]]:
    """The surroundings of tools/deidentification/train_names.yaml."""
    content = yaml.safe_load((HERE / "train_names.yaml").read_text(encoding="utf-8"))
    parts = {name: value.split() if isinstance(value, str) else value for name, value in content.items()}
    titles = [title for group in rules("deidentify")["titles"].values() for title in group]
    return {**parts, "titles": [*titles, *rules("deidentify_learned")["titles"].split()]}


def cutoff_of(examples: Sequence[Example], weights: Any, share: float = 0.002) -> int:
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
        "--made", type=int, default=150000, help="examples from tools/deidentification/train_names.yaml"
    )
    parser.add_argument(
        "--thresholds", type=float, nargs=4, default=(-2.3, -2.4, -2.4, -1.4), metavar="LOG_ODDS",
        help="from which on a candidate counts: full names, surnames before titles, nicknames by shape, and by word",
    )  # fmt: skip
    parser.add_argument("--dropped", type=float, default=0.4, help="share of the features left out at each step")
    parser.add_argument("--passes", type=int, default=4)
    parser.add_argument("--limit", type=int, default=10**9, help="real sentences at the most")
    chosen = parser.parse_args(arguments)
    real = list(sentences(chosen.texts))
    used = [text for text in real if not is_held_out(text) and not _SOMEBODY.search(text)][: chosen.limit]
    print(f"{len(real)} sentences, {len(used)} used", flush=True)
    parts = contexts() if chosen.made else None
    examples = examples_of(chosen.sets, parts, used, chosen.seed, chosen.copies, chosen.made)
    weights = trained(examples, chosen.seed, chosen.passes, chosen.dropped)
    small, step = packed(weights)
    cutoff = cutoff_of([example for example in examples if example[1]][:: max(1, len(examples) // 20000)], small)
    groups = (c.TITLED, c.DOUBLED - c.TITLED, c.PET_WORD - c.DOUBLED, c.LATIN_WORD + 1 - c.PET_WORD)
    thresholds = np.repeat(np.array(chosen.thresholds, np.float32) / step, groups).astype(np.float32)
    np.savez_compressed(chosen.out, weights=small, thresholds=thresholds, step=np.float32(step), cutoff=cutoff)
    print(f"{chosen.out}: {chosen.out.stat().st_size} bytes, {np.count_nonzero(small)} weights")


if __name__ == "__main__":
    main(sys.argv[1:])
