"""Names and nicknames by a linear model over all candidates of a text: what the rules' cue words do not foresee.

The model knows names by their shape and their surroundings; `tools/deidentification/train_names.py` trains it.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from pediatricsgpt.corpus.deidentify.lexicon import lexicon
from pediatricsgpt.corpus.rules import rules
from pediatricsgpt.errors import UserError

WEIGHTS = Path(__file__).with_name("name_weights.npz")
EDGE = 8
Span = tuple[int, int, str]
# log odds above the threshold
_FIRM = 2.5
_HAN = range(0x3400, 0xA000)
_SLOTS = 1 << 19


class Tables:
    """What the features look up: flags and shapes by character, and the dictionary by word."""

    def __init__(self) -> None:
        from pediatricsgpt.corpus.deidentify import candidates

        content = rules("deidentify_learned")
        words, people = _dictionary()
        self.flags = _flags(content)
        self.shapes = _shapes(people)
        self.keys, self.entries = np.zeros(_SLOTS, np.uint64), np.zeros(_SLOTS, np.uint8)
        titles = {title for group in rules("deidentify")["titles"].values() for title in group}
        nicknames = rules("deidentify")["nicknames"]
        pets = {*nicknames["words"].split(), *nicknames["foods"].split(), *content["pet_words"].split()}
        for entry, names in (
            (candidates.TITLE, titles | set(content["titles"].split())),
            (candidates.PET, pets),
            (candidates.COMPOUND, lexicon().compound),
        ):
            for name in sorted(names):
                words[name] = words.get(name, 0) | entry
        known = [word for word in words if 2 <= len(word) <= 4]
        codes = np.array([_key(word) for word in known], np.uint64)
        candidates.fill(self.keys, self.entries, codes, np.array([words[word] for word in known], np.uint8))


@functools.cache
def tables() -> Tables:
    """The tables, built once a process."""
    return Tables()


def _key(word: str) -> int:
    key = 0
    for character in word:
        key = (key << 16) | (ord(character) & 0xFFFF)
    return key


def _dictionary() -> tuple[dict[str, int], list[tuple[str, int]]]:
    """From jieba's dictionary (MIT): class of frequency (1 to 7) of every word of two to four characters, with bit 8
    for persons; and the persons with their counts."""
    text = resources.files("jieba").joinpath("dict.txt").read_text(encoding="utf-8")
    words: dict[str, int] = {}
    people: list[tuple[str, int]] = []
    for line in text.splitlines():
        word, count, kind = line.split(" ")
        if not 2 <= len(word) <= 4:
            continue
        person = kind in ("nr", "nrfg")
        words[word] = (8 if person else 0) | min(7, 1 + int(math.log10(int(count) + 1) * 1.5))
        if person:
            people.append((word, int(count)))
    return words, people


def _shapes(people: list[tuple[str, int]]) -> Any:
    """How usual a character is as a surname, as first and as second character of a given name: classes 0 to 9."""
    counts = [Counter[str](), Counter[str](), Counter[str]()]
    words = lexicon()
    for name, _ in people:
        if len(name) in (2, 3) and name[0] in words.surnames:
            for place, character in enumerate(name):
                counts[place][character] += 1
    shapes = np.zeros((65536, 3), np.uint8)
    for place, counter in enumerate(counts):
        for character, count in counter.items():
            shapes[ord(character) & 0xFFFF, place] = min(8, 1 + int(math.log2(count)))
    for character in words.given:
        # in lists of modern given names, whatever the dictionary's historical persons are called
        for place in (1, 2):
            shapes[ord(character), place] = max(4, shapes[ord(character), place])
    return shapes


def _flags(content: dict[str, Any]) -> Any:
    from pediatricsgpt.corpus.deidentify import candidates as c

    flags = np.zeros(65536, np.uint8)
    flags[_HAN.start : _HAN.stop] |= c.HAN
    for bit, characters in (
        (c.SURNAME, lexicon().surnames),
        (c.BARRED, content["barred"]),
        (c.OPENS_PET, content["opens_pet"]),
        (c.SMALL, "小阿"),
        (c.TAIL, content["pet_tails"]),
    ):
        for character in characters:
            if not character.isspace():
                flags[ord(character)] |= bit
    for character in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz":
        flags[ord(character)] |= c.LATIN
    return flags


@functools.cache
def _normal() -> Any:
    """Codes of characters with digits, kinds of punctuation and spaces each as one."""
    normal = np.arange(65536, dtype=np.uint16)
    for target, group in (
        ("，", ",，;；、/|"),
        ("。", ".。!！?？\n\r…~～"),
        ("：", ":："),
        ("（", "(（[【“\"'《<「"),
        ("）", ")）]】”》>」"),
        (" ", "\u3000\t\u00a0"),
        ("0", "0123456789０１２３４５６７８９"),
    ):
        for character in group:
            normal[ord(character)] = ord(target)
    return normal


def encoded(text: str) -> Any:
    """The normalised codes of a text between boundaries; what is beyond the basic plane counts as a full stop."""
    raw = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    codes = np.full(len(raw) + 2 * EDGE, ord("。"), np.uint16)
    codes[EDGE:-EDGE] = _normal()[np.where(raw < 65536, raw, ord("。"))]
    return codes


@functools.cache
def model() -> tuple[Any, Any, float, int]:
    """The weights (int8 by bucket), the thresholds by kind of candidate, how far above them the model is very sure, and
    below which sum of the first features a candidate is not looked at any further.

    Raises:
        UserError: the packaged file is missing.
    """
    try:
        with np.load(WEIGHTS) as stored:
            firm = _FIRM / float(stored["step"])
            return stored["weights"], stored["thresholds"], firm, int(stored["cutoff"])
    except FileNotFoundError:
        raise UserError("the weights of the name model are missing: install the package anew", WEIGHTS) from None


_LISTING = frozenset(("、", "，", ",", "；", ";", ""))
# what stands in a row of things, unless a person's data follow
_LISTED = re.compile(r"[、，,；;](?![男女\d年性系电住身])|$")
_CAPITALISED = re.compile("[A-Z][a-z]{1,7}")
_WORTH = re.compile("[\u4e00-\u9fffA-Za-z]{2}")


def learned(text: str) -> Iterator[Span]:
    """Names (kind `name`) and nicknames (kind `nickname`) that the model is sure of, without overlaps."""
    if not _WORTH.search(text):
        return
    from pediatricsgpt.corpus.deidentify.candidates import DOUBLED

    weights, thresholds, firm, cutoff = model()
    spans, margins = scored(text, weights, cutoff)
    if not len(spans):
        return
    margins = margins - thresholds[spans[:, 2]]
    sure = np.flatnonzero(margins > 0)
    taken: list[tuple[int, int]] = []
    for i in sure[np.argsort(-margins[sure], kind="stable")]:
        start, end, kind = spans[i].tolist()
        if all(end <= first or last <= start for first, last in taken) and not _is_barred(
            text, start, end, kind, margins[i] > firm
        ):
            taken.append((start, end))
            yield start, end, "nickname" if kind >= DOUBLED else "name"


class _Never:
    """What is no name, no surname before a title, and no nickname, whatever the model says."""

    def __init__(self) -> None:
        content, persons, own = rules("deidentify"), rules("deidentify_persons"), rules("deidentify_learned")
        nicknames, never = content["nicknames"], set(own["never_names"].split())
        lists = [persons["never_pet"], nicknames["possessive_never"], nicknames["no_child"]]
        # 米粉 may be what a child is called at home, but is no Mi Fen
        food = {*nicknames["foods"].split(), *own["pet_words"].split()}
        self.names = lexicon().ordinary | never | food
        self.openers = lexicon().prepositions | set(content["hard_prepositions"] + persons["adverbs"])
        self.pets = frozenset(never.union(*(part.split() for part in lists)))
        usual = set(nicknames["with_cue"].split()) | set(nicknames["with_grammar"].split())
        self.rarely = frozenset(nicknames["never"].split()) - usual
        self.titles = frozenset(title for group in content["titles"].values() for title in group)
        self.last, self.pet_last = frozenset(own["never_last"]), frozenset(own["never_ends"])
        self.latin = frozenset(own["latin"].split())


@functools.cache
def _never() -> _Never:
    return _Never()


def _is_barred(text: str, start: int, end: int, kind: int, firm: bool) -> bool:
    """Whether a candidate is known to be no name; `firm` of one of which the model is very sure."""
    from pediatricsgpt.corpus.deidentify.candidates import DOUBLED, LATIN_WORD, TITLED

    never, span = _never(), text[start:end]
    if kind == LATIN_WORD:
        return span in never.latin or not _CAPITALISED.fullmatch(span)
    if kind >= TITLED and kind < DOUBLED:
        return kind == TITLED and (span in never.openers or text[start - 1 : start] == span)
    if text[start - 1 : start] in _LISTING and _LISTED.match(text, end):
        return True
    if kind >= DOUBLED:
        known = not never.pets.isdisjoint((span, span[:2], span[-2:])) or span[-1] in never.pet_last
        return known or (span in never.rarely and not firm)
    if span[1:] in never.titles or (not firm and (span[0] in never.openers or span in lexicon().nouns)):
        return True
    return span in never.names or span[-1] in never.last or not lexicon().never_given.isdisjoint(span[1:])


def scored(text: str, weights: Any, cutoff: int) -> tuple[Any, Any]:
    """The candidates of a text (start, end, kind; int32 of shape (n, 3)) and their scores."""
    from pediatricsgpt.corpus.deidentify import candidates

    known = tables()
    codes = encoded(text)
    spans = np.empty((8 * len(codes) + 16, 3), np.int32)
    out = np.empty(len(spans), np.int32 if weights.dtype == np.int8 else np.float32)
    count = candidates.scores(codes, known.flags, known.shapes, known.keys, known.entries, weights, cutoff, spans, out)
    spans = spans[:count]
    spans[:, :2] -= EDGE
    return spans, out[:count]
