"""Made-up names and the sentences around them, for train_names.py.

Names are drawn character by character; sentences come from the labelled sets with fresh names, from their surroundings
joined anew, and from the lists and the grammar of train_names.yaml, always beside a real sentence.
"""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from pediatricsgpt.corpus.deidentify.learned import _dictionary
from pediatricsgpt.corpus.deidentify.lexicon import lexicon
from pediatricsgpt.corpus.rules import rules

NAMES = {"patient_name": "n", "parent_name": "n", "doctor_name": "n", "surname_title": "t", "nickname": "k"}
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
HERE = Path(__file__).parent
_HOLES = re.compile(r"\{([ntkgl])\}")
_PARTS = re.compile(r"<([a-z]+)>")


class Names:
    """Draws names: character by character, so that hardly any comes twice."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        words, people, _ = _dictionary()
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
        self.english = yaml.safe_load((HERE / "train_names.yaml").read_text(encoding="utf-8"))["english"].split()

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
            if self.draw.random() < 0.05 and len(surname) == 1:
                surname += self.surname()[:1]
                given = self._characters(2)
            else:
                given = self._characters(1 if self.draw.random() < 0.25 else 2)
            if not self.barred & set(given):
                return surname + given

    def nickname(self) -> str:
        chance, pick = self.draw.random(), self.draw.choice
        usual = MODERN + OLDER + "".join(self.given)
        character = pick(self.doubled) if self.draw.random() < 0.4 else pick(usual)
        if chance < 0.3:
            return character * 2
        if chance < 0.4:
            return "小" + character
        if chance < 0.44:
            return "阿" + character
        if chance < 0.52:
            return character + pick(self.tails)
        if chance < 0.62:
            return character + "宝"
        if chance < 0.8:
            return pick(self.pets)
        if chance < 0.85:
            return "小" + pick(self.pets)[:2]
        if chance < 0.92:
            return self._characters(2)
        if chance < 0.95:
            return pick(self.english)
        if chance < 0.96:
            return "".join(pick("abcdeiklmnostuy") for _ in range(pick((3, 4, 5)))).capitalize()
        word = pick(self.nouns)
        return word if not self.barred & set(word) else character * 2

    def fill(self, hole: str) -> str:
        return {"n": self.full, "t": self.surname, "k": self.nickname, "g": self.given_alone,
                "l": self.little}[hole]()  # fmt: skip

    def little(self) -> str:
        """小陆, 老杨: what neighbours and colleagues are called."""
        return self.draw.choice("小小老") + self.surname()[:1]

    def given_alone(self) -> str:
        """A given name without its surname, as families use it."""
        while True:
            given = self._characters(2)
            if not self.barred & set(given):
                return given


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
        fresh, first = _fresh(item, row["text"], names), len(text)
        spans.append((first, first + len(fresh)))
        if fresh[0] in "小老" and len(fresh) > 1 and item["type"] == "surname_title":
            spans.append((first + 1, first + len(fresh)))
        elif item["type"] == "surname_title" and text[-1:] in ("小", "老"):
            spans.append((first - 1, first + len(fresh)))
        text += fresh
        position = item["end"]
    return text + row["text"][position:], spans


def _fresh(item: dict[str, Any], text: str, names: Names) -> str:
    """A name of the item's kind: 小 and 老 stay before a surname, and a given name alone stays one."""
    value, kind = text[item["start"] : item["end"]], NAMES[item["type"]]
    if kind == "t" and value[0] in "小老" and len(value) > 1:
        return value[0] + names.surname()
    alone = kind == "n" and len(value) == 2 and value[0] not in COMMON and value not in names.compound
    return names.fill("g" if alone and names.draw.random() < 0.6 else kind)


