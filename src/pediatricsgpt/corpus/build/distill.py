"""Progressive reconstruction (paper section 3): of distilled sets the good items, rewritten step by step.

Good is an item whose last answer says enough, is finished, and does not refuse or speak of its own making. A teacher
rewrites its answers in named steps, each checked against the one before; without a teacher, good items stay as they
are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pediatricsgpt.corpus.build.fidelity import Mode
from pediatricsgpt.corpus.build.rewrite import asked, rewrite
from pediatricsgpt.corpus.build.rows import Row, characters, instruction_row, reject
from pediatricsgpt.corpus.build.teacher import Built, OnDone, Prompt, prompt
from pediatricsgpt.corpus.settings import DistillSettings
from pediatricsgpt.endpoint import Endpoint
from pediatricsgpt.records import Message, Record, Reject, Step

STEP = Step("distill", 1)

_FINISHED = re.compile(r"[。！？!?.；;…～~）)”』】》:：]$|```$")
_LIST_LINE = re.compile(r"\n\s*(?:[-*•·]|\d+[.、)）])[^\n]*$")
_REFUSAL = re.compile(
    r"作为(?:一个|一名)?(?:AI|人工智能|语言模型|大?模型)|我(?:只)?是(?:一个)?(?:AI|人工智能|语言模型)|无法(?:回答|提供)(?:这个|该|此|您的)?(?:问题|建议|信息)"
    r"|^(?:很)?抱歉|^对不起|根据(?:上述|以上|所给|给定)?(?:的)?知识|OpenAI|ChatGPT|As an AI",
    re.IGNORECASE,
)
_BRACKETED = re.compile(r"^\s*\[['\"].*['\"]\]\s*$", re.DOTALL)


def build(records: Iterable[Record], settings: DistillSettings, teacher: Endpoint, on_done: OnDone = None) -> Built:
    """One row from every good distilled item that keeps its facts through all steps of `settings.steps`.

    Returns:
        Rows, rejects and passes, for as many distilled dialogues as there are (`read`); a reject's step says in which
        step the item failed.

    Raises:
        UserError, BudgetReached: as `Endpoint.ask_all`.
    """
    good, built = _planned(records, settings)
    passes: list[tuple[str, Prompt, Mode]] = [
        (f"distill:{name}", prompt(f"distill_{name}"), "step" if "safety_net" in name else "complete")
        for name in settings.steps
    ]
    built += rewrite(good, passes, teacher, STEP.version, on_done)
    return built


def requests(records: Iterable[Record], settings: DistillSettings) -> list[list[Message]]:
    """What the first step of `build` will ask, for an estimate."""
    first = prompt(f"distill_{settings.steps[0]}")
    return [asked(first, record.messages) for record in _planned(records, settings)[0]]


def _planned(records: Iterable[Record], settings: DistillSettings) -> tuple[list[Record], Built]:
    """The good items, and the rejects of the others."""
    good: list[Record] = []
    built = Built()
    for record in records:
        if record.shape != "messages" or record.family != "distilled":
            continue
        if reason := _reason(record, settings):
            built.rejects.append(reject("distill", reason, record))
        else:
            good.append(record)
    built.read = len(built.rejects)
    return good, built


def instructions(records: Iterable[Record], settings: DistillSettings | None = None) -> tuple[list[Row], list[Reject]]:
    """One row from every good distilled item, as it is.

    Returns:
        Rows of the instruction schema and the items that are left out with the reason, together as many as there are
        distilled dialogues.
    """
    settings = settings or DistillSettings()
    rows: list[Row] = []
    rejects: list[Reject] = []
    for record in records:
        if record.shape != "messages" or record.family != "distilled":
            continue
        if reason := _reason(record, settings):
            rejects.append(reject("distill", reason, record))
        else:
            rows.append(instruction_row(record, record.messages, record.task or "general", STEP))
    return rows, rejects


def _reason(record: Record, settings: DistillSettings) -> str:
    """Why an item is no good; empty for good ones."""
    answer = record.messages[-1]["content"]
    if len(answer) < settings.min_answer_characters:
        return f"answer too short: {len(answer)} characters"
    if (length := characters(record.messages)) > settings.max_characters:
        return f"too long: {length} characters"
    if _BRACKETED.match(answer):
        return "answer is a raw list"
    if found := _REFUSAL.search(answer):
        return f"answer refuses or speaks of its making: {found.group()}"
    if not (_FINISHED.search(answer) or _LIST_LINE.search(answer)):
        return "answer is not finished"
    return ""
