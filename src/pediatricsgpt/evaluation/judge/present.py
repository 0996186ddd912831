"""How two answers are shown: blind, and on request without Markdown and at equal length.

Nothing here touches a number: digits are the same before and after, in the same order, unless a sentence is cut.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml

from pediatricsgpt.evaluation.judge.questions import Pair, Question
from pediatricsgpt.evaluation.settings import MODELS

NO_ANSWER = "（无回答）"
_GENERIC = {*MODELS, "model", "predictions", "answers", "a", "b"}
_MIN_NAME = 3

_FENCE = re.compile(r"(?m)^[ \t]*(?:`{3,}|~{3,})[A-Za-z+#-]*[ \t]*$\n?|`{3,}")
_HEADING = re.compile(r"(?m)^[ \t]*#{1,6}[ \t]+(.*?)[ \t]*#*[ \t]*$")
# "- 5岁以下" is an entry of a list, "-5℃" and "- 5" before a unit alone would be numbers: the space decides.
_BULLET = re.compile(r"(?m)^[ \t]*[-*+•·●○▪■◆][ \t]+(?=\S)")
# "> 38.5℃" at a line's start compares; it quotes nothing.
_QUOTE = re.compile(r"(?m)^[ \t]*>[ \t]*(?![ \t]*[\d=])")
_RULE = re.compile(r"(?m)^[ \t]*(?:-{3,}|\*{3,}|_{3,})[ \t]*$\n?")
_BOLD = re.compile(r"\*\*(?=\S)(.+?)(?<=\S)\*\*|(?<![\w_])__(?=[^\s_])(.+?)(?<=[^\s_])__(?![\w_])")
# Not between digits or Latin letters: 5*3 multiplies.
_ITALIC = re.compile(r"(?<![0-9A-Za-z*片粒支袋次])\*(?=[^\s*\d])([^*\n]+?)(?<=[^\s*])\*(?![0-9A-Za-z*])")
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"!?\[([^\]\n]*)\]\((?:https?:|www\.|mailto:|#|/)[^)\s]*(?:[ \t]+\"[^\"]*\")?\)")
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_TAG = re.compile(r"</?(?:b|i|u|em|strong|p|ul|ol|li|h[1-6]|div|span)\s*>", re.IGNORECASE)
_TABLE_RULE = re.compile(r"^[ \t]*\|?(?:[ \t]*:?-+:?[ \t]*\|)+[ \t]*(?::?-+:?)?[ \t]*$")
_TABLE_ROW = re.compile(r"^[ \t]*\|(.*)\|[ \t]*$")
_BLANK_LINES = re.compile(r"\n{3,}")
_OF_NUMBERS = "0123456789."
_SENTENCE_END = re.compile(r"[。！？!?]+[”’」』）)]*|\n+")


@dataclass(frozen=True, slots=True)
class Shown:
    """A question with the two answers as a rater sees them, in the order A, B."""

    question: Question
    answers: tuple[str, str]
    masked: tuple[int, int] = (0, 0)
    """Places of each answer in which it gave away who wrote it"""
    stripped: tuple[bool, bool] = (False, False)
    cut: tuple[int, int] = (0, 0)
    """Characters that were cut from each answer's end"""

    @property
    def identical(self) -> bool:
        """Whether a rater would see the same text twice."""
        return self.answers[0] == self.answers[1]


def present(pair: Pair, strip: bool, equal: bool) -> list[Shown]:
    """Every question of a pair as it is shown.

    Args:
        pair: questions and answers; the models' names are masked in them.
        strip: without Markdown.
        equal: the longer answer is cut at a sentence's end near the length of the shorter one.
    """
    names = _own_names((*pair.models, *pair.also_named))
    return [_present(question, names, strip, equal) for question in pair.questions]


def counts(shown: Iterable[Shown], models: tuple[str, str]) -> dict[str, dict[str, int]]:
    """How many answers of each model were empty, masked, stripped and cut."""
    shown = list(shown)
    found: dict[str, dict[str, int]] = {"empty": {}, "masked": {}, "stripped": {}, "cut": {}}
    for side, model in enumerate(models):
        found["empty"][model] = sum(one.answers[side] == NO_ANSWER for one in shown)
        found["masked"][model] = sum(one.masked[side] > 0 for one in shown)
        found["stripped"][model] = sum(one.stripped[side] for one in shown)
        found["cut"][model] = sum(one.cut[side] > 0 for one in shown)
    return found


def mask_identity(text: str, own_names: Sequence[str] = ()) -> tuple[str, int]:
    """The text without what says who wrote it, and how many places that were.

    Args:
        text: an answer.
        own_names: further names to mask, as words of their own.
    """
    found = 0

    def mask(match: re.Match[str]) -> str:
        nonlocal found
        found += 1
        return str(match.groupdict().get("before") or "") + str(_rules()["mask"])

    for pattern in (*_patterns(), *([_as_words(own_names)] if own_names else ())):
        text = pattern.sub(mask, text)
    return text, found


