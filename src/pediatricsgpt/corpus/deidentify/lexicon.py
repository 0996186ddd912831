"""The word lists of the rules as sets, and what counts as an ordinary word of Chinese."""

from __future__ import annotations

import functools
import re
from collections import Counter
from dataclasses import dataclass
from importlib import resources

from pediatricsgpt.corpus.rules import rules

# a character in so few words is hardly ever anything but part of a name
_RARE = 12
# nouns, sounds and the like: what children are called after
_NOUN_KINDS = frozenset("noz")
_HAN = re.compile(r"[\u3400-\u9fff]")


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Sets of characters and words; names follow the keys of `rules/deidentify.yaml`."""

    surnames: frozenset[str]
    openers: frozenset[str]
    """What a full name can begin with"""
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
    nouns: frozenset[str]
    given_words: frozenset[str]
    common: frozenset[str]


@functools.cache
def lexicon() -> Lexicon:
    """The rules' lexicon, read once a process."""
    content = rules("deidentify")
    not_given = _characters(content["not_given"])
    known, nouns, given_words, common = _words()
    return Lexicon(
        surnames=_characters(content["surnames"]),
        openers=_characters(content["surnames"]) | {name[0] for name in content["compound_surnames"].split()},
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
        words=known | frozenset(content["words"].split()),
        nouns=nouns,
        given_words=given_words,
        common=common,
    )


def _characters(text: str) -> frozenset[str]:
    return frozenset("".join(text.split()))


def any_of(words: list[str]) -> re.Pattern[str]:
    """A pattern that matches any of the words, the longest first."""
    return re.compile("|".join(map(re.escape, sorted(set(words), key=lambda word: (-len(word), word)))))


def cue_pattern(expressions: list[str]) -> str:
    """One alternation of cue expressions; each alternative begins with a literal, so that `re` looks for their first
    characters alone at most places of a text."""
    return f"(?:{'|'.join(branch for expression in expressions for branch in _branches(expression))})"


def _branches(expression: str) -> list[str]:
    """The alternatives of an expression, each `(?:a|b)c` among them as `ac`, `bc`."""
    found = []
    for branch in _alternatives(expression):
        end = _group_end(branch) if branch.startswith("(?:") else 0
        if end and branch[end : end + 1] not in ("?", "*", "+", "{"):
            found += [option + branch[end:] for option in _alternatives(branch[3 : end - 1])]
        else:
            found.append(branch)
    return found


def _alternatives(expression: str) -> list[str]:
    """The parts between the `|` that stand in no group."""
    parts, depth = [""], 0
    for character in expression:
        depth += (character == "(") - (character == ")")
        if depth == 0 and character == "|":
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _group_end(expression: str) -> int:
    """Behind the bracket that closes the group at the start."""
    depth = 0
    for place, character in enumerate(expression):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return place + 1
    return 0


def _words() -> tuple[frozenset[str], frozenset[str], frozenset[str], frozenset[str]]:
    """From jieba's dictionary (MIT): words of two or three characters that are no person's name there, those of them
    that are nouns, given names of persons in it (建国 of 李建国), and the characters of more than a few words."""
    text = resources.files("jieba").joinpath("dict.txt").read_text(encoding="utf-8")
    found, nouns, given_words = set(), set(), set()
    characters: Counter[str] = Counter()
    for line in text.splitlines():
        word, _, kind = line.split(" ")
        if kind.startswith("nr") or len(word) > 3:
            if kind == "nr" and len(word) == 3:
                given_words.add(word[1:])
            continue
        characters.update(word)
        if len(word) >= 2:
            found.add(word)
            if kind[0] in _NOUN_KINDS:
                nouns.add(word)
    common = frozenset(character for character, count in characters.items() if count > _RARE)
    return frozenset(found), frozenset(nouns), frozenset(given_words), common


def is_han(character: str) -> bool:
    """Whether one character is Chinese; false for the empty string."""
    return bool(character) and _HAN.match(character) is not None
