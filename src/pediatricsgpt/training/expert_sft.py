"""Phase 4: LoRA with a mixture of universal-specific experts on the three pediatric tasks (paper, section on MCE)."""

from __future__ import annotations

from typing import Any

from pediatricsgpt.errors import UserError
from pediatricsgpt.experts import ExpertsConfig
from pediatricsgpt.models.load import load
from pediatricsgpt.training.adapter import adapted
from pediatricsgpt.training.data import dialogue_set, tell
from pediatricsgpt.training.gate import say_on
from pediatricsgpt.training.phase import Job, supervised
from pediatricsgpt.training.settings import ExpertsSettings


def train(job: Job, settings: ExpertsSettings) -> dict[str, Any]:
    """Train the experts and their routers on frozen weights; the result is an adapter folder.

    Returns:
        counts for the manifest, with the share of parameters that were trained.
    """
    if (job.model / "adapter_config.json").is_file():
        raise UserError("phase 4 puts its experts on a whole model, and this is an adapter (dfpo.adapter)", job.model)
    loaded = load(job.model, dtype=settings.base_dtype, trainable=True)
    prepared = dialogue_set(job.data, loaded.tokenizer, settings, job.seed, job=job)
    tell(job.console, job.name, prepared)
    # The initial weights of the experts are drawn here; the trainer seeds only what comes after.
    import transformers

    transformers.set_seed(job.seed)
    say = say_on(job.console, job.name)
    model = adapted(loaded.model, experts_config(settings), "experts.target_modules", say)
    return supervised(job, settings, loaded, prepared, packing="bfd" if settings.packing else None, model=model)


def experts_config(settings: ExpertsSettings) -> ExpertsConfig:
    """The experts that a phase asks for."""
    return ExpertsConfig(
        task_type="CAUSAL_LM",
        r=settings.r,
        lora_alpha=settings.lora_alpha,
        num_experts=settings.num_experts,
        target_modules=settings.target_modules,
        dropout=settings.dropout,
        noise=settings.noise,
        balance_coefficient=settings.balance_coefficient,
        use_rslora=settings.use_rslora,
    )
