"""The pediatric lexicon pass: what sounds like a medical term and is no other word becomes the term (黄胆 -> 黄疸).

A recogniser writes what is frequent, not what is medical. Spans of a transcript are compared by pinyin without tones
with the terms of `rules/lexicon.yaml`; sounds that are often taken for each other (zh/z, n/l, an/ang …) count as near.
A span stays as it is where it is a word of its own, where the text around cuts it otherwise, where it stands in real
texts (`right` in that file: everything that the pass would have changed there), or where the recogniser was sure.
"""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from pediatricsgpt.corpus.rules import rules
from pediatricsgpt.errors import UserError, require_extra
from pediatricsgpt.text import segmenter

_HAN = re.compile(r"[\u4e00-\u9fff]+")
_LONGEST = 10
_SURE = 0.95
"""Mean probability of a span from which on it is what was said"""
_UNSURE = 0.6
"""Mean probability below which a term of two characters may also sound only nearly alike"""
_RARE, _RARER = 5, 0.1
"""Words that the dictionary knows from at most so many places, and a tenth of the term's, count as no word"""
_NEAR_INITIALS = {"zh": "z", "ch": "c", "sh": "s", "n": "l", "h": "f"}
_NEAR_FINALS = (("ang", "an"), ("eng", "en"), ("ing", "in"))
_INITIAL = re.compile(r"^(?:zh|ch|sh|[bpmfdtnlgkhjqxrzcsyw])?")
_ANY = "*"
_FUNCTION = frozenset(
    "的了是有不就要在我你他她它们这那个也都还很去来说给到和与或及把被让会能没为从对吧吗呢啊吃喝看该现时"
    "并未即则且而但因所以于之其此再又已才只更最依据由向每各某若如均便曾仍未非"
)

_WHERE = frozenset("上下中里外内前后间旁处")
"""At the end of a span, behind a word, they say where and complete no name of a disease (甲状腺中 is not 甲状腺肿)"""
_USUAL = 500
"""Words that the dictionary knows from so many places are no slip, whatever single character follows (关心病人)"""


@dataclass(frozen=True, slots=True)
class Correction:
    """A span that was replaced, `start` counted in characters of the text as it was."""

    start: int
    heard: str
    meant: str


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Terms by their sounds, spans that stay as they are, and a user's own pairs (heard -> meant)."""

    sounds: Mapping[str, tuple[str, ...]]
    by_key: Mapping[tuple[str, ...], tuple[str, ...]]
    right: frozenset[str]
    pairs: Mapping[str, str]


def syllables(text: str) -> tuple[str, ...]:
    """Pinyin of each Chinese character without tones, in the reading that the words around it give.

    Raises:
        UserError: the extra `speech` is missing.
    """
    try:
        from pypinyin import lazy_pinyin
    except ImportError as error:
        raise require_extra("speech", error) from error
    return tuple(lazy_pinyin(text))


@functools.lru_cache(maxsize=4096)
def near(syllable: str) -> str:
    """One spelling for all syllables that are often taken for each other: zhang, zang, zhan -> zan."""
    found = _INITIAL.match(syllable)
    initial = found.group() if found else ""
    final = syllable[len(initial) :]
    for long, short in _NEAR_FINALS:
        if final.endswith(long):
            final = final[: -len(long)] + short
    return _NEAR_INITIALS.get(initial, initial) + final


def load_lexicon(own: Path | None = None, right: bool = True) -> Lexicon:
    """The packaged lexicon, with a user's own terms and pairs.

    Args:
        own: YAML file: `terms`, a list of further terms; `pairs`, a mapping of what is heard to what is meant.
        right: whether spans of real texts stay; only the program that collects them says no.

    Raises:
        UserError: the file is missing or holds something else.
    """
    terms, pairs = _own(own) if own else ([], {})
    packaged = rules("lexicon")["terms"].split()
    return make_lexicon([*packaged, *terms], rules("lexicon_right")["right"].split() if right else (), pairs)


def make_lexicon(terms: Sequence[str], right: Sequence[str] = (), pairs: Mapping[str, str] | None = None) -> Lexicon:
    """A lexicon of these terms (two to ten Chinese characters), the most usual first."""
    sounds, by_key = {}, defaultdict(list)
    for term in dict.fromkeys(terms):
        if 2 <= len(term) <= _LONGEST and _HAN.fullmatch(term):
            sounds[term] = syllables(term)
            for key in _keys(sounds[term]):
                by_key[key].append(term)
    return Lexicon(sounds, {key: tuple(found) for key, found in by_key.items()}, frozenset(right), dict(pairs or {}))


