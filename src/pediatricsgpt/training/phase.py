"""What the four phases share: arguments, resuming, saving, the log."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from transformers import PrinterCallback
from trl import SFTConfig, SFTTrainer

from pediatricsgpt.models.load import Loaded
from pediatricsgpt.records import write_json_lines
from pediatricsgpt.training.data import Prepared
from pediatricsgpt.training.progress import ProgressBar
from pediatricsgpt.training.settings import PhaseSettings

LOG = "training.jsonl"
_CHECKPOINTS = "checkpoints"


@dataclass(slots=True)
class Job:
    """One phase to train: the model that comes in, the data, and the folder that the result goes to."""

    name: str
    model: Path
    data: Path
    folder: Path
    seed: int
    console: Console

    @property
    def checkpoints(self) -> Path:
        """Where the trainer keeps its checkpoints until the phase is done."""
        return self.folder / _CHECKPOINTS


def arguments(config: Any, job: Job, settings: PhaseSettings, **own: Any) -> Any:
    """Training arguments: ours, then the recipe's, which win.

    Precision defaults to bfloat16 on a GPU that has it and to float32 elsewhere; TRL's own default is bfloat16
    everywhere.
    """
    gpu = torch.cuda.is_available()
    defaults = {
        "bf16": gpu and torch.cuda.is_bf16_supported() and not settings.trainer.get("fp16", False),
        "logging_steps": 5,
        "save_total_limit": 1,
        "use_cpu": not gpu,
    }
    if "gradient_checkpointing" not in settings.trainer:  # the older name of the same argument
        defaults["activation_checkpointing"] = gpu
    fixed = {
        "output_dir": str(job.checkpoints),
        "seed": job.seed,
        "data_seed": job.seed,
        "max_length": settings.max_length,
        "report_to": [],
        "disable_tqdm": True,
        "remove_unused_columns": False,
    }
    return config(**{**defaults, **settings.trainer, **own, **fixed})


def supervised(
    job: Job, settings: PhaseSettings, loaded: Loaded, prepared: Prepared, *, packing: str | None, model: Any = None
) -> dict[str, Any]:
    """Train on token ids and labels with TRL's `SFTTrainer`.

    Args:
        packing: `bfd` (whole rows), `bfd_split` (long rows are split), or None for one row a sequence.
        model: what to train, if not the loaded model itself (an adapter around it).
    """
    packed = {"packing": packing is not None, **({"packing_strategy": packing} if packing else {})}
    trainer = SFTTrainer(
        model=loaded.model if model is None else model,
        args=arguments(SFTConfig, job, settings, **packed),
        train_dataset=prepared.dataset,
        processing_class=loaded.tokenizer,
    )
    return run(trainer, job, loaded, prepared)


def run(trainer: Any, job: Job, loaded: Loaded, prepared: Prepared) -> dict[str, Any]:
    """Train to the end, from the last whole checkpoint if there is one; save the model and the log.

    Returns:
        counts for the manifest: rows, tokens, steps, and the share of parameters that were trained.
    """
    trainer.remove_callback(PrinterCallback)  # it prints every log as a dictionary
    bar = ProgressBar(job.name, job.console)
    trainer.add_callback(bar)
    checkpoint = last_checkpoint(job.checkpoints)
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    finally:  # an interrupted bar would leave the terminal without its cursor
        bar.close()
    trainer.save_model(str(job.folder))
    # It holds absolute paths and a pickle; the recipe and the manifest say the same in the open.
    (job.folder / "training_args.bin").unlink(missing_ok=True)
    loaded.tokenizer.save_pretrained(str(job.folder))
    write_json_lines(job.folder / LOG, trainer.state.log_history)
    _remove(job.checkpoints)
    weights = list(trainer.model.parameters())
    total = sum(weight.numel() for weight in weights)
    trained = sum(weight.numel() for weight in weights if weight.requires_grad)
    return {
        **prepared.counts,
        "steps": trainer.state.global_step,
        "parameters": total,
        "trained_parameters": trained,
        "trained_share_percent": round(100 * trained / total, 3),
    }


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end; what a kill left half-written is removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rsplit("-", 1)[1]))
    whole = [path for path in found if _is_whole(path)]
    for path in found:
        if path not in whole:
            _remove(path)
    return whole[-1] if whole else None


def _is_whole(checkpoint: Path) -> bool:
    """The trainer writes its state last, so a state that can be read stands for the rest; a removal takes any file."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    weights = any(checkpoint.glob("*.safetensors")) or any(checkpoint.glob("*.bin"))
    return weights and all((checkpoint / name).is_file() for name in ("optimizer.pt", "scheduler.pt"))


def _remove(folder: Path) -> None:
    """Delete a folder under another name: killed half-way, what is left is taken for nothing that it is not."""
    if folder.exists():
        condemned = folder.with_name(f"removing-{folder.name}")
        shutil.rmtree(condemned, ignore_errors=True)
        folder.rename(condemned)
        shutil.rmtree(condemned, ignore_errors=True)
