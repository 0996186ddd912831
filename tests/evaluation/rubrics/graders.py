"""Graders whose truth is known: an answer says, in a line each, the criteria that it meets."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Body = Mapping[str, Any]
_CRITERION = re.compile(r"【评分标准】\n\[(-?[\d.]+)\] (.*)")
_ANSWER = re.compile(r"【需要评判的回答 开始】\n(.*)\n【需要评判的回答 结束】", re.DOTALL)


def answer_meeting(texts: Iterable[str]) -> str:
    """An answer that meets the criteria of these texts and no other."""
    return "".join(f"{text}\n" for text in texts) + "以上。"


def asked(body: Body) -> tuple[float, str, str]:
    """(points, criterion, answer) of a request."""
    content = body["messages"][-1]["content"]
    points, criterion = _CRITERION.search(content).groups()  # type: ignore[union-attr]
    return float(points), criterion, _ANSWER.search(content)[1]  # type: ignore[index]


def says(met: bool) -> str:
    return json.dumps({"explanation": "理由", "criteria_met": met}, ensure_ascii=False)


def perfect(body: Body) -> str:
    _, criterion, answer = asked(body)
    return says(criterion in answer.split("\n"))


def lenient(body: Body) -> str:
    """Everything good is met, and nothing bad."""
    return says(asked(body)[0] > 0)


def coin(share: float) -> Callable[[Body], str]:
    """Says yes to this share of questions, whatever they are, and the same each time."""

    def grader(body: Body) -> str:
        number = int(hashlib.sha256(body["messages"][-1]["content"].encode()).hexdigest()[:8], 16)
        return says(number / 16**8 < share)

    return grader


def prose(body: Body) -> str:
    del body
    return "这份回答写得不错，总体上是符合要求的。"
