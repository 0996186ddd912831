"""Training arguments of a phase: ours, and the recipe's on top."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from pediatricsgpt.training.settings import PhaseSettings


def arguments(
    config: Any, folder: Path, seed: int, settings: PhaseSettings, *, gpu: bool | None = None, **own: Any
) -> Any:
    """Training arguments: ours, then the recipe's, which win.

    Precision defaults to bfloat16 on a GPU that has it and to float32 elsewhere; TRL's own default is bfloat16
    everywhere.

    Args:
        config: TRL's `SFTConfig` or `DPOConfig`, or transformers' `TrainingArguments`.
        folder: for checkpoints.
        seed: of everything random.
        settings: of the phase.
        gpu: the defaults of a GPU that has bfloat16, or of none; None looks at the machine.
        own: what else the phase fixes.
    """
    there = torch.cuda.is_available()
    half = torch.cuda.is_bf16_supported() if there else bool(gpu)
    gpu = there if gpu is None else gpu
    defaults = {
        "bf16": gpu and half and not settings.trainer.get("fp16", False),
        "logging_steps": 5,
        "use_cpu": not there,
        "ddp_find_unused_parameters": False,  # every trained weight has a gradient in every step
    }
    if "gradient_checkpointing" not in settings.trainer:  # the older name of the same argument
        defaults["activation_checkpointing"] = gpu
    fixed = {
        "output_dir": str(folder),
        "seed": seed,
        "data_seed": seed,
        "max_length": settings.max_length,
        "report_to": [],
        "save_total_limit": None,  # `Checkpoints` keeps the newest and the best
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "remove_unused_columns": False,
    }
    return config(**{**defaults, **settings.trainer, **own, **fixed})
