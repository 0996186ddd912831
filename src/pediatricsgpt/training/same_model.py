"""Whether a checkpoint is of the model that is to be trained on, asked before a trainer tries to load it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pediatricsgpt.errors import UserError

_SHAPE = (
    "model_type",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
    "tie_word_embeddings",
)
_ADAPTER = ("peft_type", "r", "num_experts", "lora_alpha", "use_rslora", "target_modules", "modules_to_save")


def check_checkpoint(checkpoint: Path, model: Any) -> None:
    """Refuse a checkpoint of another architecture.

    Args:
        checkpoint: a folder that a trainer wrote. One without `config.json` and `adapter_config.json` passes.
        model: what is trained, a model of transformers or an adapter around one.

    Raises:
        UserError: they differ in what decides the weights' names and shapes; each difference is named.
    """
    kept = _read(checkpoint / "adapter_config.json")
    adapters = getattr(model, "peft_config", None)
    if bool(adapters) != (kept is not None) and (kept is not None or _read(checkpoint / "config.json") is not None):
        what = ("an adapter", "a whole model") if kept is not None else ("a whole model", "an adapter")
        _refuse(checkpoint, [f"it is {what[0]}, and {what[1]} is trained"])
    if adapters and kept is not None:
        _refuse(checkpoint, list(_differences(kept, model.active_peft_config.to_dict(), _ADAPTER)))
        return
    whole = _read(checkpoint / "config.json")
    if whole is not None:
        _refuse(checkpoint, list(_differences(whole, model.config.to_dict(), _SHAPE)))


def _refuse(checkpoint: Path, differences: list[str]) -> None:
    if differences:
        raise UserError(
            f"this checkpoint is of another model: {', '.join(differences)}; train with the model that it was made "
            "with, or remove the folder to start anew",
            checkpoint,
        )


def _differences(kept: Mapping[str, Any], now: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        if name in kept and name in now and _plain(kept[name]) != _plain(now[name]):
            yield f"{name} {_told(kept[name])} there, {_told(now[name])} here"


def _plain(value: Any) -> Any:
    """Enumerations as their values, and lists in no order."""
    value = getattr(value, "value", value)
    return frozenset(value) if isinstance(value, (list, tuple, set)) else value


def _told(value: Any) -> str:
    value = _plain(value)
    return " ".join(sorted(map(str, value)))[:60] if isinstance(value, frozenset) else str(value)


def _read(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(
            f"this file of a checkpoint is damaged ({error}); remove the checkpoint's folder", path
        ) from error
    return found
