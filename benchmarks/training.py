"""Supervised training steps: ours against TRL's and against packing whose documents see each other.

    python benchmarks/training.py [--quick] [--precision fp32 bf16 pure-bf16] [--device cpu]

A Qwen2 of 39.5M parameters, random weights, trains on Chinese questions and answers of 62 to 367 tokens
(`../shared/data`), loss on the answers. All sides have the same rows, precision, optimiser (fused AdamW, state in the
precision of the weights) and about the same tokens a step; one process, in turns, medians. Counted are real tokens a
second, padding not; the loss is that before the first step, in the precision of the weights. On a CPU the time is the
process's own, so that other work on the machine counts less. 78 rows fill the packs of all sides equally well (98 %).

- ours: `training.trainer.PackedTrainer`, documents apart.
- TRL packed: `SFTTrainer`, `bfd`, documents apart.
- TRL padded: `SFTTrainer` without packing.
- open packing: packed to `--max-length` and padded, documents of a sequence see each other, as LLaMA-Factory's
  `packing: true` has it, through transformers' own Trainer.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

SHARED = Path(__file__).parents[1].parent / "shared/data"
Row = dict[str, list[int]]
PRECISIONS = ("fp32", "bf16", "pure-bf16")


def tokenizer() -> Any:
    """A Chinese tokenizer of 6,400 tokens with a chat template."""
    import transformers

    return transformers.AutoTokenizer.from_pretrained(str(SHARED / "tokenizers/minimind"))


def rows_of(number: int) -> list[Row]:
    """Questions and answers of 62 to 367 tokens; the answers carry loss."""
    from pediatricsgpt.models.encode import encode_dialogue
    from pediatricsgpt.records import Message

    chosen: list[Row] = []
    letters = tokenizer()
    for entry in json.loads((SHARED / "distilled/huatuo26m_test.json").read_text(encoding="utf-8")):
        turns = [("user", entry["instruction"]), ("assistant", entry["output"])]
        messages = [Message(role=role, content=said[0] if isinstance(said, list) else said) for role, said in turns]
        encoded = encode_dialogue(letters, messages)
        if 62 <= len(encoded.input_ids) <= 367:
            chosen.append({"input_ids": encoded.input_ids, "labels": encoded.labels})
        if len(chosen) == number:
            return chosen
    raise SystemExit(f"only {len(chosen)} rows have 62 to 367 tokens")


def model_of(precision: str, device: str) -> Any:
    """The model of all sides."""
    import transformers

    transformers.set_seed(0)
    config = transformers.Qwen2Config(
        vocab_size=6400,
        hidden_size=512,
        intermediate_size=1536,
        num_hidden_layers=12,
        num_attention_heads=8,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    model = transformers.Qwen2ForCausalLM(config)
    return model.to(device, torch.bfloat16 if precision == "pure-bf16" else torch.float32)


def arguments(kind: Any, folder: str, precision: str, device: str, batch: int, **own: Any) -> Any:
    """The same training arguments for all sides."""
    return kind(
        output_dir=folder,
        per_device_train_batch_size=batch,
        num_train_epochs=1,
        learning_rate=1e-4,
        optim="adamw_torch_fused",
        bf16=precision == "bf16",
        gradient_checkpointing=False,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        use_cpu=device == "cpu",
        dataloader_pin_memory=device != "cpu",
        **own,
    )


def ours(folder: str, precision: str, device: str, rows: list[Row], options: argparse.Namespace) -> Any:
    """Our trainer."""
    from transformers import TrainingArguments

    from pediatricsgpt.training.trainer import PackedTrainer

    args = arguments(TrainingArguments, folder, precision, device, options.sequences)
    return PackedTrainer(model_of(precision, device), args, rows, max_length=options.max_length)


def trl(folder: str, precision: str, device: str, rows: list[Row], options: argparse.Namespace, packing: bool) -> Any:
    """TRL's trainer; without packing as many rows a batch as have about the tokens of a packed batch."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    mean = sum(len(row["input_ids"]) for row in rows) / len(rows)
    batch = options.sequences if packing else max(1, round(options.sequences * options.max_length / mean))
    own = {"packing": packing, "packing_strategy": "bfd", "max_length": options.max_length}
    args = arguments(SFTConfig, folder, precision, device, batch, **own)
    model, data = model_of(precision, device), Dataset.from_list(rows)
    return SFTTrainer(model=model, args=args, train_dataset=data, processing_class=tokenizer())


