"""Tiny models: shapes and configurations of them, and one with the demo's tokenizer, made once a session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pediatricsgpt.models.settings import InitSettings, ModelSettings

REPOSITORY = Path(__file__).parents[1]
SHAPE = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def tiny_config(family: str, **own: Any) -> Any:
    """transformers' configuration of a small model of a family (`qwen3`); `own` adds to its shape or changes it."""
    from transformers import AutoConfig

    return AutoConfig.for_model(family, **{**SHAPE, **own})


@pytest.fixture(scope="session")
def tiny_model() -> ModelSettings:
    """A decoder of some thousand parameters."""
    shape = InitSettings(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=256,
    )
    return ModelSettings(init=shape, tokenizer=REPOSITORY / "examples/tokenizer")


@pytest.fixture(scope="session")
def model_folder(tiny_model: ModelSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with random weights."""
    from pediatricsgpt.models.load import make_base

    folder = tmp_path_factory.mktemp("model")
    make_base(tiny_model, folder, REPOSITORY, seed=3)
    return folder


@pytest.fixture(scope="session")
def loaded(model_folder: Path) -> Any:
    """The same, loaded."""
    from pediatricsgpt.models.load import load

    return load(model_folder)
