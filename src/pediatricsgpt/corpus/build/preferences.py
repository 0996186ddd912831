"""Preference pairs for DFPO (paper section 3).

General pairs come from sources of kind `preferences`. Medical ones need a weaker answer to set beside the reference:
the run's own SFT model gives it, to prompts that are chosen here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pediatricsgpt import text as chinese
from pediatricsgpt.corpus import statistics as counting
from pediatricsgpt.corpus.build.rows import Row, characters, derived, reject, shuffled, trained
from pediatricsgpt.corpus.settings import PreferenceSettings
from pediatricsgpt.records import PEDIATRIC_TASKS, Message, Record, Reject, Step, provenance

GENERAL_STEP = Step("preferences", 1)
LOW_ANSWER_STEP = Step("low_answer", 1, teacher="sft")
ASPECT = "style"
_GREETING = re.compile(
    r"\s*(?:(?:家长|患者|朋友|亲爱的\w*|尊敬的\w*)?[，,]?(?:[您你]们?好|嗨|哈[喽啰])|hello\b|hi\b)", re.IGNORECASE
)
_LIST_LINE = re.compile(r"^\s*(?:[-*•·]|\d+[.、)）]|[（(]?[一二三四五六七八九十]+[)）、])", re.MULTILINE)
_MIN_LOOP = 20


def general_pairs(records: Iterable[Record], settings: PreferenceSettings) -> tuple[list[Row], list[Reject]]:
    """Pairs of preference sources, as they are.

    Returns:
        Rows of the preference schema from training records, and the pairs left out with the reason: held out, or too
        long; together as many as there are preference records.
    """
    rows: list[Row] = []
    rejects: list[Reject] = []
    for record in records:
        if record.shape != "preference":
            continue
        if reason := _general_reason(record, settings):
            rejects.append(reject("preferences", reason, record))
        else:
            content = _pair(record.messages, record.chosen, record.rejected)
            rows.append({**content, **provenance(content, record, GENERAL_STEP)})
    return rows, rejects


def prompts_for_low_answers(rows: Iterable[Row], settings: PreferenceSettings, seed: int) -> list[Row]:
    """Prompts for the SFT model: `{id, messages}`, without the last answer, of training rows of the pediatric tasks.

    The id is that of the row. At most `medical_pairs`, chosen by id and seed among those that are short enough.
    """
    fitting = (row for row in rows if _may_be_asked(row) and _fits(row, settings))
    chosen = shuffled(fitting, seed)[: settings.medical_pairs]
    return [{"id": row["id"], "messages": row["messages"][:-1]} for row in chosen]


def prompt_counts(rows: Iterable[Row], settings: PreferenceSettings) -> dict[str, int]:
    """How many rows could be asked, and how many of them are too long, not drawn, or asked."""
    at_hand = [row for row in rows if _may_be_asked(row)]
    fitting = sum(_fits(row, settings) for row in at_hand)
    asked = min(fitting, settings.medical_pairs)
    return {
        "prompts": len(at_hand),
        "prompts_too_long": len(at_hand) - fitting,
        "prompts_not_drawn": fitting - asked,
        "prompts_asked": asked,
    }


def _may_be_asked(row: Row) -> bool:
    return trained(row) and row["task"] in PEDIATRIC_TASKS


def medical_pairs(rows: Iterable[Row], answers: Mapping[str, str]) -> tuple[list[Row], list[Reject]]:
    """Pairs of the source's last answer (chosen) and the SFT model's (rejected).

    Args:
        rows: instruction rows; those without an answer are passed over.
        answers: the model's answer by row id, to the prompt that `prompts_for_low_answers` gave.

    Returns:
        Rows of the preference schema, and those left out because the answer is empty, holds broken characters, or
        equals the source's; together as many as there are answers to training rows.
    """
    pairs: list[Row] = []
    rejects: list[Reject] = []
    for row in rows:
        if row["id"] not in answers or not trained(row):
            continue
        low = answers[row["id"]].strip()
        if reason := _low_reason(low, row["messages"][-1]["content"]):
            rejects.append(Reject("low_answer", reason, f"row {row['id']}", {"id": row["id"], "answer": low}))
        else:
            pairs.append(_medical_pair(row, low))
    return pairs, rejects


def _medical_pair(row: Row, low: str) -> Row:
    low_answer: Message = {"role": "assistant", "content": low}
    return derived(row, _pair(row["messages"][:-1], row["messages"][-1:], [low_answer]), LOW_ANSWER_STEP)


def _pair(prompt: Sequence[Message], chosen: Sequence[Message], rejected: Sequence[Message]) -> Row:
    return {"prompt": list(prompt), "chosen": list(chosen), "rejected": list(rejected), "aspect": ASPECT}


def _general_reason(record: Record, settings: PreferenceSettings) -> str:
    if record.split != "train":
        return "held out"
    if (length := characters(record.messages)) > settings.max_prompt_characters:
        return f"prompt too long: {length} characters"
    if (length := max(characters(record.chosen), characters(record.rejected))) > settings.max_answer_characters:
        return f"answer too long: {length} characters"
    return ""


def _fits(row: Row, settings: PreferenceSettings) -> bool:
    *prompt, answer = row["messages"]
    return (
        characters(prompt) <= settings.max_prompt_characters
        and len(answer["content"]) <= settings.max_answer_characters
    )


def _low_reason(low: str, reference: str) -> str:
    if not low:
        return "empty answer"
    if "\ufffd" in low:
        return "broken characters: half a character is no text to choose against"
    return "answer equals the reference" if chinese.key(low) == chinese.key(reference) else ""


def statistics(rows: Sequence[Row], rejects: Sequence[Reject]) -> dict[str, Any]:
    """The counts of `corpus.statistics` for the one set `preferences`, and what its two sides look like.

    `sides` has, for `chosen` and `rejected`, the lengths and the shares of rows that begin with a greeting, hold a list
    or are the longer one: what a model could learn to tell the sides apart by, instead of by what they say.
    `degenerate_low_answers` counts the model's answers that mostly repeat one or two characters.
    """
    counted = counting.statistics({"preferences": rows}, rejects)
    of_rows = {side: [_said(row, side) for row in rows] for side in ("chosen", "rejected")}
    low = [_said(row, "rejected") for row in rows if row["steps"][-1]["name"] == LOW_ANSWER_STEP.name]
    counted["sets"]["preferences"] |= {
        "sides": {
            "chosen": _side_statistics(of_rows["chosen"], of_rows["rejected"]),
            "rejected": _side_statistics(of_rows["rejected"], of_rows["chosen"]),
        },
        "low_answers": len(low),
        "degenerate_low_answers": sum(map(is_degenerate, low)),
    }
    return counted


def _side_statistics(texts: Sequence[str], others: Sequence[str]) -> dict[str, Any]:
    def share(found: Iterable[bool]) -> float:
        return round(sum(found) / len(texts), 4) if texts else 0.0

    return {
        "length": counting.percentiles([len(text) for text in texts]),
        "greeting": share(_GREETING.match(text) is not None for text in texts),
        "list": share(len(_LIST_LINE.findall(text)) > 1 for text in texts),
        "longer": share(len(text) > len(other) for text, other in zip(texts, others, strict=True)),
    }


def _said(row: Row, side: str) -> str:
    return "\n".join(turn["content"] for turn in row[side])


def is_degenerate(answer: str) -> bool:
    """Whether one character, or one pair of them, makes up more than half of an answer that is not short."""
    key = chinese.key(answer)
    if len(key) < _MIN_LOOP:
        return False
    pairs = Counter(key[start : start + 2] for start in range(len(key) - 1))
    most = max(Counter(key).values()), 2 * max(pairs.values())
    return max(most) > len(key) / 2
