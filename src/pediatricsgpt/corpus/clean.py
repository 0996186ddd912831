"""Cleaning: what is not text goes, what was said stays. No number, unit, drug or negation changes.

Dialogues leave in the shape that training needs: turns alternate, the first is the patient's and the last the doctor's.
Text inside code fences is left as it is.
"""

from __future__ import annotations

import dataclasses
import functools
import html
import re
from collections.abc import Iterable, Sequence

from pediatricsgpt import text as chinese
from pediatricsgpt.corpus.rules import pattern
from pediatricsgpt.corpus.settings import CleanSettings
from pediatricsgpt.records import Message, Record, Reject, Step

STEP = Step("clean", 1)
MIN_HAN_SHARE = 0.1

_ATTRIBUTES = r"(?:\s+[\w:-]+\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'|[^\s\"'<>]+))*"
_BLOCKS = r"br|p|div|table|tbody|thead|tr|td|th|ul|ol|li|h[1-6]|hr|center|blockquote|section|html|body|head|form"
_INLINE = r"span|b|i|u|s|strong|em|a|img|font|sub|small|big|strike|label|input|iframe|del|ins|tt"
_SCRIPT = re.compile(r"<(script|style)\b[^<>]*>.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_BLOCK_TAG = re.compile(rf"</?(?:{_BLOCKS}){_ATTRIBUTES}\s*/?>", re.IGNORECASE)
_INLINE_TAGS = re.compile(rf"(?:</?(?:{_INLINE}){_ATTRIBUTES}\s*/?>)+", re.IGNORECASE)
_RAISED = re.compile(r"(?<=\d)<sup\s*>(?=[+\-−]?\d)", re.IGNORECASE)  # 10<sup>9</sup> is 10^9, never 109
_RAISED_TAGS = re.compile(r"(?:</?sup\s*/?>)+", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#\d{2,6}|#x[0-9a-fA-F]{2,6}|[A-Za-z]{2,8}\d{0,2});")
_FENCE = re.compile(r"(```.*?(?:```|$))", re.DOTALL)
_REPEATED = re.compile(r"([，。！？、；：!?～~])\1+")
_DOTS = re.compile(r"\.{3,}|…{3,}")
_BLANK_LINES = re.compile(r"\n\s*\n\s*")
_OPEN_END = re.compile(r"[\w）)】”]$")


def clean(records: Iterable[Record], settings: CleanSettings) -> tuple[list[Record], list[Reject]]:
    """Clean every record; those with nothing left to learn from are rejected with the reason.

    Ids stay those of reading. Of a dialogue, empty turns go, turns of one speaker that follow each other are joined, an
    opening by the doctor (a platform's greeting) goes because training starts from what a patient asks, and what comes
    after the doctor's last turn goes.

    Returns:
        Kept records and rejects, together as many as were read.
    """
    kept: list[Record] = []
    rejects: list[Reject] = []
    for record in records:
        cleaned = _CLEANERS[record.shape](record)
        reason = _CHECKS[record.shape](cleaned, settings)
        if reason:
            where = f"{record.source.file}, {record.source.locator}"
            rejects.append(Reject("clean", reason, where, record.as_dict()))
        else:
            cleaned.steps = [*record.steps, STEP]
            kept.append(cleaned)
    return kept, rejects


def clean_text(text: str) -> str:
    """One text without markup, placeholders and repeated punctuation; code between ``` is left alone."""
    parts = _FENCE.split(text)
    return "\n".join(filter(None, (part if part.startswith("```") else _clean_prose(part) for part in parts)))


def _clean_prose(text: str) -> str:
    text = _without_tags(_ENTITY.sub(lambda entity: html.unescape(entity.group()), _without_tags(text)))
    normal = chinese.normalise(text)
    text = pattern("clean", "separators").sub("\n", _remove(_placeholders(), normal))
    text = _BLANK_LINES.sub("\n", _DOTS.sub("……", _REPEATED.sub(r"\1", text)))
    return normal if text == normal else chinese.normalise(text)


@functools.cache
def _placeholders() -> re.Pattern[str]:
    return re.compile(f"(?:{pattern('clean', 'placeholders').pattern})+")


def _remove(marks: re.Pattern[str], text: str) -> str:
    """Cut marks out; a space keeps two numbers apart that would become one."""
    return marks.sub(lambda mark: " " if _between_digits(mark) else "", text)


def _between_digits(mark: re.Match[str]) -> bool:
    before, after = mark.string[: mark.start()][-1:], mark.string[mark.end() :][:1]
    return before.isdigit() and after.isdigit()


def _without_tags(text: str) -> str:
    if "<" not in text:
        return text
    text = _BLOCK_TAG.sub("\n", _SCRIPT.sub(" ", text))
    return _remove(_RAISED_TAGS, _remove(_INLINE_TAGS, _RAISED.sub("^", text)))


def _clean_answer(text: str) -> str:
    """A doctor's turn: also without the marks of a form; a full stop closes what stood before a mark."""
    return _without_marks(clean_text(text))


def _without_marks(text: str) -> str:
    first, *others = pattern("clean", "answer_marks").split(text)
    joined = first.rstrip()
    for part in others:
        joined += ("。" if _OPEN_END.search(joined) and part.strip() else "") + part.strip()
    return joined.strip()


def _clean_section(record: Record) -> Record:
    title = [chinese.normalise(heading) for heading in record.title]
    return dataclasses.replace(record, text=clean_text(record.text), title=title)


def _clean_dialogue(record: Record) -> Record:
    turns = _turns(record.messages)
    system, turns = turns[: _systems(turns)], turns[_systems(turns) :]
    while turns and turns[0]["role"] == "assistant":
        turns = turns[1:]
    while turns and turns[-1]["role"] == "user":
        turns = turns[:-1]
    return dataclasses.replace(record, messages=[*system, *turns] if turns else [])


def _clean_preference(record: Record) -> Record:
    prompt, chosen, rejected = (_turns(side) for side in (record.messages, record.chosen, record.rejected))
    return dataclasses.replace(record, messages=prompt, chosen=chosen, rejected=rejected)


def _turns(messages: Sequence[Message]) -> list[Message]:
    """Cleaned turns, without empty ones, and with neighbours of the same speaker joined."""
    turns: list[Message] = []
    for message in messages:
        content = (
            _clean_answer(message["content"]) if message["role"] == "assistant" else clean_text(message["content"])
        )
        if turns and content and turns[-1]["role"] == message["role"]:
            turns[-1] = {"role": message["role"], "content": f"{turns[-1]['content']}\n{content}"}
        elif content:
            turns.append({"role": message["role"], "content": content})
    return turns


def _systems(turns: Sequence[Message]) -> int:
    return int(bool(turns) and turns[0]["role"] == "system")


def _check_section(record: Record, settings: CleanSettings) -> str:
    """A reason to reject a section. A fact of a knowledge graph is measured with its entity and relation."""
    whole = "".join([*record.title, record.text]) if record.source.kind == "knowledge_graph" else record.text
    if not record.text or _length(whole) < settings.min_characters:
        return f"too short: {_length(whole)} characters"
    return _check_chinese(whole)


def _check_dialogue(record: Record, settings: CleanSettings) -> str:
    answers = [turn["content"] for turn in record.messages if turn["role"] == "assistant"]
    questions = [turn["content"] for turn in record.messages if turn["role"] == "user"]
    if not questions or not answers:
        return "no question followed by an answer"
    if any(turn["role"] == "system" for turn in record.messages[1:]):
        return "system turn inside the dialogue"
    if sum(map(_length, answers)) < settings.min_answer_characters:
        return f"answer too short: {sum(map(_length, answers))} characters"
    if chinese.key("".join(questions)) == chinese.key("".join(answers)):
        return "answer equals question"
    return _check_chinese("".join([*questions, *answers]))


def _check_preference(record: Record, settings: CleanSettings) -> str:
    if not record.messages or record.messages[-1]["role"] != "user":
        return "prompt does not end with a question"
    chosen, rejected = ("".join(turn["content"] for turn in side) for side in (record.chosen, record.rejected))
    if not chosen or not rejected:
        return "one side is empty"
    if _length(chosen) < settings.min_answer_characters:
        return f"answer too short: {_length(chosen)} characters"
    if chinese.key(chosen) == chinese.key(rejected):
        return "both sides are the same"
    return _check_chinese(record.messages[-1]["content"] + chosen)


def _check_chinese(text: str) -> str:
    return "no Chinese text" if chinese.han_share(text) < MIN_HAN_SHARE else ""


def _length(text: str) -> int:
    return len(re.sub(r"\s", "", text))


_CLEANERS = {"text": _clean_section, "messages": _clean_dialogue, "preference": _clean_preference}
_CHECKS = {"text": _check_section, "messages": _check_dialogue, "preference": _check_preference}