def open_packing(folder: str, precision: str, device: str, rows: list[Row], options: argparse.Namespace) -> Any:
    """transformers' trainer over sequences in which documents see each other."""
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    from pediatricsgpt.training.batches import Packs, pieces

    packs = Packs(
        pieces([len(row["input_ids"]) for row in rows], options.max_length, "bfd"), options.max_length, seed=0
    )
    joined = [
        {name: [t for part in pack for t in rows[part.row][name]] for name in ("input_ids", "labels")} for pack in packs
    ]
    args = arguments(TrainingArguments, folder, precision, device, options.sequences)
    collator = DataCollatorForSeq2Seq(tokenizer(), padding="max_length", max_length=options.max_length)
    return Trainer(model=model_of(precision, device), args=args, train_dataset=joined, data_collator=collator)


SIDES: dict[str, Callable[..., Any]] = {
    "ours": ours,
    "TRL packed (bfd)": lambda *given: trl(*given, packing=True),
    "TRL padded": lambda *given: trl(*given, packing=False),
    "open packing": open_packing,
}


def loss_at_start(trainer: Any) -> float:
    """Mean loss per token over all rows before the first step."""
    total, count = 0.0, 0
    trainer.model.train()
    with torch.no_grad():
        for inputs in trainer.get_train_dataloader():
            labels = inputs["shift_labels"] if "shift_labels" in inputs else inputs["labels"][:, 1:]
            count += int((labels != -100).sum())
            prepared = trainer._prepare_inputs(inputs)
            total += float(trainer.compute_loss(trainer.model, prepared, num_items_in_batch=torch.tensor(1.0)))
    return total / count


def seconds(trainer: Any, device: str) -> float:
    """Time of one epoch."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    start = clock()
    trainer.train()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - start


def table(precision: str, rows: list[Row], options: argparse.Namespace) -> None:
    """Measure all sides in turns and print tokens a second, the ratios, and the losses at the start."""
    from transformers import PrinterCallback

    tokens = sum(len(row["input_ids"]) for row in rows)
    with TemporaryDirectory() as folder:
        sides = {name: make(folder, precision, options.device, rows, options) for name, make in SIDES.items()}
        for trainer in sides.values():
            trainer.remove_callback(PrinterCallback)
        losses = {name: loss_at_start(copy.copy(trainer)) for name, trainer in sides.items()}
        times: dict[str, list[float]] = {name: [] for name in sides}
        for turn in range(options.repeat + 1):  # the first one warms up
            for name, trainer in sides.items():
                taken = seconds(trainer, options.device)
                times[name] += [taken] if turn else []
    first = median(times["ours"])
    print(f"\n{precision}: {len(rows)} rows, {tokens} tokens, medians of {options.repeat}")
    for name, taken in times.items():
        off = abs(losses[name] / losses["TRL padded"] - 1)
        rate, ratio = tokens / median(taken), median(taken) / first
        print(f"{name:18} {rate:9,.0f} tokens/s   ours {ratio:5.2f} x   loss {losses[name]:.6f} ({off:.0e} off)")


def quiet() -> None:
    """Let the table stand alone."""
    import datasets
    import transformers

    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    datasets.disable_progress_bars()


def tables(about: str | None, table: Callable[..., None], precisions: Sequence[str]) -> None:
    """The command line: print a table of the same rows for each precision, by default for `precisions`."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=78)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=list(precisions))
    parser.add_argument("--max-length", type=int, default=512, help="tokens of a packed sequence")
    parser.add_argument("--sequences", type=int, default=4, help="packed sequences in a batch")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="24 rows, once")
    options = parser.parse_args()
    quiet()
    if options.quick:
        options.rows, options.repeat = 24, 1
    rows = rows_of(options.rows)
    for precision in options.precision:
        table(precision, rows, options)


if __name__ == "__main__":
    tables(__doc__, table, PRECISIONS)
