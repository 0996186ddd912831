"""The mixture of universal-specific experts as a PEFT tuner: which layers get experts, and what PEFT may do to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, NoReturn

from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_PREFIX_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.tuners_utils import BaseTuner
from torch import nn

from pediatricsgpt.experts.config import EXPERTS_PEFT_TYPE, TARGET_WORDS, ExpertsConfig
from pediatricsgpt.experts.layer import MERGE_REFUSED, ExpertsLinear


class ExpertsModel(BaseTuner):
    """A model whose targeted linear layers are `ExpertsLinear`; made by `get_peft_model`, like any PEFT tuner.

    Merging is refused with its reason; `unload()` gives the base model back.
    """

    prefix = "experts_"
    tuner_layer_cls = ExpertsLinear
    target_module_mapping: ClassVar[dict[str, list[str]]] = {}  # the configuration's default words replace it

    def _prepare_adapter_config(self, peft_config: ExpertsConfig, _model_config: dict[str, Any]) -> ExpertsConfig:
        targets = peft_config.target_modules
        names = [name for name, _ in self.model.named_modules()]
        if isinstance(targets, str) and targets in TARGET_WORDS:
            peft_config.target_modules = _endings(targets, names)
        elif targets is not None and not isinstance(targets, str):
            # Saved configurations hold names, never words: they load without knowing this table.
            peft_config.target_modules = [
                name for target in targets for name in (_endings(target, names) if target in TARGET_WORDS else [target])
            ]
        return peft_config

    def _create_and_replace(
        self,
        peft_config: ExpertsConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        **_: Any,
    ) -> None:
        if isinstance(target, ExpertsLinear):
            target.update_layer(adapter_name, peft_config)
            return
        layer = ExpertsLinear(target, adapter_name, peft_config)
        if adapter_name not in self.active_adapters:
            layer.requires_grad_(False)  # a further adapter is not trained before set_adapter says so
        self._replace_module(parent, target_name, layer, target)

    def _check_merge_allowed(self) -> NoReturn:
        raise NotImplementedError(MERGE_REFUSED)

    @contextmanager
    def _enable_peft_forward_hooks(self, *_: Any, **kwargs: Any) -> Iterator[None]:
        # PEFT drops this argument silently for tuners that do not know it, and answers with the active adapter.
        if kwargs.get("adapter_names") is not None:
            raise NotImplementedError("adapter_names (one adapter per row) is not supported; use set_adapter per batch")
        yield


def register() -> None:
    """Make PEFT know the tuner, for `get_peft_model`, `from_pretrained` and the `Auto` classes; may be repeated.

    PEFT's `register_peft_method` refuses names outside its enum, hence the three maps that it would fill.
    """
    PEFT_TYPE_TO_CONFIG_MAPPING[EXPERTS_PEFT_TYPE] = ExpertsConfig
    PEFT_TYPE_TO_TUNER_MAPPING[EXPERTS_PEFT_TYPE] = ExpertsModel
    PEFT_TYPE_TO_PREFIX_MAPPING[EXPERTS_PEFT_TYPE] = ExpertsModel.prefix


def _endings(word: str, module_names: Iterable[str]) -> list[str]:
    """The endings that a word of `target_modules` stands for, as far as this model has them.

    Raises:
        ValueError: the model has none of them.
    """
    dotted = [f".{name}" for name in module_names]
    found = [ending for ending in TARGET_WORDS[word] if any(name.endswith(f".{ending}") for name in dotted)]
    if not found:
        raise ValueError(
            f"target_modules '{word}' fits no layer of this model (looked for {', '.join(TARGET_WORDS[word])}); "
            "name the model's own linear layers instead"
        )
    return found
