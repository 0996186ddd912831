"""Reading an adapter that the paper's authors' code saved, into our layer.

Their layer (a changed LoRA of PEFT) keeps, for each adapted linear layer:

    lora_moe_A  [T+1, d_in, r]    index 0 is the universal expert, which is not gated
    lora_moe_B  [T+1, r, d_out]
    lora_route.weight [T, d_in]   the router
    w_noise     [d_in, T]         the noise on its logits

with the scale on all experts. Their save filter keeps names that hold the adapter's name, and thereby drops the router
and the noise: such an adapter cannot be run as it was trained. It is refused, unless the caller accepts even shares.

Source: https://github.com/ydk122024/PediatricsGPT (MIT), `src/llmtuner/model/peft/tuners/lora`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model
from torch import Tensor, nn

from pediatricsgpt.errors import UserError
from pediatricsgpt.experts.config import ExpertsConfig
from pediatricsgpt.experts.layer import ExpertsLinear, linear_shape

_FILES = ("adapter_model.safetensors", "adapter_model.bin")
_NAME = re.compile(
    r"^(?:base_model\.model\.)?(?P<layer>.+)\.(?P<part>lora_moe_A|lora_moe_B|lora_route|w_noise)"
    r"(?:\.(?!weight$)[^.]+)?(?:\.weight)?$"
)


Layers = Mapping[str, Mapping[str, Tensor]]
"""Name of an adapted layer -> name in the release -> tensor"""


def load(base: nn.Module, folder: str | Path, *, spread_evenly: bool = False, adapter_name: str = "default") -> Any:
    """Put an adapter of the authors' release on its base model.

    Args:
        base: the base model that the adapter was trained on.
        folder: holds `adapter_config.json` and `adapter_model.safetensors` or `.bin` (read without running code).
        spread_evenly: where the router is missing, give every specific expert the share 1/T. The answers are then not
            those of the trained model.
        adapter_name: its name in the PEFT model.

    Returns:
        a `PeftModel` in evaluation mode; `save_pretrained` writes it in our own layout.

    Raises:
        UserError: a file is missing or of another kind, tensors do not fit the base or each other, or the router is
            missing and `spread_evenly` is not set.
    """
    folder = Path(folder)
    settings = _settings(folder)
    path = next((folder / name for name in _FILES if (folder / name).is_file()), None)
    if path is None:
        raise UserError(f"no adapter weights here ({' or '.join(_FILES)})", folder)
    layers = _layers(_tensors(path), path)
    config = _config(settings, layers, path)
    _check(base, layers, config, path, spread_evenly)
    model = get_peft_model(base, config, adapter_name=adapter_name)
    with torch.no_grad():
        for name, module in model.base_model.model.named_modules():
            if isinstance(module, ExpertsLinear):
                _fill(module, layers[name], adapter_name)
    return model.eval()


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / "adapter_config.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError("no adapter_config.json in this folder: it is not an adapter", folder) from None
    except ValueError as error:
        raise UserError(f"cannot read this as JSON: {error}", path) from error
    if not isinstance(settings, dict) or "r" not in settings or "lora_alpha" not in settings:
        raise UserError("this is no configuration of the authors' LoRA (r and lora_alpha are missing)", path)
    return settings


def _tensors(path: Path) -> Mapping[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            tensors: Mapping[str, Tensor] = load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, EOFError, ValueError, ImportError) as error:
        raise UserError(f"cannot read these weights: {str(error).splitlines()[0]}", path) from error
    except Exception as error:  # a pickle of something else than tensors, which torch refuses by a class of its own
        raise UserError(f"not opened: it holds more than tensors ({type(error).__name__})", path) from error
    if not isinstance(tensors, Mapping) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise UserError("these are no adapter weights: tensors by name are wanted", path)
    return tensors


def _layers(tensors: Mapping[str, Tensor], path: Path) -> dict[str, dict[str, Tensor]]:
    """The tensors by layer."""
    layers: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        match = _NAME.match(name)
        if match is None:
            raise UserError(f"'{name}' is no tensor of the authors' experts layer", path)
        layers.setdefault(match["layer"], {})[match["part"]] = tensor
    if not layers:
        raise UserError("this file holds no tensors", path)
    return layers


def _config(settings: Mapping[str, Any], layers: Layers, path: Path) -> ExpertsConfig:
    """Our settings for theirs; `lora_nums` counts the universal expert as well."""
    first = next(iter(layers.values())).get("lora_moe_A")
    experts = int(settings.get("lora_nums") or (0 if first is None else first.shape[0])) - 1
    if experts < 1:
        raise UserError("this adapter has no specific expert (lora_nums counts the universal one, too)", path)
    return ExpertsConfig(
        task_type=settings.get("task_type") or "CAUSAL_LM",
        base_model_name_or_path=settings.get("base_model_name_or_path"),
        r=int(settings["r"]),
        lora_alpha=float(settings["lora_alpha"]),
        num_experts=experts,
        dropout=float(settings.get("lora_dropout") or 0.0),
        use_rslora=bool(settings.get("use_rslora", False)),
        noise=all("w_noise" in layer for layer in layers.values()),
        target_modules="^(" + "|".join(re.escape(name) for name in layers) + ")$",
        inference_mode=True,
    )


def _check(base: nn.Module, layers: Layers, config: ExpertsConfig, path: Path, spread: bool) -> None:
    """Everything is there and fits, before the base is changed."""
    modules = dict(base.named_modules())
    unrouted = [name for name, layer in layers.items() if "lora_route" not in layer]
    if unrouted and not spread:
        raise UserError(
            f"{len(unrouted)} of {len(layers)} layers have no router (lora_route.weight): the authors' code does not "
            "save it, so this adapter cannot be run as it was trained. Ask for one with its router, or accept even "
            "shares with spread_evenly=True",
            path,
        )
    for name, layer in layers.items():
        if name not in modules:
            raise UserError(f"the base model has no layer '{name}'; is it the base of this adapter?", path)
        try:
            d_in, d_out = linear_shape(modules[name])
        except TypeError as error:
            raise UserError(f"'{name}' of the base model is of another kind: {error}", path) from error
        one, t, r = config.num_experts + 1, config.num_experts, config.r
        wanted = {
            "lora_moe_A": (one, d_in, r),
            "lora_moe_B": (one, r, d_out),
            "lora_route": (t, d_in),
            "w_noise": (d_in, t),
        }
        for part, shape in wanted.items():
            tensor = layer.get(part)
            if tensor is None and part.startswith("lora_moe"):
                raise UserError(f"'{name}' has no {part}", path)
            if tensor is not None and tuple(tensor.shape) != shape:
                raise UserError(f"{part} of '{name}' is {list(tensor.shape)}, and {list(shape)} is wanted", path)


def _fill(module: ExpertsLinear, parts: Mapping[str, Tensor], adapter: str) -> None:
    """Theirs into ours: expert by expert above one another in A, beside one another in B."""
    a, b = parts["lora_moe_A"], parts["lora_moe_B"]
    module.experts_A[adapter].weight.copy_(a.transpose(1, 2).flatten(0, 1))
    module.experts_B[adapter].weight.copy_(b.permute(2, 0, 1).flatten(1, 2))
    router, noise = module.experts_router[adapter].weight, module.experts_noise[adapter].weight
    nn.init.zeros_(router)  # without one, equal logits: every specific expert gets 1/T
    nn.init.zeros_(noise)
    if "lora_route" in parts:
        router.copy_(parts["lora_route"])
    if "w_noise" in parts:
        noise.copy_(parts["w_noise"].t())