def _keys(sounds: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """What a term is found by: its near sounds, and for longer terms these with one left open."""
    key = tuple(near(sound) for sound in sounds)
    yield key
    if len(key) >= 4:
        for place in range(len(key)):
            yield (*key[:place], _ANY, *key[place + 1 :])


def _own(path: Path) -> tuple[list[str], dict[str, str]]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", path) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"not YAML: {str(error).splitlines()[0]}", path) from error
    content = {} if content is None else content
    if not isinstance(content, dict) or set(content) - {"terms", "pairs"}:
        raise UserError("a lexicon has the fields terms (a list) and pairs (heard: meant) and no other", path)
    terms, pairs = content.get("terms") or [], content.get("pairs") or {}
    if not isinstance(terms, list) or not isinstance(pairs, dict):
        raise UserError("terms must be a list, pairs a mapping of what is heard to what is meant", path)
    if not all(isinstance(value, str) and value for value in (*terms, *pairs, *pairs.values())):
        raise UserError("terms and pairs must be words; put numbers between quotation marks", path)
    return terms, pairs


def correct(text: str, lexicon: Lexicon, confidence: Sequence[float] | None = None) -> tuple[str, list[Correction]]:
    """Replace what sounds like a term of the lexicon and is no other word.

    Args:
        text: a transcript in simplified characters.
        lexicon: see `load_lexicon`.
        confidence: probability of each character, 0 to 1; without it nothing counts as sure, nor as unsure.

    Returns:
        The text with its replacements, and these, from left to right.
    """
    found: list[Correction] = []
    for run in _HAN.finditer(text):
        chances = None if confidence is None else confidence[run.start() : run.end()]
        found += [Correction(run.start() + c.start, c.heard, c.meant) for c in _run(run.group(), lexicon, chances)]
    for one in reversed(found):
        text = text[: one.start] + one.meant + text[one.start + len(one.heard) :]
    return text, found


def _run(text: str, lexicon: Lexicon, confidence: Sequence[float] | None) -> list[Correction]:
    """The corrections of a run of Chinese characters: own pairs first, then long spans before short ones."""
    taken = [False] * len(text)
    found = []
    candidates = _pairs(text, lexicon.pairs) + _candidates(text, lexicon, confidence)
    for start, heard, meant in candidates:
        if not any(taken[start : start + len(heard)]):
            taken[start : start + len(heard)] = [True] * len(heard)
            found.append(Correction(start, heard, meant))
    return sorted(found, key=lambda one: one.start)


def _pairs(text: str, pairs: Mapping[str, str]) -> list[tuple[int, str, str]]:
    return [
        (hit.start(), heard, pairs[heard])
        for heard in sorted(pairs, key=lambda word: (-len(word), word))
        for hit in re.finditer(re.escape(heard), text)
    ]


def _candidates(text: str, lexicon: Lexicon, confidence: Sequence[float] | None) -> list[tuple[int, str, str]]:
    sounds = syllables(text)
    keys = [near(sound) for sound in sounds]
    hits = []
    cuts: set[int] | None = None
    known: list[tuple[int, int]] | None = None
    for size in range(min(_LONGEST, len(text)), 1, -1):
        for start in range(len(text) - size + 1):
            heard = text[start : start + size]
            terms = _terms(lexicon, keys[start : start + size])
            if not terms or heard in lexicon.sounds or heard in lexicon.right:
                continue
            chance = None if confidence is None else sum(confidence[start : start + size]) / size
            ranked = [
                (cost, place, term)
                for place, term in enumerate(terms)
                if (cost := _cost(sounds[start : start + size], lexicon.sounds[term])) <= _allowed(size, chance)
                and (size > 2 or (chance is not None and chance < _UNSURE) or _same_tones(heard, term))
            ]
            if not ranked:
                continue
            if cuts is None or known is None:
                cuts, known = _cuts(text), _known(text, lexicon)
            if _replaceable(start, heard, min(ranked), cuts, known, chance):
                hits.append((min(ranked)[0] / size, start, heard, min(ranked)[2]))
    hits.sort(key=lambda hit: (-len(hit[2]), hit[0], hit[1]))
    return [(start, heard, meant) for _, start, heard, meant in hits]


def _terms(lexicon: Lexicon, key: Sequence[str]) -> list[str]:
    keys = [tuple(key)]
    if len(key) >= 4:
        keys += [(*key[:place], _ANY, *key[place + 1 :]) for place in range(len(key))]
    return list(dict.fromkeys(term for each in keys for term in lexicon.by_key.get(each, ())))


def _cost(heard: Sequence[str], meant: Sequence[str]) -> float:
    """How differently two spans sound: 0.5 for each near syllable, 1 for one that shares a part, 9 for another."""
    return sum(_distance(one, other) for one, other in zip(heard, meant, strict=True))


@functools.lru_cache(maxsize=65_536)
def _distance(one: str, other: str) -> float:
    if one == other:
        return 0.0
    first, second = near(one), near(other)
    if first == second:
        return 0.5
    starts = [found.group() if (found := _INITIAL.match(each)) else "" for each in (first, second)]
    ends = [each[len(start) :] for each, start in zip((first, second), starts, strict=True)]
    return 1.0 if starts[0] == starts[1] or ends[0] == ends[1] else 9.0


@functools.lru_cache(maxsize=65_536)
def _same_tones(heard: str, meant: str) -> bool:
    from pypinyin import Style, lazy_pinyin

    return bool(lazy_pinyin(heard, style=Style.TONE3) == lazy_pinyin(meant, style=Style.TONE3))


def _allowed(size: int, chance: float | None) -> float:
    """How differently a span of this length may sound; nothing where the recogniser was sure."""
    if chance is not None and chance >= _SURE:
        return -1.0
    if size == 2:
        return 0.5 if chance is not None and chance < _UNSURE else 0.0
    return 0.5 if size == 3 else 1.0 if size == 4 else 1.5


def _cuts(text: str) -> set[int]:
    """Where words begin and end."""
    cuts, place = {0}, 0
    for word in segmenter().cut(text, HMM=False):
        place += len(word)
        cuts.add(place)
    return cuts


@functools.lru_cache(maxsize=4096)
def _is_rarer(heard: str, meant: str) -> bool:
    """Whether a word of the dictionary hardly occurs, sounds just like the term, and the term is usual (黄胆)."""
    frequency = segmenter().FREQ.get(heard, 0)
    return frequency <= _RARE and frequency < _RARER * segmenter().FREQ.get(meant, 0) and _same_tones(heard, meant)


def _known(text: str, lexicon: Lexicon) -> list[tuple[int, int]]:
    """Where terms of the lexicon already stand."""
    return [
        (start, start + size)
        for size in range(2, min(_LONGEST, len(text)) + 1)
        for start in range(len(text) - size + 1)
        if text[start : start + size] in lexicon.sounds
    ]


def _makes_sense(words: Sequence[str], meant: str) -> bool:
    """Whether a row of words is what was said: none is a single character, or the term changes usual words alone."""
    if all(len(word) > 1 for word in words):
        return True
    place = 0
    for before, word in pairwise(["", *words]):
        changes = meant[place : place + len(word)] != word
        place += len(word)
        usual = len(word) > 1 and segmenter().FREQ.get(word, 0) >= _USUAL
        where = word in _WHERE and len(before) > 1 and place == len(meant)
        if changes and not (usual or where):
            return False
    return True


def _replaceable(
    start: int,
    heard: str,
    best: tuple[float, int, str],
    cuts: set[int],
    known: list[tuple[int, int]],
    chance: float | None,
) -> bool:
    """Whether a span is no word and no part of one, and no term that stands there already would be cut."""
    cost, _, meant = best
    end = start + len(heard)
    inside = [cut for cut in cuts if start < cut < end]
    if start not in cuts or end not in cuts:  # part of a word
        return False
    if not inside and not _is_rarer(heard, meant):  # one word of the dictionary
        return False
    words = [heard[first - start : last - start] for first, last in pairwise(sorted([start, *inside, end]))]
    unsure = chance is not None and chance < _UNSURE and cost < 1
    if inside and not unsure and _makes_sense(words, meant):
        return False
    changed = [heard[place] in _FUNCTION for place in range(len(heard)) if heard[place] != meant[place]]
    if all(changed) or (any(changed) and len(heard) <= 4):
        return False
    return not any(
        first < end and start < last and not (first >= start and last <= end and len(heard) >= last - first + 2)
        for first, last in known
    )
