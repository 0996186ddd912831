"""Phase 4: LoRA with a mixture of universal-specific experts on the three pediatric tasks (paper, section on MCE)."""

from __future__ import annotations

from typing import Any

from pediatricsgpt.experts import ExpertsConfig, get_peft_model
from pediatricsgpt.models.load import load
from pediatricsgpt.training.data import dialogue_set
from pediatricsgpt.training.phase import Job, supervised
from pediatricsgpt.training.settings import ExpertsSettings


def train(job: Job, settings: ExpertsSettings) -> dict[str, Any]:
    """Train the experts and their routers on frozen weights; the result is an adapter folder.

    Returns:
        counts for the manifest, with the share of parameters that were trained.
    """
    loaded = load(job.model, dtype="float32", trainable=True)
    prepared = dialogue_set(job.data, loaded.tokenizer, settings.max_length)
    config = ExpertsConfig(
        task_type="CAUSAL_LM",
        r=settings.r,
        lora_alpha=settings.lora_alpha,
        num_experts=settings.num_experts,
        target_modules=settings.target_modules,
        dropout=settings.dropout,
        noise=settings.noise,
    )
    # The initial weights of the experts are drawn here; the trainer seeds only what comes after.
    import transformers

    transformers.set_seed(job.seed)
    model = get_peft_model(loaded.model, config)
    packing = "bfd" if settings.packing else None
    return supervised(job, settings, loaded, prepared, packing=packing, model=model)
