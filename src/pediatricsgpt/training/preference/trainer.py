"""The trainer of pairs: packed without padding, DFPO's loss, and a reference that is live, precomputed or the base."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState
from trl.models.utils import prepare_deepspeed, prepare_fsdp

from pediatricsgpt.errors import UserError
from pediatricsgpt.models.segments import use_segments
from pediatricsgpt.training.batches import Packs
from pediatricsgpt.training.meter import restored
from pediatricsgpt.training.preference.batches import PackedPairs, batch, pieces
from pediatricsgpt.training.preference.log_probabilities import add_log_probabilities
from pediatricsgpt.training.preference.loss import CHANGE, losses
from pediatricsgpt.training.preference.reference import Cache, fill
from pediatricsgpt.training.trainer import PackedTrainer, verify
from pediatricsgpt.training.watch import ADAPTER_INSTEAD, PRECOMPUTED_INSTEAD, no_memory_for

_PROBE = 8
FELL = "warnings/chosen_below_start"
"""Logged steps at which the preferred answers stood clearly below their start"""


class DfpoTrainer(PackedTrainer):
    """Trains a causal LM on preference pairs. `mu` = 0 is plain DPO.

    The reference is `reference` where it is given (a model, frozen here), else what `precompute` found, else the model
    with its adapter off.
    """

    def __init__(
        self,
        model: Any,
        args: Any,
        pairs: Any,
        *,
        beta: float,
        mu: float,
        max_length: int,
        reference: Any = None,
        share_prompt: bool = True,
        chosen_fall: float | None = None,
        say: Callable[[str], None] = print,
        **options: Any,
    ) -> None:
        """Prepare model, reference and batches.

        Args:
            model: a causal LM of transformers, or an adapter around one; changed in place.
            args: transformers' `TrainingArguments` or TRL's `DPOConfig`; `per_device_train_batch_size` is in pairs.
            pairs: mappings with `prompt_ids`, `chosen_ids` and `rejected_ids`, such as `data.preference_set` makes.
            beta: strength of the preference term.
            mu: weight of the likelihood of the preferred answer.
            max_length: tokens of a prompt with either answer at the most.
            reference: a frozen copy of the model at its start, for a live reference.
            share_prompt: let both sides of a pair have one prompt together, where the model can.
            chosen_fall: how far (nats a token) the preferred answers may fall below their start without a warning.
            say: tells a person.
            options: passed on to transformers' `Trainer`.

        Raises:
            UserError: as `PackedTrainer`; or there is nothing to be the reference.
        """
        use_segments(model)
        add_log_probabilities(model)
        self.beta, self.mu = beta, mu
        share = share_prompt and can_share(model)
        if share_prompt and not share:
            say("this model cannot share a prompt between two answers; each has its own")
        parts = pieces(pairs, share)
        super().__init__(model, args, pairs, max_length=max_length, packing=None, parts=parts, **options)
        self.train_dataset = PackedPairs(pairs, self.packs, share)
        self.model_accepts_loss_kwargs = True
        self._budget = 2 * max_length
        self._known: torch.Tensor | None = None
        self._sums: dict[str, torch.Tensor] = {}
        self._fall = ChosenFall(chosen_fall, say)
        self.add_callback(self._fall)
        with room_for_a_copy():  # here it comes to the GPU
            self.ref_model = None if reference is None else self._frozen(reference)

    @property
    def chosen_falls(self) -> int:
        """Logged steps at which the preferred answers stood clearly below their start."""
        return self._fall.count

    def _frozen(self, reference: Any) -> Any:
        use_segments(reference)
        add_log_probabilities(reference)
        reference.requires_grad_(False).eval()
        if self.is_deepspeed_enabled:
            return prepare_deepspeed(reference, self.accelerator)
        if self.is_fsdp_enabled:
            return prepare_fsdp(reference, self.accelerator)
        return self.accelerator.prepare_model(reference, evaluation_mode=True)

    def precompute(self, folder: Path, key: str, show: Callable[[int, int], None] = lambda *_: None) -> None:
        """Ask the model as it is now for the reference values of all pairs; what lies in `folder` is not asked again.

        Args:
            folder: for the files of `reference.Cache`.
            key: from `reference.key_of`.
            show: takes how many pairs are done of how many that this process has to ask for.

        Raises:
            UserError: the weights are shared out already (ZeRO-3), so no process has the model.
        """
        if any(hasattr(weight, "ds_id") for weight in self.model.parameters()):
            raise UserError("reference: precomputed needs the whole model in each process, not ZeRO-3; take live")
        process, processes = self.args.process_index, self.args.world_size
        self._known = fill(
            Cache(folder, key, process),
            len(self.train_dataset),
            self._values,
            process=process,
            processes=processes,
            wait=self.accelerator.wait_for_everyone,
            show=show,
        ).to(self.args.device)

    def _values(self, numbers: list[int]) -> Iterator[tuple[list[int], torch.Tensor]]:
        """Reference values of pairs, those of like length together."""
        data = self.train_dataset
        if not numbers:
            return
        parts = pieces([data.pairs[number] for number in numbers], data.share)
        budget = max(max(part.stop for part in parts), self._budget)
        model = self.model.to(self.args.device)
        with torch.no_grad(), self.accelerator.autocast(), _evaluating(model):
            for pack in Packs(parts, budget, seed=0):
                chosen = [numbers[part.row] for part in pack]
                inputs = self._prepare_inputs(batch([data.pairs[number] for number in chosen], chosen, data.share))
                yield chosen, answers(model, inputs)

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> Any:
        """Pairs in all micro-batches of one optimiser step, of all processes."""
        count = torch.tensor(sum(len(one["pairs"]) for one in batch_samples), device=device)
        return self.accelerator.gather(count).sum() if self.args.world_size > 1 else count

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """This micro-batch's part of the step's mean loss per pair.

        Args:
            model: the model, wrapped as the strategy wants it.
            inputs: a batch of `preference.batches.batch`.
            return_outputs: answer with (loss, {}); logits are never built.
            num_items_in_batch: pairs of the whole optimiser step; None counts this batch alone.
        """
        if not self._verified:
            half = self.args.bf16 or self.args.fp16 or next(model.parameters()).dtype != torch.float32
            verify(model, inputs["input_ids"], tolerance=2e-2 if half else 1e-3)
            self._verified = True
        reference = self._reference(model, inputs)
        policy = answers(model, inputs)
        lengths = torch.tensor(inputs["answer_lengths"], device=policy.device, dtype=torch.float32).view(-1, 2)
        each, logged = losses(policy, reference, lengths, self.beta, self.mu)
        pairs = max(len(each), 1) if num_items_in_batch is None else num_items_in_batch
        self._collect(logged, pairs)
        loss = each.sum() / pairs
        if num_items_in_batch is not None:  # gradients are averaged over processes, the pairs are counted over all
            loss = loss * self.accelerator.num_processes
        return (loss, {}) if return_outputs else loss

    def _reference(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        if self._known is not None:
            return self._known[inputs["pairs"]]
        with torch.no_grad():
            if self.ref_model is not None:
                return answers(self.ref_model, inputs)
            plain = self.accelerator.unwrap_model(model)
            if not hasattr(plain, "disable_adapter"):
                raise UserError("there is no reference: give a frozen model, precompute, or train an adapter")
            with _evaluating(model), plain.disable_adapter():
                return answers(model, inputs)

    def _collect(self, logged: dict[str, torch.Tensor], pairs: Any) -> None:
        """Weigh what is logged as the loss is weighed, so that a line's terms add up to its loss."""
        if not torch.is_grad_enabled():
            return
        shares = {**logged, "": torch.ones_like(logged[CHANGE])}  # the last one counts steps
        for name, value in shares.items():
            self._sums[name] = self._sums.get(name, 0) + value.double().sum() / pairs

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log the mean over the steps since the last log, and warn of preferred answers that fall."""
        if "loss" in logs and self._sums:
            names = list(self._sums)
            sums = self.accelerator.reduce(torch.stack([self._sums[name] for name in names]).float(), "sum").tolist()
            steps = dict(zip(names, sums, strict=True))[""]
            logs.update({name: value / steps for name, value in zip(names, sums, strict=True) if name})
            self._fall.look(logs, self.state)
            self._sums = {}
        super().log(logs, start_time)


class ChosenFall(TrainerCallback, ExportableState):  # type: ignore[misc]
    """Watches the mean log-probability of the preferred answers against their start."""

    def __init__(self, limit: float | None, say: Callable[[str], None]) -> None:
        self.count = 0
        self._limit, self._say = limit, say

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"args": {}, "attributes": {"count": self.count}}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Remember the count before a kill."""
        self.count = restored(self, state).get("count", 0)

    def look(self, logs: dict[str, float], state: Any) -> None:
        """Count a fall, and tell of the first one."""
        if self._limit is None:
            return
        if logs[CHANGE] < -self._limit:
            self.count += 1
            if self.count == 1 and state.is_world_process_zero:
                self._say(
                    f"step {state.global_step}: the preferred answers fell by {-logs[CHANGE]:.3f} nats a token below "
                    f"their start, more than chosen_fall {self._limit:g}; try a larger mu or a lower learning_rate"
                )
        logs[FELL] = self.count


