"""Wording of web consultations: tags, platform furniture, thesaurus noise, and traditional characters.

Only what is certain is changed, and nothing that carries a fact: no number, unit, drug name or negation.
"""

from __future__ import annotations

import functools
import itertools
import re
from typing import Any

from pediatricsgpt.corpus.rules import pattern, rules

CLASSICAL_SHARE = 0.06  # of classical particles among Han characters: old books 0.07-0.12, modern prose below 0.03

# Simplified text has these too: 二噁英, 噁唑 (chemistry), 癥瘕 (a term of its own in Chinese medicine).
_KEPT_TRADITIONAL = re.compile(r"噁(?!心)|癥(?=[瘕积積聚结結])")
_PARTICLE = re.compile("[之者也矣曰焉乎其盖蓋故夫]")
_HAN = re.compile("[\u4e00-\u9fff]")
_OPEN_END = re.compile(r"[\w）)】”]$")
_LONGEST_MARK = 12  # characters, more than any of `answer_marks` has
_MARK_END = re.compile(r"[析议见导]\s*[：:]")
_COMMA_END = re.compile(r"[，,、：:；;\s]+$")
# An expression that looks behind at most at its beginning, and ahead at most at its end.
_ENDS = re.compile(
    r"(?:\(\?<=(?P<before>[^()\\]*)\))?(?P<core>(?:[^()\\]|\([^()\\?][^()\\]*\))*)"
    r"(?:\(\?=(?P<after>(?:[^()\\]|\((?:\?:)?[^()\\?]*\))*)\)|\(\?!\[(?P<none>[^\]^]+)\]\))?"
)

