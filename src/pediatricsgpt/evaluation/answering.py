"""A model's answers to items, as a predictions file: resumable, and there as a whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pediatricsgpt.evaluation.benchmarks import CHOSEN, Item
from pediatricsgpt.evaluation.choices import Choice, choice_prompt
from pediatricsgpt.evaluation.statistics import Interval, bootstrap_mean
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

    def row(index: int, answer: str) -> dict[str, Any]:
        item = items[index]
        told = Choice(item, None, answer).row() if item.kind in CHOSEN else {}
        chosen = {"options": item.options, **{field: told[field] for field in _OF_CHOICE}} if told else {}
        return {**item.prediction(answer, name), **chosen}

    return answer_file(engine, prompts, out, row, advance, failed_as_empty)


def right_by_letter(path: Path) -> tuple[Interval, int] | None:
    """Of a predictions file's questions with given options, the share answered right with its interval, by case, and
    how many answers could not be read; None where it has no such question.
    """
    rows = [row for _, row in read_json_lines(path) if row.get("kind") in CHOSEN]
    if not rows:
        return None
    right = bootstrap_mean(
        [float(row["right"]) for row in rows], groups=[row.get("group") or row["id"] for row in rows]
    )
    return right, sum(row["by_letter"] is None for row in rows)
