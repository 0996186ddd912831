"""Rows to tokens: nothing is cut, what does not fit is counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from pediatricsgpt.errors import UserError
from pediatricsgpt.models.load import Loaded
from pediatricsgpt.training.data import dialogue_set, preference_set, text_set
from tests.rows import instruction, preference, text, write


def test_long_dialogues_are_left_out_and_counted(loaded: Loaded, tmp_path: Path) -> None:
    path = write(tmp_path, "instruction", [instruction("发烧", "喝水"), instruction("发烧", "喝水" * 100)])
    prepared = dialogue_set(path, loaded.tokenizer, max_length=64)
    assert prepared.counts["rows"] == 2
    assert prepared.counts["too_long"] == 1
    assert len(prepared.dataset) == 1


def test_counts_of_tokens_are_those_of_the_rows(loaded: Loaded, tmp_path: Path) -> None:
    path = write(tmp_path, "cpt", [text("小儿肺炎"), text("发热")])
    prepared = text_set(path, loaded.tokenizer)
    assert prepared.counts["tokens"] == sum(len(row["input_ids"]) for row in prepared.dataset)
    assert prepared.counts["loss_tokens"] == prepared.counts["tokens"]


def test_pairs_share_their_prompt(loaded: Loaded, tmp_path: Path) -> None:
    path = write(tmp_path, "preference", [preference("发烧", "先量体温。", "不知道")])
    row = preference_set(path, loaded.tokenizer, 64).dataset[0]
    assert loaded.tokenizer.decode(row["chosen_ids"]) == "先量体温。<|im_end|>"
    assert loaded.tokenizer.decode(row["rejected_ids"]) == "不知道<|im_end|>"
    assert loaded.tokenizer.decode(row["prompt_ids"]).endswith("<|im_start|>assistant\n")


def test_an_emptied_set_is_an_error_that_names_the_file(loaded: Loaded, tmp_path: Path) -> None:
    path = write(tmp_path, "instruction", [instruction("发烧", "喝水" * 100)])
    with pytest.raises(UserError, match="no row of this set fits"):
        dialogue_set(path, loaded.tokenizer, max_length=32)
