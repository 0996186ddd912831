"""Whether the strategy that a recipe asks for is at work, leaves a model behind, and keeps routers exact."""

from __future__ import annotations

from typing import Any

from pediatricsgpt.errors import UserError
from pediatricsgpt.experts import ExpertsLinear


def check(trainer: Any) -> None:
    """Look at a trainer before it trains.

    accelerate falls back to plain data parallelism without a word where it cannot shard, and saves no model at all with
    some settings.

    Args:
        trainer: any trainer of transformers.

    Raises:
        UserError: `trainer.fsdp` or `trainer.deepspeed` would have no effect, no model would be saved, or the
            experts' routers would be rounded to half precision.
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
    if any(isinstance(module, ExpertsLinear) for module in trainer.model.modules()):
        _check_precision_of_routers(args, accelerator)


def _check_precision_of_routers(args: Any, accelerator: Any) -> None:
    """Autocast leaves weights as they are; FSDP's and DeepSpeed's own half precision casts every one of them.

    accelerate gives FSDP2 one policy for all weights, and no autocast; the layer sees its router in that policy's type.
    """
    precision = accelerator.mixed_precision
    if accelerator.distributed_type.name == "FSDP" and precision != "no":
        raise UserError(
            f"FSDP's {precision} rounds the experts' routers, which must stay float32: set trainer.{precision} to "
            "false, or use trainer.deepspeed with torch_autocast (docs/training.md)"
        )
    if accelerator.distributed_type.name == "DEEPSPEED":
        config = accelerator.state.deepspeed_plugin.deepspeed_config
        for half, dtype in (("bf16", "bfloat16"), ("fp16", "float16")):
            if config.get(half, {}).get("enabled") is True:
                raise UserError(
                    f"DeepSpeed's {half} rounds the experts' routers, which must stay float32: set trainer.{half} to "
                    f'false and "torch_autocast": {{"enabled": true, "dtype": "{dtype}"}} in this file',
                    args.deepspeed,
                )
