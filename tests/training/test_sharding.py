"""Half precision leaves the experts' routers in float32, alone and sharded, or is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from transformers import TrainingArguments

from pediatricsgpt.errors import UserError
from pediatricsgpt.experts import ExpertsConfig, ExpertsLinear, get_peft_model
from pediatricsgpt.training.sharding import check
from pediatricsgpt.training.trainer import PackedTrainer
from tests.models.test_segments import model_of
from tests.training.processes import NEEDS_DEEPSPEED, assert_at_work, launch, sharding
from tests.training.test_processes import PLAIN
from tests.training.test_trainer import rows

HERE = "tests.training.test_sharding"
ZERO = [pytest.param(name, marks=NEEDS_DEEPSPEED) for name in ("zero2", "zero3")]
AUTOCAST = {"torch_autocast": {"enabled": True, "dtype": "bfloat16"}}


def with_experts() -> Any:
    """A tiny model whose experts already change its answers. Without noise: processes draw their own."""
    config = ExpertsConfig(task_type="CAUSAL_LM", r=4, target_modules="ffn", noise=False)
    torch.manual_seed(0)
    model = get_peft_model(model_of("Qwen2"), config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "experts_B" in name:
                weight.normal_(std=0.1)
    return model


def trainer_of(folder: Path, strategy: str, *, bf16: bool, experts: bool = True) -> PackedTrainer:
    """bf16 is transformers' own; without it DeepSpeed's file asks for autocast, as the documentation has it."""
    if strategy != "one":
        transformers.training_args.is_torch_bf16_gpu_available = lambda: True  # the CPU passes for a GPU
    settings = sharding(strategy, folder)
    if "deepspeed" in settings and not bf16:
        path = Path(settings["deepspeed"])
        path.write_text(json.dumps({**json.loads(path.read_text()), **AUTOCAST}))
    arguments = TrainingArguments(str(folder), **PLAIN, **settings, use_cpu=strategy == "one", bf16=bf16)
    return PackedTrainer(with_experts() if experts else model_of("Qwen2"), arguments, rows(13), max_length=32)


def train(folder: Path, strategy: str) -> None:
    """Two epochs in half precision, and what each layer's router, gates and output were while it ran."""
    trainer = trainer_of(folder, strategy, bf16=strategy == "one")
    check(trainer)
    seen: dict[str, set[str]] = {"router": set(), "gates": set(), "output": set()}

    def note(layer: ExpertsLinear, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        seen["router"].add(str(layer.experts_router["default"].weight.dtype))
        seen["gates"].add(str(layer.gates(inputs[0], "default").dtype))
        seen["output"].add(str(output.dtype))

    for module in trainer.model.modules():
        if isinstance(module, ExpertsLinear):
            module.register_forward_hook(note)
    trainer.train()
    assert_at_work(trainer, strategy)
    trainer.save_model(str(folder / strategy))
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    if trainer.is_world_process_zero():
        said = {"losses": losses, **{name: sorted(types) for name, types in seen.items()}}
        (folder / strategy / "said.json").write_text(json.dumps(said))


def refused(folder: Path, strategy: str) -> None:
    """The strategy's own half precision: with experts only."""
    with pytest.raises(
        UserError, match=r"bf16 rounds the experts' routers.*set trainer\.bf16 to false.*torch_autocast"
    ):
        check(trainer_of(folder, strategy, bf16=True))
    check(trainer_of(folder, strategy, bf16=True, experts=False))


def test_bfloat16_by_autocast_keeps_the_routers_in_float32(tmp_path: Path) -> None:
    before = {name: weight.clone() for name, weight in with_experts().named_parameters() if "router" in name}
    train(tmp_path, "one")
    said = json.loads((tmp_path / "one/said.json").read_text())
    assert said["router"] == said["gates"] == ["torch.float32"]
    assert said["output"] == ["torch.bfloat16"]
    saved = load_file(tmp_path / "one/adapter_model.safetensors")
    for name, weight in before.items():
        trained = saved[name.replace(".default", "")]
        assert trained.dtype == torch.float32
        assert not torch.equal(trained, weight)
        assert not torch.equal(trained, trained.bfloat16().float()), "its bits are finer than bfloat16's"


@pytest.mark.check
@pytest.mark.parametrize("strategy", ZERO)
def test_autocast_by_deepspeed_keeps_the_routers_in_float32_and_two_processes_are_one(
    strategy: str, tmp_path: Path
) -> None:
    done = launch(f"{HERE}:train", strategy, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    train(tmp_path, "one")
    said, wanted = (json.loads((tmp_path / name / "said.json").read_text()) for name in (strategy, "one"))
    assert said["router"] == said["gates"] == ["torch.float32"]
    assert said["output"] == wanted["output"] == ["torch.bfloat16"]
    assert said["losses"] == pytest.approx(wanted["losses"], rel=1e-3)
    found, own = (load_file(tmp_path / name / "adapter_model.safetensors") for name in (strategy, "one"))
    for name, weight in found.items():
        assert weight.dtype == torch.float32, name
        assert (weight - own[name]).norm() < 1e-2 * own[name].norm(), name


@pytest.mark.check
@pytest.mark.parametrize("strategy", ["fsdp2", *ZERO])
def test_half_precision_that_casts_the_routers_is_refused_with_what_to_set(strategy: str, tmp_path: Path) -> None:
    done = launch(f"{HERE}:refused", strategy, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
