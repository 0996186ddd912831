"""What a run will need, before anything starts: parameters, memory, tokens, time. Rough, and said so."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pediatricsgpt.models.settings import InitSettings
from pediatricsgpt.training.settings import ExpertsSettings, PhaseSettings

_BYTES = 4  # weights, gradients and AdamW's two moments are kept in float32
GIB = 1 << 30


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
    """Parameters of the experts on the three FFN linears, with router and noise."""
    per_linear = (settings.num_experts + 1) * settings.r * (shape.hidden + shape.intermediate)
    routers = 2 * settings.num_experts * (2 * shape.hidden + shape.intermediate)
    return shape.layers * (3 * per_linear + routers)


def training_operations(shape: Shape, tokens: int) -> float:
    """Floating-point operations of forward and backward over `tokens`: six a parameter and token."""
    return 6.0 * shape.parameters * tokens


def steps(rows: int, settings: PhaseSettings) -> int:
    """Optimiser steps at one sequence a row; packing makes them fewer."""
    fixed = int(settings.trainer.get("max_steps", -1))
    if fixed > 0:
        return fixed
    batch = int(settings.trainer.get("per_device_train_batch_size", 8))
    batch *= int(settings.trainer.get("gradient_accumulation_steps", 1))
    return max(1, round(float(settings.trainer.get("num_train_epochs", 3)) * rows / batch))
