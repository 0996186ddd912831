"""The word lists of the rules as sets, and what counts as an ordinary word of Chinese."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from importlib import resources

from pediatricsgpt.corpus.rules import rules

_HAN = re.compile(r"[\u3400-\u9fff]")


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Sets of characters and words; names follow the keys of `rules/deidentify.yaml`."""

    surnames: frozenset[str]
    compound: frozenset[str]
    function: frozenset[str]
    prepositions: frozenset[str]
    hard_prepositions: frozenset[str]
    given: frozenset[str]
    not_given: frozenset[str]
    before: frozenset[str]
    before_title: frozenset[str]
    never_given: frozenset[str]
    follow: re.Pattern[str]
    words: frozenset[str]
    ordinary: frozenset[str]


@functools.cache
def lexicon() -> Lexicon:
    """The rules' lexicon, read once a process."""
    content = rules("deidentify")
    not_given = _characters(content["not_given"])
    return Lexicon(
        surnames=_characters(content["surnames"]),
        compound=frozenset(content["compound_surnames"].split()),
        function=_characters(content["function_surnames"]),
        prepositions=_characters(content["preposition_surnames"]),
        hard_prepositions=_characters(content["hard_prepositions"]),
        given=_characters(content["given"]) - not_given,
        not_given=not_given,
        before=frozenset(content["before_name"].split()),
        before_title=frozenset((content["before_name"] + " " + content["before_title"]).split()),
        never_given=_characters(content["never_given"]),
        follow=any_of(content["follow"].split()),
        ordinary=frozenset(content["words"].split()),
        words=_words() | frozenset(content["words"].split()),
    )


def _characters(text: str) -> frozenset[str]:
    return frozenset("".join(text.split()))


def any_of(words: list[str]) -> re.Pattern[str]:
    """A pattern that matches any of the words, the longest first."""
    return re.compile("|".join(map(re.escape, sorted(set(words), key=lambda word: (-len(word), word)))))


def cue_pattern(expressions: list[str]) -> str:
    """One alternation of cue expressions behind a look at the first character, which most places of a text fail."""
    starts = {character for cue in expressions for character in re.findall(r"(?:^|\(\?:|\|)([\u3400-\u9fff])", cue)}
    return f"(?=[{''.join(sorted(starts))}])(?:{'|'.join(expressions)})"


def _words() -> frozenset[str]:
    """Words of two or three characters of jieba's dictionary (MIT) that are no person's name there."""
    text = resources.files("jieba").joinpath("dict.txt").read_text(encoding="utf-8")
    found = set()
    for line in text.splitlines():
        word, _, kind = line.split(" ")
        if 2 <= len(word) <= 3 and not kind.startswith("nr"):
            found.add(word)
    return frozenset(found)


def is_han(character: str) -> bool:
    """Whether one character is Chinese; false for the empty string."""
    return bool(character) and _HAN.match(character) is not None
