"""Exact duplicates, and the groups that must stay together: nothing may stand in training and in the held-out rows.

Both work on keys (`text.key`: letters and digits only), in one pass over the records and linear time. Which of several
equal records is kept is decided by the order of reading: sources named first in the recipe win.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence

from pediatricsgpt import text as chinese
from pediatricsgpt.records import Message, Record, Reject, Step

STEP = Step("deduplicate", 2)
MIN_QUESTION_KEY = 8
MIN_PASSAGE_KEY = 40
MIN_PAIR_KEY = 20

# Thanks and goodbyes occur in unrelated dialogues; pairs of them join nothing.
_COURTESY = re.compile(
    r"(?:非常|十分|太|真的?|多|万分)?(?:感谢|谢谢|多谢)(?:您|你|医生|大夫|了|啊|的|建议|解答|指导|回复|回答|帮助|耐心|详细|和)*"
    r"|(?:好的?|嗯+|哦+|噢|行|是的?|知道|明白|了解|清楚|懂|收到)(?:了|吧|的|啊)?|我(?:会|知道|明白|了解)了?|医生|大夫|再见|打扰了?"
)


def deduplicate(records: Sequence[Record]) -> tuple[list[Record], list[Reject]]:
    """Drop exact duplicates, then give every group of related records one name.

    Related are: exact duplicates; records with the same first question; dialogues that share a question-answer pair;
    and records of any shape that share a long passage (a section, a paragraph of one, a turn of a dialogue, an answer
    of a preference pair). A joined group takes the smallest of its names.

    Returns:
        Kept records and rejects, together as many as were read. A reject names the record that was kept.
    """
    groups = _Groups()
    first: dict[str, Record] = {}
    kept: list[Record] = []
    rejects: list[Reject] = []
    for record in records:
        original = first.setdefault(_digest(_content_key(record)), record)
        groups.join(original.group, record.group)
        if original is record:
            kept.append(record)
        else:
            rejects.append(_duplicate(record, original))
    _join_related(kept, groups)
    return [_regrouped(record, groups) for record in kept], rejects


class _Groups:
    """Union-find over group names; the smallest name stands for its group."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def find(self, name: str) -> str:
        root = name
        while (parent := self._parent.get(root, root)) != root:
            root = parent
        while name != root:
            self._parent[name], name = root, self._parent.get(name, root)
        return root

    def join(self, one: str, other: str) -> None:
        small, large = sorted((self.find(one), self.find(other)))
        if small != large:
            self._parent[large] = small


def _content_key(record: Record) -> str:
    """What makes two records the same. Sections are compared without their headings, facts of a graph with them."""
    if record.shape == "text":
        title = "|".join(map(chinese.key, record.title)) if record.source.kind == "knowledge_graph" else ""
        return f"text|{title}|{chinese.key(record.text)}"
    sides = (record.messages, record.chosen, record.rejected)
    return "||".join("|".join(f"{turn['role']}:{chinese.key(turn['content'])}" for turn in side) for side in sides)


def _duplicate(record: Record, original: Record) -> Reject:
    place = f"{original.source.file}, {original.source.locator}"
    where = f"{record.source.file}, {record.source.locator}"
    return Reject("deduplicate", f"duplicate: of {original.id} ({place})", where, record.as_dict())


def _regrouped(record: Record, groups: _Groups) -> Record:
    return dataclasses.replace(record, group=groups.find(record.group), steps=[*record.steps, STEP])


def _join_related(records: Iterable[Record], groups: _Groups) -> None:
    owner: dict[str, str] = {}
    for record in records:
        for mark in _marks(record):
            groups.join(owner.setdefault(_digest(mark), record.group), record.group)


def _marks(record: Record) -> Iterator[str]:
    """What a record may share with another one of its group."""
    keys = map(chinese.key, _passages(record))
    yield from (f"passage|{key}" for key in keys if len(key) >= MIN_PASSAGE_KEY)
    if record.shape == "text":
        return
    question = chinese.key(next((turn["content"] for turn in record.messages if turn["role"] == "user"), ""))
    if len(question) >= MIN_QUESTION_KEY:
        yield f"question|{question}"
    yield from _pairs(record.messages)


def _passages(record: Record) -> list[str]:
    """Everything that could be an answer in one record and stand in another: all but the system prompts."""
    turns = (*record.messages, *record.chosen, *record.rejected)
    said = [turn["content"] for turn in turns if turn["role"] != "system"]
    return [*said, record.text, *record.text.split("\n")]


def _pairs(messages: Sequence[Message]) -> Iterator[str]:
    """The question-answer pairs of a dialogue that say something of their own."""
    for asked, answered in itertools.pairwise(messages):
        if asked["role"] != "user" or answered["role"] != "assistant":
            continue
        question, answer = chinese.key(asked["content"]), chinese.key(answered["content"])
        own = chinese.key(_COURTESY.sub("", asked["content"]))
        if len(own) >= MIN_QUESTION_KEY and len(question) + len(answer) >= MIN_PAIR_KEY:
            yield f"pair|{question}|{answer}"


def _digest(key: str) -> str:
    """A short stand-in for a long key, so that memory grows with the number of records, not with their length."""
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
