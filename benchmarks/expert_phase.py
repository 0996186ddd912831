"""Phase 4 end to end: our experts, the authors' formula in the same loop, and full fine-tuning; real tokens a second.

    OMP_NUM_THREADS=2 python benchmarks/expert_phase.py [--repeat 3] [--precision bf16] [--device cpu|cuda] [--quick]

The model and the data of `benchmarks/training.py` (39.5M parameters, Chinese questions and answers, loss on the
answers). All sides go through `training.trainer.PackedTrainer` with the same packs, optimiser and precision: forward,
backward, optimiser, data. One process, in turns, medians. On a CPU the time is the process's own.

- ours: `pediatricsgpt.experts` on the feed-forward layers, r 8, T 3, noise on; everything else is frozen.
- authors' formula: the same layers, as `benchmarks/experts.py` writes it from the paper's method.
- full fine-tuning: all weights.

Before that, ours and the authors' get the same weights (B not zero, or the experts would not count), and their losses
over all rows without noise, in the precision of the weights, must agree. The marks are at least 2 x the authors' and at
least 0.95 x full fine-tuning.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
from experts import EXPERTS, AuthorsExperts
from pediatricsgpt.experts import ExpertsConfig, ExpertsLinear, get_peft_model
from training import Row, arguments, loss_at_start, model_of, seconds, tables

RANK, ALPHA = 8, 16
ADAPTER = "default"
MARKS = {"authors' formula": 2.0, "full fine-tuning": 0.95}
B_STD = 0.2
"""Far from the zero of a new adapter: the experts change the loss clearly"""
OFF = {"fp32": 1e-3, "bf16": 1e-3, "pure-bf16": 0.05}
"""Largest difference of the two losses, as a part of what the experts change; taken in the weights' precision"""


def ours(precision: str, device: str) -> Any:
    """The model with our experts on its feed-forward layers."""
    config = ExpertsConfig(
        task_type="CAUSAL_LM", r=RANK, lora_alpha=ALPHA, num_experts=EXPERTS, target_modules="ffn", noise=True
    )
    model = get_peft_model(model_of(precision, device), config)
    for layer in layers_of(model).values():
        nn.init.normal_(layer.experts_B[ADAPTER].weight, std=B_STD)
    return model


def layers_of(model: Any) -> dict[str, ExpertsLinear]:
    """Our layers, by their names in the model below the adapter."""
    base = model.get_base_model()
    return {name: layer for name, layer in base.named_modules() if isinstance(layer, ExpertsLinear)}


def authors(like: Any, precision: str, device: str) -> Any:
    """The model with the authors' formula in the places and with the weights of `like`, from `ours`."""
    model = model_of(precision, device).requires_grad_(False)
    for name, layer in layers_of(like).items():
        place, _, last = name.rpartition(".")
        above = model.get_submodule(place)
        setattr(above, last, authors_layer(getattr(above, last), layer))
    return model


def authors_layer(base: nn.Linear, layer: ExpertsLinear) -> AuthorsExperts:
    """The authors' formula over a frozen layer, with the experts of one of ours."""
    made = AuthorsExperts(base, RANK, layer.scaling[ADAPTER])
    down, up = layer.experts_A[ADAPTER].weight, layer.experts_B[ADAPTER].weight
    with torch.no_grad():
        made.a.copy_(down.view(EXPERTS + 1, RANK, -1).transpose(1, 2))
        made.b.copy_(up.view(-1, EXPERTS + 1, RANK).permute(1, 2, 0))
        made.route.weight.copy_(layer.experts_router[ADAPTER].weight)
        made.w_noise.copy_(layer.experts_noise[ADAPTER].weight.t())
    return made.to(base.weight.device, base.weight.dtype)


def trainer_of(model: Any, folder: str, precision: str, rows: list[Row], options: argparse.Namespace) -> Any:
    """The loop of all sides."""
    from transformers import PrinterCallback, TrainingArguments

    from pediatricsgpt.training.trainer import PackedTrainer

    args = arguments(TrainingArguments, folder, precision, options.device, options.sequences)
    trainer = PackedTrainer(model, args, rows, max_length=options.max_length)
    trainer.remove_callback(PrinterCallback)
    return trainer


def set_noise(model: Any, on: bool) -> None:
    """Switch the noise of all routers."""
    for layer in model.modules():
        if isinstance(layer, ExpertsLinear):
            layer.noise[ADAPTER] = on
        elif isinstance(layer, AuthorsExperts):
            layer.noise = on


def check_start(sides: dict[str, Any], precision: str) -> None:
    """Print the losses of all sides before the first step.

    Raises:
        SystemExit: ours and the authors' differ by more than a small part of what the experts change.
    """
    losses = {}
    for name, trainer in sides.items():
        set_noise(trainer.model, False)
        losses[name] = loss_at_start(trainer)
        set_noise(trainer.model, True)
    frozen, own, other = (losses[name] for name in ("full fine-tuning", "ours", "authors' formula"))
    off, changed = abs(own - other), abs(own - frozen)
    print(f"\n{precision}: loss at the start, no noise: ours {own:.6f}, the authors' {other:.6f}, {off:.0e} apart")
    print(f"without experts {frozen:.6f}, so they change it by {changed:.0e}")
    if not off <= OFF[precision] * changed:
        raise SystemExit(f"the two do not start from the same loss: more than {OFF[precision]:g} of that apart")


def table(precision: str, rows: list[Row], options: argparse.Namespace) -> None:
    """Measure all sides in turns and print tokens a second, the ratios and the marks."""
    model = ours(precision, options.device)
    models = {
        "ours": model,
        "authors' formula": authors(model, precision, options.device),
        "full fine-tuning": model_of(precision, options.device),
    }
    tokens = sum(len(row["input_ids"]) for row in rows)
    with TemporaryDirectory() as folder:
        sides = {name: trainer_of(one, folder, precision, rows, options) for name, one in models.items()}
        check_start(sides, precision)
        times: dict[str, list[float]] = {name: [] for name in sides}
        for turn in range(options.repeat + 1):  # the first one warms up
            for name, trainer in sides.items():
                taken = seconds(trainer, options.device)
                times[name] += [taken] if turn else []
    middle = {name: median(taken) for name, taken in times.items()}
    print(f"{len(rows)} rows, {tokens} tokens, {len(sides['ours'].packs)} packs, medians of {options.repeat}")
    for name, taken in middle.items():
        trained = sum(weight.numel() for weight in models[name].parameters() if weight.requires_grad)
        ratio = taken / middle["ours"]
        mark = f"   mark {MARKS[name]:.2f} x: {'met' if ratio >= MARKS[name] else 'MISSED'}" if name in MARKS else ""
        print(f"{name:18} {tokens / taken:9,.0f} tokens/s   {trained:11,} trained   ours {ratio:5.2f} x{mark}")


if __name__ == "__main__":
    tables(__doc__, table, ["bf16"])
