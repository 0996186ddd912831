"""Two processes are one: losses and weights of full fine-tuning, experts and DFPO, whatever is sharded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainingArguments

from pediatricsgpt.training.preference.trainer import DfpoTrainer
from pediatricsgpt.training.trainer import PackedTrainer
from tests.models.test_segments import model_of
from tests.training.processes import STRATEGIES, assert_at_work, launch, sharding
from tests.training.test_trainer import assert_close, rows

HERE = __name__ if __name__ != "__main__" else "tests.training.test_processes"
# A step is an epoch, in however many micro-batches; without momentum a wrong factor shows in the weights.
PLAIN: dict[str, Any] = {
    "optim": "sgd",
    "learning_rate": 0.1,
    "lr_scheduler_type": "constant",
    "num_train_epochs": 2,
    "gradient_accumulation_steps": 40,
    "per_device_train_batch_size": 2,
    "max_grad_norm": 0.0,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": [],
    "disable_tqdm": True,
    "seed": 3,
}


def _arguments(folder: Path, strategy: str) -> Any:
    use_cpu = strategy in ("one", "ddp")
    return TrainingArguments(output_dir=str(folder), **PLAIN, **sharding(strategy, folder), use_cpu=use_cpu)


def _finish(trainer: Any, folder: Path, strategy: str) -> None:
    trainer.train()
    assert_at_work(trainer, strategy)
    trainer.save_model(str(folder / strategy))
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    if trainer.is_world_process_zero():
        (folder / strategy / "losses.json").write_text(json.dumps(losses))


def sft(folder: Path, strategy: str) -> None:
    """All weights, packed."""
    trainer = PackedTrainer(model_of("Qwen2"), _arguments(folder, strategy), rows(13), max_length=32)
    _finish(trainer, folder, strategy)


def experts(folder: Path, strategy: str) -> None:
    """Experts and routers on frozen weights, packed."""
    from pediatricsgpt.experts import ExpertsConfig, get_peft_model

    # No noise: several processes draw other numbers than one.
    config = ExpertsConfig(task_type="CAUSAL_LM", r=4, target_modules="ffn", noise=False)
    torch.manual_seed(0)
    model = get_peft_model(model_of("Qwen2"), config)
    with torch.no_grad():  # B is zero in the beginning: nothing else would have a gradient in the first step
        for name, weight in model.named_parameters():
            if "experts_B" in name:
                weight.normal_(std=0.1)
    _finish(PackedTrainer(model, _arguments(folder, strategy), rows(13), max_length=32), folder, strategy)


def dfpo(folder: Path, strategy: str) -> None:
    """All weights against a frozen reference that answers live."""
    pairs = [
        {"prompt_ids": row["input_ids"][:5], "chosen_ids": row["input_ids"][5:], "rejected_ids": row["input_ids"][:-3]}
        for row in rows(16, seed=1)
        if len(row["input_ids"]) > 8
    ][:12]
    trainer = DfpoTrainer(
        model_of("Qwen2"),
        _arguments(folder, strategy),
        pairs,
        beta=0.1,
        mu=1.0,
        max_length=64,
        reference=model_of("Qwen2"),
    )
    _finish(trainer, folder, strategy)


JOBS = {"sft": "model.safetensors", "experts": "adapter_model.safetensors", "dfpo": "model.safetensors"}


@pytest.mark.check
@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_processes_are_one(job: str, strategy: str, tmp_path: Path) -> None:
    done = launch(f"{HERE}:{job}", strategy, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    globals()[job](tmp_path, "one")
    found, expected = tmp_path / strategy, tmp_path / "one"
    losses, wanted = (json.loads((folder / "losses.json").read_text()) for folder in (found, expected))
    assert len(losses) == 2
    assert losses[1] < losses[0]
    assert losses == pytest.approx(wanted, rel=1e-5)
    weights, own = (load_file(folder / JOBS[job]) for folder in (found, expected))
    if strategy == "zero3":  # transformers leaves out what is not trained: without noise, its weights
        own = {name: weight for name, weight in own.items() if "experts_noise" not in name}
    assert_close({name: weight.float() for name, weight in weights.items()}, own, 1e-5)
