"""Phase 4 and phase 2 on sampled sets: what was drawn is what is trained, and bad targets are one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM

from pediatricsgpt.errors import UserError
from pediatricsgpt.experts import ExpertsConfig
from pediatricsgpt.records import write_json_lines
from pediatricsgpt.training import expert_sft, sft
from pediatricsgpt.training.adapter import adapted
from pediatricsgpt.training.settings import ExpertsSettings, SetSettings, SftSettings
from tests.fixtures import tiny_config
from tests.rows import instruction, write
from tests.training.jobs import DIALOGUES, TRAINER, job

ONE_PASS = {"per_device_train_batch_size": 4, "learning_rate": 1.0e-3, "num_train_epochs": 1, "save_strategy": "no"}


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    rows = [
        *(instruction(f"问{n}", "答。" * 9, task="medkqa") for n in range(12)),
        *(instruction(f"咨询{n}", "几天了？", f"{n}天", "请就诊。", task="evidiag") for n in range(3)),
        *(instruction(f"治疗{n}", "多休息。", task="trerecom") for n in range(4)),
        *(instruction(f"地理{n}", "北京。", task="general") for n in range(3)),
    ]
    return write(tmp_path, "instruction", rows)


@pytest.mark.parametrize("packing", [True, False])
def test_a_pass_over_sampled_tasks_trains_the_tokens_that_were_drawn(
    packing: bool, model_folder: Path, tasks: Path, tmp_path: Path
) -> None:
    settings = ExpertsSettings(
        max_length=64, r=2, packing=packing, task_sampling="balanced", general_replay=0.1, trainer=ONE_PASS
    )
    counts = expert_sft.train(job(tmp_path / "experts", model_folder, tasks, name="experts"), settings)
    assert counts["trained_tokens"] == counts["tokens"]
    assert set(counts["by_task"]) == {"medkqa", "evidiag", "trerecom", "general"}


def test_a_pass_over_two_sets_trains_the_tokens_that_were_drawn(model_folder: Path, tmp_path: Path) -> None:
    path = write(tmp_path, "instruction", DIALOGUES)
    write_json_lines(tmp_path / "own.jsonl", [{"messages": instruction("本院在哪", "在北京。")["messages"]}])
    own = SetSettings(path=tmp_path / "own.jsonl", weight=0.25)
    settings = SftSettings(max_length=64, data=[own], trainer=ONE_PASS)
    counts = sft.train(job(tmp_path / "sft", model_folder, path), settings)
    assert counts["trained_tokens"] == counts["tokens"]
    assert counts["by_set"]["own"]["share_percent"] == pytest.approx(25, abs=5)
    assert counts["by_set"]["own"]["rows"] == 1


@pytest.mark.parametrize("targets", [["gate_prj"], ["mlp.gate_prj"]])
def test_targets_that_match_nothing_are_one_line(targets: Any, model_folder: Path, tasks: Path, tmp_path: Path) -> None:
    settings = ExpertsSettings(max_length=64, target_modules=targets, trainer=TRAINER)
    with pytest.raises(UserError, match=r"^experts\.target_modules: .*nearest: gate_proj") as caught:
        expert_sft.train(job(tmp_path / "experts", model_folder, tasks, name="experts"), settings)
    assert "\n" not in str(caught.value)


def test_how_many_networks_of_a_mixture_get_experts_is_told() -> None:
    own = {"num_hidden_layers": 3, "head_dim": 8, "num_experts": 4, "moe_intermediate_size": 8}
    config = tiny_config("qwen3_moe", **own, mlp_only_layers=[1])
    told: list[str] = []
    adapted(AutoModelForCausalLM.from_config(config), ExpertsConfig(r=2), "experts.target_modules", told.append)
    assert told == [
        "target_modules 'ffn': 1 dense feed-forward networks get experts, 2 that are fused expert tensors get none"
    ]
