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

import warnings
from collections.abc import Callable
from typing import Any

from trl import DPOConfig

from pediatricsgpt.models.load import Loaded, identity, load
from pediatricsgpt.processes import rank, settle
from pediatricsgpt.training.arguments import arguments
from pediatricsgpt.training.data import tell
from pediatricsgpt.training.gate import say_on
from pediatricsgpt.training.phase import Job, run
from pediatricsgpt.training.preference.data import preference_set
from pediatricsgpt.training.preference.progress import progress_of_reference
from pediatricsgpt.training.preference.reference import Cache, key_of
from pediatricsgpt.training.preference.shortcuts import look
from pediatricsgpt.training.preference.trainer import DfpoTrainer, room_for_a_copy
from pediatricsgpt.training.settings import DfpoSettings, PreferenceAdapter
from pediatricsgpt.training.watch import ADAPTER_INSTEAD, no_memory_for


def train(job: Job, settings: DfpoSettings) -> dict[str, Any]:
    """Train on preference pairs against the frozen model that came in.

    The result is a model folder; with an adapter of experts, which cannot be merged, an adapter folder.

    Returns:
        counts for the manifest.
    """
    loaded = load(job.model, dtype="float32", trainable=True)
    prepared = preference_set(job.data, loaded.tokenizer, settings.max_length, settings.too_long)
    tell(job.console, job.name, prepared)
    # One process writes: two would move away each other's half-written file.
    shortcuts = {} if rank() else look(job.data, job.folder, settings.style_auc, say_on(job.console, job.name))
    trainer = trainer_of(job, settings, loaded, prepared.dataset)
    if settings.reference == "precomputed":
        _precompute(trainer, job, settings, key_of(identity(loaded), prepared.dataset, _precision(trainer.args)))
    counts = run(trainer, job, loaded, prepared, settings)
    if trainer.is_world_process_zero():
        _finish(job, settings)
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
    say = say_on(job.console, job.name)
    adapts = settings.reference == "adapter"
    return DfpoTrainer(
        with_adapter(loaded.model, settings.adapter, job.seed, say) if adapts else loaded.model,
        arguments(DPOConfig, job.checkpoints, job.seed, settings, beta=settings.beta),
        pairs,
        beta=settings.beta,
        mu=settings.mu,
        max_length=settings.max_length,
        reference=_frozen_copy(job) if settings.reference == "live" else None,
        share_prompt=settings.share_prompt,
        chosen_fall=settings.chosen_fall,
        say=say,
        processing_class=loaded.tokenizer,
    )


def with_adapter(model: Any, settings: PreferenceAdapter, seed: int, say: Callable[[str], None] = warnings.warn) -> Any:
    """The model with the adapter that is trained in its stead.

    Args:
        model: a causal LM of transformers; changed in place.
        settings: of the adapter.
        seed: decides its initial weights.
        say: tells a person what there is to say of its layers.

    Raises:
        UserError: `target_modules` means no layer of this model; the nearest names are shown.
    """
    import transformers
    from peft import LoraConfig

    from pediatricsgpt.experts import ExpertsConfig
    from pediatricsgpt.training.adapter import adapted

    transformers.set_seed(seed)  # the trainer seeds only what comes after the adapter's initial weights
    shared: dict[str, Any] = {
        "task_type": "CAUSAL_LM",
        "r": settings.r,
        "lora_alpha": settings.lora_alpha,
        "target_modules": settings.target_modules,
    }
    config: Any = (
        ExpertsConfig(num_experts=settings.num_experts, dropout=settings.dropout, **shared)
        if settings.kind == "experts"
        else LoraConfig(lora_dropout=settings.dropout, **shared)
    )
    return adapted(model, config, "dfpo.adapter.target_modules", say)


def _frozen_copy(job: Job) -> Any:
    with room_for_a_copy():
        return load(job.model, dtype="float32").model


def _precompute(trainer: DfpoTrainer, job: Job, settings: DfpoSettings, key: str) -> None:
    what = f"computing the reference, {2 * settings.max_length:,} tokens at once (dfpo.reference: precomputed),"
    with (
        no_memory_for(what, [ADAPTER_INSTEAD, f"max_length: {settings.max_length // 2}"]),
        progress_of_reference(job.console, job.name) as show,
    ):
        trainer.precompute(job.folder, key, show)


def _precision(args: Any) -> str:
    return "bf16" if args.bf16 else "fp16" if args.fp16 else "fp32"


def _finish(job: Job, settings: DfpoSettings) -> None:
    """Remove what only the training needed; merge a LoRA, so that the next phase goes on from a plain model."""
    for path in Cache.files(job.folder):
        path.unlink()
    if settings.reference == "adapter" and settings.adapter.kind == "lora":
        _merge(job)


def _merge(job: Job) -> None:
    """From the files, on the CPU: of a model that is shared out (ZeRO-3, FSDP2) no process has the weights."""
    from peft import PeftModel

    settle()  # else transformers would share out what this process alone loads
    plain = load(job.model, dtype="float32").model
    merged = PeftModel.from_pretrained(plain, str(job.folder), torch_device="cpu").merge_and_unload()
    merged.save_pretrained(str(job.folder))
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        (job.folder / name).unlink()
