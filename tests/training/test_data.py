"""Rows to tokens: nothing is cut, what does not fit is counted."""

from __future__ import annotations

import copy
import io
import json
import pickle
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pediatricsgpt import processes
from pediatricsgpt.errors import UserError
from pediatricsgpt.models.encode import encode_dialogue, encode_text
from pediatricsgpt.models.load import Loaded, load
from pediatricsgpt.records import write_json_lines
from pediatricsgpt.training import data, kept, sets, token_rows
from pediatricsgpt.training.data import Prepared, dialogue_set, tell, text_set
from pediatricsgpt.training.phase import Job
from pediatricsgpt.training.preference.data import preference_set
from pediatricsgpt.training.settings import SetSettings, SftSettings
from tests.rows import instruction, preference, text, write
from tests.training.jobs import job
from tests.training.processes import launch


def test_long_dialogues_are_left_out_and_counted(loaded: Loaded, tmp_path: Path) -> None:
    path = write(tmp_path, "instruction", [instruction("发烧", "喝水"), instruction("发烧", "喝水" * 100)])
    prepared = dialogue_set(path, loaded.tokenizer, SftSettings(max_length=64))
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
        dialogue_set(path, loaded.tokenizer, SftSettings(max_length=32))


def _row(prepared: Prepared, place: int) -> tuple[list[int], list[int]]:
    row = prepared.dataset[place]
    return list(row["input_ids"]), list(row["labels"])


LONG = instruction("发烧", "几天了？", "三天", "多喝水。" * 4, "还要去医院吗", "喝水" * 100)


def test_a_long_dialogue_is_cut_behind_its_last_whole_answer_that_fits(loaded: Loaded, tmp_path: Path) -> None:
    hopeless = instruction("发烧", "喝水" * 200)
    path = write(tmp_path, "instruction", [instruction("咳嗽", "多喝水。"), LONG, hopeless])
    settings = SftSettings(max_length=128, too_long="cut")
    prepared = dialogue_set(path, loaded.tokenizer, settings)
    whole, cut = (encode_dialogue(loaded.tokenizer, LONG["messages"][:end]) for end in (6, 4))
    assert len(whole.input_ids) > 128 >= len(cut.input_ids)
    assert _row(prepared, 1) == (cut.input_ids, cut.labels)
    counts = prepared.counts
    assert (counts["rows"], counts["too_long"], counts["cut"], counts["cut_turns"]) == (3, 1, 1, 2)
    assert counts["cut_tokens"] == len(whole.input_ids) - len(cut.input_ids)
    assert len(prepared.dataset) == 2
    assert len(prepared.notes) == 2


def test_a_long_dialogue_is_an_error_where_the_recipe_says_so(loaded: Loaded, tmp_path: Path) -> None:
    path = write(tmp_path, "instruction", [instruction("咳嗽", "多喝水。"), LONG])
    with pytest.raises(UserError, match=r"instruction\.parquet, row 2: this dialogue has \d+ tokens.*max_length 128"):
        dialogue_set(path, loaded.tokenizer, SftSettings(max_length=128, too_long="error"))


def test_a_person_is_told_how_long_the_longest_is(loaded: Loaded, tmp_path: Path) -> None:
    path = write(tmp_path, "instruction", [instruction("咳嗽", "多喝水。"), LONG])
    tokens = len(encode_dialogue(loaded.tokenizer, LONG["messages"]).input_ids)
    (note,) = dialogue_set(path, loaded.tokenizer, SftSettings(max_length=128)).notes
    assert note.startswith("1 of 2 rows are longer than max_length 128 and left out")
    assert f"the longest has {tokens} tokens" in note
    console = Console(record=True, width=300)
    tell(console, "sft", dialogue_set(path, loaded.tokenizer, SftSettings(max_length=128)))
    assert console.export_text().strip() == f"sft: {note}"


def test_rows_without_an_answer_are_counted(loaded: Loaded, tmp_path: Path) -> None:
    mute = {**LONG, "messages": LONG["messages"][:1]}
    path = write(tmp_path, "instruction", [instruction("咳嗽", "多喝水。"), mute])
    prepared = dialogue_set(path, loaded.tokenizer, SftSettings(max_length=128))
    assert prepared.counts["without_loss"] == 1
    assert len(prepared.dataset) == 1
    (note,) = prepared.notes
    assert note.startswith("1 of 2 rows have nothing to learn (no assistant turn")


# --- rows in memory and on the disk -----------------------------------------------------------------------------------