def room_for_a_copy() -> contextlib.AbstractContextManager[None]:
    """Within it, too little memory is that for the live reference."""
    return no_memory_for(
        "a frozen copy beside the model (dfpo.reference: live)", [PRECOMPUTED_INSTEAD, ADAPTER_INSTEAD]
    )


def answers(model: Any, inputs: dict[str, Any]) -> torch.Tensor:
    """Summed log-probabilities [pairs, 2] of the answers of a batch of `preference.batches.batch`."""
    found = model(
        input_ids=inputs["input_ids"],
        position_ids=inputs["position_ids"],
        use_cache=False,
        answer_positions=inputs["answer_positions"],
        answer_targets=inputs["answer_targets"],
        prompts=inputs["prompts"],
    ).log_probabilities
    if not inputs["answer_lengths"]:
        return found.view(0, 2) + 0 * found.sum()
    return torch.stack([part.sum() for part in found.split(list(inputs["answer_lengths"]))]).view(-1, 2)


def can_share(model: Any) -> bool:
    """Whether both answers to a prompt come out with the prompt once as they do with one each; a few tokens.

    Args:
        model: as `add_log_probabilities` left it, not wrapped yet.
    """
    weight = next(model.parameters())
    if hasattr(weight, "ds_id"):  # ZeRO-3 has shared out the weights already, so nothing can be tried
        return False
    vocabulary = model.config.get_text_config().vocab_size
    ids = [number * 7919 % vocabulary for number in range(1, 3 * _PROBE + 1)]
    names = ("prompt_ids", "chosen_ids", "rejected_ids")
    pair = {name: ids[_PROBE * i : _PROBE * (i + 1)] for i, name in enumerate(names)}
    found = []
    with torch.no_grad(), _evaluating(model):
        for share in (True, False):
            inputs = {
                name: value.to(weight.device) if isinstance(value, torch.Tensor) else value
                for name, value in batch([pair], [0], share).items()
            }
            try:
                found.append(answers(model, inputs))
            except ValueError:
                return False
    tolerance = 1e-5 if weight.dtype == torch.float32 else 2e-2
    return bool(torch.allclose(found[0], found[1], rtol=tolerance))


@contextlib.contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
