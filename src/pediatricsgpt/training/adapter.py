"""An adapter around a base, where `target_modules` comes from a recipe: what is wrong with it is one line."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from peft import LoraConfig

from pediatricsgpt.errors import UserError
from pediatricsgpt.experts import get_peft_model
from pediatricsgpt.experts.config import TARGET_WORDS
from pediatricsgpt.experts.targets import check_matches, endings


def adapted(base: Any, config: Any, field: str, say: Callable[[str], None]) -> Any:
    """The base with an adapter; what there is to say of its layers is said in one line each.

    Args:
        base: a causal LM of transformers; changed in place.
        config: `ExpertsConfig`, or PEFT's `LoraConfig`, whose targets may be the same words as those of experts.
        field: of the recipe, that names the layers.
        say: tells a person.

    Raises:
        UserError: `target_modules` means no layer of this base; the nearest names are shown.
    """
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        try:
            if isinstance(config, LoraConfig):
                config.target_modules = _named(config.target_modules, base)
            model = get_peft_model(base, config)
        except ValueError as error:
            raise UserError(" ".join(str(error).split()), field) from error
    for warning in said:
        say(" ".join(str(warning.message).split()))
    return model


def _named(targets: str | Sequence[str] | None, base: Any) -> str | list[str]:
    """The names of layers that PEFT looks for, which knows neither our words nor what to say where nothing matches."""
    if targets == "all-linear":
        return "all-linear"
    words = [targets] if isinstance(targets, str) else targets or []
    names = [name for word in words for name in (endings(word, base) if word in TARGET_WORDS else [word])]
    check_matches(names, base)
    return names