def surroundings(rows: Sequence[dict[str, Any]]) -> dict[str, list[tuple[str, str]]]:
    """What stands before and after the names of labelled rows, up to eight characters, by kind of hole."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in rows:
        text, items = row["text"], sorted(row["items"], key=lambda item: item["start"])
        ends, starts = [0, *(item["end"] for item in items)], [*(item["start"] for item in items[1:]), len(text)]
        for item, first, last in zip(items, ends, starts, strict=False):
            if item["type"] in NAMES:
                before = text[max(first, item["start"] - 8) : item["start"]]
                found[NAMES[item["type"]]].append((before, text[item["end"] : min(last, item["end"] + 8)]))
    return found


class Composer:
    """Makes sentences: something before a name, the name, something after it, beside a real sentence.

    Args:
        parts: of `contexts`.
        names: draws the names.
        carriers: real sentences.
        rows: labelled rows whose surroundings are joined anew.
    """

    def __init__(
        self, parts: dict[str, Any], names: Names, carriers: Sequence[str], rows: Sequence[dict[str, Any]]
    ) -> None:
        self.parts, self.names, self.carriers = parts, names, carriers
        self.grammar = parts["grammar"]
        self.beside = surroundings(rows)
        self.draw, self.pick = names.draw.random, names.draw.choice

    def make(self) -> Example:
        """One example; every seventh or so has no name in it."""
        chance = self.draw()
        if chance < 0.1:
            template = self.pick(self.parts["whole"])
        elif chance < 0.36:
            template = self._listed()
        elif chance < 0.48 and self.beside:
            template = self._joined()
        elif chance < 0.85:
            template = self._expanded(self.pick(("names",) * 4 + ("doctors",) * 2 + ("surnames",) * 2 + ("pets",) * 4))
        else:
            template = self._expanded("plain")
        return self.carried(*self._filled(template))

    def _expanded(self, part: str) -> str:
        """A sentence of the grammar."""
        text = self.pick(self.grammar[part])
        while match := _PARTS.search(text):
            text = text[: match.start()] + self.pick(self.grammar[match[1]]) + text[match.end() :]
        return "".join(str(int(self.draw() * 10)) if character == "#" else character for character in text)

    def _joined(self) -> str:
        """What stood before one name, and what stood after another."""
        hole = self.pick(sorted(self.beside))
        before, after = self.pick(self.beside[hole])[0], self.pick(self.beside[hole])[1]
        if hole == "t":
            after = self.pick(self.parts["titles"]) + self._expanded("after" if self.draw() < 0.3 else "act")
        elif self.draw() < 0.4:
            after = self._expanded(self.pick(("act", "symptom", "after")))
        return f"{before}{{{hole}}}{after}"

    def _listed(self) -> str:
        """An entry of the lists of what stands before, and one of what stands after."""
        draw, pick, parts = self.draw, self.pick, self.parts
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
        return f"{before}{link}{{{hole}}}{gap}{after}"

    def _filled(self, template: str) -> Example:
        text, spans, position = "", [], 0
        for match in _HOLES.finditer(template):
            text += template[position : match.start()]
            hole = match[1]
            if hole in "nk" and self.draw() < 0.07:
                hole = "l" if hole == "n" or self.draw() < 0.3 else "g"
            fresh = self.names.fill(hole)
            spans.append((len(text), len(text) + len(fresh)))
            if hole == "t" and text[-1:] in ("小", "老"):
                spans.append((len(text) - 1, len(text) + len(fresh)))
            text += fresh
            position = match.end()
        return text + template[position:], spans

    def carried(self, text: str, spans: list[tuple[int, int]]) -> Example:
        """Beside a real sentence."""
        carrier, draw = self.pick(self.carriers), self.draw
        joint = self.pick(("，", "。", " ", "\n", "", "；", "，", "。"))
        if draw() < 0.5:
            return text + (joint or "，") + carrier, spans
        if not joint and draw() < 0.7:
            joint = "。"
        shift = len(carrier) + len(joint)
        return carrier + joint + text, [(first + shift, last + shift) for first, last in spans]


def contexts(path: Path) -> dict[str, Any]:
    """The surroundings of train_names.yaml: lists of words, or of lines, by name; `grammar` is one more of the kind."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    del content["english"]
    titles = [title for group in rules("deidentify")["titles"].values() for title in group]
    grammar = _split(content.pop("grammar"))
    titles += rules("deidentify_learned")["titles"].split()
    return {**_split(content), "titles": titles, "grammar": grammar}


def _split(content: dict[str, Any]) -> dict[str, list[str]]:
    return {name: value.split() if isinstance(value, str) else value for name, value in content.items()}
