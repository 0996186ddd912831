"""Preference training: ours against TRL's live padded default, in pairs a second over two epochs.

    python benchmarks/dfpo.py [--quick] [--precision fp32 bf16 pure-bf16] [--device cpu]

The Qwen2 of `benchmarks/training.py` (39.5M parameters, random weights) trains on real Chinese preference pairs of
general talk (`../shared/data/preferences`) that fit into `--max-length` tokens. All sides have the same pairs, pairs a
batch, precision, optimiser and loss (sigmoid, beta 0.1, plus the likelihood of the preferred answer); no gradient
checkpointing. One process, in turns, medians; what is computed before training counts. On a CPU the time is the
process's own, so that other work on the machine counts less; the wall time stands beside it.

The losses are compared before the first step, pair by pair (TRL's likelihood term is a mean over the tokens of a
batch, ours over those of an answer; they are the same for one pair), against a reference of other random weights.

- TRL: `DPOTrainer` as it comes, a live reference, both sides padded to the longest.
- ours: packed; the reference live or precomputed; the prompt once for both sides ("shared") or once for each.
"""

from __future__ import annotations

import argparse
import copy
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
from training import PRECISIONS, SHARED, arguments, model_of, quiet, tokenizer

Pair = dict[str, list[int]]
BETA, MU = 0.1, 1.0
FILES = ("dpo_zh_500.jsonl", "dpo_zh_demo_sharegpt.json")


def pairs_of(number: int, max_length: int) -> list[Pair]:
    """The first pairs that fit."""
    from pediatricsgpt.models.encode import encode_answer
    from pediatricsgpt.records import Message

    letters = tokenizer()
    found: list[Pair] = []
    for entry in _entries():
        prompt = [
            Message(role="user" if turn["from"] == "human" else "assistant", content=turn["value"])
            for turn in entry["conversations"]
        ]
        sides = [
            entry[side] if isinstance(entry[side], str) else entry[side]["value"] for side in ("chosen", "rejected")
        ]
        if prompt[-1]["role"] != "user" or not all(side.strip() for side in sides) or sides[0] == sides[1]:
            continue
        (ids, chosen), (_, rejected) = (
            encode_answer(letters, prompt, Message(role="assistant", content=side)) for side in sides
        )
        if len(ids) + max(len(chosen), len(rejected)) <= max_length:
            found.append({"prompt_ids": ids, "chosen_ids": chosen, "rejected_ids": rejected})
        if len(found) == number:
            return found
    raise SystemExit(f"only {len(found)} pairs fit into {max_length} tokens")


def _entries() -> list[Any]:
    lines, table = ((SHARED / "preferences" / name).read_text(encoding="utf-8") for name in FILES)
    return [*map(json.loads, lines.splitlines()), *json.loads(table)]


def trl(folder: str, precision: str, pairs: list[Pair], options: argparse.Namespace, reference: Any) -> Any:
    """TRL's trainer with the two terms of the loss."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    class Tokenised(DPOTrainer):  # type: ignore[misc]
        """The pairs are token ids already."""

        def _prepare_dataset(self, dataset: Any, *given: Any, **more: Any) -> Any:
            return dataset

    own = {
        "beta": BETA,
        "loss_type": ["sigmoid", "sft"],
        "loss_weights": [1.0, MU],
        "max_length": options.max_length,
        "remove_unused_columns": False,
    }
    args = arguments(DPOConfig, folder, precision, options.device, options.batch, **own)
    args.num_train_epochs = options.epochs
    model, data = model_of(precision, options.device), Dataset.from_list(pairs)
    return Tokenised(model=model, ref_model=reference, args=args, train_dataset=data, processing_class=tokenizer())


def ours(
    folder: str, precision: str, pairs: list[Pair], options: argparse.Namespace, reference: Any, share: bool
) -> Any:
    """Our trainer."""
    from trl import DPOConfig

    from pediatricsgpt.training.preference.trainer import DfpoTrainer

    args = arguments(DPOConfig, folder, precision, options.device, options.batch, max_length=options.max_length)
    args.num_train_epochs = options.epochs
    model, wanted = model_of(precision, options.device), {"max_length": options.max_length, "share_prompt": share}
    return DfpoTrainer(model, args, pairs, beta=BETA, mu=MU, reference=reference, **wanted)


SIDES: dict[str, tuple[Callable[..., Any], bool]] = {
    "TRL, live, padded": (trl, True),
    "ours, live, shared": (lambda *given: ours(*given, share=True), True),
    "ours, live, apart": (lambda *given: ours(*given, share=False), True),
    "ours, precomputed, shared": (lambda *given: ours(*given, share=True), False),
    "ours, precomputed, apart": (lambda *given: ours(*given, share=False), False),
}
"""How each side's trainer is made, and whether it has a live reference"""


