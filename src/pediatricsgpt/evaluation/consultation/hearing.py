"""How a caregiver hears a doctor's turn: what is asked, and whether the doctor has come to a conclusion.

A model that merely mentions fever in its advice has not asked for it. So only questions are listened to: sentences with
a question mark, requests for information, and the items of a list that such a request announces.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pediatricsgpt.evaluation.consultation.data import either, lists, pattern

_SENTENCE = re.compile(r"[^。！？!?；;]*[。！？!?；;]?")
_CLAUSE = re.compile(r"[^，,。！？!?；;：:]+[？?]?")
_ITEM = re.compile(r"^\s*(?:[-*•·]|[（(]?\d{1,2}[.、．)）:：]|[①-⑳]|[一二三四五六七八九十]、)\s*")
_ENDS_ASKING = re.compile(r"[？?]\s*[”\"）)]?$")
_A_NOT_A = re.compile(r"([\u4e00-\u9fff])[不没]\1")
_CLAUSE_MARK = re.compile(r"几|吗|呢|什么|哪|谁|没有?$|没有?[？?]$|吧[？?]?$|还是|多(?![喝饮休吃])|怎么")
_BESIDE = re.compile(r"除(?:了|去)?[^，,。？?]{1,20}?(?:之外|以外|外|，|,|(?=还|有没有))")
_FILLER = re.compile(r"请问|您好|你好|孩子|宝宝|宝贝|小朋友|患儿|他|她|的|了|那|[，,。！？!?；;：:\s]")
_LONGEST_NAME = 6
_LIST_ENDS = re.compile(r"[：:]\s*$")


@dataclass(frozen=True, slots=True)
class Heard:
    """What a turn asks.

    Args:
        topics: in the order in which they are asked, each once.
        questions: the questions themselves, without courtesies.
        unclear: questions of which no topic was understood.
        concludes: whether the turn gives a diagnosis or advice and asks nothing.
    """

    topics: tuple[str, ...]
    questions: tuple[str, ...]
    unclear: int
    concludes: bool


@functools.lru_cache(maxsize=4096)
def hear(turn: str) -> Heard:
    """Read one turn of the doctor."""
    asked = list(_questions(turn))
    topics: dict[str, None] = {}
    unclear = 0
    for question, listed in asked:
        found = list(_topics(question, listed))
        unclear += not found and not pattern("question", "requests").search(question)
        topics.update(dict.fromkeys(found))
    concludes = not asked and bool(pattern("conclusion").search(turn))
    return Heard(tuple(topics), tuple(question for question, _ in asked), unclear, concludes)


def sentences(turn: str) -> list[str]:
    """The sentences of a turn, with their end marks."""
    return [part.strip() for line in turn.splitlines() for part in _SENTENCE.findall(line) if part.strip()]


def is_question(sentence: str) -> bool:
    """Whether a sentence asks something about the child."""
    if pattern("question", "courtesy").search(sentence):
        return False
    if _ENDS_ASKING.search(sentence):
        return True
    if pattern("advice").search(sentence):
        return False
    if pattern("question", "requests").search(sentence):
        return True
    marked = bool(pattern("question", "marks").search(sentence))
    return marked and not pattern("question", "statements").search(sentence)


def _questions(turn: str) -> Iterator[tuple[str, bool]]:
    """(question, whether it is an item of a list that was asked for)."""
    in_list = False
    for line in filter(str.strip, turn.splitlines()):
        item = _ITEM.match(line)
        if item is None:
            in_list = False
        said = line[item.end() :] if item else line
        if in_list and not pattern("advice").search(said):
            yield said.strip(), True
            continue
        for sentence in sentences(said):
            if is_question(sentence):
                yield sentence, False
        request = bool(pattern("question", "requests").search(line))
        in_list = in_list if item else request and bool(_LIST_ENDS.search(line) or "以下" in line)


def _topics(question: str, listed: bool) -> Iterator[str]:
    """The topics of a question, in the order of its words."""
    every = listed or bool(pattern("question", "requests").search(question))
    open_ = every
    for clause in _CLAUSE.findall(_BESIDE.sub("", question)):
        marked = bool(
            _CLAUSE_MARK.search(clause) or _A_NOT_A.search(clause) or pattern("question", "marks").search(clause)
        )
        open_ = open_ or marked
        last = question.rstrip("。！？!?；; ").endswith(clause.rstrip("？?"))
        if open_ or last or len(_FILLER.sub("", clause)) <= _LONGEST_NAME:
            yield from _topics_of(clause)


def _topics_of(clause: str) -> list[str]:
    found: list[tuple[int, str]] = []
    for name, ask, unless in _patterns():
        match = ask.search(clause)
        if match and not unless.search(clause):
            found.append((match.start(), name))
    return [name for _, name in sorted(found)]


@functools.cache
def _patterns() -> list[tuple[str, re.Pattern[str], re.Pattern[str]]]:
    topics = lists("topics")["topics"]
    return [(name, either(tuple(it["ask"])), either(tuple(it.get("unless", ())))) for name, it in topics.items()]