def test_rows_are_those_that_were_encoded_whatever_the_batches_of_the_file(
    loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_rows, "_FLUSHED", 50)
    rows = [instruction(f"孩子{number}岁", "量体温。" * (number % 5 + 1), "好", "嗯。") for number in range(23)]
    dialogues = dialogue_set(write(tmp_path, "instruction", rows), loaded.tokenizer)
    assert len(dialogues.dataset) == 23
    for place, row in enumerate(rows):
        encoded = encode_dialogue(loaded.tokenizer, row["messages"])
        assert _row(dialogues, place) == (encoded.input_ids, encoded.labels)
    values = [f"小儿肺炎第{number}型" * (number % 4 + 1) for number in range(17)]
    texts = text_set(write(tmp_path, "cpt", [text(value) for value in values]), loaded.tokenizer)
    for place, value in enumerate(values):
        assert _row(texts, place) == (encode_text(loaded.tokenizer, value).input_ids,) * 2
    assert texts.dataset.lengths.tolist() == [len(row["input_ids"]) for row in texts.dataset]
    with pytest.raises(IndexError):
        texts.dataset[17]


def test_memory_does_not_grow_with_the_tokens(loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_rows, "_FLUSHED", 5000)
    monkeypatch.setattr(sets, "_HELD", 50)
    monkeypatch.setattr(data, "key_of", lambda _, files, __: files[0].stem)  # a tokenizer takes more than these rows
    one = job(tmp_path / "cpt", tmp_path, tmp_path)
    loaded.tokenizer("发热")  # what it makes once
    peaks = []
    for rows in (100, 400):
        values = [f"第{number}例，" + "小儿肺炎表现为发热咳嗽。" * 60 for number in range(rows)]
        path = write(tmp_path, "cpt", [text(value) for value in values]).rename(tmp_path / f"{rows}.parquet")
        del values
        tracemalloc.start()
        tokens = text_set(path, loaded.tokenizer, job=one).counts["tokens"]
        peaks.append((tokens, tracemalloc.get_traced_memory()[1]))
        tracemalloc.stop()
    (few, low), (many, high) = peaks
    assert many > 3 * few > 60_000
    assert high - low < many - few  # bytes: flat, where lists of integers take 90 a token


def _fails(*_: Any) -> Any:
    raise AssertionError("tokenised again")


def _kept(one: Job) -> list[str]:
    return sorted(path.name for path in (one.checkpoints / "prepared").iterdir())


