"""Which layers of a model `target_modules` means, and what is said where it means none."""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Sequence

from torch import nn
from transformers.pytorch_utils import Conv1D

from pediatricsgpt.experts.config import TARGET_WORDS

_FUSED = ("gate_up_proj", "down_proj")
_SHOWN = 12


def endings(word: str, model: nn.Module) -> list[str]:
    """The endings that a word of `target_modules` stands for, as far as this model has them.

    Where only some layers have a dense feed-forward network, a warning says how many get experts.

    Raises:
        ValueError: the model has none of them.
    """
    dotted = [f".{name}" for name, _ in model.named_modules()]
    found = {
        ending: [name for name in dotted if name.endswith(f".{ending}")]
        for ending in TARGET_WORDS[word]
        if any(name.endswith(f".{ending}") for name in dotted)
    }
    fused = _fused_networks(model) if word == "ffn" else 0
    if fused and not found:
        raise ValueError(
            "target_modules 'ffn': the feed-forward networks of this model are fused expert tensors, not linear "
            "layers; use target_modules: attention, or a dense base"
        )
    if not found:
        raise ValueError(
            f"target_modules '{word}' fits no layer of this model (looked for {', '.join(TARGET_WORDS[word])}); "
            f"name the model's own linear layers instead: {_listed(_linear_names(model))}"
        )
    if fused:
        dense = {name.rsplit(".", 1)[0] for names in found.values() for name in names}
        warnings.warn(
            f"target_modules 'ffn': {len(dense)} dense feed-forward networks get experts, {fused} that are fused "
            "expert tensors get none",
            stacklevel=2,
        )
    return list(found)


def check_matches(targets: str | Sequence[str] | None, model: nn.Module) -> None:
    """Refuse targets that match no module, before PEFT does without saying what the model has.

    Args:
        targets: names (or endings of names), or one regular expression over full names; `all-linear` and None pass.
        model: that gets the adapter. One that has experts already names them by the layers that it had.

    Raises:
        ValueError: nothing matches; the nearest names are shown. A single name among several that matches nothing is
            a warning.
    """
    if not targets or targets == "all-linear":
        return
    names = [name for name, _ in model.named_modules()]
    if isinstance(targets, str):
        if not any(re.fullmatch(targets, name) for name in names):
            raise ValueError(f"target_modules '{targets}' matches no layer of this model; {_nearest(targets, model)}")
        return
    ends = {name[at:] for name in names for at in [0, *(dot.end() for dot in re.finditer(r"\.", name))]}
    missing = [target for target in targets if target not in ends]
    if not missing:
        return
    what = "; ".join(
        f"target_modules '{name}' matches no layer of this model, {_nearest(name, model)}" for name in missing
    )
    if len(missing) == len(set(targets)):
        raise ValueError(what)
    warnings.warn(what, stacklevel=2)


def _nearest(target: str, model: nn.Module) -> str:
    names = _linear_names(model)
    near = difflib.get_close_matches(target.rsplit(".", 1)[-1], names, n=3, cutoff=0.5)
    return f"nearest: {', '.join(near)}" if near else f"its linear layers are {_listed(names)}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _linear_names(model: nn.Module) -> list[str]:
    """Last parts of the names of all linear layers."""
    linear = (name for name, module in model.named_modules() if isinstance(module, (nn.Linear, Conv1D)))
    return sorted({name.rsplit(".", 1)[-1] for name in linear})


def _fused_networks(model: nn.Module) -> int:
    """Feed-forward networks whose experts are one tensor [experts, out, in] a matrix, as in transformers' mixtures."""
    return sum(
        any(name in _FUSED and weight.dim() == 3 for name, weight in module.named_parameters(recurse=False))
        for module in model.modules()
    )
