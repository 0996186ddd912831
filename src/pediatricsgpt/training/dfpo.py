"""Phase 3: direct following preference optimisation (paper, section on DFPO).

With policy pi, frozen reference ref, preferred answer w and low answer l to a prompt x, per pair:

    -log sigmoid( beta * [ log pi(w|x)/ref(w|x) - log pi(l|x)/ref(l|x) ] ) + mu * NLL(w|x) / |w|

The preference term uses summed log-probabilities, the regulariser the mean over the preferred answer's tokens; a
batch's loss is the mean over its pairs. TRL's own `sft` loss term averages over all tokens of the batch instead, so
long answers would weigh more and accumulated batches would differ from full ones.

Beside the rows of the data contract: `shortcuts.json` (what tells the sides apart without reading them) and, while it
trains, the reference's values where they are precomputed.
"""

from __future__ import annotations

from typing import Any

from trl import DPOConfig

from pediatricsgpt.models.load import Loaded, identity, load
from pediatricsgpt.training.arguments import arguments
from pediatricsgpt.training.data import tell
from pediatricsgpt.training.gate import say_on
from pediatricsgpt.training.phase import Job, run
from pediatricsgpt.training.preference.data import preference_set
from pediatricsgpt.training.preference.reference import Cache, key_of
from pediatricsgpt.training.preference.shortcuts import look
from pediatricsgpt.training.preference.trainer import DfpoTrainer
from pediatricsgpt.training.settings import DfpoSettings, PreferenceAdapter


def train(job: Job, settings: DfpoSettings) -> dict[str, Any]:
    """Train on preference pairs against the frozen model that came in.

    The result is a model folder; with an adapter of experts, which cannot be merged, an adapter folder.

    Returns:
        counts for the manifest.
    """
    loaded = load(job.model, dtype="float32", trainable=True)
    prepared = preference_set(job.data, loaded.tokenizer, settings.max_length, settings.too_long)
    say = say_on(job.console, job.name)
    tell(job.console, job.name, prepared)
    shortcuts = look(job.data, job.folder, settings.style_auc, say)
    trainer = trainer_of(job, settings, loaded, prepared.dataset)
    if settings.reference == "precomputed":
        precision = "bf16" if trainer.args.bf16 else "fp16" if trainer.args.fp16 else "fp32"
        trainer.precompute(job.folder, key_of(identity(loaded), prepared.dataset, precision))
    counts = run(trainer, job, loaded, prepared, settings)
    if trainer.is_world_process_zero():
        _finish(trainer, job, settings)
    probe = {"style_auc": auc} if (auc := shortcuts.get("probe", {}).get("auc")) is not None else {}
    return {**counts, "reference": settings.reference, "chosen_falls": trainer.chosen_falls, **probe}


def trainer_of(job: Job, settings: DfpoSettings, loaded: Loaded, pairs: Any) -> DfpoTrainer:
    """The trainer of a phase, before a reference is precomputed.

    Args:
        job: what is trained, and where.
        settings: of the phase.
        loaded: the model that came in, trainable.
        pairs: from `preference_set`.
    """
    adapted = settings.reference == "adapter"
    return DfpoTrainer(
        with_adapter(loaded.model, settings.adapter, job.seed) if adapted else loaded.model,
        arguments(DPOConfig, job.checkpoints, job.seed, settings, beta=settings.beta),
        pairs,
        beta=settings.beta,
        mu=settings.mu,
        max_length=settings.max_length,
        reference=load(job.model, dtype="float32").model if settings.reference == "live" else None,
        share_prompt=settings.share_prompt,
        chosen_fall=settings.chosen_fall,
        say=say_on(job.console, job.name),
        processing_class=loaded.tokenizer,
    )


def with_adapter(model: Any, settings: PreferenceAdapter, seed: int) -> Any:
    """The model with the adapter that is trained in its stead."""
    import transformers
    from peft import LoraConfig, get_peft_model

    from pediatricsgpt.experts import ExpertsConfig
    from pediatricsgpt.experts.config import TARGET_WORDS

    transformers.set_seed(seed)  # the trainer seeds only what comes after the adapter's initial weights
    targets = settings.target_modules
    if settings.kind == "experts":
        config: Any = ExpertsConfig(
            task_type="CAUSAL_LM",
            r=settings.r,
            lora_alpha=settings.lora_alpha,
            num_experts=settings.num_experts,
            dropout=settings.dropout,
            target_modules=targets,
        )
    else:
        config = LoraConfig(
            task_type="CAUSAL_LM",
            r=settings.r,
            lora_alpha=settings.lora_alpha,
            lora_dropout=settings.dropout,
            target_modules=list(TARGET_WORDS[targets])
            if isinstance(targets, str) and targets in TARGET_WORDS
            else targets,
        )
    return get_peft_model(model, config)


def _finish(trainer: DfpoTrainer, job: Job, settings: DfpoSettings) -> None:
    """Remove what only the training needed; merge a LoRA, so that the next phase goes on from a plain model."""
    for path in Cache.files(job.folder):
        path.unlink()
    if settings.reference == "adapter" and settings.adapter.kind == "lora":
        merged = trainer.accelerator.unwrap_model(trainer.model).merge_and_unload()
        merged.save_pretrained(str(job.folder))
        for name in ("adapter_model.safetensors", "adapter_config.json"):
            (job.folder / name).unlink(missing_ok=True)