def test_a_resume_takes_the_tokens_of_the_first_try(
    loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own.jsonl"
    write_json_lines(own, [{"messages": LONG["messages"]}] * 3)
    settings = SftSettings(max_length=128, too_long="cut", data=[SetSettings(path=own, weight=0.5)])
    path = write(tmp_path, "instruction", [instruction(f"咳嗽{number}", "多喝水。") for number in range(9)])
    one = job(tmp_path / "sft", tmp_path, path)
    held = dialogue_set(path, loaded.tokenizer, settings, 1)
    first = dialogue_set(path, loaded.tokenizer, settings, 1, job=one)
    with monkeypatch.context() as patch:
        patch.setattr(data, "encode_dialogue", _fails)
        again = dialogue_set(path, loaded.tokenizer, settings, 1, job=one)
        other_seed = dialogue_set(path, loaded.tokenizer, settings, 2, job=one)
    for found in (first, again):
        assert (found.counts, found.parts, found.notes) == (held.counts, held.parts, held.notes)
        assert [_row(found, place) for place in range(12)] == [_row(held, place) for place in range(12)]
    assert other_seed.parts != first.parts
    assert len(_kept(one)) == 1


@pytest.mark.parametrize("changed", ["rows", "own rows", "max_length", "too_long", "every", "template", "vocabulary"])
def test_tokens_of_something_else_are_not_taken(loaded: Loaded, tmp_path: Path, changed: str) -> None:
    tokenizer = copy.deepcopy(loaded.tokenizer)
    own = tmp_path / "own.jsonl"
    write_json_lines(own, [{"messages": LONG["messages"]}] * 2)
    settings = SftSettings(max_length=256, data=[SetSettings(path=own)])
    rows = [instruction(f"咳嗽{number}", "多喝水。") for number in range(9)]
    path = write(tmp_path, "instruction", rows)
    one = job(tmp_path / "sft", tmp_path, path)
    dialogue_set(path, tokenizer, settings, job=one)
    before, every = _kept(one), 1
    if changed == "rows":
        write(tmp_path, "instruction", rows[:-1])
    elif changed == "own rows":
        write_json_lines(own, [{"messages": LONG["messages"][:4]}] * 2)
    elif changed == "template":
        tokenizer.chat_template = tokenizer.chat_template.replace("<|im_start|>", "<|im_start|> ")
    elif changed == "vocabulary":
        tokenizer.add_tokens(["咳嗽"])
    elif changed == "every":
        every = 2
    else:
        settings = settings.model_copy(update={"max_length": 64} if changed == "max_length" else {"too_long": "cut"})
    found = dialogue_set(path, tokenizer, settings, every=every, job=one)
    assert found.counts == dialogue_set(path, tokenizer, settings, every=every).counts
    assert len(_kept(one)) == 1
    assert _kept(one) != before


def test_a_damaged_file_and_one_that_was_begun_are_made_again(
    loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "cpt", [text("小儿肺炎"), text("发热")])
    one = job(tmp_path / "cpt", tmp_path, path)
    with monkeypatch.context() as patch:
        patch.setattr(token_rows.TokenWriter, "close", _fails)
        with pytest.raises(AssertionError):
            text_set(path, loaded.tokenizer, job=one)
    assert _kept(one) == []
    whole = [_row(text_set(path, loaded.tokenizer, job=one), place) for place in range(2)]
    (name,) = _kept(one)
    kept = one.checkpoints / "prepared" / name
    kept.with_name(f"{name}.partial").write_bytes(b"ARROW1")
    kept.write_bytes(kept.read_bytes()[:-40])
    assert [_row(text_set(path, loaded.tokenizer, job=one), place) for place in range(2)] == whole
    assert _kept(one) == [name]


def test_other_processes_wait_for_the_first(loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "cpt", [text("小儿肺炎"), text("发热")])
    one = job(tmp_path / "cpt", tmp_path, path)
    first = threading.current_thread()
    monkeypatch.setattr(processes, "rank", lambda: int(threading.current_thread() is not first))
    wrote: list[str] = []
    write_file = kept._write

    def noted(*given: Any) -> None:
        wrote.append(threading.current_thread().name)
        write_file(*given)

    monkeypatch.setattr(kept, "_write", noted)
    with ThreadPoolExecutor(2) as others:
        waiting = [others.submit(text_set, path, loaded.tokenizer, job=one) for _ in range(2)]
        done, _ = wait(waiting, timeout=1)
        assert not done
        own = text_set(path, loaded.tokenizer, job=one)
        found = [other.result(timeout=20) for other in waiting]
    assert wrote == [first.name]
    assert all(other.counts == own.counts and _row(other, 1) == _row(own, 1) for other in found)


def prepare(folder: Path, strategy: str) -> None:
    """What each process of a launch does, and which of them tokenises."""
    own = processes.rank()
    seen: list[str] = []

    def noted(tokenizer: Any, value: str) -> Any:
        seen.append(value)
        return encode_text(tokenizer, value)

    data.encode_text = noted
    tokenizer = load(folder / "model").tokenizer
    prepared = text_set(folder / "cpt.parquet", tokenizer, job=job(folder / "cpt", folder, folder))
    (folder / f"{own}.json").write_text(json.dumps([len(seen), prepared.counts["tokens"]]))


@pytest.mark.check
def test_one_process_of_a_launch_tokenises(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model").symlink_to(model_folder)
    write(tmp_path, "cpt", [text(f"小儿肺炎第{number}型") for number in range(30)])
    (tmp_path / "cpt").mkdir()
    done = launch("tests.training.test_data:prepare", "ddp", tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    (first, tokens), (other, same) = (json.loads((tmp_path / f"{own}.json").read_text()) for own in range(2))
    assert (first, other) == (30, 0)
    assert tokens == same > 100


def test_rows_go_to_the_processes_of_a_data_loader(loaded: Loaded, tmp_path: Path) -> None:
    path = write(tmp_path, "cpt", [text("小儿肺炎"), text("发热")])
    for one in (None, job(tmp_path / "cpt", tmp_path, path)):
        prepared = text_set(path, loaded.tokenizer, job=one)
        there = pickle.loads(pickle.dumps(prepared.dataset))
        assert list(there[1]["input_ids"]) == _row(prepared, 1)[0]


def test_a_person_sees_how_far_the_preparation_is(loaded: Loaded, tmp_path: Path) -> None:
    path = write(tmp_path, "cpt", [text("小儿肺炎"), text("发热")])
    shown = io.StringIO()
    one = job(tmp_path / "sft", tmp_path, path)
    one.console = Console(file=shown, force_terminal=True, width=100)
    text_set(path, loaded.tokenizer, job=one)
    assert "sft: tokens" in shown.getvalue()
    assert "100%" in shown.getvalue()
    one.console = Console(file=(quiet := io.StringIO()), width=100)
    text_set(write(tmp_path, "cpt", [text("发热")]), loaded.tokenizer, job=one)
    assert quiet.getvalue() == ""


def test_a_mistake_in_the_last_row_is_told_before_anything_is_tokenised(
    loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "encode_dialogue", _fails)
    own = tmp_path / "own.jsonl"
    write_json_lines(own, [{"messages": LONG["messages"]}, {"messages": []}])
    path = write(tmp_path, "instruction", [instruction("咳嗽", "多喝水。")])
    with pytest.raises(UserError, match=r"own\.jsonl:2: 'messages' must be a list"):
        dialogue_set(path, loaded.tokenizer, SftSettings(data=[SetSettings(path=own)]))