_ATTRIBUTES = r"(?:\s+[\w:-]+\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'|[^\s\"'<>]+))*"
_BLOCKS = r"br|p|div|table|tbody|thead|tr|td|th|ul|ol|li|h[1-6]|hr|center|blockquote|section|html|body|head|form"
_INLINE = r"span|b|i|u|s|strong|em|a|img|font|sub|small|big|strike|label|input|iframe|del|ins|tt"
_SCRIPT = re.compile(r"<(script|style)\b[^<>]*>.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_BLOCK_TAG = re.compile(rf"</?(?:{_BLOCKS}){_ATTRIBUTES}\s*/?>", re.IGNORECASE)
_INLINE_TAGS = re.compile(rf"(?:</?(?:{_INLINE}){_ATTRIBUTES}\s*/?>)+", re.IGNORECASE)
_RAISED = re.compile(r"(?<=\d)<sup\s*>(?=[+\-−]?\d)", re.IGNORECASE)  # 10<sup>9</sup> is 10^9, never 109
_RAISED_TAGS = re.compile(r"(?:</?sup\s*/?>)+", re.IGNORECASE)


def repair(text: str) -> str:
    """Undo mechanical synonym replacements whose phrase never occurs in sound text (`repairs` in clean.yaml)."""
    for part, repairs in _repairs():
        if part in text:
            for expression, replacement in repairs:
                text = expression.sub(replacement, text)
    return text


@functools.cache
def _repairs() -> tuple[tuple[str, list[tuple[re.Pattern[str], str]]], ...]:
    """The repairs in their order; those that follow each other and have the same part are looked for once."""
    by_part = itertools.groupby(rules("clean")["repairs"], key=lambda row: str(row[0]))
    return tuple((part, [(re.compile(found), new) for _, found, new in rows]) for part, rows in by_part)


def repaired() -> list[str]:
    """Expressions for engines that cannot look around; one of them is found in every text that `repair` changes."""
    return [_without_looking_around(found, part) for part, found, _ in rules("clean")["repairs"]]


def _without_looking_around(expression: str, part: str) -> str:
    """An expression that is found in the same texts and looks around nowhere, where that is easily had; else `part`."""
    found = _ENDS.fullmatch(expression)
    if not found:
        return re.escape(part)
    after = found["after"] or (rf"[^{found['none']}]|\z" if found["none"] else "")
    return f"(?:{found['before'] or ''})(?:{found['core']})(?:{after})"


def without_furniture(text: str) -> str:
    """Without requests for votes and ratings."""
    for word in rules("clean")["furniture_words"]:
        if word in text:
            return pattern("clean", "furniture").sub("", text)
    return text


def without_answer_marks(text: str) -> str:
    """An answer without the marks of a form (病情分析：); a full stop closes what stood before one."""
    if not (("：" in text or ":" in text) and _MARK_END.search(text)):
        return text
    first, *others = _split_at_marks(text)
    if not others:
        return text
    joined = first.rstrip()
    for part in others:
        part = part.strip()
        if part and _OPEN_END.search(joined):
            joined += "。"
        elif joined.endswith(".") and part[:1].isdigit():
            joined += " "  # a full stop and the number of a list item are no decimal
        joined += part
    return joined.strip()


def _split_at_marks(text: str) -> list[str]:
    """As `split` does, in a third of the time: the marks are looked for only where one can end."""
    marks, parts, start = pattern("clean", "answer_marks"), [], 0
    for end in _MARK_END.finditer(text):
        if found := marks.search(text, max(start, end.start() - _LONGEST_MARK), end.end()):
            parts.append(text[start : found.start()])
            start = found.end()
    return [*parts, text[start:]]


def without_greetings(text: str) -> str:
    """An answer without its greeting and its closing wish; one that is nothing else stays as it is."""
    core = text
    for opening in _expressions("openings"):
        core = opening.sub("", core, count=1)
    shorter = core
    for closing in reversed(_expressions("closings")):
        shorter = closing.sub("", shorter, count=1)
    if shorter != core:
        shorter = _COMMA_END.sub("", shorter)
        shorter += "。" if _OPEN_END.search(shorter) else ""
    return shorter or text


@functools.cache
def _expressions(key: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(expression) for expression in rules("clean")[key])


def simplify(text: str) -> str:
    """Simplified characters for traditional ones, word by word (OpenCC `t2s`: 頭髮 -> 头发, 發熱 -> 发热).

    A text without a single character that only traditional writing has is returned as it is.
    """
    if not traditional().search(text):
        return text
    parts = _KEPT_TRADITIONAL.split(text)
    kept = _KEPT_TRADITIONAL.findall(text)
    converted = [_converter().convert(part) for part in parts]
    return "".join(part + mark for part, mark in zip(converted, [*kept, ""], strict=True))


@functools.cache
def traditional() -> re.Pattern[str]:
    """Any character that only traditional writing has: OpenCC changes it, and GB 2312 (simplified) lacks it."""
    every = [chr(code) for code in range(0x4E00, 0x9FFF)]
    simple = _converter().convert("\n".join(every)).split("\n")
    pairs = zip(every, simple, strict=True)
    only = (old for old, new in pairs if old != new and _in_gb2312(new) and not _in_gb2312(old))
    # These alone decide nothing, simplified text has them (`_KEPT_TRADITIONAL`).
    return re.compile(f"[{''.join(only).translate(dict.fromkeys(map(ord, '噁癥矇')))}]")


def _in_gb2312(character: str) -> bool:
    try:
        character.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return True


@functools.cache
def _converter() -> Any:
    from opencc import OpenCC

    return OpenCC("t2s")


def is_classical(text: str) -> bool:
    """Whether a text is classical Chinese, by the share of particles that modern prose hardly has."""
    han = len(_HAN.findall(text))
    return han > 0 and len(_PARTICLE.findall(text)) >= CLASSICAL_SHARE * han


def without_tags(text: str) -> str:
    """Without the tags of HTML and what scripts hold; a comparison (血糖<7.0) is no tag."""
    if "<" not in text:
        return text
    text = _BLOCK_TAG.sub("\n", _SCRIPT.sub(" ", text))
    return remove(_RAISED_TAGS, remove(_INLINE_TAGS, _RAISED.sub("^", text)))


def remove(marks: re.Pattern[str], text: str) -> str:
    """Cut marks out; a space keeps two numbers apart that would become one."""
    return marks.sub(lambda mark: " " if _between_digits(mark) else "", text)


def _between_digits(mark: re.Match[str]) -> bool:
    before, after = mark.string[: mark.start()][-1:], mark.string[mark.end() :][:1]
    return before.isdigit() and after.isdigit()
