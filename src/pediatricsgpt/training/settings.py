"""Settings of the four training phases.

What TRL's own training arguments say (learning rate, epochs, batch size, schedule, precision, saving) is passed
through `trainer:` under TRL's names; their names and types are checked against `trainer_arguments.json`, which a test
regenerates from the installed TRL, so that checking a recipe does not import torch.
"""

from __future__ import annotations

import difflib
import json
from functools import cache
from importlib import resources
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from pediatricsgpt.settings import Settings

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
    "report_to": "loss curves are in the run's report",
    "disable_tqdm": "progress is shown by pedgpt",
    "remove_unused_columns": "the sets hold what is used and nothing else",
    "save_only_model": "a killed run could not go on",
    "eval_strategy": "every model is measured in the evaluation",
    "do_eval": "every model is measured in the evaluation",
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
        ("precompute_ref_log_probs", "precompute_ref_batch_size", "sync_ref_model", "ref_model_mixup_alpha"),
        "the reference is the frozen SFT model",
    ),
    **dict.fromkeys(
        ("assistant_only_loss", "completion_only_loss", "dataset_text_field", "chat_template_path", "eos_token"),
        "rows come as tokens with their labels; set model.chat_template for another template",
    ),
}
_AT_LEAST_ONE = ("per_device_train_batch_size", "gradient_accumulation_steps", "logging_steps", "save_steps")

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


class PhaseSettings(Settings):
    """What every phase has."""

    trainer_kind: ClassVar[str] = "sft"

    max_length: int = Field(default=1024, ge=16)
    """Longest sequence in tokens. Dialogues that are longer are left out and counted, never cut"""
    trainer: dict[str, Any] = Field(default_factory=dict)
    """TRL's training arguments by their own names, for example learning_rate, num_train_epochs, max_steps"""

    @model_validator(mode="after")
    def _trainer_arguments_exist(self) -> Self:
        known = trainer_arguments(self.trainer_kind)
        for name, value in self.trainer.items():
            if name in OWNED:
                raise ValueError(f"trainer.{name} cannot be set here: {OWNED[name]}")
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean '{near[0]}'?" if near else ""
                raise ValueError(f"trainer.{name} is no training argument of TRL{hint}")
            _check_type(name, value, known[name])
        return self

    @model_validator(mode="after")
    def _numbers_make_sense(self) -> Self:
        for name in _AT_LEAST_ONE:
            if name in self.trainer and not self.trainer[name] > 0:
                raise ValueError(f"trainer.{name} must be above 0, not {self.trainer[name]}")
        if not (self.trainer.get("max_steps", 1) > 0 and self.trainer.get("num_train_epochs", 1) > 0):
            raise ValueError(
                "trainer.max_steps and trainer.num_train_epochs must be above 0; leave out what is not meant"
            )
        return self

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        if self.trainer.get("bf16") and self.trainer.get("fp16"):
            raise ValueError("trainer.bf16 and trainer.fp16 are both true; keep one")
        if self.trainer.get("max_steps", -1) > 0 and "num_train_epochs" in self.trainer:
            raise ValueError("trainer.max_steps and trainer.num_train_epochs are both set; keep one")
        return self


def _check_type(name: str, value: Any, accepted: list[str]) -> None:
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


class CptSettings(PhaseSettings):
    """Phase 1: continued pre-training with the hybrid instruction mechanism; loss on all tokens, texts packed."""


class SftSettings(PhaseSettings):
    """Phase 2: full-parameter supervised fine-tuning; loss on every assistant turn."""

    packing: bool = True
    """Several dialogues in one sequence, without attention across their boundaries"""


class DfpoSettings(PhaseSettings):
    """Phase 3: direct following preference optimisation, full-parameter, against the frozen SFT model."""

    trainer_kind: ClassVar[str] = "dpo"

    beta: float = Field(default=0.1, gt=0)
    """Strength of the preference term (the release's default)"""
    mu: float = Field(default=1.0, ge=0)
    """Weight of the likelihood of the preferred answer; 0 is plain DPO"""


class ExpertsSettings(PhaseSettings):
    """Phase 4: LoRA with a mixture of universal-specific experts on the three pediatric tasks."""

    packing: bool = True
    """Several dialogues in one sequence, without attention across their boundaries"""
    r: int = Field(default=8, ge=1)
    """Rank of each expert"""
    lora_alpha: float = Field(default=16, gt=0)
    """Scaling is lora_alpha / r"""
    num_experts: int = Field(default=3, ge=1)
    """Specific experts; the universal one comes on top"""
    target_modules: Literal["ffn", "attention", "all-linear"] | list[str] = "ffn"
    """Adapted linear layers: ffn, attention, all-linear, or a list of module names"""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the experts' input"""
    noise: bool = True
    """Noise on the router while training"""
