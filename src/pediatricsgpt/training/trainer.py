"""transformers' Trainer for rows of tokens and labels: packed without padding, loss per token of the whole step.

Checkpoints, resuming, schedules, mixed precision, DDP, FSDP2 and DeepSpeed are transformers' and accelerate's own. Ours
are the batches (`batches`), the attention (`models.segments`) and the loss (`token_loss`): the sum of the negative
log-likelihoods over all tokens that carry loss in an optimiser step, whatever micro-batch or process they are in,
divided by their number. So accumulated is full batch, and several processes are one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional
from torch.utils.data import DataLoader
from transformers import Trainer

from pediatricsgpt.errors import UserError
from pediatricsgpt.experts import with_balance
from pediatricsgpt.models.segments import use_segments
from pediatricsgpt.training.batches import PackedRows, Packing, Packs, Piece, lengths_of, pieces, single
from pediatricsgpt.training.token_loss import add_token_loss

# Arguments that promise what does not happen here.
_REFUSED = {
    "label_smoothing_factor": "the loss is the paper's and has no such term",
    "use_liger_kernel": "the loss is fused already",
    "activation_offloading": "use gradient checkpointing",
    "neftune_noise_alpha": "its noise depends on the length of a sequence, which packing changes",
    "dataloader_drop_last": "every row is used",
    "auto_find_batch_size": "set per_device_train_batch_size or max_length",
}
_PROBE = 8


class PackedTrainer(Trainer):  # type: ignore[misc]
    """Trains a causal LM on packed rows."""

    loss_is_scaled_for_ga = True

    def __init__(
        self,
        model: Any,
        args: Any,
        rows: Any,
        *,
        max_length: int,
        packing: Packing | None = "bfd",
        parts: Sequence[Piece] | None = None,
        **options: Any,
    ) -> None:
        """Prepare the model and plan the packs.

        Args:
            model: a causal LM of transformers, or an adapter around one; changed in place.
            args: transformers' `TrainingArguments` or TRL's `SFTConfig`. A micro-batch has at most `max_length` x
                `per_device_train_batch_size` tokens.
            rows: mappings with `input_ids` and `labels` of equal length (-100 carries no loss).
            max_length: longest document in tokens.
            packing: `bfd` keeps rows whole and refuses longer ones, `bfd_split` splits those; None puts
                `per_device_train_batch_size` whole rows into a micro-batch, short or long (also without padding).
            parts: which tokens of which rows to train on, from `batches.exactly`; None is all of them once an epoch.
            options: passed on to `Trainer`.

        Raises:
            UserError: the model cannot keep documents apart, or an argument is set that would have no effect.
        """
        _check(args)
        use_segments(model)
        add_token_loss(model)
        if parts is None:
            parts = pieces(lengths_of(rows), max_length, packing or "bfd")
        self.packs = packs_of(parts, args, max_length, packing, args.world_size)
        self._verified = False
        options.setdefault("data_collator", single)
        super().__init__(model=model, args=args, train_dataset=PackedRows(rows, self.packs), **options)
        self.model_accepts_loss_kwargs = True  # so that the loss tokens of a step are counted over processes
        if hasattr(model, "get_base_model") and args.gradient_checkpointing:
            model.enable_input_require_grads()  # else nothing below the first adapter would be checkpointed

    def get_train_dataloader(self) -> DataLoader[Any]:
        """One pack a batch; accelerate deals them to the processes in turn."""
        loader = DataLoader(
            self.train_dataset,
            batch_size=1,
            sampler=self.packs,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
            persistent_workers=self.args.dataloader_persistent_workers,
            prefetch_factor=self.args.dataloader_prefetch_factor,
        )
        prepared: DataLoader[Any] = self.accelerator.prepare(loader)
        return prepared

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        """There is none: `training.held_out` measures rows that are not trained on."""
        raise NotImplementedError("PackedTrainer does not evaluate; training.held_out measures rows")

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """This micro-batch's part of the step's mean loss per token.

        Args:
            model: the model, wrapped as the strategy wants it.
            inputs: a batch of `batches.batch`.
            return_outputs: answer with (loss, {}); logits are never built.
            num_items_in_batch: tokens that carry loss in the whole optimiser step; None counts this batch alone.
        """
        if not self._verified:
            half = self.args.bf16 or self.args.fp16 or next(model.parameters()).dtype != torch.float32
            verify(model, inputs["input_ids"], tolerance=2e-2 if half else 1e-3)
            self._verified = True
        loss = loss_of_batch(model, inputs)
        if num_items_in_batch is None:
            part = 1 / max(len(inputs["loss_positions"]), 1)
        else:  # gradients are averaged over processes, the tokens are counted over all
            part = self.accelerator.num_processes / num_items_in_batch.clamp(min=1)
        loss = with_balance(model, loss * part, len(inputs["loss_positions"]) * part)
        return (loss, {}) if return_outputs else loss


def packs_of(parts: Sequence[Piece], args: Any, max_length: int, packing: Packing | None, processes: int) -> Packs:
    """What a training with these arguments puts through the model at once.

    Args:
        parts: which tokens of which rows.
        args: training arguments.
        max_length: longest document in tokens.
        packing: as of `PackedTrainer`.
        processes: that train together.
    """
    batch = args.per_device_train_batch_size
    count = None if packing else batch
    return Packs(parts, max_length * batch, seed=args.seed, processes=processes, count=count)


def _check(args: Any) -> None:
    for name, reason in _REFUSED.items():
        if getattr(args, name, None):
            raise UserError(f"trainer.{name} cannot be set here: {reason}")
    if args.train_sampling_strategy != "random":
        raise UserError("trainer.train_sampling_strategy must stay random: packs are balanced by length already")
    if not args.average_tokens_across_devices:
        raise UserError("trainer.average_tokens_across_devices must stay true: the loss is a mean over all tokens")
    if args.n_gpu > 1:
        raise UserError("several GPUs need a launcher: use accelerate launch or torchrun, or let one GPU be visible")


def verify(model: Any, ids: torch.Tensor, tolerance: float) -> None:
    """Compare the loss of a document packed behind another with that of the document alone by the model's own logits.

    It costs two forward passes of a few tokens and finds, on the machine and with the wrapping that train, a model
    whose documents see each other or whose head does more than is computed here.

    Args:
        model: as it trains, wrapped or not.
        ids: [1, tokens], any tokens of its vocabulary.
        tolerance: largest relative difference, by the precision that it trains in.

    Raises:
        UserError: the two differ.
    """
    first, second = ids[0].repeat(-(-2 * _PROBE // ids.shape[1]))[: 2 * _PROBE].view(2, 1, _PROBE).flip(0)
    place = torch.arange(_PROBE, device=ids.device)[None]
    training = model.training
    model.eval()
    with torch.no_grad():
        packed = model(
            input_ids=torch.cat([first, second], 1),
            position_ids=torch.cat([place, place], 1),
            use_cache=False,
            loss_positions=torch.arange(_PROBE, 2 * _PROBE - 1, device=ids.device),
            targets=second[0, 1:],
        ).loss
        logits = model(input_ids=second, position_ids=place, use_cache=False).logits
        alone = functional.cross_entropy(logits[0, :-1].float(), second[0, 1:], reduction="sum")
    model.train(training)
    if not torch.allclose(packed, alone, rtol=tolerance):
        raise UserError(
            f"this model gives a packed document another loss ({float(packed):.4f}) than the document alone "
            f"({float(alone):.4f}): it does not keep documents apart, or changes its logits in an unknown way"
        )


def loss_of_batch(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Summed loss of a batch of `batches.batch`."""
    places = inputs["loss_positions"]
    outputs = model(
        input_ids=inputs["input_ids"],
        position_ids=inputs["position_ids"],
        use_cache=False,
        loss_positions=places,
        targets=inputs["labels"][0, places],
    )
    loss: torch.Tensor = outputs.loss
    return loss
