"""Progressive reconstruction (paper section 3) without a teacher: of distilled sets, the good items as they are.

Good is an item whose last answer says enough, is finished, and does not refuse or speak of its own making.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pediatricsgpt.corpus.build.rows import Row, characters, instruction_row, reject
from pediatricsgpt.records import Record, Reject, Step

STEP = Step("distill", 1)
MIN_ANSWER_CHARACTERS = 10
MAX_CHARACTERS = 4000

_FINISHED = re.compile(r"[。！？!?.；;…～~）)”』】》:：]$|```$")
_LIST_LINE = re.compile(r"\n\s*(?:[-*•·]|\d+[.、)）])[^\n]*$")
_REFUSAL = re.compile(
    r"作为(?:一个|一名)?(?:AI|人工智能|语言模型|大?模型)|我(?:只)?是(?:一个)?(?:AI|人工智能|语言模型)|无法(?:回答|提供)(?:这个|该|此|您的)?(?:问题|建议|信息)"
    r"|^(?:很)?抱歉|^对不起|根据(?:上述|以上|所给|给定)?(?:的)?知识|OpenAI|ChatGPT|As an AI",
    re.IGNORECASE,
)
_BRACKETED = re.compile(r"^\s*\[['\"].*['\"]\]\s*$", re.DOTALL)


def instructions(records: Iterable[Record]) -> tuple[list[Row], list[Reject]]:
    """One row from every good distilled item.

    Returns:
        Rows of the instruction schema and the items that are left out with the reason, together as many as there are
        distilled dialogues.
    """
    rows: list[Row] = []
    rejects: list[Reject] = []
    for record in records:
        if record.shape != "messages" or record.family != "distilled":
            continue
        if reason := _reason(record):
            rejects.append(reject("distill", reason, record))
        else:
            rows.append(instruction_row(record, record.messages, record.task or "general", STEP))
    return rows, rejects


def _reason(record: Record) -> str:
    """Why an item is no good; empty for good ones."""
    answer = record.messages[-1]["content"]
    if len(answer) < MIN_ANSWER_CHARACTERS:
        return f"answer too short: {len(answer)} characters"
    if (length := characters(record.messages)) > MAX_CHARACTERS:
        return f"too long: {length} characters"
    if _BRACKETED.match(answer):
        return "answer is a raw list"
    if found := _REFUSAL.search(answer):
        return f"answer refuses or speaks of its making: {found.group()}"
    if not (_FINISHED.search(answer) or _LIST_LINE.search(answer)):
        return "answer is not finished"
    return ""
