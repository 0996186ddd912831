"""Settings of the base model."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from pediatricsgpt.settings import Settings


class InitSettings(Settings):
    """A small decoder with random weights, made on the spot: for demonstrations, tests and ablations."""

    architecture: Literal["qwen3"] = "qwen3"
    """Model family; its class comes from transformers"""
    hidden_size: int = Field(default=384, ge=16)
    """Width of the residual stream"""
    intermediate_size: int = Field(default=1024, ge=16)
    """Width of the feed-forward network"""
    num_hidden_layers: int = Field(default=6, ge=1)
    """Number of decoder layers"""
    num_attention_heads: int = Field(default=6, ge=1)
    """Number of query heads"""
    num_key_value_heads: int = Field(default=2, ge=1)
    """Number of key-value heads; must divide the number of query heads"""
    head_dim: int = Field(default=64, ge=8)
    """Width of a head"""
    max_position_embeddings: int = Field(default=2048, ge=64)
    """Longest sequence in tokens"""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_attention_heads ({self.num_attention_heads}) is not a multiple of num_key_value_heads "
                f"({self.num_key_value_heads}); choose a divisor"
            )
        return self


class ModelSettings(Settings):
    """The base model: `base` names an existing one, `init` makes one."""

    base: str | None = None
    """A folder (relative to the recipe) or a hub id of a causal language model"""
    revision: str | None = None
    """Hub revision of `base`: a commit makes a run repeatable"""
    init: InitSettings | None = None
    """Make a new model with random weights of this shape"""
    tokenizer: Path | None = None
    """Folder with tokenizer.json, relative to the recipe; needed with `init`"""
    chat_template: Path | None = None
    """A Jinja file that replaces the base's chat template; null keeps the base's own (ChatML with `init`)"""
    trust_remote_code: bool = False
    """Run Python code that comes with `base`; only for models whose code you have read"""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.base is None) == (self.init is None):
            raise ValueError("set exactly one of 'base' (an existing model) and 'init' (a new one)")
        if self.init is not None and self.tokenizer is None:
            raise ValueError("'init' needs 'tokenizer': the folder of a tokenizer.json")
        return self
