"""A phase that was killed and resumed is the one that was not, to the bit: weights, log and gate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pediatricsgpt.training import cpt, expert_sft, sft
from pediatricsgpt.training.metrics import read_metrics
from pediatricsgpt.training.phase import Job
from pediatricsgpt.training.settings import (
    CptSettings,
    DfpoSettings,
    ExpertsSettings,
    GateSettings,
    PhaseSettings,
    PreferenceAdapter,
    SftSettings,
)
from tests.rows import text, write
from tests.training.jobs import (
    DIALOGUES,
    PAIRS,
    TRAINER,
    held_out,
    held_out_pairs,
    job,
    killed,
    train_dfpo,
    weights,
)

GATE = GateSettings(every_steps=3, max_rise=5.0)
# Logged every five steps, saved every two: the mean of a log may not reach across the step that is resumed.
SPARSE = {**TRAINER, "logging_steps": 5}
BUDGET = {name: value for name, value in SPARSE.items() if name != "max_steps"}
LORA = PreferenceAdapter(r=4, dropout=0.1)
PHASES: dict[str, tuple[Callable[[Any, Any], dict[str, Any]], PhaseSettings]] = {
    "sft": (sft.train, SftSettings(max_length=64, gate=GATE, trainer=SPARSE)),
    "experts": (expert_sft.train, ExpertsSettings(max_length=64, r=2, dropout=0.1, gate=GATE, trainer=SPARSE)),
    "dfpo": (train_dfpo, DfpoSettings(max_length=128, gate=GATE, trainer={**SPARSE, "gradient_accumulation_steps": 2})),
    # A budget of six packs: rows come again, and the last one is cut.
    "cpt": (cpt.train, CptSettings(max_length=64, tokens=6 * 64 - 5, gate=GATE, trainer=BUDGET)),
    "unpacked": (sft.train, SftSettings(max_length=64, packing=False, gate=GATE, trainer=SPARSE)),
    "precomputed": (train_dfpo, DfpoSettings(max_length=128, reference="precomputed", gate=GATE, trainer=SPARSE)),
    "lora": (
        train_dfpo,
        DfpoSettings(max_length=128, reference="adapter", adapter=LORA, gate=GATE, trainer=SPARSE),
    ),
}


def _log(folder: Path) -> list[dict[str, Any]]:
    """The log without what a clock and the system say."""
    return [
        {name: value for name, value in line.items() if name not in ("tokens_per_second", "memory_mb")}
        for line in read_metrics(folder)
    ]


def _job(tmp_path: Path, name: str, model: Path, phase: str) -> Job:
    inputs = tmp_path / "inputs"
    if not inputs.exists():
        inputs.mkdir()
        held_out(inputs)
        held_out_pairs(inputs)
        write(inputs, "instruction", DIALOGUES)
        write(inputs, "preference", PAIRS)
        write(inputs, "cpt", [text("小儿肺炎的护理。" * 5), text("新生儿黄疸的观察方法。" * 8)])
    watched = {"general": inputs / "general/cpt.parquet", "sft": inputs / "sft/instruction.parquet"}
    paired = PHASES[phase][0] is train_dfpo
    own = "pairs/preference" if paired else "own/instruction"
    data = "preference" if paired else "cpt" if phase == "cpt" else "instruction"
    watched["own"] = inputs / f"{own}.parquet"
    return job(tmp_path / name, model, inputs / f"{data}.parquet", watched, phase)


@pytest.mark.parametrize(
    ("name", "step"),
    [
        *(("sft", step) for step in (1, 5, None)),
        *(("dfpo", step) for step in (5, None)),
        *((name, 5) for name in ("experts", "cpt", "unpacked", "precomputed")),
        *(("lora", step) for step in (5, None)),
    ],
)
def test_resumed_is_uninterrupted_bit_for_bit(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, step: int | None
) -> None:
    """Killed before there is a checkpoint (1), between two (5), and after the last one (None)."""
    train, settings = PHASES[name]
    whole = _job(tmp_path, "whole", model_folder, name)
    expected = train(whole, settings)
    broken = _job(tmp_path, "broken", model_folder, name)
    killed(step, lambda: train(broken, settings), monkeypatch)
    assert not list(broken.folder.glob("*.safetensors"))
    assert train(broken, settings) == expected
    assert expected["steps"] == 6
    assert weights(broken.folder) == weights(whole.folder)
    assert _log(broken.folder) == _log(whole.folder)


def test_what_was_stopped_by_the_gate_stays_stopped(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after it stopped, at a step that was saved: the trainer by itself would go on from there."""
    gate = GateSettings(every_steps=1, max_rise=None, patience=1)
    settings = SftSettings(max_length=64, gate=gate, trainer={**TRAINER, "learning_rate": 0.3, "save_steps": 1})
    whole = _job(tmp_path, "whole", model_folder, "sft")
    expected = sft.train(whole, settings)
    assert expected["stopped"]
    assert expected["kept_step"] < expected["steps"] < 6
    broken = _job(tmp_path, "broken", model_folder, "sft")
    killed(None, lambda: sft.train(broken, settings), monkeypatch)
    assert sft.train(broken, settings) == expected
    assert weights(broken.folder) == weights(whole.folder)
    assert _log(broken.folder) == _log(whole.folder)


def test_a_gate_that_stops_nothing_changes_nothing(model_folder: Path, tmp_path: Path) -> None:
    settings = ExpertsSettings(max_length=64, r=2, dropout=0.1, gate=GATE, trainer=TRAINER)
    with_gate = _job(tmp_path, "with", model_folder, "experts")
    without = _job(tmp_path, "without", model_folder, "experts")
    without.watched = {}
    expert_sft.train(with_gate, settings)
    expert_sft.train(without, settings)
    assert weights(with_gate.folder) == weights(without.folder)
