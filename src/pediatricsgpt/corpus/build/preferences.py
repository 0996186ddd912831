"""Preference pairs for DFPO (paper section 3).

General pairs come from sources of kind `preferences`. Medical ones need a weaker answer to set beside the reference:
the run's own SFT model gives it, to prompts that are chosen here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pediatricsgpt import text as chinese
from pediatricsgpt.corpus.build.rows import Row, characters, derived, reject, shuffled, trained
from pediatricsgpt.corpus.settings import PreferenceSettings
from pediatricsgpt.records import PEDIATRIC_TASKS, Message, Record, Reject, Step, provenance

GENERAL_STEP = Step("preferences", 1)
LOW_ANSWER_STEP = Step("low_answer", 1, teacher="sft")
ASPECT = "style"


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
    fitting = (row for row in rows if trained(row) and row["task"] in PEDIATRIC_TASKS and _fits(row, settings))
    chosen = shuffled(fitting, seed)[: settings.medical_pairs]
    return [{"id": row["id"], "messages": row["messages"][:-1]} for row in chosen]


def medical_pairs(rows: Iterable[Row], answers: Mapping[str, str]) -> tuple[list[Row], list[Reject]]:
    """Pairs of the source's last answer (chosen) and the SFT model's (rejected).

    Args:
        rows: instruction rows; those without an answer are passed over.
        answers: the model's answer by row id, to the prompt that `prompts_for_low_answers` gave.

    Returns:
        Rows of the preference schema, and those left out because the answer is empty or equals the source's.
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
    return "answer equals the reference" if chinese.key(low) == chinese.key(reference) else ""
