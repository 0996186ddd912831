"""A model's answers to items, as a predictions file: resumable, and there as a whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pediatricsgpt.evaluation.benchmarks import CHOSEN, Item
from pediatricsgpt.evaluation.choices import Choice, choice_prompt
from pediatricsgpt.evaluation.statistics import Interval, bootstrap_share
from pediatricsgpt.manifest import disk_errors, write_atomically
from pediatricsgpt.models.answers import Account, Answerer, Prompt, answer_file
from pediatricsgpt.records import Message, read_json_lines

_OF_CHOICE = ("kind", "key", "by_letter", "points", "worth", "right")


def asked(item: Item) -> list[Message]:
    """The dialogue as a model gets it: a question with given options in the words of the choice prompt."""
    return choice_prompt().messages(item) if item.kind in CHOSEN else item.messages


def answer_items(
    engine: Answerer,
    items: Sequence[Item],
    out: Path,
    name: str,
    advance: Callable[[int], None] = lambda _: None,
    failed_as_empty: bool = False,
) -> Account:
    """Answer items and write a predictions file. Answers are kept beside it until it is whole, so a kill loses none.

    Args:
        out: JSON lines in the form of the data contract; of questions with given options also the `options`, the right
            letters (`key`), those read out of the answer (`by_letter`, null where none can be read) and the `points`.
        name: the model's name in it.
        advance: told how many items have just been answered.
        failed_as_empty: an item that gets no answer is written as an empty one, with the reason.

    Raises:
        UserError: another process is writing this file.
        Unanswered: some items got no answer, and `failed_as_empty` is not set.
    """
    prompts = [Prompt(item.id, asked(item)) for item in items]
    return answer_file(
        engine, prompts, out, lambda index, answer: _row(items[index], answer, name), advance, failed_as_empty
    )


def join_answers(items: Sequence[Item], answers: Mapping[str, str], out: Path, name: str) -> Account:
    """Write answers that were given elsewhere as a predictions file, each with its question, reference and department.

    Args:
        answers: by the item's id; items without one are left out.
        out: as `answer_items` writes it.
        name: who answered.

    Raises:
        UserError: the disk refuses.
    """
    answered = [item for item in items if item.id in answers]
    lines = [json.dumps(_row(item, answers[item.id], name), ensure_ascii=False) for item in answered]
    with disk_errors(out):
        write_atomically(out, "".join(f"{line}\n" for line in lines))
    return Account(len(answered), sum(not answers[item.id].strip() for item in answered), 0, 0)


def _row(item: Item, answer: str, name: str) -> dict[str, Any]:
    told = Choice(item, None, answer).row() if item.kind in CHOSEN else {}
    chosen = {"options": item.options, **{field: told[field] for field in _OF_CHOICE}} if told else {}
    return {**item.prediction(answer, name), **chosen}


def right_by_letter(path: Path) -> tuple[Interval, int] | None:
    """Of a predictions file's questions with given options, the share answered right with its interval, by case, and
    how many answers could not be read; None where it has no such question.
    """
    rows = [row for _, row in read_json_lines(path) if row.get("kind") in CHOSEN]
    if not rows:
        return None
    right = bootstrap_share(
        [float(row["right"]) for row in rows], groups=[row.get("group") or row["id"] for row in rows]
    )
    return right, sum(row["by_letter"] is None for row in rows)
