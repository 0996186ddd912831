"""Supervised phases: packing changes nothing, they learn, experts train nothing but experts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from pediatricsgpt.curves import METRICS
from pediatricsgpt.models.load import load
from pediatricsgpt.records import read_json_lines
from pediatricsgpt.training import cpt, expert_sft
from pediatricsgpt.training.phase import Job
from pediatricsgpt.training.settings import CptSettings, ExpertsSettings
from tests.rows import text, write
from tests.training.jobs import DIALOGUES

TRAINER: dict[str, Any] = {
    "per_device_train_batch_size": 1,
    "learning_rate": 1.0e-3,
    "logging_steps": 1,
    "save_steps": 2,
    "max_steps": 6,
}


def _job(tmp_path: Path, name: str, model: Path, data: Path) -> Job:
    folder = tmp_path / name
    folder.mkdir()
    return Job(name, model, data, folder, 1, Console(quiet=True))


def test_cpt_learns_and_splits_long_texts_instead_of_cutting_them(model_folder: Path, tmp_path: Path) -> None:
    data = write(tmp_path, "cpt", [text("小儿肺炎" * 60), text("发热")])
    settings = CptSettings(max_length=64, trainer={**TRAINER, "max_steps": 12, "save_strategy": "no"})
    job = _job(tmp_path, "cpt", model_folder, data)
    counts = cpt.train(job, settings)
    log = [row for _, row in read_json_lines(job.folder / METRICS) if "loss" in row]
    assert log[-1]["loss"] < log[0]["loss"]
    assert counts["tokens"] > 3 * 64
    assert counts["trained_share_percent"] == 100


def test_experts_train_only_experts(model_folder: Path, tmp_path: Path) -> None:
    data = write(tmp_path, "instruction", DIALOGUES)
    job = _job(tmp_path, "experts", model_folder, data)
    counts = expert_sft.train(job, ExpertsSettings(max_length=64, r=2, trainer=TRAINER))
    assert 0 < counts["trained_parameters"] < counts["parameters"]
    adapted, base = load(job.folder), load(model_folder)
    kept = dict(base.model.named_parameters())
    inner = {
        name.removeprefix("base_model.model.").replace(".base_layer", ""): weight
        for name, weight in adapted.model.named_parameters()
        if "experts_" not in name
    }
    assert inner.keys() == kept.keys()
    assert all(torch.equal(inner[name], kept[name]) for name in kept)
