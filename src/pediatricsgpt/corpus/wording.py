"""Wording of web consultations: platform furniture, thesaurus noise, and traditional characters.

Only what is certain is changed, and nothing that carries a fact: no number, unit, drug name or negation.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from pediatricsgpt.corpus.rules import pattern, rules

CLASSICAL_SHARE = 0.06  # of classical particles among Han characters: old books 0.07-0.12, modern prose below 0.03

# Simplified text has these too: 二噁英, 噁唑 (chemistry), 癥瘕 (a term of its own in Chinese medicine).
_KEPT_TRADITIONAL = re.compile(r"噁(?!心)|癥(?=[瘕积積聚结結])")
_PARTICLE = re.compile("[之者也矣曰焉乎其盖蓋故夫]")
_HAN = re.compile("[\u4e00-\u9fff]")
_OPEN_END = re.compile(r"[\w）)】”]$")
_COMMA_END = re.compile(r"[，,、：:；;\s]+$")


def repair(text: str) -> str:
    """Undo mechanical synonym replacements whose phrase never occurs in sound text (`repairs` in clean.yaml)."""
    for part, expression, replacement in _repairs():
        if part in text:
            text = expression.sub(replacement, text)
    return text


@functools.cache
def _repairs() -> tuple[tuple[str, re.Pattern[str], str], ...]:
    return tuple((part, re.compile(found), replacement) for part, found, replacement in rules("clean")["repairs"])


def without_furniture(text: str) -> str:
    """Without requests for votes and ratings."""
    if not any(word in text for word in rules("clean")["furniture_words"]):
        return text
    return pattern("clean", "furniture").sub("", text)


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
