"""What a training step needs, found by doing it without data: parameters, memory by what it holds, operations.

PyTorch's fake tensors have shapes and types and no values. The real model, the real loss and the real optimiser run on
them, so that nothing has to be known here of architectures, adapters, checkpointing or packing; a `Ledger` adds up the
storage that is alive. A step of a model with 7 billion parameters takes seconds and no memory.
"""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from pediatricsgpt.errors import UserError
from pediatricsgpt.experts import function as experts_function
from pediatricsgpt.models.encode import IGNORED
from pediatricsgpt.models.segments import use_segments, with_documents
from pediatricsgpt.training import output_head
from pediatricsgpt.training.batches import batch
from pediatricsgpt.training.ledger import Ledger
from pediatricsgpt.training.preference.batches import batch as batch_of_pairs
from pediatricsgpt.training.preference.log_probabilities import add_log_probabilities
from pediatricsgpt.training.preference.loss import losses
from pediatricsgpt.training.preference.trainer import answers
from pediatricsgpt.training.settings import DfpoSettings, ExpertsSettings, PhaseSettings
from pediatricsgpt.training.token_loss import add_token_loss
from pediatricsgpt.training.trainer import loss_of_batch

Layout = Sequence[tuple[int, ...]]
"""What lies in a pack: (tokens, tokens with loss) of each document, or (prompt, preferred, low answer) of each pair"""
_BYTES = {"int8": 1.0, "nf4": 0.516}  # of a quantised weight, with the scales of its blocks
_STEPS = 2  # the first makes the optimiser's state, the second has it from the start


@dataclass(frozen=True, slots=True)
class Needs:
    """Of a phase on one device; memory in bytes, of tensors alone."""

    parameters: int
    """Of the model that is trained, with its adapter; those of a frozen copy beside it are in `weights` only"""
    trained: int
    weights: int
    gradients: int
    optimizer: int
    activations: int
    """The most that is there beside the other three at any time: what the backward pass needs, and what is temporary"""
    peak: int
    """Of all together, which are not all there at the same time"""
    largest_block: int
    """Weights of the largest decoder layer, which sharding gathers as one"""
    outside_blocks: int
    """Weights of embeddings, norms and head, which it gathers as another"""
    operations: int
    """Floating-point operations of one micro-batch, forward and backward"""
    tokens: int
    """That go through the model in that micro-batch"""


def needs_of(
    config: Any, settings: PhaseSettings, args: Any, layout: Layout, *, gpu: bool, trust_remote_code: bool = False
) -> Needs:
    """What a phase needs on one device, without sharding.

    Args:
        config: transformers' configuration of the base.
        settings: of the phase.
        args: its training arguments.
        layout: the largest pack of a micro-batch.
        gpu: whether it will train on a GPU, where larger pieces are computed at once.
        trust_remote_code: whether the base's own modelling code may run.

    Raises:
        UserError: the model cannot be run without values (a mixture of experts that counts tokens), or not packed.
    """
    if not isinstance(settings, DfpoSettings):
        return _tried(config, settings, args, _documents(layout), gpu, trust_remote_code)
    try:
        inputs = _pairs(layout, settings.share_prompt)
        return _tried(config, settings, args, inputs, gpu, trust_remote_code)
    except ValueError:  # this model cannot share a prompt between two answers, and the training will not
        return _tried(config, settings, args, _pairs(layout, share=False), gpu, trust_remote_code)


def _tried(
    config: Any, settings: PhaseSettings, args: Any, inputs: dict[str, Any], gpu: bool, trust_remote_code: bool
) -> Needs:
    live = Ledger()
    complaints = logging.getLogger("torch._subclasses.fake_tensor")
    complaints.disabled = True
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model, reference = _models(config, settings, args, trust_remote_code)
        with FakeTensorMode() as fake, live, _pieces_as_on(gpu), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            held = {
                name: fake.from_tensor(value) if isinstance(value, torch.Tensor) else value
                for name, value in inputs.items()
            }
            for one in (model, reference):
                if one is not None:
                    _materialise(one)
            pairs = isinstance(settings, DfpoSettings)
            step = _PairStep(model, reference, settings, held) if pairs else _TokenStep(model, held)
            needs = _measured(model, reference, step, args, live, inputs["input_ids"].numel())
            return _quantised(needs, model, getattr(settings, "base_dtype", "float32"))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"a step of {config.model_type} cannot be tried without data ({reason})") from error
    finally:
        complaints.disabled = False


def _quantised(needs: Needs, model: Any, dtype: str) -> Needs:
    """With the quantised layers in fewer bits than they were tried with."""
    if dtype not in _BYTES:
        return needs
    weights = [module.weight for module in model.modules() if type(module) is _Quantised]
    saved = sum(int(weight.numel() * (weight.element_size() - _BYTES[dtype])) for weight in weights)
    return replace(needs, weights=needs.weights - saved, peak=needs.peak - saved)


