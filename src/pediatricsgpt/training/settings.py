"""Settings of the four training phases.

What TRL's own training arguments say (learning rate, epochs, batch size, schedule, precision, saving) is passed
through `trainer:` under TRL's names; `trainer_arguments` checks it.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from pediatricsgpt.settings import Settings
from pediatricsgpt.training.trainer_arguments import OWNED, check_type, trainer_arguments

CORPUS = "corpus"
"""What mixtures and counts call the set that the corpus built"""
_AT_LEAST_ONE = ("per_device_train_batch_size", "gradient_accumulation_steps", "logging_steps", "save_steps")


class GateSettings(Settings):
    """The forgetting gate and early stopping: held-out losses that are measured while a phase trains."""

    every_steps: int = Field(default=100, ge=1)
    """Measured before the first step, every so many steps (but at least four times in a phase), and after the last
    one"""
    rows: int = Field(default=64, ge=1)
    """Rows measured of each held-out set at the most; always the same ones"""
    max_rise: float | None = Field(default=0.1, ge=0)
    """How far the held-out loss of general rows and of earlier phases may rise above that of the model that came in, in
    nats a token (0.1 is 10.5 % of perplexity); more stops the phase, and the best checkpoint that obeys is kept. null
    only shows it"""
    patience: int | None = Field(default=None, ge=1)
    """Stop after so many measurements without a lower loss of the phase's own held-out rows, and keep the best; null
    trains to the last step"""


class PhaseSettings(Settings):
    """What every phase has."""

    def files(self, folder: Path) -> list[Path]:
        """Files of the user's own that the phase reads."""
        del folder
        return []

    def resolved(self, folder: Path) -> Self:
        """The same with absolute paths."""
        del folder
        return self

    trainer_kind: ClassVar[str] = "sft"

    max_length: int = Field(default=1024, ge=16)
    """Longest sequence in tokens. What becomes of longer dialogues is said by `too_long`; they are always counted"""
    gate: GateSettings = GateSettings()
    """Held-out losses on the way: what stops a phase that forgets, or that learns no more"""
    divergence_factor: float | None = Field(default=5.0, gt=1)
    """Stop when three logged losses in a row are more than this many times their running median, and more than 0.5 nats
    above it or above the first loss; null never does"""
    tensorboard: bool = False
    """Write event files for TensorBoard into the phase's folder"""
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
            # transformers documents fsdp: true, and annotates only the older text
            check_type(name, value, [*known[name], *(["bool"] if name == "fsdp" else [])])
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


class SetSettings(Settings):
    """A set of the user's own beside the corpus's: Parquet, or JSON lines, of the data contract."""

    path: Path
    """A .parquet or .jsonl file, relative to the recipe. Only its column `messages` (of CPT `text`) must be there"""
    name: str | None = None
    """What counts and mixtures call it; null takes the file's name without its ending"""
    weight: float | None = Field(default=None, gt=0, le=1)
    """Its share of the phase's tokens; the rest to 1 has the corpus's set, together with the sets without a weight.
    Where no set has one, every row comes once a pass"""

    @property
    def title(self) -> str:
        """The name, given or from the file."""
        return self.name or self.path.stem


class MixedSettings(PhaseSettings):
    """What a phase has whose set can be a mixture."""

    data: list[SetSettings] = Field(default_factory=list)
    """Sets of your own beside the corpus's. They are taken as they are: neither de-identified nor checked against what
    is held out"""
    mixture: dict[str, float] | None = None
    """Share of each part in the phase's tokens, whatever their sum. A part is a set (`corpus`, or a name from `data`),
    a source, `general`, a task, a form (`plain`, `instruction`) or a family; a row is of the first of these that is
    named. Small parts are repeated, large ones are sampled, rows of no part are left out and counted. null: what the
    corpus built"""

    @model_validator(mode="after")
    def _mixture_is_one(self) -> Self:
        names = [own.title for own in self.data]
        if twice := sorted({name for name in names if names.count(name) > 1 or name == CORPUS}):
            raise ValueError(f"data: a set needs a name of its own, not {', '.join(twice)}; give it with 'name'")
        if self.mixture is not None and (not self.mixture or min(self.mixture.values()) <= 0):
            raise ValueError("mixture: every part needs a share above 0; leave out what is not meant")
        weights = [own.weight for own in self.data if own.weight is not None]
        if weights and self.mixture is not None:
            raise ValueError("data has weights and there is a mixture; keep one, mixture can name the sets too")
        if sum(weights) > 1 + 1e-9:
            raise ValueError(f"the weights in data add up to {sum(weights):g}, and they are shares of one whole")
        return self

    def files(self, folder: Path) -> list[Path]:
        """The files of the phase's own sets, relative ones from the recipe's folder on."""
        return [(folder / own.path.expanduser()).resolve() for own in self.data]

    def resolved(self, folder: Path) -> Self:
        """The same with absolute paths."""
        own = [one.model_copy(update={"path": path}) for one, path in zip(self.data, self.files(folder), strict=True)]
        return self.model_copy(update={"data": own})


