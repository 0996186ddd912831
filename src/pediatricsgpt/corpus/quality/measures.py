"""What the quality filters measure: small numbers over a text or over a question and its answer.

Each is a plain count of something that can be shown; none of them understands what it reads.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence

from pediatricsgpt.corpus.rules import pattern, rules
from pediatricsgpt.corpus.words import Words

GRAM = 8
MIN_CLAUSE = 5
FEW_LETTERS = 0.3
QUESTION_HEAD = 50
MIN_WORDS = 3
_SEXES = (("female", "male"), ("male", "female"))
_CLAUSE_END = re.compile(r"[，。！？；：、,.!?;:\s]+")
_WORD = re.compile(r"\w")
_ODD = re.compile("[锟烫屯锘�□ÃâÀ-ÿ]")  # one of these is in everything that `garbled` finds
_HAN_RUN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")


def letters(text: str) -> int:
    """Letters and digits of the first 50 characters: enough to tell a text that says nothing."""
    return len(_WORD.findall(text, 0, QUESTION_HEAD))


def repetition(text: str) -> float:
    """Share of a text that it has said before, 0 to 1.

    Counted are letters of clauses (5 or more letters) that stand in the text already; where a text uses few different
    letters, also its 8-grams, which finds loops without punctuation.
    """
    clauses = [clause for clause in _CLAUSE_END.split(text) if len(clause) >= MIN_CLAUSE]
    once = set(clauses)
    again = 0.0 if len(once) == len(clauses) else 1 - sum(map(len, once)) / sum(map(len, clauses))
    return max(again, _looping(text)) if len(set(text)) < FEW_LETTERS * min(len(text), 300) else again


def _looping(text: str) -> float:
    grams = [text[place : place + GRAM] for place in range(len(text) - GRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if len(grams) > GRAM else 0.0


def garbled(text: str) -> float:
    """Share of letters that are traces of a wrong encoding, 0 to 1."""
    if not _ODD.search(text):
        return 0.0
    marks = re.compile(rules("quality")["garbled"]).findall(text)
    return min(1.0, sum(map(len, marks)) / len(text)) if marks else 0.0


def synonym_noise(text: str) -> float:
    """Words that a thesaurus put there (quality.yaml), per 100 characters; those that reverse the meaning tenfold."""
    found = len(_alternatives("synonyms").findall(text)) + 10 * len(_alternatives("reversed").findall(text))
    return 100 * found / max(100, len(text))


@functools.cache
def _alternatives(key: str) -> re.Pattern[str]:
    # Not as groups: where every alternative begins with a letter, the engine looks for those letters alone.
    return re.compile("|".join(rules("quality")[key]))


def promotion(answer: str) -> float:
    """How much an answer advertises, 0 to 1: the weights of the expressions that it holds."""
    if not _any_promotion().search(answer):
        return 0.0
    return min(1.0, sum(weight for weight, found in _promotions() if found.search(answer)))


@functools.cache
def _promotions() -> tuple[tuple[float, re.Pattern[str]], ...]:
    return tuple((float(weight), re.compile(found)) for weight, found in rules("quality")["promotion"])


@functools.cache
def _any_promotion() -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, rules("quality")["promotion_words"])))


def answered(answer: str) -> int:
    """Letters of an answer beyond greetings, thanks and goodbyes."""
    if len(answer) > 60:  # longer than all manners together
        return len(answer)
    clauses = re.split(r"[，。！？；：、,.!?;:~～\s]+", answer)
    return sum(len(_WORD.findall(clause)) for clause in clauses if not _courtesy().fullmatch(clause))


@functools.cache
def _courtesy() -> re.Pattern[str]:
    return re.compile(f"(?:{pattern('quality', 'courtesies').pattern})+")


def mismatch(question: str, answer: str) -> float:
    """How little an answer has to do with its question, 0 to 1, by words alone.

    0 where both name an organ system in common, where either names none, or where the answer names fewer than three
    words of any other: words cannot tell then, and an answer that says in other words what it is about stays. Else
    1 / (1 + pairs of letters that they share); 1 also where the answer is about organs of the other sex.
    """
    asked = words_of([question])[0]
    return mismatch_of(question, answer, asked, words_of([answer])[0] if asked else [])


def mismatch_of(question: str, answer: str, asked: Sequence[str], told: Sequence[str]) -> float:
    """`mismatch` where the words of the question and of the answer that name an organ system are known."""
    if not asked or not told:
        return 0.0
    systems = _systems(told)
    if systems.keys() & _systems(asked).keys():
        return 0.0
    if _other_sex(question, systems):
        return 1.0
    if max(map(len, systems.values())) < MIN_WORDS:
        return 0.0
    return 1 / (1 + len((_pairs(question) & _pairs(answer)) - _common()))


def _other_sex(question: str, told: Mapping[str, set[str]]) -> bool:
    sexes = rules("quality")["sexes"]
    named = [sex for sex in sexes if re.search(sexes[sex], question)]
    return any(named == [own] and len(told.get(other, ())) >= 2 for own, other in _SEXES)


def words_of(texts: Sequence[str]) -> list[list[str]]:
    """The words of each text that name an organ system."""
    return _words()[0].found(texts)


def _systems(words: Sequence[str]) -> dict[str, set[str]]:
    """Words by the organ system that they name."""
    system = _words()[1]
    named: dict[str, set[str]] = {}
    for word in words:
        named.setdefault(system[word], set()).add(word)
    return named


@functools.cache
def _words() -> tuple[Words, dict[str, str]]:
    system = {word: name for name, words in rules("quality")["systems"].items() for word in words}
    return Words(system), system


def _pairs(text: str) -> set[str]:
    return {run[place : place + 2] for run in _HAN_RUN.findall(text) for place in range(len(run) - 1)}


@functools.cache
def _common() -> frozenset[str]:
    return frozenset(_pairs(rules("quality")["common"]))


def han_share(text: str) -> float:
    """Share of Han characters among those that are not spaces; 0 for an empty text."""
    visible = "".join(text.split())
    return 1 - len(_HAN_RUN.sub("", visible)) / len(visible) if visible else 0.0


def glanced(text: str, starts: Sequence[int], ends: Sequence[int]) -> list[list[int]]:
    """For stretches of a text what can be said at a glance, see `glance`: where it says no, the measure is 0."""
    from pediatricsgpt.corpus.quality.glance import character_table, glance

    table = character_table(_CLAUSE_END.pattern, _HAN_RUN.pattern, _ODD.pattern)
    found: list[list[int]] = glance(text, starts, ends, table, MIN_CLAUSE, FEW_LETTERS).tolist()
    return found
