"""From the rows of the preference contract to pairs of token ids; what cannot be trained on is left out and counted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Literal

from pediatricsgpt.errors import UserError
from pediatricsgpt.models.encode import encode_answer
from pediatricsgpt.records import read_rows
from pediatricsgpt.training.data import Prepared

TooLong = Literal["drop", "error"]
REASONS = ("too_long", "equal_sides", "empty_answer", "several_answers")
"""Why a pair is left out: longer than max_length; both sides are the same tokens; a side says nothing; a side is not
one message"""


def preference_set(path: Path, tokenizer: Any, max_length: int, too_long: TooLong = "drop", every: int = 1) -> Prepared:
    """Rows of the preference contract as `prompt_ids`, `chosen_ids` and `rejected_ids`.

    Args:
        path: Parquet file of the contract.
        tokenizer: with a chat template.
        max_length: tokens of a prompt with either answer at the most.
        too_long: leave longer pairs out, or stop.
        every: take only each so-manieth row, for an estimate.

    Returns:
        the pairs; counts of rows, of pairs, and of those left out for each of `REASONS`; a note where there are any.

    Raises:
        UserError: no pair is left, or one is too long and that is an error.
    """
    rows = read_rows(path, "preference")[::every]
    pairs: list[dict[str, Any]] = []
    left_out: Counter[str] = Counter()
    for row in rows:
        pair = None if (reason := _says_nothing(row)) else _encoded(row, tokenizer)
        if pair is not None:
            reason = _unfit(pair, max_length)
        if reason == "too_long" and too_long == "error":
            raise UserError(f"pair {row['id']} has more tokens than max_length {max_length}; raise it", path)
        if reason:
            left_out[reason] += 1
        else:
            pairs.append(pair or {})
    counts = {"rows": len(rows), **{reason: left_out[reason] for reason in REASONS}, "pairs": len(pairs)}
    if not pairs:
        raise UserError(f"no pair of this set can be trained on: {_told(counts) or 'it is empty'}", path)
    return Prepared(_dataset(pairs), counts, notes=[told] if (told := _told(counts)) else [])


def _told(counts: dict[str, int]) -> str:
    found = [f"{counts[reason]} {reason.replace('_', ' ')}" for reason in REASONS if counts[reason]]
    return (
        f"{counts['rows'] - counts['pairs']} of {counts['rows']} pairs are left out ({', '.join(found)})"
        if found
        else ""
    )


def _says_nothing(row: dict[str, Any]) -> str:
    if any(len(row[side]) != 1 for side in ("chosen", "rejected")):
        return "several_answers"
    return "" if all(row[side][0]["content"].strip() for side in ("chosen", "rejected")) else "empty_answer"


def _encoded(row: dict[str, Any], tokenizer: Any) -> dict[str, Any]:
    prompt, chosen = encode_answer(tokenizer, row["prompt"], row["chosen"][0])
    _, rejected = encode_answer(tokenizer, row["prompt"], row["rejected"][0])
    return {"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected}


def _unfit(pair: dict[str, Any], max_length: int) -> str:
    if pair["chosen_ids"] == pair["rejected_ids"]:
        return "equal_sides"
    longest = len(pair["prompt_ids"]) + max(len(pair["chosen_ids"]), len(pair["rejected_ids"]))
    return "too_long" if longest > max_length else ""


def _dataset(pairs: list[dict[str, Any]]) -> Any:
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    return Dataset.from_list(pairs)
