"""DFPO's loss against the formula of the paper, computed by hand from plain log-probabilities."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from trl import DPOConfig, DPOTrainer

from pediatricsgpt.curves import METRICS
from pediatricsgpt.models.load import Loaded, load
from pediatricsgpt.records import read_json_lines
from pediatricsgpt.training import dfpo
from pediatricsgpt.training.arguments import arguments
from pediatricsgpt.training.phase import Job
from pediatricsgpt.training.preference.batches import batch
from pediatricsgpt.training.preference.data import preference_set
from pediatricsgpt.training.preference.trainer import DfpoTrainer
from pediatricsgpt.training.settings import DfpoSettings
from tests.rows import preference, write

BETA = 0.3
PAIRS = [
    preference("孩子发烧怎么办", "先量体温，精神差时请就诊。", "没事"),
    preference("咳嗽", "多喝水。", "吃三种药，再打针，然后观察一个星期看看再说吧"),
    preference("新生儿黄疸要紧吗", "多数是生理性的，但出生二十四小时内出现须立即就诊。", "晒太阳"),
    preference("腹泻", "口服补液盐。", "禁食两天"),
]


def _unlike(model_folder: Path) -> Any:
    """A reference with other weights: at the start policy and reference are equal, which would hide their order."""
    reference = load(model_folder, dtype="float32").model
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in reference.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.05)
    return reference


def _trainer(
    model_folder: Path, tmp_path: Path, mu: float, pairs: int, share: bool = True, **trainer: Any
) -> DfpoTrainer:
    loaded = load(model_folder, dtype="float32", trainable=True)
    path = write(tmp_path, "preference", PAIRS)
    own = {"per_device_train_batch_size": pairs, "num_train_epochs": 1, "max_grad_norm": 0.0, "save_strategy": "no"}
    settings = DfpoSettings(max_length=128, trainer={**own, "lr_scheduler_type": "constant", **trainer})
    job = Job("dfpo", model_folder, path, tmp_path, 1, Console(quiet=True))
    return DfpoTrainer(
        loaded.model,
        arguments(DPOConfig, job.checkpoints, job.seed, settings, beta=BETA),
        preference_set(path, loaded.tokenizer, 128).dataset,
        beta=BETA,
        mu=mu,
        max_length=128,
        reference=_unlike(model_folder),
        share_prompt=share,
    )


def _log_probability(model: Any, prompt: list[int], answer: list[int]) -> float:
    """Token by token, without packing or padding."""
    with torch.no_grad():
        logits = model(torch.tensor([prompt + answer])).logits[0].double()
    steps = zip(range(len(prompt) - 1, len(prompt) + len(answer) - 1), answer, strict=True)
    return sum(float(logits[place].log_softmax(0)[token]) for place, token in steps)


def _by_hand(model_folder: Path, pairs: Any, mu: float) -> float:
    models = load(model_folder, dtype="float32").model, _unlike(model_folder)
    total = 0.0
    for row in pairs:
        policy, reference = (
            [_log_probability(model, row["prompt_ids"], row[side]) for side in ("chosen_ids", "rejected_ids")]
            for model in models
        )
        margin = BETA * ((policy[0] - reference[0]) - (policy[1] - reference[1]))
        total += -math.log(1 / (1 + math.exp(-margin))) + mu * -policy[0] / len(row["chosen_ids"])
    return total / len(pairs)


def _whole_batch(trainer: DfpoTrainer) -> dict[str, Any]:
    data = trainer.train_dataset
    return batch(list(data.pairs), range(len(data)), data.share)


@pytest.mark.parametrize("share", [True, False], ids=["shared", "apart"])
@pytest.mark.parametrize("mu", [0.0, 0.5, 1.0])
def test_the_loss_is_the_papers_formula(model_folder: Path, tmp_path: Path, mu: float, share: bool) -> None:
    trainer = _trainer(model_folder, tmp_path, mu, 4, share)
    assert trainer.train_dataset.share == share
    loss = trainer.compute_loss(trainer.model, _whole_batch(trainer))
    assert float(loss.detach()) == pytest.approx(_by_hand(model_folder, trainer.train_dataset.pairs, mu), rel=1e-5)


def test_without_mu_it_is_trls_dpo(model_folder: Path, tmp_path: Path) -> None:
    ours = _trainer(model_folder, tmp_path, 0.0, 4)
    pairs, loaded = ours.train_dataset.pairs, load(model_folder, dtype="float32", trainable=True)

    class Tokenised(DPOTrainer):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
            return dataset

    theirs = Tokenised(
        model=loaded.model,
        ref_model=_unlike(model_folder),
        args=DPOConfig(str(tmp_path), beta=BETA, bf16=False, use_cpu=True, remove_unused_columns=False, report_to=[]),
        train_dataset=pairs,
        processing_class=loaded.tokenizer,
    )
    loss = theirs.compute_loss(loaded.model, theirs.data_collator(list(pairs)))
    assert float(ours.compute_loss(ours.model, _whole_batch(ours)).detach()) == pytest.approx(
        float(loss.detach()), rel=1e-5
    )


def _stepped(
    model_folder: Path, tmp_path: Path, pairs: int, size: int, accumulate: int, share: bool = True
) -> dict[str, torch.Tensor]:
    """Weights after one optimiser step of plain gradient descent over all pairs."""
    trainer = _trainer(model_folder, tmp_path, 1.0, size, share, gradient_accumulation_steps=accumulate)
    trainer.packs.parts = trainer.packs.parts[:pairs]
    trainer.optimizer = torch.optim.SGD(trainer.model.parameters(), lr=1.0)
    trainer.train()
    assert trainer.state.global_step == 1
    return {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}


def _start(model_folder: Path) -> dict[str, torch.Tensor]:
    return {name: w.detach() for name, w in load(model_folder, dtype="float32").model.named_parameters()}


def _assert_same_step(
    one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], start: dict[str, torch.Tensor]
) -> None:
    """Updates are equal to 1e-5 of their size, over all weights together."""
    difference = sum(float((one[name] - other[name]).double().square().sum()) for name in one)
    size = sum(float((one[name] - start[name]).double().square().sum()) for name in one)
    assert size > 0
    assert math.sqrt(difference / size) < 1e-5


@pytest.mark.parametrize(("pairs", "size", "accumulate"), [(4, 2, 2), (3, 2, 2), (4, 1, 4)])
def test_accumulated_is_full_batch(model_folder: Path, tmp_path: Path, pairs: int, size: int, accumulate: int) -> None:
    full = _stepped(model_folder, tmp_path, pairs, pairs, 1)
    parts = _stepped(model_folder, tmp_path, pairs, size, accumulate)
    _assert_same_step(full, parts, _start(model_folder))


def test_a_shared_prompt_changes_no_update(model_folder: Path, tmp_path: Path) -> None:
    shared, apart = (_stepped(model_folder, tmp_path, 4, 2, 2, share) for share in (True, False))
    _assert_same_step(shared, apart, _start(model_folder))


def test_the_reference_stays_frozen_and_gets_no_gradient(model_folder: Path, tmp_path: Path) -> None:
    trainer = _trainer(model_folder, tmp_path, 1.0, 4)
    trainer.compute_loss(trainer.model, _whole_batch(trainer)).backward()
    assert all(weight.grad is None for weight in trainer.ref_model.parameters())
    assert all(weight.grad is not None for weight in trainer.model.parameters())


def test_both_terms_and_log_probabilities_are_logged(model_folder: Path, tmp_path: Path) -> None:
    path = write(tmp_path, "preference", PAIRS)
    folder = tmp_path / "out"
    folder.mkdir()
    settings = DfpoSettings(
        max_length=128,
        mu=0.5,
        trainer={"max_steps": 3, "per_device_train_batch_size": 3, "logging_steps": 1, "learning_rate": 1.0e-3},
    )
    counts = dfpo.train(Job("dfpo", model_folder, path, folder, 1, Console(quiet=True)), settings)
    assert counts["pairs"] == 4
    log = [row for _, row in read_json_lines(folder / METRICS) if "loss" in row]
    assert len(log) == 3
    for row in log:
        assert row["loss"] == pytest.approx(row["loss/preference"] + 0.5 * row["loss/likelihood"], rel=1e-4)
        assert row["logps/chosen"] < 0 > row["logps/rejected"]
        assert row["rewards/margins"] == pytest.approx(row["rewards/chosen"] - row["rewards/rejected"], abs=1e-5)
        assert {"rewards/accuracies", "rewards/accuracies_length_normalised"} <= row.keys()
    assert log[0]["loss/preference"] == pytest.approx(math.log(2), rel=1e-5)  # policy = reference at the start
    assert log[-1]["loss"] < log[0]["loss"]


@pytest.mark.parametrize("reason", ["equal_sides", "empty_answer", "too_long"])
def test_what_cannot_be_trained_on_is_left_out_counted_and_shown(loaded: Loaded, tmp_path: Path, reason: str) -> None:
    bad = {
        "equal_sides": preference("发烧", "多喝水。", "多喝水。"),
        "empty_answer": preference("发烧", "多喝水。", " \n"),
        "too_long": preference("发烧", "多喝水。", "多喝水。" * 100),
    }[reason]
    prepared = preference_set(write(tmp_path, "preference", [*PAIRS, bad]), loaded.tokenizer, 128)
    assert len(prepared.dataset) == prepared.counts["pairs"] == 4
    assert prepared.counts[reason] == 1
    assert prepared.counts["rows"] == 5
    assert prepared.notes == [f"1 of 5 pairs are left out (1 {reason.replace('_', ' ')})"]