def strip_markdown(text: str) -> str:
    """The text without the marks of headings, lists, emphasis, code, links and tables; words and numbers stay.

    Numbers of an ordered list are words of the text. A table's cells are joined by commas, a line each.
    """
    text = _BREAK.sub("\n", _unmarked(_FENCE, text))
    text = "\n".join(_untabled(text.split("\n")))
    for pattern in (_RULE, _QUOTE, _BULLET):
        text = pattern.sub("", text)
    text = _HEADING.sub(r"\1", text)
    for pattern in (_TAG, _LINK, _CODE, _BOLD, _ITALIC):
        text = _unmarked(pattern, text)
    return _BLANK_LINES.sub("\n\n", text).strip()


def _unmarked(pattern: re.Pattern[str], text: str) -> str:
    """The text with what the pattern's groups hold in place of the whole; two numbers never become one by that."""

    def inner(match: re.Match[str]) -> str:
        kept = "".join(group for group in match.groups() if group)
        before, after = text[: match.start()][-1:], text[match.end() :][:1]
        if not kept:
            return " " if _touch(before, after) else ""
        return " " * _touch(before, kept[0]) + kept + " " * _touch(kept[-1], after)

    return pattern.sub(inner, text)


def _touch(one: str, other: str) -> bool:
    """Whether two characters side by side would be read as one number."""
    return bool(one and other and one in _OF_NUMBERS and other in _OF_NUMBERS)


def cut_to(text: str, characters: int) -> str:
    """The beginning of a text, up to the sentence end that is nearest to this length; at least one sentence."""
    if len(text) <= characters:
        return text
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    ends = [*(end for end in ends if end < len(text)), len(text)]
    return text[: min(ends, key=lambda end: (abs(end - characters), end))].rstrip()


def _present(question: Question, names: Sequence[str], strip: bool, equal: bool) -> Shown:
    said = [answer.strip() for answer in question.answers]
    stripped = [strip_markdown(text) if strip else text for text in said]
    masked = [mask_identity(text, names) for text in stripped]
    a, b = texts = [text for text, _ in masked]
    if equal and a and b:
        a, b = cut_to(a, len(b)), cut_to(b, len(a))
    return Shown(
        question,
        (a or NO_ANSWER, b or NO_ANSWER),
        (masked[0][1], masked[1][1]),
        (stripped[0] != said[0], stripped[1] != said[1]),
        (len(texts[0]) - len(a), len(texts[1]) - len(b)),
    )


def _untabled(lines: Sequence[str]) -> list[str]:
    """Lines, with those of tables as plain ones."""
    plain = []
    for line in lines:
        row = _TABLE_ROW.match(line)
        if row and _TABLE_RULE.match(line):
            continue
        plain.append("，".join(cell for part in row[1].split("|") if (cell := part.strip())) if row else line)
    return plain


def _own_names(models: Sequence[str]) -> list[str]:
    """Names of these models as they may stand in an answer; ordinary words (sft, base) are none."""
    parts = {part for model in models for part in (model, model.rstrip("/").rpartition("/")[2])}
    return sorted(part for part in parts if part.lower() not in _GENERIC and len(part) >= _MIN_NAME)


def _as_words(names: Sequence[str]) -> re.Pattern[str]:
    return _words([re.escape(name) for name in sorted(names, key=len, reverse=True)])


def _words(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(patterns)})(?![A-Za-z0-9])", re.IGNORECASE)


@functools.cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    """Who speaks of itself first: its whole phrase goes; then names wherever they stand."""
    rules = _rules()
    machine, spoken = rules["machine"], "|".join(rules["spoken"])
    makers = "|".join(rules["makers"])
    named = "|".join((*rules["spoken"], *rules["names"]))
    one = "(?:(?:您|你)的|一个|一款|一名|一位|个|名|位|由)?"
    made = rf"(?:(?:{makers})(?:公司|集团|大学)?(?:自主)?(?:研发|开发|训练|推出|创建|打造)?的?)?"
    return (
        re.compile(
            rf"(?P<before>(?:我(?:只|仅仅?)?是|我叫|我作为|作为|身为)[*_“「]{{0,2}}{one}){made}(?:(?:{named})[，,、]?{one}的?)?{machine}",
            re.IGNORECASE,
        ),
        re.compile(
            rf"(?P<before>(?:我是|我叫|我的名字是|我的名字叫)[*_“「]{{0,2}})(?:{named})(?![一-龥]{{0,2}}[丸丹散膏汤])",
            re.IGNORECASE,
        ),
        re.compile(rf"(?:{spoken})(?:大模型|医疗大模型|医学大模型|AI|GPT)", re.IGNORECASE),
        re.compile(
            rf"(?P<before>由)(?:{makers})(?:公司|集团)?(?:自主)?(?:研发|开发|训练|推出|创建|打造)", re.IGNORECASE
        ),
        re.compile(rules["english"], re.IGNORECASE),
        _words(rules["names"]),
    )


@functools.cache
def _rules() -> dict[str, Any]:
    rules: dict[str, Any] = yaml.safe_load(resources.files(__package__).joinpath("identity.yaml").read_bytes())
    return rules
