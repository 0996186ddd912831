"""A training that cannot succeed ends with one line, its last checkpoint and the batch that did it."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from accelerate import Accelerator
from transformers import TrainerCallback

from pediatricsgpt.models.encode import encode_answer, encode_dialogue, encode_text
from pediatricsgpt.models.load import Loaded, load
from pediatricsgpt.records import write_json_lines
from pediatricsgpt.training import dfpo, phase, sft, watch
from pediatricsgpt.training.held_out import sequences_of
from pediatricsgpt.training.meter import Meter
from pediatricsgpt.training.metrics import read_metrics
from pediatricsgpt.training.preference import trainer as preference_trainer
from pediatricsgpt.training.settings import DfpoSettings, SftSettings
from pediatricsgpt.training.watch import (
    ADAPTER_INSTEAD,
    OFFENDING,
    PRECOMPUTED_INSTEAD,
    Origin,
    TrainingFailed,
    Watch,
    documents,
    is_out_of_memory,
    no_memory_for,
    origins_of,
    out_of_memory,
)
from tests.rows import instruction, text, write
from tests.training.jobs import PAIRS, TRAINER, job, train_dfpo

ROWS = [instruction(f"第{number}个问题", f"回答{number}。") for number in range(12)]
# One step of it, and every weight is so large that the next loss is no number.
MAD = {**TRAINER, "learning_rate": 1.0e30, "lr_scheduler_type": "constant", "optim": "sgd", "max_grad_norm": 0.0}


def _messages(row: dict[str, Any]) -> str:
    return "".join(turn["content"] for turn in row["messages"])


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("clipped", [0.0, 1.0])
def test_what_is_not_finite_stops_before_it_reaches_the_weights(
    model_folder: Path, tmp_path: Path, packing: bool, clipped: float
) -> None:
    one = job(tmp_path / "out", model_folder, write(tmp_path, "instruction", ROWS))
    trainer = {**MAD, "save_steps": 1, "per_device_train_batch_size": 2, "max_grad_norm": clipped}
    with pytest.raises(TrainingFailed, match="is not finite") as caught:
        sft.train(one, SftSettings(max_length=64, packing=packing, trainer=trainer))
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith(str(one.folder / OFFENDING))
    assert "trainer.learning_rate below 1e+30" in said
    batch = json.loads((one.folder / OFFENDING).read_text(encoding="utf-8"))
    last = one.checkpoints / f"checkpoint-{batch['step'] - 1}"
    assert f"The last good checkpoint is {last}" in said
    by_id = {row["id"]: row for row in ROWS}
    assert batch["rows"]
    for row in batch["rows"]:
        assert row["id"] in said or "more" in said
        for turn in by_id[row["id"]]["messages"]:
            assert turn["content"] in row["text"]
        assert row["tokens"] == len(row["input_ids"])


def test_pairs_are_named_by_the_row_of_either_side(model_folder: Path, tmp_path: Path) -> None:
    one = job(tmp_path / "out", model_folder, write(tmp_path, "preference", PAIRS[:4]), name="dfpo")
    with pytest.raises(TrainingFailed, match="is not finite"):
        train_dfpo(one, DfpoSettings(max_length=128, trainer={**MAD, "per_device_train_batch_size": 2}))
    rows = json.loads((one.folder / OFFENDING).read_text(encoding="utf-8"))["rows"]
    assert len(rows) == 4
    by_id = {row["id"]: row for row in PAIRS}
    for place, row in enumerate(rows):
        side = ("chosen", "rejected")[place % 2]
        assert by_id[row["id"]][side][0]["content"] in row["text"]


class _Arguments:
    learning_rate = 1e-3
    bf16 = fp16 = False
    process_index = 0


def _feed(tmp_path: Path, loaded: Loaded, losses: list[float], factor: float | None, kill: int | None = None) -> int:
    """The step at which these losses stop a training; 0 if none does. A kill resumes with what a checkpoint holds."""
    data = write(tmp_path, "instruction", ROWS)

    def watch() -> Watch:
        return Watch(data, tmp_path, tmp_path / "checkpoints", loaded.tokenizer, factor, Meter())

    one = watch()
    for step, loss in enumerate(losses, 1):
        state = type("State", (), {"global_step": step, "stateful_callbacks": {"Watch": one.state()}})()
        if step == kill:
            state.stateful_callbacks = json.loads(json.dumps(state.stateful_callbacks))
            one = watch()
            one.on_train_begin(_Arguments(), state, None)
        try:
            one.on_log(_Arguments(), state, None, logs={"loss": loss, "grad_norm": 1.0})
        except TrainingFailed:
            return step
    return 0


def test_the_loss_that_ran_away_is_in_the_log(model_folder: Path, tmp_path: Path) -> None:
    one = job(tmp_path / "out", model_folder, write(tmp_path, "instruction", ROWS))
    trainer = {**MAD, "learning_rate": 1.0e-3, "max_steps": 20, "warmup_steps": 0}
    rising = {
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": 12,
        "learning_rate": 30.0,
        "optim": "adamw_torch",
    }
    with pytest.raises(TrainingFailed) as caught:
        sft.train(one, SftSettings(max_length=64, divergence_factor=1.2, trainer={**trainer, **rising}))
    log = read_metrics(one.folder)
    assert "runs away" in str(caught.value)
    assert f"stopped at step {log[-1]['step']}" in str(caught.value)
    assert f"{log[-1]['loss']:.4g}" in str(caught.value)


@pytest.mark.parametrize("kill", [None, 12, 14])
@pytest.mark.parametrize(
    ("losses", "factor", "stop"),
    [
        ([2.0] * 11 + [11.0] * 3, 5.0, 14),
        ([2.0] * 11 + [11.0] * 3, None, 0),
        ([2.0] * 11 + [11.0, 11.0, 2.0, 11.0, 11.0], 5.0, 0),  # peaks pass
        ([2.0] * 11 + [9.9] * 20, 5.0, 0),
        ([90.0, 50.0, 20.0, *[2.0] * 11, 11.0, 12.0, 13.0], 5.0, 17),
        ([2.0] * 5 + [50.0] * 3, 5.0, 0),  # too early for a median to mean anything
        ([2.0] + [4e-4] * 11 + [3e-3, 2.5e-3, 4e-3], 5.0, 0),  # many times next to nothing is next to nothing
        ([2.0] + [4e-4] * 11 + [0.7] * 3, 5.0, 15),
        ([0.2] + [4e-4] * 11 + [0.3] * 3, 5.0, 15),  # above its start
        ([0.2] + [4e-4] * 11 + [0.1] * 3, 5.0, 0),
        ([2.0] * 3 + [math.nan], 5.0, 4),
        ([2.0] * 3 + [math.inf], None, 4),
    ],
)
def test_a_loss_that_runs_away_stops(
    tmp_path: Path, loaded: Loaded, losses: list[float], factor: float | None, stop: int, kill: int | None
) -> None:
    assert _feed(tmp_path, loaded, losses, factor, kill) == stop


def test_documents_of_packed_and_of_padded_batches() -> None:
    packed = {"input_ids": torch.tensor([[5, 6, 7, 8, 9]]), "position_ids": torch.tensor([[0, 1, 0, 1, 2]])}
    padded = {"input_ids": torch.tensor([[5, 6, 0], [7, 8, 9]]), "attention_mask": torch.tensor([[1, 1, 0], [1, 1, 1]])}
    plain = {"input_ids": torch.tensor([[5, 6], [7, 8]])}
    assert documents([packed, padded, plain]) == [[5, 6], [7, 8, 9], [5, 6], [7, 8, 9], [5, 6], [7, 8]]


def test_a_piece_of_a_long_text_is_found(tmp_path: Path, loaded: Loaded) -> None:
    rows = [text("小儿肺炎的护理要点：" * 20), text("新生儿黄疸的观察方法。" * 20)]
    path = write(tmp_path, "cpt", rows)
    ids = encode_text(loaded.tokenizer, rows[1]["text"]).input_ids
    found = origins_of([ids[30:50], [1, 1, 1], ids[:10], ids[:1]], path, loaded.tokenizer)
    assert [one.id for one in found] == [rows[1]["id"], None, rows[1]["id"], None]


def test_dialogues_and_pairs_are_found(tmp_path: Path, loaded: Loaded) -> None:
    dialogue = encode_dialogue(loaded.tokenizer, ROWS[3]["messages"]).input_ids
    assert origins_of([dialogue], write(tmp_path, "instruction", ROWS), loaded.tokenizer) == [Origin(ROWS[3]["id"])]
    prompt, answer = encode_answer(loaded.tokenizer, PAIRS[2]["prompt"], PAIRS[2]["rejected"][0])
    found = origins_of([[*prompt, *answer]], write(tmp_path, "preference", PAIRS[:4]), loaded.tokenizer)
    assert found == [Origin(PAIRS[2]["id"])]


def test_a_dialogue_that_was_cut_is_found(tmp_path: Path, loaded: Loaded) -> None:
    long = instruction("孩子发烧", "先量体温。", "三十九度", "请就诊。" * 20)
    kept = encode_dialogue(loaded.tokenizer, long["messages"][:2]).input_ids
    path = write(tmp_path, "instruction", [*ROWS, long])
    assert origins_of([kept], path, loaded.tokenizer) == [Origin(long["id"])]


def test_a_pieces_half_characters_and_spaces_do_not_hide_its_row(tmp_path: Path, loaded: Loaded) -> None:
    rows = [text("前言。" * 9), text("𪚥𪚥 𪚥\n\n　儿科１２３ ﬁ" * 9)]
    ids = encode_text(loaded.tokenizer, rows[1]["text"]).input_ids
    assert "�" in loaded.tokenizer.decode(ids[1:9])
    found = origins_of(
        [ids[start : start + 8] for start in range(len(ids) - 8)], write(tmp_path, "cpt", rows), loaded.tokenizer
    )
    assert {one.id for one in found} == {rows[1]["id"]}


def test_rows_of_the_users_own_are_named_by_file_and_line(tmp_path: Path, loaded: Loaded) -> None:
    lines, table = tmp_path / "own.jsonl", write(tmp_path, "instruction", [ROWS[0], ROWS[4]])
    own = [instruction("本院在哪", "在北京。"), instruction("几点开门", "八点。")]
    write_json_lines(lines, [{"messages": own[0]["messages"]}, {"id": "x", "messages": own[1]["messages"]}])
    (tmp_path / "corpus").mkdir()
    corpus = write(tmp_path / "corpus", "instruction", ROWS[:3])
    asked = [encode_dialogue(loaded.tokenizer, row["messages"]).input_ids for row in (*own, ROWS[4], ROWS[2])]
    assert origins_of(asked, corpus, loaded.tokenizer, [lines, table]) == [
        Origin(None, f"{lines}:1"),
        Origin("x", f"{lines}:2"),
        Origin(ROWS[4]["id"], f"{table}, row 2"),
        Origin(ROWS[2]["id"]),
    ]


def test_only_rows_that_may_be_meant_are_encoded(
    tmp_path: Path, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []

    def counting(row: dict[str, Any], tokenizer: Any) -> Any:
        encoded.append(row["id"])
        return sequences_of(row, tokenizer)

    monkeypatch.setattr(watch, "sequences_of", counting)
    asked = encode_dialogue(loaded.tokenizer, ROWS[7]["messages"]).input_ids
    assert origins_of([asked, [1, 1]], write(tmp_path, "instruction", ROWS), loaded.tokenizer)[0].id == ROWS[7]["id"]
    assert encoded == [ROWS[7]["id"]]


def test_an_offending_row_of_the_users_own_is_in_the_line(tmp_path: Path, loaded: Loaded) -> None:
    own = tmp_path / "own.jsonl"
    write_json_lines(own, [{"messages": instruction("本院在哪", "在北京。")["messages"]}])
    ids = encode_dialogue(loaded.tokenizer, instruction("本院在哪", "在北京。")["messages"]).input_ids
    meter = Meter()
    meter.batches = [{"input_ids": torch.tensor([ids])}]
    data = write(tmp_path, "instruction", ROWS)
    one = Watch(data, tmp_path, tmp_path / "checkpoints", loaded.tokenizer, 5.0, meter, [own])
    state = type("State", (), {"global_step": 3, "stateful_callbacks": {}})()
    with pytest.raises(TrainingFailed) as caught:
        one.on_log(_Arguments(), state, None, logs={"loss": math.nan})
    assert f"the 1 rows of the batch ({own}:1)" in str(caught.value)
    (row,) = json.loads((tmp_path / OFFENDING).read_text(encoding="utf-8"))["rows"]
    assert (row["id"], row["where"], row["tokens"]) == (None, f"{own}:1", len(ids))


class _Eater(TrainerCallback):
    """Asks the system for more memory than any has."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 3:
            torch.empty(1 << 55)

    def close(self) -> None:
        """It stands in the place of the progress bar."""


