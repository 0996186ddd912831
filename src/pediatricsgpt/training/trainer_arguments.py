"""TRL's training arguments: their names and types, and those that our phases decide themselves.

tools/trainer_arguments.py makes `trainer_arguments.json` from the installed TRL (a test compares), so that checking a
recipe does not import torch.
"""

from __future__ import annotations

import difflib
import json
from functools import cache
from importlib import resources
from typing import Any

# What our phases decide themselves, and the setting to use instead.
OWNED = {
    "output_dir": "the run's folder decides it",
    "seed": "set 'seed' at the top of the recipe",
    "data_seed": "set 'seed' at the top of the recipe",
    "max_length": "set 'max_length' of this phase",
    "packing": "set 'packing' of this phase",
    "packing_strategy": "each phase has the one that fits it",
    "padding_free": "packing decides it",
    "beta": "set 'beta' of this phase",
    "loss_type": "the phase's loss is fixed by the method",
    "loss_weights": "set 'mu' of this phase",
    "resume_from_checkpoint": "a killed run resumes by itself",
    "report_to": "set 'tensorboard' of this phase; curves are in the run's report anyway",
    "disable_tqdm": "progress is shown by pedgpt",
    "remove_unused_columns": "the sets hold what is used and nothing else",
    "save_only_model": "a killed run could not go on",
    "disable_dropout": "the model's own configuration says it",
    "do_train": "the command says what is done",
    "ignore_data_skip": "a killed run goes on with exactly the rows that are left",
    "restore_callback_states_from_checkpoint": "a killed run goes on as if it had not been killed",
    "local_rank": "the launcher says it",
    "model_init_kwargs": "set 'model' of the recipe",
    "trust_remote_code": "set model.trust_remote_code",
    "router_aux_loss_coef": "set balance_coefficient of the experts phase",
    "shuffle_dataset": "rows are shuffled by the seed",
    "truncation_mode": "set 'too_long' of this phase",
    "skip_memory_metrics": "memory is in the log of every phase",
    "use_cache": "training has no use for it",
    **dict.fromkeys(("pad_to_multiple_of", "pad_token"), "nothing is padded"),
    **dict.fromkeys(
        (
            "batch_eval_metrics",
            "bf16_full_eval",
            "do_eval",
            "do_predict",
            "eval_accumulation_steps",
            "eval_delay",
            "eval_do_concat_batches",
            "eval_on_start",
            "eval_packing",
            "eval_steps",
            "eval_strategy",
            "eval_use_gather_object",
            "fp16_full_eval",
            "include_for_metrics",
            "label_names",
            "per_device_eval_batch_size",
            "prediction_loss_only",
        ),
        "every model is measured in the evaluation",
    ),
    **dict.fromkeys(
        (
            "hub_always_push",
            "hub_model_id",
            "hub_private_repo",
            "hub_revision",
            "hub_strategy",
            "hub_token",
            "push_to_hub",
        ),
        "nothing is pushed from a training; export the model when it is done",
    ),
    **dict.fromkeys(
        ("project", "trackio_bucket_id", "trackio_space_id", "trackio_static_space_id"),
        "set 'tensorboard' of this phase; curves are in the run's report anyway",
    ),
    "save_total_limit": "the newest and the best checkpoint are kept",
    "logging_nan_inf_filter": "a loss that is not finite stops the phase",
    "include_num_input_tokens_seen": "tokens are counted by pedgpt",
    "label_smoothing_factor": "the loss is the paper's and has no such term",
    **dict.fromkeys(("use_liger_kernel", "liger_kernel_config"), "the loss is fused already"),
    "activation_offloading": "use gradient checkpointing",
    "neftune_noise_alpha": "its noise depends on the length of a sequence, which packing changes",
    "dataloader_drop_last": "every row is used",
    "auto_find_batch_size": "set per_device_train_batch_size or max_length",
    "train_sampling_strategy": "packs are balanced by length already",
    "average_tokens_across_devices": "the loss is a mean over all tokens",
    **dict.fromkeys(
        ("load_best_model_at_end", "metric_for_best_model", "greater_is_better"), "set 'gate' of this phase"
    ),
    **dict.fromkeys(
        (
            "label_smoothing",
            "f_divergence_type",
            "f_alpha_divergence_coef",
            "use_weighting",
            "ld_alpha",
            "discopop_tau",
        ),
        "the loss is the paper's and has no such term",
    ),
    **dict.fromkeys(
        (
            "precompute_ref_log_probs",
            "precompute_ref_batch_size",
            "sync_ref_model",
            "ref_model_mixup_alpha",
            "ref_model_sync_steps",
        ),
        "set 'reference' of this phase",
    ),
    **dict.fromkeys(
        (
            "assistant_only_loss",
            "completion_only_loss",
            "dataset_kwargs",
            "dataset_num_proc",
            "dataset_text_field",
            "length_column_name",
            "chat_template_path",
            "eos_token",
        ),
        "rows come as tokens with their labels; set model.chat_template for another template",
    ),
}

_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "str": (str,),
    "dict": (dict,),
    "list": (list,),
}


@cache
def trainer_arguments(kind: str) -> dict[str, list[str]]:
    """Names of TRL's training arguments and the types that each accepts; `kind` is `sft` or `dpo`."""
    text = resources.files("pediatricsgpt.training").joinpath("trainer_arguments.json").read_text(encoding="utf-8")
    arguments: dict[str, list[str]] = json.loads(text)[kind]
    return arguments


def check_type(name: str, value: Any, accepted: list[str]) -> None:
    """Raise ValueError where a value is of none of the accepted types."""
    if "any" in accepted or (value is None and "none" in accepted):
        return
    choices = [word.removeprefix("=") for word in accepted if word.startswith("=")]
    if choices:
        if value not in choices:
            near = difflib.get_close_matches(str(value), choices, n=1)
            raise ValueError(
                f"trainer.{name} must be one of {', '.join(choices)}, not {value!r}"
                + (f"; did you mean '{near[0]}'?" if near else "")
            )
        return
    types = tuple(kind for word in accepted for kind in _TYPES.get(word, ()))
    if isinstance(value, bool) and bool not in types:
        types = ()
    if not isinstance(value, types):
        wanted = " or ".join(word for word in accepted if word != "none")
        hint = " (write 1.0e-4, not 1e-4: YAML 1.1 reads the latter as text)" if _is_number(value) else ""
        raise ValueError(f"trainer.{name} must be {wanted}, not {value!r}{hint}")


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return isinstance(value, str)
