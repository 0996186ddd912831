"""Rows to tokens: nothing is cut, what does not fit is counted."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from pediatricsgpt.errors import UserError
from pediatricsgpt.models.encode import encode_dialogue
from pediatricsgpt.models.load import Loaded
from pediatricsgpt.training.data import dialogue_set, tell, text_set
from pediatricsgpt.training.preference.data import preference_set
from pediatricsgpt.training.settings import SftSettings
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


LONG = instruction("发烧", "几天了？", "三天", "多喝水。" * 4, "还要去医院吗", "喝水" * 100)


def test_a_long_dialogue_is_cut_behind_its_last_whole_answer_that_fits(loaded: Loaded, tmp_path: Path) -> None:
    hopeless = instruction("发烧", "喝水" * 200)
    path = write(tmp_path, "instruction", [instruction("咳嗽", "多喝水。"), LONG, hopeless])
    settings = SftSettings(max_length=128, too_long="cut")
    prepared = dialogue_set(path, loaded.tokenizer, 128, settings)
    whole, cut = (encode_dialogue(loaded.tokenizer, LONG["messages"][:end]) for end in (6, 4))
    assert len(whole.input_ids) > 128 >= len(cut.input_ids)
    assert prepared.dataset[1] == {"input_ids": cut.input_ids, "labels": cut.labels}
    counts = prepared.counts
    assert (counts["rows"], counts["too_long"], counts["cut"], counts["cut_turns"]) == (3, 1, 1, 2)
    assert counts["cut_tokens"] == len(whole.input_ids) - len(cut.input_ids)
    assert len(prepared.dataset) == 2
    assert len(prepared.notes) == 2


def test_a_long_dialogue_is_an_error_where_the_recipe_says_so(loaded: Loaded, tmp_path: Path) -> None:
    path = write(tmp_path, "instruction", [instruction("咳嗽", "多喝水。"), LONG])
    with pytest.raises(UserError, match=r"instruction\.parquet, row 2: this dialogue has \d+ tokens.*max_length 128"):
        dialogue_set(path, loaded.tokenizer, 128, SftSettings(max_length=128, too_long="error"))


def test_a_person_is_told_how_long_the_longest_is(loaded: Loaded, tmp_path: Path) -> None:
    path = write(tmp_path, "instruction", [instruction("咳嗽", "多喝水。"), LONG])
    tokens = len(encode_dialogue(loaded.tokenizer, LONG["messages"]).input_ids)
    (note,) = dialogue_set(path, loaded.tokenizer, 128).notes
    assert note.startswith("1 of 2 rows are longer than max_length 128 and left out")
    assert f"the longest has {tokens} tokens" in note
    console = Console(record=True, width=300)
    tell(console, "sft", dialogue_set(path, loaded.tokenizer, 128))
    assert console.export_text().strip() == f"sft: {note}"


def test_rows_without_an_answer_are_counted(loaded: Loaded, tmp_path: Path) -> None:
    mute = {**LONG, "messages": LONG["messages"][:1]}
    path = write(tmp_path, "instruction", [instruction("咳嗽", "多喝水。"), mute])
    prepared = dialogue_set(path, loaded.tokenizer, 128)
    assert prepared.counts["without_loss"] == 1
    assert len(prepared.dataset) == 1