def other_weights(precision: str, device: str) -> Any:
    """A reference unlike the model that trains."""
    model = model_of(precision, device)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_((0.02 * torch.randn(weight.shape, generator=generator)).to(weight))
    return model.eval()


def loss_at_start(trainer: Any, pairs: list[Pair]) -> float:
    """Mean over the pairs, one at a time, in the precision of the weights."""
    from pediatricsgpt.training.preference.batches import batch
    from pediatricsgpt.training.preference.trainer import DfpoTrainer

    total = 0.0
    with torch.no_grad():
        for number, pair in enumerate(pairs):
            packed = isinstance(trainer, DfpoTrainer)
            inputs = batch([pair], [number], trainer.train_dataset.share) if packed else trainer.data_collator([pair])
            total += float(trainer.compute_loss(trainer.model, trainer._prepare_inputs(inputs)))
    return total / len(pairs)


def run(trainer: Any, folder: str, live: bool) -> tuple[float, float]:
    """Processor and wall time of all epochs, with what comes before them."""
    cpu, wall = time.process_time(), time.perf_counter()
    if not live:
        cache = Path(folder) / "reference"
        shutil.rmtree(cache, ignore_errors=True)
        cache.mkdir()
        trainer.precompute(cache, "benchmark")
    trainer.train()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.process_time() - cpu, time.perf_counter() - wall


def table(precision: str, pairs: list[Pair], options: argparse.Namespace) -> None:
    """Measure all sides in turns and print pairs a second, the ratios, and the losses at the start."""
    from transformers import PrinterCallback

    sizes = {name: sum(len(pair[f"{name}_ids"]) for pair in pairs) for name in ("prompt", "chosen", "rejected")}
    with TemporaryDirectory() as folder:
        other = other_weights(precision, options.device)
        losses, sides = {}, {}
        for name, (make, live) in SIDES.items():
            losses[name] = loss_at_start(make(folder, precision, pairs, options, copy.deepcopy(other)), pairs[:8])
            reference = model_of(precision, options.device).eval() if live else None
            sides[name] = make(folder, precision, pairs, options, reference)
            sides[name].remove_callback(PrinterCallback)
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
        for turn in range(options.repeat + (0 if options.quick else 1)):  # the first one warms up
            for name, trainer in sides.items():
                taken = run(trainer, folder, SIDES[name][1])
                times[name] += [taken] if turn or options.quick else []
    print(f"\n{precision}: {len(pairs)} pairs, {options.epochs} epochs, medians of {options.repeat}; tokens {sizes}")
    clock = 0 if options.device == "cpu" else 1
    first = "TRL, live, padded"
    base = median(taken[clock] for taken in times[first])
    for name, taken in times.items():
        own, wall = (median(one[which] for one in taken) for which in (clock, 1))
        rate, off = options.epochs * len(pairs) / own, abs(losses[name] / losses[first] - 1)
        print(
            f"{name:26} {rate:6.2f} pairs/s  {base / own:5.2f} x TRL  (wall {wall:6.1f} s)  "
            f"loss {losses[name]:.6f} ({off:.0e} off)"
        )


def main() -> None:
    """Print a table for each precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--batch", type=int, default=4, help="pairs in a batch")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--max-length", type=int, default=512, help="tokens of a prompt with either answer")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="4 pairs, once")
    options = parser.parse_args()
    quiet()
    if options.quick:
        options.pairs, options.repeat = 4, 1
    pairs = pairs_of(options.pairs, options.max_length)
    for precision in options.precision:
        table(precision, pairs, options)


if __name__ == "__main__":
    main()
