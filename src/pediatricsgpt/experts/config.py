"""Settings of the mixture of universal-specific experts, as a PEFT configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from peft import PeftConfig

EXPERTS_PEFT_TYPE = "UNIVERSAL_SPECIFIC_EXPERTS"
"""The `peft_type` in `adapter_config.json`. A plain string: PEFT's own enum is closed to other packages."""

TARGET_WORDS: dict[str, tuple[str, ...]] = {
    "ffn": (
        "gate_proj",
        "up_proj",
        "down_proj",
        "gate_up_proj",  # Phi-3, GLM-4
        "fc1",
        "fc2",
        "dense_h_to_4h",  # ChatGLM, GPT-NeoX, BLOOM
        "dense_4h_to_h",
        "mlp.c_fc",  # GPT-2
        "mlp.c_proj",
        "w1",  # Qwen 1, InternLM2
        "w2",
        "w3",
    ),
    "attention": (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "q_a_proj",  # MiniCPM3, DeepSeek: latent attention
        "q_b_proj",
        "kv_a_proj_with_mqa",
        "kv_b_proj",
        "self_attn.out_proj",  # OPT
        "qkv_proj",  # Phi-3
        "W_pack",  # Baichuan
        "query_key_value",  # ChatGLM, GPT-NeoX, BLOOM
        "attention.dense",
        "self_attention.dense",
        "attn.c_attn",  # GPT-2, Qwen 1
        "attn.c_proj",
        "wqkv",  # InternLM2
        "wo",
    ),
}
"""What the words of `target_modules` stand for: endings of module names, over the families of base models."""


@dataclass
class ExpertsConfig(PeftConfig):
    """Settings of one adapter made of one universal and `num_experts` specific low-rank experts per linear layer.

    Source: PediatricsGPT (NeurIPS 2024, arXiv 2405.19266), the mixture of universal-specific experts. The paper's
    published trade-off is T = 3 specific experts; rank, alpha and dropout are our defaults.

    Raises:
        ValueError: a number out of its range; the message names the field and the value.
    """

    r: int = 8
    """Rank of each expert, the universal one included"""
    lora_alpha: float = 16
    """Numerator of the scale s = lora_alpha / r that all experts share"""
    num_experts: int = 3
    """T, the number of specific (gated) experts; one universal (ungated) expert is always added"""
    dropout: float = 0.0
    """Dropout on the input of the experts while training; the router always sees the clean input"""
    noise: bool = True
    """Learned noise on the router's logits while training; without it the noise weights are kept, but frozen"""
    balance_coefficient: float = 0.0
    """Weight of the load-balance loss of the specific experts (see `balance.py`); the method itself has none"""
    use_rslora: bool = False
    """Scale by lora_alpha / sqrt(r) instead, which keeps the update's size independent of the rank"""
    target_modules: list[str] | str | None = None
    """Names of linear layers, a regular expression over full names, or a word: `ffn` (default), `attention`,
    `all-linear`; a list may mix names with the first two words"""
    exclude_modules: list[str] | str | None = None
    """Names, or a regular expression over full names, of layers to leave out"""
    modules_to_save: list[str] | None = None
    """Modules that are trained in full and saved with the adapter, for example `lm_head`"""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = EXPERTS_PEFT_TYPE
        if self.target_modules is None:
            self.target_modules = "ffn"
        if self.r < 1:
            raise ValueError(f"r is the rank of each expert and must be at least 1, got {self.r}")
        if self.num_experts < 1:
            raise ValueError(f"num_experts counts the specific experts and must be at least 1, got {self.num_experts}")
        if self.lora_alpha <= 0:
            raise ValueError(f"lora_alpha must be positive, got {self.lora_alpha}")
        if self.balance_coefficient < 0:
            raise ValueError(f"balance_coefficient must not be negative, got {self.balance_coefficient}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is a probability and must be in [0, 1), got {self.dropout}")

    @property
    def scaling(self) -> float:
        """The scale s of every expert: lora_alpha / r, or lora_alpha / sqrt(r) with `use_rslora`."""
        return float(self.lora_alpha / (self.r**0.5 if self.use_rslora else self.r))

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values; sets are sorted, so that equal adapters have equal configuration files."""
        return {key: sorted(value) if isinstance(value, set) else value for key, value in super().to_dict().items()}
