"""Made-up names in real sentences and in the sentences of phrases/*.txt, for train_names.py.

Where a real sentence speaks of the baby, the patient, him or a doctor, a name is put: thousands of surroundings that
nobody thought up. Beside them stand the same sentences with drugs, food and other people in the same place.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from name_examples import Example, Names

from pediatricsgpt.corpus.deidentify.lexicon import any_of

_H = "\u4e00-\u9fff"
# who is spoken of; what must not stand before and behind
_CHILD = re.compile(
    "(?<![小母婴产每各群种大怀生女男妇要])(?:(?:您|你|我|咱)(?:们)?家?的?)?(?:小宝宝|宝宝|孩子|患儿|小孩子|小孩|小朋友|娃娃|宝贝|小家伙)(?![们树病型霜车衣房床园期的]|奶粉)"
)
_HIM = re.compile("(?<![其吉维])(?:他|她)(?![们人汀莫克巴拉唑林普杀乡山达命])")
_I = re.compile(f"(?:^|(?<=[，。！？、：；,.!? ]))我(?![们国方院家的省市])(?=[{_H}]{{3}})")
_PATIENT = re.compile("(?<![多数些类种型性期后前的男女老年])(?:该|此|这位|那位|本)?(?:患者|病人)(?![们群的会])")
_KIN = re.compile(
    "(?:我|他|她|孩子|宝宝)(?:的)?(?:老公|老婆|妻子|丈夫|爱人|妈妈|爸爸|妈|爸|母亲|父亲|奶奶|爷爷|姐姐|姐|妹妹|弟弟|哥哥|女儿|儿子|朋友|同学|同事|邻居|外婆|舅舅|表姐)(?![们的家])"
)
_TITLE = re.compile(
    f"(?:^|(?<=[^{_H}])|(?<=[由请问找听看跟和给是经让谢])|(?<=[咨询]询))(?=(?:医生|大夫|主任|护士|教授|老师|医师|护士长)(?![们的和或]))"
)
_KINDS = (
    (_CHILD, "kkkkggn"), (_CHILD, "kkkggn"), (_HIM, "kkkggn"), (_I, "kknngg"), (_PATIENT, "nnnnkg"),
    (_KIN, "n"), (_TITLE, "tttn"),
)  # fmt: skip


class Slots:
    """Real sentences with places for a name.

    Args:
        texts: real sentences.
        names: draws the names.
        others: what stands in such places and is no name.
    """

    def __init__(self, texts: Sequence[str], names: Names, others: Sequence[str]) -> None:
        self.names, self.others = names, others
        self.places: list[list[tuple[str, int, int]]] = []
        for pattern, _ in _KINDS:
            self.places.append([(text, *match.span()) for text in texts for match in pattern.finditer(text)])
        food = any_of([word for word in names.pets if word[0] != word[1] and word[0] not in "小阿大"])
        self.food = [(text, *match.span()) for text in texts for match in food.finditer(text)]

    def make(self) -> Example:
        """A sentence with a name, or, one in four, with something else in the place of a name, or with other food."""
        draw, pick = self.names.draw.random, self.names.draw.choice
        if draw() < 0.08:
            text, start, end = pick(self.food)
            return text[:start] + pick(self.names.pets) + text[end:], []
        number = pick(range(len(_KINDS)))
        text, start, end = pick(self.places[number])
        pattern, holes = _KINDS[number]
        if pattern is _KIN:
            start = end
        start, end, text = _cut(text, start, end, draw())
        if draw() < 0.2 and pattern not in (_KIN, _TITLE):
            other = pick(self.others) if draw() < 0.6 else pick(self.names.words)
            return text[:start] + other + text[end:], []
        hole = pick(holes)
        if hole in "nk" and draw() < 0.05:
            hole = "l"
        prefix = pick(("我家", "我们家", "你家", "您家", "小", "俺家", "咱家")) if hole == "k" and draw() < 0.06 else ""
        prefix = prefix if prefix != "小" else ""
        name = self.names.fill(hole)
        if hole == "t" and draw() < 0.08:
            prefix = pick("小老")
        first = start + len(prefix)
        spans = [(first, first + len(name))]
        if prefix in ("小", "老"):
            spans.append((start, first + len(name)))
        follow = ""
        if hole != "t" and draw() < 0.07:
            follow = pick(
                ("妈妈", "妈", "爸爸", "爸", "奶奶", "他妈", "家长", "同学", "小朋友", "宝宝", "他爸", "姥姥")
            )
        elif hole == "n" and pattern is _PATIENT and draw() < 0.1:
            follow = pick(("先生", "女士", "患者", "小朋友"))
        return text[:start] + prefix + name + follow + text[end:], spans


def _cut(text: str, start: int, end: int, chance: float) -> tuple[int, int, str]:
    """Sometimes only the clause from the place on, so that the name opens the text, or only what leads to it."""
    if chance < 0.15:
        return 0, end - start, text[start:]
    if chance < 0.2 and len(text) > end + 3:
        return start, end, text[:end] + text[end : end + 8]
    return start, end, text


_HOLE = re.compile(r"\{([npdgtk])\}")
_AS = {"n": "n", "p": "n", "d": "n", "g": "g", "t": "t", "k": "k"}


def lines_of(paths: Sequence[Path]) -> list[str]:
    """The sentences of files of phrases; `{n}`, `{p}`, `{d}` stand for a full name (patient, parent, doctor), `{g}` for
    a given name, `{t}` for a surname, `{k}` for a nickname."""
    return [line.strip() for path in paths for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def filled(line: str, names: Names) -> Example:
    """A sentence of a file of phrases with names; a name with 小 or 老 before it counts with and without it."""
    text, spans, position = "", [], 0
    for match in _HOLE.finditer(line):
        text += line[position : match.start()]
        fresh = names.fill(_AS[match[1]])
        spans.append((len(text), len(text) + len(fresh)))
        if match[1] == "t" and text[-1:] in ("小", "老", "阿"):
            spans.append((len(text) - 1, len(text) + len(fresh)))
        text += fresh
        position = match.end()
    return text + line[position:], spans
