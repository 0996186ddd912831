"""Settings of the phases: TRL's own arguments pass through a mapping that is checked without importing TRL."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from pediatricsgpt.training.trainer_arguments import OWNED, trainer_arguments


def test_the_table_of_trainer_arguments_is_that_of_the_installed_trl(repository: Path) -> None:
    generated = runpy.run_path(str(repository / "tools/trainer_arguments.py"))["text"]()
    kept = (repository / "src/pediatricsgpt/training/trainer_arguments.json").read_text(encoding="utf-8")
    assert kept == generated, "run tools/trainer_arguments.py"


# Arguments that reach transformers or accelerate, where they do what they say.
WORKING = {
    "accelerator_config", "activation_checkpointing", "activation_checkpointing_kwargs", "adam_beta1", "adam_beta2",
    "adam_epsilon", "bf16", "dataloader_in_order", "dataloader_multiprocessing_context", "dataloader_num_workers",
    "dataloader_persistent_workers", "dataloader_pin_memory", "dataloader_prefetch_factor", "ddp_backend",
    "ddp_broadcast_buffers", "ddp_bucket_cap_mb", "ddp_find_unused_parameters", "ddp_static_graph", "ddp_timeout",
    "debug", "deepspeed", "enable_jit_checkpoint", "fp16", "fsdp", "fsdp_config", "full_determinism",
    "gradient_accumulation_steps", "gradient_checkpointing", "gradient_checkpointing_kwargs", "learning_rate",
    "log_level", "log_level_replica", "log_on_each_node", "logging_first_step", "logging_steps", "logging_strategy",
    "lr_scheduler_kwargs", "lr_scheduler_type", "max_grad_norm", "max_steps", "num_train_epochs", "optim", "optim_args",
    "optim_target_modules", "parallelism_config", "per_device_train_batch_size", "run_name", "save_on_each_node",
    "save_steps", "save_strategy", "tf32", "torch_compile", "torch_compile_backend", "torch_compile_mode",
    "torch_empty_cache_steps", "use_cpu", "warmup_steps", "weight_decay",
}  # fmt: skip


@pytest.mark.parametrize("kind", ["sft", "dpo"])
def test_every_argument_either_works_or_is_refused_with_a_reason(kind: str) -> None:
    known = set(trainer_arguments(kind))
    assert known - set(OWNED) - WORKING == set(), "what does it do here? put it into OWNED or among those that work"
    assert not WORKING & set(OWNED)
    assert set(OWNED) <= set(trainer_arguments("sft")) | set(trainer_arguments("dpo"))