class CptSettings(MixedSettings):
    """Phase 1: continued pre-training with the hybrid instruction mechanism; loss on all tokens, texts packed."""

    tokens: int | None = Field(default=None, ge=1)
    """Train on exactly so many tokens: rows in random order, again where they are too few, the last text cut. null goes
    by trainer.num_train_epochs or trainer.max_steps, a pass having as many tokens as the set"""

    @model_validator(mode="after")
    def _budget_is_one(self) -> Self:
        for name in ("max_steps", "num_train_epochs"):
            if self.tokens is not None and name in self.trainer:
                raise ValueError(f"tokens and trainer.{name} both say how long to train; keep one")
        return self

    @property
    def one_pass(self) -> Self:
        """The same with the training arguments of a token budget, which is one pass over what was drawn."""
        if self.tokens is None:
            return self
        return self.model_copy(update={"trainer": {**self.trainer, "num_train_epochs": 1}})


class DialogueSettings(MixedSettings):
    """What the phases have that train on dialogues."""

    packing: bool = True
    """Several dialogues in one sequence, without attention across their boundaries"""
    too_long: Literal["drop", "cut", "error"] = "drop"
    """Dialogues longer than max_length: drop leaves them out, cut keeps the beginning up to the last whole answer that
    fits, error stops; all are counted"""


class SftSettings(DialogueSettings):
    """Phase 2: full-parameter supervised fine-tuning; loss on every assistant turn."""


class PreferenceAdapter(Settings):
    """The adapter that preference training trains where it does not train the whole model."""

    kind: Literal["lora", "experts"] = "lora"
    """LoRA, which is merged when the phase is done, or universal-specific experts, which cannot be merged: the result
    is an adapter folder then, and a run with phase 4 is refused, which cannot go on from it"""
    r: int = Field(default=16, ge=1)
    """Rank, of each expert where there are experts"""
    lora_alpha: float = Field(default=32, gt=0)
    """Scaling is lora_alpha / r"""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the adapter's input"""
    target_modules: Literal["ffn", "attention", "all-linear"] | list[str] = "all-linear"
    """Adapted linear layers: ffn, attention, all-linear, or a list of module names"""
    num_experts: int = Field(default=3, ge=1)
    """Specific experts, of kind experts; the universal one comes on top"""


class DfpoSettings(PhaseSettings):
    """Phase 3: direct following preference optimisation against the frozen SFT model; full-parameter or an adapter."""

    trainer_kind: ClassVar[str] = "dpo"

    beta: float = Field(default=0.1, gt=0)
    """Strength of the preference term (the release's default)"""
    mu: float = Field(default=1.0, ge=0)
    """Weight of the likelihood of the preferred answer; 0 is plain DPO"""
    reference: Literal["live", "precomputed", "adapter"] = "live"
    """What the policy is compared with, always the model that came in: a frozen copy beside it (live), its values
    computed once before training (precomputed: no second model in memory, faster from the first epoch on), or the
    model with its adapter off (adapter: only the adapter is trained)"""
    adapter: PreferenceAdapter = PreferenceAdapter()
    """What is trained with reference: adapter"""
    share_prompt: bool = True
    """Put the prompt through the model once for both answers, where the model can"""
    too_long: Literal["drop", "error"] = "drop"
    """Pairs longer than max_length with either answer: drop leaves them out and counts them, error stops"""
    chosen_fall: float | None = Field(default=0.1, gt=0)
    """Warn when the preferred answers lose more than this against their start, in nats a token; null never does"""
    style_auc: float | None = Field(default=0.75, ge=0.5, le=1)
    """Warn when style alone tells the sides apart with a larger area under the curve (0.5 is not at all, 1 wholly);
    null never does"""

    @model_validator(mode="after")
    def _adapter_is_used(self) -> Self:
        if self.adapter != PreferenceAdapter() and self.reference != "adapter":
            raise ValueError("adapter has no effect without reference: adapter; set that, or leave adapter out")
        return self


class ExpertsSettings(DialogueSettings):
    """Phase 4: LoRA with a mixture of universal-specific experts on the three pediatric tasks."""

    task_sampling: Literal["as_built", "balanced", "temperature"] = "as_built"
    """Tokens of each pediatric task in a pass: as the corpus built them (equal numbers of rows), equal numbers of
    tokens, or in proportion to the task's tokens to the power of 1 / temperature"""
    temperature: float = Field(default=2.0, ge=1)
    """Of task_sampling temperature: 1 leaves the tasks as large as they are, more makes them more equal"""
    max_repeats: int = Field(default=4, ge=1)
    """How often a row may come in a pass where tasks are sampled or general rows drawn; where it is not enough, a task
    has fewer tokens"""
    general_replay: float | None = Field(default=None, ge=0, le=0.5)
    """Share of the tokens that are general rows, against forgetting; null takes those that the corpus put in"""
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
    balance_coefficient: float = Field(default=0.0, ge=0)
    """Weight of a loss that makes the experts share the tokens evenly; the method has none"""
    use_rslora: bool = False
    """Scaling is lora_alpha / sqrt(r) instead"""
    base_dtype: Literal["float32", "bfloat16", "int8", "nf4"] = "float32"
    """How the frozen base is held while its experts train. A quarter (int8) or an eighth (nf4, QLoRA's four bits) of
    the memory of float32 need the extra 'quantised'; experts, routers and the saved adapter are float32 all the same"""

    @model_validator(mode="after")
    def _sampling_is_one(self) -> Self:
        sampled = self.task_sampling != "as_built" or self.general_replay is not None
        if sampled and (self.mixture is not None or any(own.weight is not None for own in self.data)):
            raise ValueError("task_sampling or general_replay, and a mixture or weights in data: keep one of the two")
        return self