def _models(config: Any, settings: PhaseSettings, args: Any, trust_remote_code: bool) -> tuple[Any, Any]:
    """The model as the phase trains it, and the frozen copy beside it or None."""
    from pediatricsgpt.experts import get_peft_model
    from pediatricsgpt.models.load import untrained
    from pediatricsgpt.training.dfpo import with_adapter
    from pediatricsgpt.training.expert_sft import experts_config

    model, reference = untrained(config, trust_remote_code, _held(settings, args)), None
    if isinstance(settings, ExpertsSettings):
        if settings.base_dtype in _BYTES:
            _mark_quantised(model)
        model = get_peft_model(model, experts_config(settings))
    elif isinstance(settings, DfpoSettings) and settings.reference == "adapter":
        model = with_adapter(model, settings.adapter, seed=0)
    elif isinstance(settings, DfpoSettings) and settings.reference == "live":
        reference = untrained(config, trust_remote_code).requires_grad_(False).eval()
    for one in (model, reference):
        if one is not None:
            use_segments(one)
            (add_log_probabilities if isinstance(settings, DfpoSettings) else add_token_loss)(one)
    model.train()
    if args.activation_checkpointing:
        model.activation_checkpointing_enable()
        if hasattr(model, "get_base_model"):
            model.enable_input_require_grads()
    return model, reference


class _Quantised(torch.nn.Linear):  # type: ignore[misc]
    """Stands for a layer of bitsandbytes, which computes as any other and takes part in no shortcut of ours."""


def _mark_quantised(model: Any) -> None:
    """What bitsandbytes takes: every linear layer but the head."""
    head = model.get_output_embeddings()
    for module in model.modules():
        if type(module) is torch.nn.Linear and module is not head:
            module.__class__ = _Quantised


def _held(settings: PhaseSettings, args: Any) -> str:
    """The type of the base's weights; of quantised ones, of what is beside them."""
    dtype: str = getattr(settings, "base_dtype", "float32")
    if dtype in _BYTES:
        return "bfloat16" if args.bf16 else "float32"
    return dtype


def _materialise(model: Any) -> None:
    """Give a model on the meta device tensors of the mode that is on; a weight that is used twice stays one."""
    made: dict[int, Any] = {}

    def new(old: torch.Tensor) -> torch.Tensor:
        if id(old) not in made:
            fresh = torch.empty(old.shape, dtype=old.dtype, device="cpu")
            made[id(old)] = (
                torch.nn.Parameter(fresh, old.requires_grad) if isinstance(old, torch.nn.Parameter) else fresh
            )
        return made[id(old)]

    for module in model.modules():
        for held in (module._parameters, module._buffers):
            held.update({name: new(old) for name, old in held.items() if old is not None})


def _measured(model: Any, reference: Any, step: Any, args: Any, live: Ledger, tokens: int) -> Needs:
    from transformers import Trainer

    weights_of_one = _bytes([*model.parameters()])
    weights = _bytes([*model.parameters(), *model.buffers()])
    weights += _bytes([*reference.parameters(), *reference.buffers()]) if reference is not None else 0
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in trained:
        weight.register_post_accumulate_grad_hook(live.complete)
    kind, options = Trainer.get_optimizer_cls_and_kwargs(args)
    optimizer = kind(trained, **options)
    precision = torch.bfloat16 if args.bf16 else torch.float16
    live.static = weights
    live.most_beside = 0
    state = 0
    for _ in range(_STEPS):
        for _ in range(min(2, args.gradient_accumulation_steps)):
            before = live.operations
            with torch.autocast("cpu", dtype=precision, enabled=args.bf16 or args.fp16):
                loss = step()
            loss.backward()
            del loss
            operations = live.operations - before
        if args.max_grad_norm:
            torch.nn.utils.clip_grad_norm_(trained, args.max_grad_norm)
        beside = live.most_beside
        optimizer.step()
        if not state:  # made in this step, and until now nobody knew that it stays
            state = _bytes([value for held in optimizer.state.values() for value in held.values()])
            live.static, live.most_beside = weights + state, beside
        optimizer.zero_grad()
        live.drop_gradients()
    return Needs(
        parameters=sum(weight.numel() for weight in model.parameters()),
        trained=sum(weight.numel() for weight in trained),
        weights=weights,
        gradients=_bytes(trained),
        optimizer=state,
        activations=live.most_beside,
        peak=live.peak,
        largest_block=max((_bytes([*block.parameters()]) for block in _blocks(model)), default=0),
        outside_blocks=weights_of_one - sum(_bytes([*block.parameters()]) for block in _blocks(model)),
        operations=operations,
        tokens=tokens,
    )


