"""The mixture of universal-specific experts as a PEFT tuner: which layers get experts, and what PEFT may do to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, NoReturn

import torch
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_PREFIX_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.tuners_utils import BaseTuner
from torch import nn
from transformers.pytorch_utils import Conv1D

from pediatricsgpt.experts.balance import MainLoss, Routing
from pediatricsgpt.experts.config import EXPERTS_PEFT_TYPE, TARGET_WORDS, ExpertsConfig
from pediatricsgpt.experts.layer import MERGE_REFUSED, ExpertsLinear
from pediatricsgpt.experts.targets import check_matches, endings


class ExpertsModel(BaseTuner):
    """A model whose targeted linear layers are `ExpertsLinear`; made by `get_peft_model`, like any PEFT tuner.

    Merging is refused with its reason, except that of the universal expert (`merge_universal`); `unload()` gives the
    base model back.
    """

    prefix = "experts_"
    tuner_layer_cls = ExpertsLinear
    target_module_mapping: ClassVar[dict[str, list[str]]] = {}  # the configuration's default words replace it

    def __init__(self, model: nn.Module, peft_config: Any, adapter_name: str, *args: Any, **kwargs: Any) -> None:
        self._routing = Routing()  # before the layers are made: a plain object, which needs no nn.Module yet
        super().__init__(model, peft_config, adapter_name, *args, **kwargs)
        self.model.register_forward_pre_hook(self._note_batch, with_kwargs=True)

    @property
    def routing(self) -> Routing:
        """What the layers share: the mask of the batch, the balance loss, who watches the gates."""
        return self._routing

    def _note_batch(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        mask = kwargs.get("attention_mask")
        if isinstance(mask, torch.Tensor) and mask.dim() == 2:
            self._routing.mask = mask.reshape(-1).bool()
        else:
            self._routing.mask = None
        self._routing.factor = 1.0
        self._routing.values.clear()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's own output; with `balance_coefficient` and labels, its loss has the balance loss in it."""
        output = super().forward(*args, **kwargs)
        loss = getattr(output, "loss", None)
        if self.training and loss is not None and kwargs.get("labels") is not None:
            output.loss = self.with_balance(loss, _share_of_step(kwargs))
        return output

    def with_balance(self, loss: torch.Tensor, share: float | torch.Tensor = 1.0) -> torch.Tensor:
        """The loss of the latest forward pass with the load-balance loss added, ready for `backward()`.

        Needed only where a loss is computed outside of the model. Without it the layers add the gradient of the
        balance loss as if the main loss were multiplied by nothing.

        Args:
            loss: of this micro-batch.
            share: this micro-batch's part of the optimiser step, between 0 and 1.
        """
        if not self._routing.values:
            return loss
        balance = torch.stack([value.to(loss.device) for value in self._routing.values.values()]).sum()
        self._routing.values.clear()
        return MainLoss.apply(loss, balance, self._routing, share)

    def _prepare_adapter_config(self, peft_config: ExpertsConfig, _model_config: dict[str, Any]) -> ExpertsConfig:
        targets = peft_config.target_modules
        if isinstance(targets, str) and targets in TARGET_WORDS:
            peft_config.target_modules = endings(targets, self.model)
        elif targets is not None and not isinstance(targets, str):
            # Saved configurations hold names, never words: they load without knowing this table.
            peft_config.target_modules = [
                name
                for target in targets
                for name in (endings(target, self.model) if target in TARGET_WORDS else [target])
            ]
        check_matches(peft_config.target_modules, self.model)
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
        layer = ExpertsLinear(target, adapter_name, peft_config, self._routing)
        if adapter_name not in self.active_adapters:
            layer.requires_grad_(False)  # a further adapter is not trained before set_adapter says so
        self._replace_module(parent, target_name, layer, target)

    def _check_merge_allowed(self) -> NoReturn:
        raise NotImplementedError(MERGE_REFUSED)

    def merge_universal(self) -> None:
        """Add the universal expert to the base weights: W0 + s B_u A_u, computed in float32, rounded once.

        The universal expert sees every token ungated, so it is a plain low-rank update and no approximation. On a
        float32 base outputs stay the same; on a half-precision one the sum is rounded to the base's type, which moves
        outputs by about as much as that type's own rounding. B_u becomes zero, and the specific experts stay an
        adapter. The base model is changed for good: save it (`unload()` gives it) together with the adapter, and note
        that a disabled adapter no longer gives the old base.

        Raises:
            NotImplementedError: more than one adapter shares the base, a base layer is quantised or sharded, or it
                shares its weight with another module (a tied output head); nothing is changed then.
        """
        layers = {name: module for name, module in self.model.named_modules() if isinstance(module, ExpertsLinear)}
        adapters = {adapter for layer in layers.values() for adapter in layer.experts_A}
        if len(adapters) > 1:
            raise NotImplementedError(
                f"merge_universal changes the base model, which {len(adapters)} adapters share "
                f"({', '.join(adapters)}); delete the others first"
            )
        names = _names_of_weights(self.model)
        for name, layer in layers.items():
            base = layer.get_base_layer()
            if type(base) not in (nn.Linear, Conv1D) or type(base.weight.data) is not torch.Tensor:
                raise NotImplementedError(f"merge_universal needs plain weights; {name} is {type(base).__name__}")
            if len(names[base.weight]) > 1:
                raise NotImplementedError(
                    f"merge_universal would change other modules, too: {' and '.join(names[base.weight])} are one "
                    "weight; untie it first, or leave this layer out of target_modules"
                )
        with torch.no_grad():
            for layer in layers.values():
                for adapter in layer.experts_A:
                    layer.merge_universal(adapter)

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


def with_balance(model: nn.Module, loss: torch.Tensor, share: float | torch.Tensor = 1.0) -> torch.Tensor:
    """The loss with the load-balance loss of the experts in `model`, however it is wrapped; see `ExpertsModel`."""
    tuner = next((module for module in model.modules() if isinstance(module, ExpertsModel)), None)
    return loss if tuner is None else tuner.with_balance(loss, share)


def _names_of_weights(model: nn.Module) -> dict[torch.Tensor, list[str]]:
    """Every name of each weight: a shared one has several."""
    names: dict[torch.Tensor, list[str]] = {}
    for name, weight in model.named_parameters(remove_duplicate=False):
        names.setdefault(weight, []).append(name.replace(".base_layer.", "."))
    return names


def _share_of_step(kwargs: dict[str, Any]) -> float | torch.Tensor:
    """The part of an optimiser step that a micro-batch is, where the trainer says how many labels the step has."""
    labels, items = kwargs.get("labels"), kwargs.get("num_items_in_batch")
    if labels is None or items is None:
        return 1.0
    share: float | torch.Tensor = (labels[..., 1:] != -100).sum() / items
    return share
