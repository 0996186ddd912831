"""What the four phases share: arguments, resuming, saving, the log."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from transformers import PrinterCallback, TrainerCallback
from trl import SFTConfig

from pediatricsgpt.manifest import SCRATCH
from pediatricsgpt.models.load import Loaded
from pediatricsgpt.training import sharding
from pediatricsgpt.training.arguments import arguments
from pediatricsgpt.training.batches import Packing
from pediatricsgpt.training.checkpoints import Checkpoints, check_processes, last_checkpoint, sibling, state_of
from pediatricsgpt.training.curves import check, draw
from pediatricsgpt.training.data import Prepared
from pediatricsgpt.training.gate import ForgettingGate, Standing, counts_of, say_on
from pediatricsgpt.training.held_out import Held, Objective, held_sets
from pediatricsgpt.training.meter import Meter
from pediatricsgpt.training.metrics import Metrics
from pediatricsgpt.training.progress import ProgressBar
from pediatricsgpt.training.same_model import check_checkpoint
from pediatricsgpt.training.settings import DfpoSettings, PhaseSettings
from pediatricsgpt.training.token_loss import add_token_loss
from pediatricsgpt.training.trainer import PackedTrainer
from pediatricsgpt.training.watch import OFFENDING, Watch, out_of_memory


@dataclass(slots=True)
class Job:
    """One phase to train: the model that comes in, the data, and the folder that the result goes to."""

    name: str
    model: Path
    data: Path
    folder: Path
    seed: int
    console: Console
    watched: Mapping[str, Path] = field(default_factory=dict)
    """Held-out rows of the data contract, by name: `own` are those of this phase, all others must not be forgotten"""

    @property
    def checkpoints(self) -> Path:
        """Where the trainer keeps its checkpoints; whoever calls removes them once the result is safe."""
        return self.folder / SCRATCH


def supervised(
    job: Job, settings: PhaseSettings, loaded: Loaded, prepared: Prepared, *, packing: Packing | None, model: Any = None
) -> dict[str, Any]:
    """Train on token ids and labels, without padding; documents in one sequence do not see each other.

    Args:
        packing: `bfd` (whole rows), `bfd_split` (long rows are split), or None for one row a sequence.
        model: what to train, if not the loaded model itself (an adapter around it).
    """
    trainer = PackedTrainer(
        loaded.model if model is None else model,
        arguments(SFTConfig, job.checkpoints, job.seed, settings),
        prepared.dataset,
        max_length=settings.max_length,
        packing=packing,
        parts=prepared.parts,
        processing_class=loaded.tokenizer,
    )
    return run(trainer, job, loaded, prepared, settings)


def run(trainer: Any, job: Job, loaded: Loaded, prepared: Prepared, settings: PhaseSettings) -> dict[str, Any]:
    """Train to the end, from the last whole checkpoint if there is one; save the model, the log and its curves.

    Args:
        trainer: any trainer of transformers, its arguments made by `arguments`.
        job: what is trained, and where.
        loaded: the model that came in.
        prepared: the training set.
        settings: of the phase.

    Returns:
        counts for the manifest: rows, tokens, steps, the share of parameters that were trained, held-out losses.

    Raises:
        TrainingFailed: the training cannot succeed; its last checkpoint stays.
    """
    check()
    sharding.check(trainer)
    trainer.remove_callback(PrinterCallback)  # it prints every log as a dictionary
    sets = held_sets(job.watched, job.data, loaded.tokenizer, rows=settings.gate.rows, max_length=settings.max_length)
    with trainer.args.main_process_first(local=False):  # one process removes what is torn
        checkpoint = last_checkpoint(job.checkpoints)
    if checkpoint is not None:
        check_processes(checkpoint, trainer.args.world_size)
        check_checkpoint(checkpoint, trainer.model)
    if checkpoint is not None and _Ending.of(checkpoint).finished:
        ending = _Ending.of(checkpoint)
        _load(trainer, sibling(checkpoint, ending.standing.kept_step or ending.steps))
    else:
        ending = _train(trainer, job, settings, loaded, sets, checkpoint)
    trainer.save_model(str(job.folder))
    trainer.accelerator.wait_for_everyone()
    if trainer.is_world_process_zero():
        # It holds absolute paths and a pickle; the recipe and the manifest say the same in the open.
        (job.folder / "training_args.bin").unlink(missing_ok=True)
        for offending in job.folder.glob(f"*{OFFENDING}"):  # of a try before this one
            offending.unlink()
        loaded.tokenizer.save_pretrained(str(job.folder))
        draw(job.folder, job.name)
    return {**prepared.counts, **ending.counts(sets), **_parameters(trainer.model)}


@dataclass(slots=True)
class _Ending:
    """Where a training came to its end, or what a checkpoint knows of it."""

    steps: int
    last_step: int
    tokens: int
    standing: Standing

    @classmethod
    def of(cls, checkpoint: Path) -> _Ending:
        state = state_of(checkpoint)
        held = {name: kept["attributes"] for name, kept in state["stateful_callbacks"].items()}
        standing = Standing(**held[ForgettingGate.__name__]) if ForgettingGate.__name__ in held else Standing()
        return cls(state["global_step"], state["max_steps"], held[Meter.__name__]["tokens"], standing)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to train: the trainer itself would do one step more."""
        return self.steps >= self.last_step or bool(self.standing.stopped)

    def counts(self, sets: Mapping[str, Held]) -> dict[str, Any]:
        return {"steps": self.steps, "trained_tokens": self.tokens, **counts_of(self.standing, sets)}


