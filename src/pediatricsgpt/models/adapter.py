"""Adapter folders: what they say they stand on, and putting them there whole. PEFT's own layout and the authors'."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pediatricsgpt.errors import UserError, require_extra
from pediatricsgpt.manifest import MANIFEST
from pediatricsgpt.models.opening import is_hub_id, read_object, told

CONFIG = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
EXPERTS = "UNIVERSAL_SPECIFIC_EXPERTS"
"""`peft_type` of the mixture of experts; written out, because the package that names it imports torch"""
_RELEASED = "lora_nums"  # a setting that only the authors' changed LoRA has
_RELEASED_TENSOR, _RELEASED_ROUTER = "lora_moe_", "lora_route"


def settings_of(folder: Path) -> dict[str, Any]:
    """What `adapter_config.json` says.

    Raises:
        UserError: it is damaged.
    """
    return read_object(folder / CONFIG)


def weights_of(folder: Path) -> Path:
    """The file with an adapter's weights.

    Raises:
        UserError: there is none.
    """
    found = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if found is None:
        raise UserError("no weights in this adapter (adapter_model.safetensors); fetch or train it again", folder)
    return found


def base_of(folder: Path, settings: Mapping[str, Any]) -> str:
    """Where the model below an adapter lies, also after both were moved: in runs and exports they lie side by side.

    Args:
        folder: the adapter's.
        settings: its `adapter_config.json`.

    Returns:
        a folder from the root, or a hub id.

    Raises:
        UserError: the adapter names no base, or one that is not there.
    """
    named = str(settings.get("base_model_name_or_path") or "")
    if not named:
        raise UserError("the adapter does not say what its base is (base_model_name_or_path); add it", folder)
    own = folder.resolve()
    beside = [own.parent / Path(named).name] if (own / MANIFEST).is_file() else []
    relative = [own / named] if named.startswith(".") else []
    for place in (*beside, *relative, Path(named).expanduser()):
        if place.is_dir():
            return str(place.resolve())
    if is_hub_id(named):
        return named
    raise UserError(
        f"the base of this adapter is not there ({named}); put it there, or correct base_model_name_or_path in its "
        f"{CONFIG}",
        folder,
    )


def is_released(folder: Path, settings: Mapping[str, Any]) -> bool:
    """Whether an adapter is one that the paper's authors' code saved (`experts.release`).

    It calls itself a LoRA, and PEFT would put an empty one of that kind on the base in its place.
    """
    if settings.get("peft_type") == EXPERTS:
        return False
    return _RELEASED in settings or any(_RELEASED_TENSOR in name for name in _tensor_names(weights_of(folder)))


def _tensor_names(path: Path) -> list[str]:
    with told("cannot read these weights", path):
        if path.suffix == ".bin":
            import torch

            return [str(name) for name in torch.load(path, map_location="meta", weights_only=True)]
        from safetensors import safe_open

        with safe_open(path, framework="pt") as file:
            return list(file.keys())


def check_router(folder: Path) -> None:
    """Find out before minutes of loading a base whether an adapter of the authors' can be run as it was trained.

    Raises:
        UserError: its router is missing, as in everything that their code saved.
    """
    path = weights_of(folder)
    if not any(_RELEASED_ROUTER in name for name in _tensor_names(path)):
        raise UserError(
            "this adapter of the authors' layout has no router (lora_route.weight), which their code does not save, so "
            "it cannot be run as it was trained; ask for one with its router (docs/models.md says how to open this one "
            "with even shares)",
            path,
        )


def put_on(base: Any, folder: Path, settings: Mapping[str, Any], trainable: bool) -> Any:
    """The base with the adapter on it, every weight of which comes from its file.

    Args:
        base: the model that it was trained on.
        folder: the adapter's.
        settings: its `adapter_config.json`.
        trainable: whether its weights are to be trained on.

    Returns:
        a `PeftModel`.

    Raises:
        UserError: PEFT is not installed; the adapter is damaged, or does not fit the base.
    """
    try:
        from peft import PeftModel

        from pediatricsgpt.experts import release  # its package registers the experts tuner with PEFT
    except ImportError as error:
        raise require_extra("train", error) from error
    if is_released(folder, settings):
        return _train(release.load(base, folder), trainable)
    where = getattr(base, "name_or_path", None) or settings.get("base_model_name_or_path") or "?"
    with told(f"the adapter does not fit its base {Path(str(where)).name}", folder), warnings.catch_warnings():
        # PEFT leaves a fresh adapter, which does nothing, where the file has none, and only warns.
        warnings.filterwarnings("error", message=".*missing adapter keys", category=UserWarning)
        model = PeftModel.from_pretrained(base, str(folder), is_trainable=trainable)
        surplus = _surplus(model, folder)
    if surplus:
        raise UserError(
            f"the adapter does not fit its base: {len(surplus)} of its weights have no place there ({surplus[0]}); is "
            "it the base that the adapter was trained on?",
            folder,
        )
    return model


def _train(model: Any, trainable: bool) -> Any:
    if trainable:
        for name, settings in model.peft_config.items():
            settings.inference_mode = False
            model.set_requires_grad(name)
    return model


def _surplus(model: Any, folder: Path) -> list[str]:
    """Weights that the base has no place for, as those of a larger one. PEFT tells of them at a second look alone."""
    from peft.mapping import PEFT_TYPE_TO_PREFIX_MAPPING

    (name, settings), *_ = model.peft_config.items()
    prefix = PEFT_TYPE_TO_PREFIX_MAPPING.get(settings.peft_type)
    if not prefix or settings.is_prompt_learning:  # a prompt has no place in a layer
        return []
    result = model.load_adapter(str(folder), name, is_trainable=not settings.inference_mode)
    return [key for key in result.unexpected_keys if prefix in key]
