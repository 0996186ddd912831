"""Baichuan and Baichuan2 (7B and 13B) for current transformers, without the remote code of their checkpoints.

    from pediatricsgpt.models import baichuan

    baichuan.register()
    model = transformers.AutoModelForCausalLM.from_pretrained("folder or hub id of the published checkpoint")

`pediatricsgpt.models.load` registers them by itself.
"""

from __future__ import annotations

from pediatricsgpt.models.baichuan.configuration import BaichuanConfig


def register(weights: bool = True) -> None:
    """Make transformers' `Auto` classes open `model_type: baichuan` with our classes; may be repeated.

    Args:
        weights: also those that hold weights, which import torch; without them, settings and tokenizer alone.
    """
    from transformers import AutoConfig, AutoTokenizer

    from pediatricsgpt.models.baichuan.tokenization import BaichuanTokenizer

    AutoConfig.register(BaichuanConfig.model_type, BaichuanConfig, exist_ok=True)
    AutoTokenizer.register(BaichuanConfig, tokenizer_class=BaichuanTokenizer, exist_ok=True)
    if weights:
        from transformers import AutoModel, AutoModelForCausalLM

        from pediatricsgpt.models.baichuan.modelling import BaichuanForCausalLM, BaichuanModel

        AutoModel.register(BaichuanConfig, BaichuanModel, exist_ok=True)
        AutoModelForCausalLM.register(BaichuanConfig, BaichuanForCausalLM, exist_ok=True)


__all__ = ["BaichuanConfig", "register"]
