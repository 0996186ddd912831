"""DFPO's loss against the formula of the paper, computed by hand from plain log-probabilities."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from trl import DPOConfig, DPOTrainer

from pediatricsgpt.models.load import Loaded, load
from pediatricsgpt.records import read_json_lines
from pediatricsgpt.training import dfpo
from pediatricsgpt.training.data import preference_set
from pediatricsgpt.training.dfpo import DfpoTrainer
from pediatricsgpt.training.phase import Job, arguments
from pediatricsgpt.training.settings import DfpoSettings
from tests.rows import preference, write

BETA = 0.3
PAIRS = [
    preference("孩子发烧怎么办", "先量体温，精神差时请就诊。", "没事"),
    preference("咳嗽", "多喝水。", "吃三种药，再打针，然后观察一个星期看看再说吧"),
    preference("新生儿黄疸要紧吗", "多数是生理性的，但出生二十四小时内出现须立即就诊。", "晒太阳"),
    preference("腹泻", "口服补液盐。", "禁食两天"),
]


def _trainer(model_folder: Path, tmp_path: Path, mu: float, batch: int, **trainer: Any) -> DfpoTrainer:
    loaded = load(model_folder, dtype="float32", trainable=True)
    reference = load(model_folder, dtype="float32").model
    with torch.no_grad():  # at the start policy and reference are equal, which would hide their order
        for weight in reference.parameters():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)) * 0.05)
    path = write(tmp_path, "preference", PAIRS)
    own = {"per_device_train_batch_size": batch, "num_train_epochs": 1, "max_grad_norm": 0.0, "save_strategy": "no"}
    settings = DfpoSettings(max_length=128, trainer={**own, "lr_scheduler_type": "constant", **trainer})
    job = Job("dfpo", model_folder, path, tmp_path, 1, Console(quiet=True))
    return DfpoTrainer(
        model=loaded.model,
        ref_model=reference,
        args=arguments(DPOConfig, job, settings, beta=BETA),
        train_dataset=preference_set(path, loaded.tokenizer, 128).dataset,
        processing_class=loaded.tokenizer,
        mu=mu,
    )


def _log_probability(model: Any, prompt: list[int], answer: list[int]) -> float:
    """Token by token, without batch or padding."""
    with torch.no_grad():
        logits = model(torch.tensor([prompt + answer])).logits[0].double()
    steps = zip(range(len(prompt) - 1, len(prompt) + len(answer) - 1), answer, strict=True)
    return sum(float(logits[place].log_softmax(0)[token]) for place, token in steps)


def _by_hand(trainer: DfpoTrainer, mu: float) -> float:
    total = 0.0
    for row in trainer.train_dataset:
        policy, reference = (
            [_log_probability(model, row["prompt_ids"], row[side]) for side in ("chosen_ids", "rejected_ids")]
            for model in (trainer.model, trainer.ref_model)
        )
        margin = BETA * ((policy[0] - reference[0]) - (policy[1] - reference[1]))
        likelihood = -policy[0] / len(row["chosen_ids"])
        total += -math.log(1 / (1 + math.exp(-margin))) + mu * likelihood
    return total / len(trainer.train_dataset)


def _whole_batch(trainer: Any) -> dict[str, torch.Tensor]:
    batch: dict[str, torch.Tensor] = trainer.data_collator(list(trainer.train_dataset))
    return batch


@pytest.mark.parametrize("mu", [0.0, 0.5, 1.0])
def test_the_loss_is_the_papers_formula(model_folder: Path, tmp_path: Path, mu: float) -> None:
    trainer = _trainer(model_folder, tmp_path, mu, batch=4)
    loss = trainer.compute_loss(trainer.model, _whole_batch(trainer))
    assert float(loss.detach()) == pytest.approx(_by_hand(trainer, mu), rel=1e-5)


def test_without_mu_it_is_trls_dpo(model_folder: Path, tmp_path: Path) -> None:
    ours = _trainer(model_folder, tmp_path, 0.0, batch=4)
    batch = _whole_batch(ours)
    plain = copy.copy(ours)
    plain.__class__ = DPOTrainer
    theirs = plain.compute_loss(ours.model, dict(batch))
    assert float(ours.compute_loss(ours.model, batch).detach()) == pytest.approx(float(theirs.detach()), rel=1e-5)


def _trained(model_folder: Path, tmp_path: Path, pairs: int, batch: int, accumulate: int) -> dict[str, torch.Tensor]:
    """Weights after one optimiser step of plain gradient descent over all pairs."""
    trainer = _trainer(model_folder, tmp_path, 1.0, batch, gradient_accumulation_steps=accumulate)
    trainer.train_dataset = trainer.train_dataset.select(range(pairs))
    trainer.optimizer = torch.optim.SGD(trainer.model.parameters(), lr=1.0)
    trainer.train()
    return {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}


@pytest.mark.parametrize(("pairs", "batch", "accumulate"), [(4, 2, 2), (3, 2, 2), (4, 1, 4)])
def test_accumulated_is_full_batch(model_folder: Path, tmp_path: Path, pairs: int, batch: int, accumulate: int) -> None:
    full = _trained(model_folder, tmp_path, pairs, pairs, 1)
    parts = _trained(model_folder, tmp_path, pairs, batch, accumulate)
    for name, weight in full.items():
        torch.testing.assert_close(parts[name], weight, rtol=1e-4, atol=1e-6)


def test_padding_does_not_count(model_folder: Path, tmp_path: Path) -> None:
    trainer = _trainer(model_folder, tmp_path, 1.0, batch=4)
    batch = _whole_batch(trainer)
    wider = {
        name: torch.nn.functional.pad(
            value, (0, 7), value=trainer.processing_class.pad_token_id if name == "input_ids" else 0
        )
        for name, value in batch.items()
    }
    one, other = (float(trainer.compute_loss(trainer.model, b).detach()) for b in (batch, wider))
    assert one == pytest.approx(other, rel=1e-6)


def test_the_reference_stays_frozen_and_gets_no_gradient(model_folder: Path, tmp_path: Path) -> None:
    trainer = _trainer(model_folder, tmp_path, 1.0, batch=4)
    trainer.compute_loss(trainer.model, _whole_batch(trainer)).backward()
    assert all(weight.grad is None for weight in trainer.ref_model.parameters())
    assert all(weight.grad is not None for weight in trainer.model.parameters())


def test_both_terms_and_log_probabilities_are_logged(model_folder: Path, loaded: Loaded, tmp_path: Path) -> None:
    path = write(tmp_path, "preference", PAIRS)
    folder = tmp_path / "out"
    folder.mkdir()
    settings = DfpoSettings(
        max_length=128,
        mu=0.5,
        trainer={"max_steps": 3, "per_device_train_batch_size": 2, "logging_steps": 1, "learning_rate": 1.0e-3},
    )
    counts = dfpo.train(Job("dfpo", model_folder, path, folder, 1, Console(quiet=True)), settings)
    assert counts["pairs"] == 4
    log = [row for _, row in read_json_lines(folder / "training.jsonl") if "loss" in row]
    assert len(log) == 3
    for row in log:
        assert row["loss"] == pytest.approx(row["loss/preference"] + 0.5 * row["loss/likelihood"], rel=1e-4)
        assert row["logps/chosen"] < 0 > row["logps/rejected"]
        assert {"rewards/margins", "rewards/accuracies", "rewards/accuracies_length_normalised"} <= row.keys()
    assert log[0]["loss/preference"] == pytest.approx(math.log(2), rel=1e-5)  # policy = reference at the start
    assert log[-1]["loss"] < log[0]["loss"]
