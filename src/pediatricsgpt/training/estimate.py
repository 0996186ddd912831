"""What a run will need, before anything starts: parameters, memory, tokens, time. Rough, and said so."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pediatricsgpt.models.settings import InitSettings
from pediatricsgpt.training.settings import ExpertsSettings, PhaseSettings

_BYTES = 4  # weights, gradients and AdamW's two moments are kept in float32
GIB = 1 << 30
TOKENS_PER_ROW = 200
"""Of an instruction or a piece of text, where only their number or their tokens are known"""
OPERATIONS_PER_CORE = 50e9
"""Floating-point operations a second, nominal: small models in float32 on a server's CPU core reach about this"""


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a decoder that memory and time depend on."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    head_dim: int
    vocabulary: int
    tied: bool

    @property
    def parameters(self) -> int:
        """Weights of a decoder with gated FFN and grouped-query attention; norms are left out (below 0.1 %)."""
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.key_value_heads)
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return self.layers * (attention + 3 * self.hidden * self.intermediate) + embeddings


def shape_of_init(settings: InitSettings, vocabulary: int) -> Shape:
    """The shape of a model that the recipe makes."""
    return Shape(
        hidden=settings.hidden_size,
        intermediate=settings.intermediate_size,
        layers=settings.num_hidden_layers,
        heads=settings.num_attention_heads,
        key_value_heads=settings.num_key_value_heads,
        head_dim=settings.head_dim,
        vocabulary=vocabulary,
        tied=True,
    )


def shape_of_folder(folder: Path) -> Shape | None:
    """The shape of a model folder by its config.json; None where that does not say it."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        heads = config["num_attention_heads"]
        return Shape(
            hidden=config["hidden_size"],
            intermediate=config["intermediate_size"],
            layers=config["num_hidden_layers"],
            heads=heads,
            key_value_heads=config.get("num_key_value_heads") or heads,
            head_dim=config.get("head_dim") or config["hidden_size"] // heads,
            vocabulary=config["vocab_size"],
            tied=bool(config.get("tie_word_embeddings", False)),
        )
    except (OSError, ValueError, KeyError):
        return None


def training_memory(shape: Shape, settings: PhaseSettings) -> int:
    """Bytes on one device: weights, gradients, AdamW, the frozen reference, activations and logits of one batch.

    Without sharding and gradient checkpointing; with either it is less.
    """
    batch = int(settings.trainer.get("per_device_train_batch_size", 8))
    preference = settings.trainer_kind == "dpo"
    tokens = batch * settings.max_length * (2 if preference else 1)
    weights = shape.parameters
    trained = _expert_parameters(shape, settings) if isinstance(settings, ExpertsSettings) else weights
    # Per token and layer: about 14 activations of the residual stream's width and 3 of the FFN's.
    activations = tokens * shape.layers * (14 * shape.hidden + 3 * shape.intermediate)
    logits = 2 * tokens * shape.vocabulary
    return _BYTES * (weights * (2 if preference else 1) + 3 * trained + activations + logits)


def _expert_parameters(shape: Shape, settings: ExpertsSettings) -> int:
    """Parameters of the experts on the adapted linears, with router and noise."""
    experts = settings.num_experts
    return shape.layers * sum(
        (experts + 1) * settings.r * (width_in + width_out) + 2 * experts * width_in
        for width_in, width_out in _adapted(shape, settings.target_modules)
    )


def _adapted(shape: Shape, targets: str | list[str]) -> list[tuple[int, int]]:
    """(in, out) widths of the linears of one layer that `target_modules` means, under the names of Llama and Qwen."""
    query, value = shape.heads * shape.head_dim, shape.key_value_heads * shape.head_dim
    hidden, intermediate = shape.hidden, shape.intermediate
    attention = {
        "q_proj": (hidden, query),
        "k_proj": (hidden, value),
        "v_proj": (hidden, value),
        "o_proj": (query, hidden),
    }
    ffn = {"gate_proj": (hidden, intermediate), "up_proj": (hidden, intermediate), "down_proj": (intermediate, hidden)}
    words = {"attention": attention, "ffn": ffn, "all-linear": attention | ffn}
    chosen: dict[str, tuple[int, int]] = {}
    for target in [targets] if isinstance(targets, str) else targets:
        # A name of another family is in one of these places too: an FFN linear is the nearest guess.
        known = {name: size for name, size in (attention | ffn).items() if name == target.rsplit(".", 1)[-1]}
        chosen |= words.get(target) or known or {target: (hidden, intermediate)}
    return list(chosen.values())


@dataclass(frozen=True, slots=True)
class SetSize:
    """How much a training set holds; `tokens` is that of one pass."""

    rows: int
    tokens: int

    @classmethod
    def of_tokens(cls, tokens: float) -> SetSize:
        """A set of which only the tokens are known."""
        return cls(max(1, round(tokens / TOKENS_PER_ROW)), round(tokens))


def steps(data: SetSize, settings: PhaseSettings) -> int:
    """Optimiser steps, from `max_steps` or from the epochs over full packed sequences or single rows."""
    fixed = int(settings.trainer.get("max_steps", -1))
    if fixed > 0:
        return fixed
    sequences = data.tokens / settings.max_length if getattr(settings, "packing", False) else data.rows
    return max(1, round(float(settings.trainer.get("num_train_epochs", 3)) * sequences / _sequences_per_step(settings)))


def _sequences_per_step(settings: PhaseSettings) -> int:
    batch = int(settings.trainer.get("per_device_train_batch_size", 8))
    return batch * int(settings.trainer.get("gradient_accumulation_steps", 1))


def trained_tokens(data: SetSize, settings: PhaseSettings) -> int:
    """Tokens that all steps of a phase see together; of preference pairs, those of both sides."""
    if getattr(settings, "packing", False):
        length = float(settings.max_length)
    else:
        length = min(data.tokens / max(1, data.rows), settings.max_length)
    return round(steps(data, settings) * _sequences_per_step(settings) * length)


def training_operations(shape: Shape, tokens: int, settings: PhaseSettings) -> float:
    """Floating-point operations of a phase over `tokens`.

    A parameter and token cost 2 forward, 2 for the gradient of the activations and 2 for that of the weight, which
    frozen weights do without; the frozen reference of preference training costs 2 more.
    """
    if isinstance(settings, ExpertsSettings):
        each = 4.0
    else:
        each = 8.0 if settings.trainer_kind == "dpo" else 6.0
    return each * shape.parameters * tokens


def seconds(operations: float, cores: int) -> float:
    """Time of that many operations on this many CPU cores, at a nominal rate."""
    return operations / (OPERATIONS_PER_CORE * cores)
