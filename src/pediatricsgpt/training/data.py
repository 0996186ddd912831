"""From the rows of the data contract to what the trainers eat: token ids and labels.

We tokenise ourselves and hand over `input_ids` and `labels` (TRL's documented pre-tokenised form), because TRL decides
a data set's format by its first row and cuts long rows without a word.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pediatricsgpt.errors import UserError
from pediatricsgpt.models.encode import IGNORED, Encoded, encode_answer, encode_dialogue, encode_text
from pediatricsgpt.records import read_rows


@dataclass(slots=True)
class Prepared:
    """A data set for a trainer, and what became of the rows."""

    dataset: Any
    counts: dict[str, int]


def text_set(path: Path, tokenizer: Any) -> Prepared:
    """Rows of the CPT contract as token ids; loss on all tokens. Long texts are split by the packing, not cut."""
    rows = read_rows(path, "cpt")
    return _prepare(path, (encode_text(tokenizer, row["text"]) for row in rows), limit=None)


def dialogue_set(path: Path, tokenizer: Any, max_length: int) -> Prepared:
    """Rows of the instruction contract as token ids; loss on every assistant turn."""
    rows = read_rows(path, "instruction")
    return _prepare(path, (encode_dialogue(tokenizer, row["messages"]) for row in rows), limit=max_length)


def preference_set(path: Path, tokenizer: Any, max_length: int) -> Prepared:
    """Rows of the preference contract as `prompt_ids`, `chosen_ids` and `rejected_ids`."""
    pairs = []
    too_long = 0
    rows = read_rows(path, "preference")
    for row in rows:
        prompt, chosen = encode_answer(tokenizer, row["prompt"], row["chosen"][0])
        _, rejected = encode_answer(tokenizer, row["prompt"], row["rejected"][0])
        if len(prompt) + max(len(chosen), len(rejected)) > max_length:
            too_long += 1
        else:
            pairs.append({"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected})
    counts = {"rows": len(rows), "too_long": too_long, "pairs": len(pairs)}
    return Prepared(_dataset(path, pairs), counts)


def _prepare(path: Path, encoded: Iterable[Encoded], limit: int | None) -> Prepared:
    kept = []
    counts = {"rows": 0, "too_long": 0, "without_loss": 0, "tokens": 0, "loss_tokens": 0}
    for item in encoded:
        counts["rows"] += 1
        loss_tokens = sum(label != IGNORED for label in item.labels)
        if limit is not None and len(item.input_ids) > limit:
            counts["too_long"] += 1
        elif loss_tokens == 0:
            counts["without_loss"] += 1
        else:
            counts["tokens"] += len(item.input_ids)
            counts["loss_tokens"] += loss_tokens
            kept.append({"input_ids": item.input_ids, "labels": item.labels})
    return Prepared(_dataset(path, kept), counts)


def _dataset(path: Path, rows: list[dict[str, Any]]) -> Any:
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    if not rows:
        raise UserError("no row of this set fits the phase's max_length; raise it or check the corpus", path)
    return Dataset.from_list(rows)