def _train(
    trainer: Any, job: Job, settings: PhaseSettings, loaded: Loaded, sets: Mapping[str, Held], checkpoint: Path | None
) -> _Ending:
    meter = Meter()
    metrics = Metrics(job.folder, meter, settings.tensorboard)
    bar = ProgressBar(job.name, job.console, meter)
    own = settings.files(Path())  # resolved, so absolute
    watch = Watch(job.data, job.folder, job.checkpoints, loaded.tokenizer, settings.divergence_factor, meter, own)
    gate = _gate(trainer, job, settings, sets, metrics, meter) if sets else None
    # In this order: what counts, what writes, what judges (its reason is in the log by then), what sees to checkpoints.
    for callback in (meter, metrics, bar, watch, gate, Checkpoints(meter)):
        if callback is not None:
            trainer.add_callback(callback)
    try:
        reference = settings.reference if isinstance(settings, DfpoSettings) else None
        with out_of_memory(settings.max_length, trainer.args, reference):
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except Exception:
        if trainer.args.world_size == 1:
            last_checkpoint(job.checkpoints)  # what a full disk left half-written takes its room
        raise
    finally:  # an interrupted bar would leave the terminal without its cursor
        for closing in (bar, metrics, meter):
            closing.close()
    return _Ending(
        trainer.state.global_step, trainer.state.max_steps, meter.tokens, gate.standing if gate else Standing()
    )


def _gate(
    trainer: Any, job: Job, settings: PhaseSettings, sets: Mapping[str, Held], metrics: Metrics, meter: Meter
) -> ForgettingGate:
    add_token_loss(trainer.model)  # before the trainer wraps it
    objective = Objective(settings.beta, settings.mu) if isinstance(settings, DfpoSettings) else Objective()
    return ForgettingGate(sets, settings.gate, metrics, meter, say_on(job.console, job.name), objective)


class _Loaded(Exception):
    """The weights of a checkpoint are in the model."""


class _LoadOnly(TrainerCallback):  # type: ignore[misc]
    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        raise _Loaded


def _load(trainer: Any, checkpoint: Path) -> None:
    """Let the trainer load a checkpoint in the way that fits how the model is sharded, and do nothing else."""
    trainer.add_callback(_LoadOnly())
    with contextlib.suppress(_Loaded):
        trainer.train(resume_from_checkpoint=str(checkpoint))


def _entries(weight: Any) -> int:
    """Of a weight as it is meant: in ZeRO-3 one that is shared out has none of its own, in four bits two are one."""
    packed = getattr(weight, "quant_state", None)
    return int(packed.shape.numel() if packed is not None else getattr(weight, "ds_numel", weight.numel()))


def _parameters(model: Any) -> dict[str, Any]:
    weights = list(model.parameters())
    sizes = [(_entries(weight), weight.requires_grad) for weight in weights]
    total = sum(size for size, _ in sizes)
    trained = sum(size for size, trains in sizes if trains)
    share = round(100 * trained / total, 3)
    return {"parameters": total, "trained_parameters": trained, "trained_share_percent": share}
