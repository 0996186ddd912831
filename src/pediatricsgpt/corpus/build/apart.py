"""Keeping the two sides of the split apart by what rows say, where groups could not know it.

Groups are made of records; a rule may still make the same question of two documents, and an answer cut from one text
may stand inside another one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from pediatricsgpt import text as chinese
from pediatricsgpt.corpus.build.rows import Row, trained
from pediatricsgpt.corpus.deduplicate import MIN_PASSAGE_KEY, MIN_QUESTION_KEY
from pediatricsgpt.corpus.rules import rules
from pediatricsgpt.records import Locator, Message, Record, Reject


def apart(rows: Sequence[Row], records: Iterable[Record]) -> tuple[list[Row], list[Reject]]:
    """Leave out training rows whose first question is held out, then held-out rows whose answer training texts hold.

    Args:
        rows: instruction rows.
        records: curated records; the texts and pairs of the training ones are training text as well.

    Returns:
        Kept rows and rejects, together as many as there were rows.
    """
    held_out = {question for row in rows if not trained(row) and (question := _question(row["messages"]))}
    asked = {id(row) for row in rows if trained(row) and _question(row["messages"]) in held_out}
    train = [row for row in rows if trained(row) and id(row) not in asked]
    shown = _shown((row for row in rows if not trained(row)), _training_texts(train, records))
    reasons = {**dict.fromkeys(asked, "question is held out"), **dict.fromkeys(shown, "answer stands in training text")}
    kept = [row for row in rows if id(row) not in reasons]
    rejects = [_reject(row, reasons[id(row)]) for row in rows if id(row) in reasons]
    return kept, rejects


def _question(messages: Sequence[Message]) -> str:
    """The key of the first question; empty where it is too short to tell anything."""
    key = chinese.key(next((turn["content"] for turn in messages if turn["role"] == "user"), ""))
    return key if len(key) >= MIN_QUESTION_KEY else ""


def _training_texts(rows: Iterable[Row], records: Iterable[Record]) -> Iterator[str]:
    for row in rows:
        yield from (turn["content"] for turn in row["messages"])
    for record in records:
        if record.split == "train":
            yield record.text
            yield from (turn["content"] for turn in (*record.messages, *record.chosen, *record.rejected))


def _shown(rows: Iterable[Row], texts: Iterable[str]) -> set[int]:
    """Which rows have a long answer that stands in one of the texts, in time linear in their length."""
    note: str = rules("questions")["classical_note"]  # ours, before what an old book says
    beginnings: dict[str, dict[str, set[int]]] = {}
    for row in rows:
        for turn in row["messages"]:
            answer = chinese.key(turn["content"].removeprefix(note)) if turn["role"] == "assistant" else ""
            if len(answer) >= MIN_PASSAGE_KEY:
                beginnings.setdefault(answer[:MIN_PASSAGE_KEY], {}).setdefault(answer, set()).add(id(row))
    found: set[int] = set()
    seen: set[bytes] = set()
    for text in map(chinese.key, texts):
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if digest in seen:
            continue  # most rows say what their record says
        seen.add(digest)
        for start in range(len(text) - MIN_PASSAGE_KEY + 1):
            for answer, owners in beginnings.get(text[start : start + MIN_PASSAGE_KEY], {}).items():
                if text.startswith(answer, start):
                    found |= owners
    return found


def _reject(row: Row, reason: str) -> Reject:
    source = row["source"]
    return Reject("instructions", reason, f"{source['file']}, {Locator(**source['locator'])}", row)
