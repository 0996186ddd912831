"""A training that cannot succeed ends with one line, its last checkpoint and the batch that did it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from pediatricsgpt.models.encode import encode_answer, encode_dialogue, encode_text
from pediatricsgpt.models.load import Loaded
from pediatricsgpt.training import phase, sft
from pediatricsgpt.training.meter import Meter
from pediatricsgpt.training.metrics import read_metrics
from pediatricsgpt.training.settings import DfpoSettings, SftSettings
from pediatricsgpt.training.watch import (
    OFFENDING,
    TrainingFailed,
    Watch,
    documents,
    is_out_of_memory,
    out_of_memory,
    row_ids,
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
    assert row_ids([ids[30:50], [1, 1, 1], ids[:10]], path, loaded.tokenizer) == [rows[1]["id"], None, rows[1]["id"]]


def test_dialogues_and_pairs_are_found(tmp_path: Path, loaded: Loaded) -> None:
    dialogue = encode_dialogue(loaded.tokenizer, ROWS[3]["messages"]).input_ids
    assert row_ids([dialogue], write(tmp_path, "instruction", ROWS), loaded.tokenizer) == [ROWS[3]["id"]]
    prompt, answer = encode_answer(loaded.tokenizer, PAIRS[2]["prompt"], PAIRS[2]["rejected"][0])
    found = row_ids([[*prompt, *answer]], write(tmp_path, "preference", PAIRS[:4]), loaded.tokenizer)
    assert found == [PAIRS[2]["id"]]


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


def test_what_the_remedies_name_can_be_set() -> None:
    trainer = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "activation_checkpointing": True}
    SftSettings(max_length=32, trainer=trainer)


def test_other_errors_stay_what_they_are() -> None:
    args = type("Arguments", (), {})()
    with pytest.raises(RuntimeError, match="shapes"), out_of_memory(64, args):
        raise RuntimeError("shapes do not fit")
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"))
    assert not is_out_of_memory(OSError("out of memory"))
