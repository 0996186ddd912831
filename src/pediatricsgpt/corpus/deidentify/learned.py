"""Names and nicknames by a linear model over all candidates of a text: what the rules' cue words do not foresee.

The model knows names by their shape and their surroundings; `tools/deidentification/train_names.py` trains it.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from pediatricsgpt.corpus.deidentify.lexicon import any_of, lexicon
from pediatricsgpt.corpus.deidentify.traditional import pairs
from pediatricsgpt.corpus.rules import rules
from pediatricsgpt.errors import UserError

WEIGHTS = Path(__file__).with_name("name_weights.npz")
EDGE = 8
_BOUNDARY = "。" * EDGE
Span = tuple[int, int, str]
# log odds above the threshold
_FIRM = 2.5
# the share of that from which on a name may begin with a preposition: 祝莎莎
_LIKELY = 0.4
_HAN = range(0x3400, 0xA000)
_SLOTS = 1 << 19


class Tables:
    """What the features look up: flags and shapes by character, and the dictionary by word."""

    def __init__(self) -> None:
        from pediatricsgpt.corpus.deidentify import candidates

        content = rules("deidentify_learned")
        words, people, usual = _dictionary()
        self.flags = _flags(content)
        self.shapes = _shapes(people, usual)
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
        self.heads = np.zeros(65536, np.uint8)
        for word in known:
            if words[word] > candidates.CLASS + candidates.PERSON:
                self.heads[ord(word[0]) & 0xFFFF] |= 1
                self.heads[ord(word[1]) & 0xFFFF] |= 2


@functools.cache
def tables() -> Tables:
    """The tables, built once a process."""
    return Tables()


def _key(word: str) -> int:
    key = 0
    for character in word:
        key = (key << 16) | (ord(character) & 0xFFFF)
    return key


def _dictionary() -> tuple[dict[str, int], list[tuple[str, int]], Counter[str]]:
    """From jieba's dictionary (MIT): class of frequency (1 to 7) of every word of two to four characters, with bit 8
    for persons; the persons with their counts; and how often the other words use a character."""
    text = resources.files("jieba").joinpath("dict.txt").read_text(encoding="utf-8")
    words: dict[str, int] = {}
    people: list[tuple[str, int]] = []
    usual: Counter[str] = Counter()
    for line in text.splitlines():
        word, count, kind = line.split(" ")
        person = kind in ("nr", "nrfg")
        if not person:
            for character in word:
                usual[character] += int(count)
        if not 2 <= len(word) <= 4:
            continue
        words[word] = (8 if person else 0) | min(7, 1 + int(math.log10(int(count) + 1) * 1.5))
        if person:
            people.append((word, int(count)))
    return words, people, usual


def _shapes(people: list[tuple[str, int]], usual: Counter[str]) -> Any:
    """How usual a character is as a surname, as first and as second character of a given name (classes 0 to 8), and in
    the words of the dictionary by their frequency (classes 0 to 11)."""
    counts = [Counter[str](), Counter[str](), Counter[str]()]
    words = lexicon()
    for name, _ in people:
        if len(name) in (2, 3) and name[0] in words.surnames:
            for place, character in enumerate(name):
                counts[place][character] += 1
    shapes = np.zeros((65536, 4), np.uint8)
    for place, counter in enumerate(counts):
        for character, count in counter.items():
            shapes[ord(character) & 0xFFFF, place] = min(8, 1 + int(math.log2(count)))
    for character in words.given:
        # in lists of modern given names, whatever the dictionary's historical persons are called
        for place in (1, 2):
            shapes[ord(character), place] = max(4, shapes[ord(character), place])
    for character, count in usual.items():
        shapes[ord(character) & 0xFFFF, 3] = min(11, max(0, int(math.log2(count + 1)) - 7))
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
    """Codes of characters with digits, kinds of punctuation and spaces each as one, and traditional ones simplified."""
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
    for traditional, simplified in pairs().items():
        normal[ord(traditional)] = ord(simplified)
    return normal


def encoded(text: str) -> Any:
    """The normalised codes of a text between boundaries; what is beyond the basic plane counts as a full stop."""
    return _codes([text])


def _codes(texts: Sequence[str]) -> Any:
    """The normalised codes of texts, each between boundaries."""
    joined = _BOUNDARY.join(["", *texts, ""])
    raw = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    return _normal()[np.where(raw < 65536, raw, ord("。"))]


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


def learned(text: str) -> list[Span]:
    """Names (kind `name`) and nicknames (kind `nickname`) that the model is sure of, without overlaps."""
    return next(learned_of([text]))


def learned_of(texts: Sequence[str]) -> Iterator[list[Span]]:
    """What `learned` says of each text. The model looks at all of them at once, which costs a fraction of the time."""
    weights, thresholds, firm, cutoff = model()
    spans, margins = _scored(_codes(texts), weights, cutoff)
    margins = margins - thresholds[spans[:, 2]]
    sure = np.flatnonzero(margins > 0)
    spans, margins = spans[sure], margins[sure]
    starts = np.cumsum([EDGE, *(len(text) + EDGE for text in texts)])
    firsts = np.searchsorted(spans[:, 0], starts).tolist()
    for text, offset, first, last in zip(texts, starts.tolist(), firsts, firsts[1:], strict=False):
        if first == last or not _WORTH.search(text):
            yield []
        else:
            yield _apart(text, spans[first:last] - (offset, offset, 0), margins[first:last], firm)


def _apart(text: str, spans: Any, margins: Any, firm: float) -> list[Span]:
    """Of the candidates above the threshold those that are not barred and overlap none that is surer; but a full name
    goes before what is a part of it, 马珊珊 before 珊珊."""
    from pediatricsgpt.corpus.deidentify.candidates import DOUBLED, LITTLE, TITLED

    taken: list[Span] = []
    for i in np.argsort(-margins, kind="stable"):
        start, end, kind = spans[i].tolist()
        overlapped = [span for span in taken if start < span[1] and span[0] < end]
        wider = kind < TITLED and len(overlapped) == 1 and _is_within(overlapped[0], start, end)
        if (wider or not overlapped) and not _is_barred(text, start, end, kind, margins[i] / firm):
            taken = [span for span in taken if span not in overlapped]
            pet = (kind >= DOUBLED and kind != LITTLE) or (end - start == 2 and text[start] == text[start + 1])
            # 小范护士: the surname alone is hers
            start += end - start == 2 and text[start] in "小老" and _never().title.match(text, end) is not None
            taken.append((start, end, "nickname" if pet and end - start > 1 else "name"))
    return taken


def _is_within(span: Span, start: int, end: int) -> bool:
    """Whether a name, and no mere surname before a title, lies within start and end."""
    return span[1] - span[0] > 1 and start <= span[0] and span[1] <= end


class _Never:
    """What is no name, no surname before a title, and no nickname, whatever the model says."""

    def __init__(self) -> None:
        content, persons, own = rules("deidentify"), rules("deidentify_persons"), rules("deidentify_learned")
        nicknames, never = content["nicknames"], set(own["never_names"].split())
        lists = [persons["never_pet"], nicknames["possessive_never"]]
        # 米粉 may be what a child is called at home, but is no Mi Fen
        food = {*nicknames["foods"].split(), *own["pet_words"].split()}
        self.names = lexicon().ordinary | never | food
        self.openers = lexicon().prepositions | set(content["hard_prepositions"] + persons["adverbs"])
        self.things, self.seldom = frozenset(never), frozenset(nicknames["no_child"].split())
        self.pets = frozenset(word for part in lists for word in part.split())
        usual = set(nicknames["with_cue"].split()) | set(nicknames["with_grammar"].split())
        self.rarely = frozenset(nicknames["never"].split()) - usual
        self.titles = frozenset(title for group in content["titles"].values() for title in group)
        self.title = any_of(sorted(self.titles))
        self.last, self.pet_last = frozenset(own["never_last"]), frozenset(own["never_ends"])
        self.latin = frozenset(own["latin"].split())


@functools.cache
def _never() -> _Never:
    return _Never()


def _is_barred(text: str, start: int, end: int, kind: int, sure: float) -> bool:
    """Whether a candidate is known to be no name; the model is very sure of one whose `sure` is above 1."""
    from pediatricsgpt.corpus.deidentify.candidates import DOUBLED, FOUR, LATIN_WORD, PET_WORD, TITLED

    never, span, firm = _never(), text[start:end], sure > 1
    if kind == LATIN_WORD:
        return span in never.latin or not _CAPITALISED.fullmatch(span)
    if kind >= TITLED and kind < DOUBLED:
        return kind == TITLED and (span in never.openers or text[start - 1 : start] == span)
    known = firm and kind != PET_WORD
    if not known and text[start - 1 : start] in _LISTING and _LISTED.match(text, end):
        return True
    if kind >= DOUBLED:
        known = not never.pets.isdisjoint((span, span[:2], span[-2:])) or span in never.things
        return known or span[-1] in never.pet_last or (not firm and (span in never.rarely or span in never.seldom))
    if kind == FOUR and not {span[:2], span[2:], span[1:3]}.isdisjoint(lexicon().words):
        return True  # 温水擦浴, 高危管道
    if span[1:] in never.titles or (sure < _LIKELY and span[0] in never.openers):
        return True
    if not firm and span in lexicon().nouns:
        return True
    return span in never.names or span[-1] in never.last or not lexicon().never_given.isdisjoint(span[1:])


def scored(text: str, weights: Any, cutoff: int) -> tuple[Any, Any]:
    """The candidates of a text (start, end, kind; int32 of shape (n, 3)) and their scores."""
    spans, scores = _scored(encoded(text), weights, cutoff)
    spans[:, :2] -= EDGE
    return spans, scores


def _scored(codes: Any, weights: Any, cutoff: int) -> tuple[Any, Any]:
    """The same of the codes of one text or more, by their places in the codes."""
    from pediatricsgpt.corpus.deidentify import candidates

    known = tables()
    spans = np.empty((8 * len(codes) + 16, 3), np.int32)
    out = np.empty(len(spans), np.int32 if weights.dtype == np.int8 else np.float32)
    count = candidates.scores(
        codes, known.flags, known.heads, known.shapes, known.keys, known.entries, weights, cutoff, spans, out
    )
    return spans[:count], out[:count]