def _blocks(model: Any) -> list[Any]:
    """The decoder layers, by the name that transformers shards by."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    names = set(base._no_split_modules or ())
    return [module for module in base.modules() if type(module).__name__ in names]


def _bytes(tensors: Sequence[Any]) -> int:
    storages = {one.untyped_storage()._cdata: one.untyped_storage() for one in tensors if isinstance(one, torch.Tensor)}
    return sum(storage.nbytes() for storage in storages.values())


class _TokenStep:
    """The loss of a micro-batch of documents."""

    def __init__(self, model: Any, inputs: dict[str, Any]) -> None:
        self.model, self.inputs = model, inputs

    def __call__(self) -> Any:
        with with_documents(self.inputs["documents"]):
            return loss_of_batch(self.model, self.inputs)


class _PairStep:
    """The loss of a micro-batch of pairs."""

    def __init__(self, model: Any, reference: Any, settings: Any, inputs: dict[str, Any]) -> None:
        self.model, self.reference, self.settings, self.inputs = model, reference, settings, inputs

    def __call__(self) -> Any:
        with with_documents(self.inputs["documents"]):
            reference = self._reference()
            policy = answers(self.model, self.inputs)
        lengths = torch.ones_like(policy)
        return losses(policy, reference, lengths, self.settings.beta, self.settings.mu)[0].sum()

    def _reference(self) -> Any:
        with torch.no_grad():
            if self.reference is not None:
                return answers(self.reference, self.inputs)
            if self.settings.reference == "precomputed":
                return torch.zeros(len(self.inputs["answer_lengths"]) // 2, 2)
            self.model.eval()
            with self.model.disable_adapter():
                found = answers(self.model, self.inputs)
            self.model.train()
            return found


def _documents(layout: Layout) -> dict[str, Any]:
    laid = batch([([0] * tokens, [IGNORED] * (tokens - loss) + [0] * loss) for tokens, loss in layout])
    return {**laid, "documents": tuple(tokens for tokens, _ in layout)}


def _pairs(layout: Layout, share: bool) -> dict[str, Any]:
    pairs = [
        {"prompt_ids": [0] * prompt, "chosen_ids": [0] * chosen, "rejected_ids": [0] * low}
        for prompt, chosen, low in layout
    ]
    documents = [
        length for prompt, chosen, low in layout for length in (prompt + chosen, low if share else prompt + low)
    ]
    return {**batch_of_pairs(pairs, range(len(pairs)), share), "documents": tuple(documents)}


def shared_out(needs: Needs, trainer: Mapping[str, Any], processes: int) -> Needs:
    """What each of several devices needs, by what the strategies say of themselves.

    DDP keeps a second copy of the gradients, in the buckets that it sends. FSDP and ZeRO-3 share out weights, gradients
    and the optimiser's state, and gather the layer at work, the next one, and what is outside the layers; ZeRO-2 and
    FSDP's `shard_grad_op` keep the weights whole, ZeRO-1 the gradients too.

    Args:
        needs: of one device alone.
        trainer: the recipe's training arguments, of which `fsdp` and `deepspeed` count.
        processes: devices.
    """
    if processes == 1:
        return needs
    stage = _stage(trainer)
    weights = needs.weights // processes if stage == 3 else needs.weights
    gradients = needs.gradients // processes if stage >= 2 else needs.gradients * (2 if stage == 0 else 1)
    optimizer = needs.optimizer // processes if stage >= 1 else needs.optimizer
    gathered = 2 * needs.largest_block + needs.outside_blocks if stage == 3 else 0
    activations = needs.activations + gathered
    peak = needs.peak + gathered + weights + gradients + optimizer - needs.weights - needs.gradients - needs.optimizer
    return replace(needs, weights=weights, gradients=gradients, optimizer=optimizer, activations=activations, peak=peak)


def _stage(trainer: Mapping[str, Any]) -> int:
    """What is shared out: 0 nothing, 1 the optimiser's state, 2 gradients too, 3 weights too."""
    if fsdp := trainer.get("fsdp"):
        return 2 if "shard_grad_op" in str(fsdp) else 3
    config = trainer.get("deepspeed")
    if isinstance(config, str):
        try:
            config = json.loads(Path(config).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"this DeepSpeed configuration cannot be read ({error})", config) from error
    return int(config.get("zero_optimization", {}).get("stage", 0)) if config else 0


@contextlib.contextmanager
def _pieces_as_on(gpu: bool) -> Iterator[None]:
    """Work in pieces as large as on the device that is meant; the fake tensors say that they are on a CPU."""
    before = output_head.CHUNK_LOGITS["cpu"], experts_function.NUMBERS_AT_ONCE["cpu"]
    if gpu:
        output_head.CHUNK_LOGITS["cpu"] = output_head.CHUNK_LOGITS["cuda"]
        experts_function.NUMBERS_AT_ONCE["cpu"] = experts_function.NUMBERS_ELSEWHERE
    try:
        yield
    finally:
        output_head.CHUNK_LOGITS["cpu"], experts_function.NUMBERS_AT_ONCE["cpu"] = before
