"""Whether the strategy that a recipe asks for is at work, and leaves a model behind."""

from __future__ import annotations

from typing import Any

from pediatricsgpt.errors import UserError


def check(trainer: Any) -> None:
    """Look at a trainer before it trains.

    accelerate falls back to plain data parallelism without a word where it cannot shard, and saves no model at all with
    some settings.

    Args:
        trainer: any trainer of transformers.

    Raises:
        UserError: `trainer.fsdp` or `trainer.deepspeed` would have no effect, or no model would be saved.
    """
    args, accelerator = trainer.args, trainer.accelerator
    at_work = accelerator.distributed_type.name
    for name, kind in (("fsdp", "FSDP"), ("deepspeed", "DEEPSPEED")):
        if getattr(args, name, None) and at_work != kind:
            raise UserError(
                f"trainer.{name} is set, but {at_work} would be at work: it needs GPUs and a launcher, "
                "as in torchrun --nproc-per-node 2 -m pediatricsgpt.cli train PHASE RECIPE"
            )
    if at_work == "FSDP" and "FULL_STATE_DICT" not in str(accelerator.state.fsdp_plugin.state_dict_type):
        raise UserError("no model would be saved: set trainer.fsdp_config.state_dict_type to FULL_STATE_DICT")
    if at_work == "DEEPSPEED":
        gathers = "stage3_gather_16bit_weights_on_model_save"
        zero = accelerator.state.deepspeed_plugin.deepspeed_config.get("zero_optimization", {})
        if zero.get("stage") == 3 and not zero.get(gathers):
            raise UserError(f"no model would be saved: set zero_optimization.{gathers} to true", args.deepspeed)
