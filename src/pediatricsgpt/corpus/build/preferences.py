"""Preference pairs for DFPO (paper section 3).

General pairs come from sources of kind `preferences`. Medical ones set the reference, or a teacher's humane rephrasing
of it, beside a weaker answer: that of the run's own SFT model or of another assistant, to prompts that are chosen here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from pediatricsgpt import text as chinese
from pediatricsgpt.corpus import statistics as counting
from pediatricsgpt.corpus.build.preferences_teacher import Side
from pediatricsgpt.corpus.build.rows import Row, characters, derived, reject, shuffled, trained
from pediatricsgpt.corpus.build.shortcuts import probe, side_statistics
from pediatricsgpt.corpus.settings import PreferenceSettings
from pediatricsgpt.records import PEDIATRIC_TASKS, Message, Record, Reject, Step, provenance

GENERAL_STEP = Step("preferences", 1)
LOW_ANSWER_STEP = Step("low_answer", 1, teacher="sft")
ASPECT = "style"
_MIN_LOOP = 20


def general_pairs(
    records: Iterable[Record], settings: PreferenceSettings, barred: Container[str] = ()
) -> tuple[list[Row], list[Reject]]:
    """Pairs of preference sources, as they are.

    Args:
        records: curated records; other shapes are passed over.
        settings: how long a pair may be.
        barred: ids of records whose preferred side is an instruction already.

    Returns:
        Rows of the preference schema from training records, and the pairs left out with the reason: held out, barred,
        or too long; together as many as there are preference records.
    """
    rows: list[Row] = []
    rejects: list[Reject] = []
    for record in records:
        if record.shape != "preference":
            continue
        reason = "used as an instruction" if record.id in barred else _general_reason(record, settings)
        if reason:
            rejects.append(reject("preferences", reason, record))
        else:
            content = _pair(record.messages, record.chosen, record.rejected)
            rows.append({**content, **provenance(content, record, GENERAL_STEP)})
    return rows, rejects


def prompts_for_low_answers(rows: Iterable[Row], settings: PreferenceSettings, seed: int) -> list[Row]:
    """Prompts for the weaker assistant: `{id, messages, steps}` of training rows of the pediatric tasks.

    The id is that of the row, the messages are without the last answer. At most `medical_pairs`, chosen by id and seed
    among those that are short enough.
    """
    fitting = (row for row in rows if _may_be_asked(row) and _fits(row, settings))
    chosen = shuffled(fitting, seed)[: settings.medical_pairs]
    return [{"id": row["id"], "messages": row["messages"][:-1], "steps": row["steps"]} for row in chosen]


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


def medical_pairs(
    rows: Iterable[Row], answers: Mapping[str, str], preferred: Side | None = None, low: Step = LOW_ANSWER_STEP
) -> tuple[list[Row], list[Reject]]:
    """Pairs of the preferred answer (the source's last one, or a teacher's rephrasing) and a weaker assistant's.

    Args:
        rows: instruction rows; those without an answer are passed over.
        answers: the weaker assistant's answer by row id, to the prompt that `prompts_for_low_answers` gave.
        preferred: rephrased answers; rows that it rejected are passed over, since its own rejects name them.
        low: the step that gave the weaker answers, with the assistant's name.

    Returns:
        Rows of the preference schema, and those left out because the answer is empty, holds broken characters, or
        equals the preferred one; together as many as there are answers to training rows (less those passed over).
    """
    pairs: list[Row] = []
    rejects: list[Reject] = []
    for row in rows:
        if row["id"] not in answers or not trained(row) or (preferred and row["id"] not in preferred.answers):
            continue
        weak = answers[row["id"]].strip()
        reference: str = preferred.answers[row["id"]] if preferred else row["messages"][-1]["content"]
        if reason := _low_reason(weak, reference):
            rejects.append(Reject("low_answer", reason, f"row {row['id']}", {"id": row["id"], "answer": weak}))
        else:
            pairs.append(_medical_pair(row, reference, weak, *([preferred.step] if preferred else []), low))
    return pairs, rejects


def _medical_pair(row: Row, reference: str, weak: str, *steps: Step) -> Row:
    chosen: Message = {"role": "assistant", "content": reference}
    low_answer: Message = {"role": "assistant", "content": weak}
    aspect = "safety" if row["task"] == "safety" else ASPECT
    return derived(row, _pair(row["messages"][:-1], [chosen], [low_answer], aspect), *steps)


def _pair(
    prompt: Sequence[Message], chosen: Sequence[Message], rejected: Sequence[Message], aspect: str = ASPECT
) -> Row:
    return {"prompt": list(prompt), "chosen": list(chosen), "rejected": list(rejected), "aspect": aspect}


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

    `sides` has, for `chosen` and `rejected`, the lengths and the shares of rows that begin with a greeting, say 宝宝,
    hold a list or are the longer one; `probe` says how well style alone separates them: what a model could learn to
    tell the sides apart by, instead of by what they say. `degenerate_low_answers` counts the model's answers that
    mostly repeat one or two characters.
    """
    counted = counting.statistics({"preferences": rows}, rejects)
    of_rows = {side: [_said(row, side) for row in rows] for side in ("chosen", "rejected")}
    low = [_said(row, "rejected") for row in rows if _has_step(row, LOW_ANSWER_STEP.name)]
    counted["sets"]["preferences"] |= {
        "aspects": dict(sorted(Counter(row["aspect"] for row in rows).items())),
        "sides": {
            "chosen": side_statistics(of_rows["chosen"], of_rows["rejected"]),
            "rejected": side_statistics(of_rows["rejected"], of_rows["chosen"]),
        },
        "probe": probe(of_rows["chosen"], of_rows["rejected"]),
        "low_answers": len(low),
        "degenerate_low_answers": sum(map(is_degenerate, low)),
    }
    return counted


def _has_step(row: Row, name: str) -> bool:
    return any(step["name"] == name for step in row["steps"])


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
