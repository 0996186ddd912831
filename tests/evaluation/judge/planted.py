"""Judges whose true preferences are known, over HTTP and without it, and pairs of answers with a planted quality."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pediatricsgpt.evaluation.judge.prompt import DIMENSIONS
from pediatricsgpt.evaluation.judge.questions import Pair, Question
from pediatricsgpt.evaluation.judge.verdicts import Verdict, Word
from pediatricsgpt.records import Message

A, B = "ours", "theirs"
_SHOWN = re.compile(r"【回答([甲乙]) 开始】\n(.*?)\n【回答\1 结束】", re.DOTALL)
_QUALITY = re.compile(r"品质(\d+)分")

Rule = Callable[[str, str], str]
"""(what is shown as 甲, as 乙) -> 甲, 乙 or 平"""


def draw(*of: object) -> float:
    """A number in 0..1 that depends on its arguments alone."""
    return int(hashlib.sha256("|".join(map(str, of)).encode()).hexdigest()[:13], 16) / 16**13


def answer(quality: int, length: int) -> str:
    """An answer that says its quality (0 to 100), about so many characters long."""
    said = f"品质{quality}分。"
    return said + "多喝水，注意休息。" * max(0, (length - len(said)) // 9)


def quality(text: str) -> int:
    """What `answer` was given; nothing is worth less than nothing."""
    found = _QUALITY.search(text)
    return int(found[1]) if found else -1


def pair(n: int, better: float, longer: float = 0.5, seed: int = 1) -> Pair:
    """So many questions; A is the better one in this share of them, and the longer one, independently, in this."""
    rng = np.random.default_rng(seed)
    questions = []
    for place in range(n):
        good, poor = int(rng.integers(51, 100)), int(rng.integers(0, 50))
        long, short = int(rng.integers(150, 300)), int(rng.integers(30, 140))
        qualities = (good, poor) if rng.random() < better else (poor, good)
        lengths = (long, short) if rng.random() < longer else (short, long)
        answers = (answer(qualities[0], lengths[0]), answer(qualities[1], lengths[1]))
        messages = (Message(role="user", content=f"宝宝发热第{place}天怎么办？"),)
        questions.append(
            Question(f"q{place:04}", messages, answers, None, "medkqa", ("内科", "儿科")[place % 2], "infant")
        )
    return Pair((A, B), tuple(questions))


def perfect(first: str, second: str) -> str:
    """Prefers the better answer."""
    return _word(quality(first) - quality(second))


def follows_place(p: float) -> Rule:
    """With probability p says 甲 whatever it reads, else prefers the better one."""
    return lambda first, second: "甲" if draw("place", first, second) < p else perfect(first, second)


def follows_length(p: float) -> Rule:
    """With probability p prefers the longer answer, the same one in both orders, else the better one."""

    def rule(first: str, second: str) -> str:
        chance = draw("length", *sorted((first, second)))
        return _word(len(first) - len(second)) if chance < p else perfect(first, second)

    return rule


def at_random(first: str, second: str) -> str:
    """Rolls a die for each showing."""
    return "甲乙平"[int(3 * draw("die", first, second))]


def _word(difference: int) -> str:
    return "甲" if difference > 0 else "乙" if difference < 0 else "平"


def spoken(word: str, reason: str = "更贴合患儿情况。") -> str:
    """The judge's answer in its right form."""
    return json.dumps({name: {"reason": reason, "better": word} for name in DIMENSIONS}, ensure_ascii=False)


def shown(body: Mapping[str, Any]) -> tuple[str, str]:
    """What a request shows as 甲 and as 乙."""
    found = dict(_SHOWN.findall(body["messages"][-1]["content"]))
    return found["甲"], found["乙"]


def judge(rule: Rule) -> Callable[[Mapping[str, Any]], str]:
    """A judge for `tests.openai_server`."""
    return lambda body: spoken(rule(*shown(body)))


def verdict(name: str, order: int, word: Word, **others: Any) -> Verdict:
    """A verdict on the pair of A and B, in this order."""
    left, right = (A, B) if order == 0 else (B, A)
    return Verdict(
        **{"dimension": "usefulness", "rater": "judge", "order": order, **others},
        id=name,
        left=left,
        right=right,
        verdict=word,
    )


def simulated(of: Pair, rule: Rule, dimension: str = "usefulness", rater: str = "judge") -> list[Verdict]:
    """The verdicts that a judge of this rule gives, both orders, without a server."""
    words: dict[str, Word] = {"甲": "left", "乙": "right", "平": "tie"}
    found = []
    for question in of.questions:
        for order in (0, 1):
            first, second = question.answers[:: 1 if order == 0 else -1]
            lengths = {"left_characters": len(first), "right_characters": len(second)}
            word = words[rule(first, second)]
            found.append(verdict(question.id, order, word, dimension=dimension, rater=rater, **lengths))
    return found