def test_no_memory_is_one_line_with_numbers(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = job(tmp_path / "out", model_folder, write(tmp_path, "instruction", ROWS))
    monkeypatch.setattr(phase, "ProgressBar", lambda *_: _Eater())
    with pytest.raises(TrainingFailed) as caught:
        sft.train(one, SftSettings(max_length=64, trainer={**TRAINER, "per_device_train_batch_size": 4}))
    said = str(caught.value)
    assert "\n" not in said
    assert "4 x 64 = 256 tokens" in said
    assert "trainer.per_device_train_batch_size: 2 with trainer.gradient_accumulation_steps: 2" in said
    assert "trainer.activation_checkpointing: true" in said
    assert "max_length: 32" in said
    assert (one.checkpoints / "checkpoint-2").is_dir()


class _FewArguments:
    per_device_train_batch_size, gradient_accumulation_steps, activation_checkpointing = 4, 1, True


@pytest.mark.parametrize(
    ("reference", "offered"),
    [("live", ["precomputed", "adapter"]), ("precomputed", ["adapter"]), ("adapter", [])],
)
def test_no_memory_for_pairs_counts_both_sides_and_offers_other_references(reference: str, offered: list[str]) -> None:
    with pytest.raises(TrainingFailed) as caught, out_of_memory(64, _FewArguments(), reference):
        raise torch.OutOfMemoryError
    said = str(caught.value)
    assert "a batch of 4 pairs, up to 4 x 2 x 64 = 512 tokens, needs more than" in said
    assert re.findall(r"reference: (\w+)", said) == offered
    assert "max_length: 32" in said


@pytest.mark.parametrize(("reference", "loads_fit"), [("live", 1), ("live", 2), ("precomputed", 1)])
def test_no_memory_for_the_reference_is_one_line(
    reference: Any, loads_fit: int, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The policy is there; reading a copy, taking it to the device, or the first pass over the pairs is too much."""
    loads = []

    def load_once(*given: Any, **options: Any) -> Loaded:
        loads.append(given)
        if len(loads) > loads_fit:
            torch.empty(1 << 55)
        return load(*given, **options)

    monkeypatch.setattr(dfpo, "load", load_once)
    monkeypatch.setattr(Accelerator, "prepare_model", lambda *_, **__: torch.empty(1 << 55))
    monkeypatch.setattr(preference_trainer, "answers", lambda *_: torch.empty(1 << 55))
    one = job(tmp_path / "out", model_folder, write(tmp_path, "preference", PAIRS[:4]), name="dfpo")
    settings = DfpoSettings(max_length=128, reference=reference, share_prompt=False, trainer=TRAINER)
    with pytest.raises(TrainingFailed, match=r"^out of memory: ") as caught:
        train_dfpo(one, settings)
    said = str(caught.value)
    assert f"(dfpo.reference: {reference})" in said
    assert "set reference: " in said
    assert "\n" not in said


def test_what_the_remedies_name_can_be_set() -> None:
    trainer = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "activation_checkpointing": True}
    SftSettings(max_length=32, trainer=trainer)
    for remedy in (PRECOMPUTED_INSTEAD, ADAPTER_INSTEAD):
        DfpoSettings.model_validate(yaml.safe_load(remedy.partition(" (")[0]))


def test_no_memory_elsewhere_says_for_what() -> None:
    line = r"^out of memory: a copy needs more than .* GiB of .*; set a or b$"
    with pytest.raises(TrainingFailed, match=line), no_memory_for("a copy", ["a", "b"]):
        raise MemoryError
    with pytest.raises(RuntimeError, match="shapes"), no_memory_for("a copy", ["a"]):
        raise RuntimeError("shapes do not fit")


def test_other_errors_stay_what_they_are() -> None:
    args = type("Arguments", (), {})()
    with pytest.raises(RuntimeError, match="shapes"), out_of_memory(64, args):
        raise RuntimeError("shapes do not fit")
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"))
    assert not is_out_of_memory(OSError("out of memory"))
