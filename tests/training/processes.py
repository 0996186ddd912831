"""Two processes on a CPU, with the strategy that was asked for really at work; also what each of them runs.

accelerate shards on accelerators alone: on a CPU it falls back to DDP for FSDP2 and ZeRO-2 without a word, and stops
for ZeRO-3. Here a CPU passes for an accelerator, and every job asserts the strategy that was at work.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
PROCESSES = 2
SHARDED = ("fsdp2", "zero2", "zero3")
NEEDS_DEEPSPEED = pytest.mark.skipif(
    importlib.util.find_spec("deepspeed") is None, reason="deepspeed is not installed (the extra 'deepspeed')"
)
STRATEGIES = [
    pytest.param(name, marks=[NEEDS_DEEPSPEED] if name.startswith("zero") else []) for name in ("ddp", *SHARDED)
]
KINDS = {"one": "NO", "ddp": "MULTI_CPU", "fsdp2": "FSDP", "zero2": "DEEPSPEED", "zero3": "DEEPSPEED"}


def sharding(strategy: str, folder: Path, wrapped: str = "Qwen2DecoderLayer") -> dict[str, Any]:
    """The arguments of transformers that choose a strategy, as a recipe's `trainer:` would have them."""
    if strategy == "fsdp2":
        return {"fsdp": True, "fsdp_config": {"version": 2, "transformer_layer_cls_to_wrap": [wrapped]}}
    if strategy.startswith("zero"):
        config: dict[str, Any] = {
            "zero_optimization": {
                "stage": int(strategy[-1]),
                "stage3_gather_16bit_weights_on_model_save": True,
                "stage3_param_persistence_threshold": 0,  # else small weights are never shared out
            },
            "train_micro_batch_size_per_gpu": "auto",
            "gradient_accumulation_steps": "auto",
            "gradient_clipping": "auto",
            "zero_allow_untested_optimizer": True,
        }
        path = folder / f"{strategy}-{os.getpid()}.json"
        path.write_text(json.dumps(config), encoding="utf-8")
        return {"deepspeed": str(path)}
    return {}


def environment(strategy: str) -> dict[str, str]:
    """Of processes that train on the CPU."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ACCELERATE_", "FSDP_"))}
    own = {"ACCELERATE_TORCH_DEVICE": "cpu", "DS_ACCELERATOR": "cpu"} if strategy in SHARDED else {}
    return {**kept, **own, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), "HF_HUB_OFFLINE": "1"}


def launch(
    job: str,
    strategy: str,
    folder: Path,
    options: Mapping[str, Any] | None = None,
    launcher: tuple[str, ...] = ("torch.distributed.run", "--standalone", "--nproc-per-node", str(PROCESSES)),
) -> subprocess.CompletedProcess[str]:
    """Run `module:function` in two processes as `function(folder, strategy, **options)`.

    Returns:
        what became of the launcher.
    """
    what = [str(Path(__file__)), job, strategy, str(folder), json.dumps(dict(options or {}))]
    command = [sys.executable, "-m", *launcher, *what]
    return subprocess.run(
        command, env=environment(strategy), cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False
    )


def pretend() -> None:
    """Let accelerate take the CPU for an accelerator."""
    import torch
    from accelerate import state
    from accelerate.utils import DistributedType

    state.PartialState._prepare_backend = lambda self, *args: ("gloo", DistributedType.MULTI_GPU)
    state.PartialState.set_device = lambda self: setattr(self, "device", torch.device("cpu"))


def assert_at_work(trainer: Any, strategy: str) -> None:
    """The strategy is what accelerate and the wrapped model say, and memory is shared out as it promises."""
    accelerator, model = trainer.accelerator, trainer.model_wrapped
    assert accelerator.distributed_type.name == KINDS[strategy]
    assert accelerator.num_processes == (1 if strategy == "one" else PROCESSES)
    if strategy == "ddp":
        assert type(model).__name__ == "DistributedDataParallel"
    elif strategy == "fsdp2":
        assert accelerator.is_fsdp2
        sharded = [weight for weight in model.parameters() if hasattr(weight, "to_local")]
        whole = sum(weight.numel() for weight in sharded)
        assert len(sharded) == len(list(model.parameters()))
        assert sum(weight.to_local().numel() for weight in sharded) < 0.6 * whole
    elif strategy.startswith("zero"):
        assert model.zero_optimization_stage() == int(strategy[-1])
        parts = [hasattr(weight, "ds_tensor") for weight in model.parameters()]
        assert all(parts) if strategy == "zero3" else not any(parts)


def main(job: str, strategy: str, folder: str, options: str) -> None:
    """What each process does."""
    import torch

    torch.set_num_threads(1)
    if strategy in SHARDED:
        pretend()
    module, function = job.split(":")
    getattr(importlib.import_module(module), function)(Path(folder), strategy, **json.loads(options))
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
