"""The shape of a Baichuan model, read from the published `config.json` files as they are."""

from __future__ import annotations

from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

ROTARY, ALIBI = "rotary", "alibi"
_WIDTHS = {4096: ROTARY, 5120: ALIBI}
_FIRST_GENERATION_VOCABULARY = 64_000
_LONGEST = 4096


@strict
class BaichuanConfig(PreTrainedConfig):
    """Settings of Baichuan(2)-7B and -13B; the defaults are those of Baichuan2-7B.

    The published files carry the same `model_type` and `architectures` for both sizes, so two facts are worked out
    when a file does not state them: which positions the model knows (by the published widths, else by whether the
    file has `max_position_embeddings`, which only those of the rotary models do), and whether its output head is
    normalised (by the vocabulary: that of the first generation, whose head is plain, has 64,000 tokens).
    """

    model_type = "baichuan"
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]

    vocab_size: int = 125_696
    hidden_size: int = 4096
    intermediate_size: int = 11_008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    hidden_act: str = "silu"
    max_position_embeddings: int | None = None
    """Trained length in tokens; from `model_max_length` where a file has only that"""
    model_max_length: int | None = None
    """The published name of the same number"""
    position_embedding: str | None = None
    """`rotary` (7B) or `alibi` (13B); worked out where a file does not say"""
    normalized_head: bool | None = None
    """Whether the rows of `lm_head.weight` are divided by their length at use (Baichuan2); worked out likewise"""
    initializer_range: float = 0.02
    rms_norm_eps: float = 1e-6
    use_cache: bool = True
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2
    tie_word_embeddings: bool = False
    z_loss_weight: float | int = 0
    """Weight of an auxiliary loss on large logits; 0 in all published files, and nothing else is trained here"""

    def __post_init__(self, **kwargs: Any) -> None:
        # They name Python files of the original folder, which a saved copy does not have and we do not run.
        kwargs.pop("auto_map", None)
        if self.position_embedding is None:
            by_field = ALIBI if self.max_position_embeddings is None else ROTARY
            self.position_embedding = _WIDTHS.get(self.hidden_size, by_field)
        if self.normalized_head is None:
            self.normalized_head = self.vocab_size != _FIRST_GENERATION_VOCABULARY
        self.max_position_embeddings = self.max_position_embeddings or self.model_max_length or _LONGEST
        self.model_max_length = self.model_max_length or self.max_position_embeddings
        super().__post_init__(**kwargs)

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def num_key_value_heads(self) -> int:
        """Heads of keys and values: as many as of queries."""
        return self.num_attention_heads

    def validate_architecture(self) -> None:
        """Refuse shapes that no Baichuan model has (called by transformers).

        Raises:
            ValueError: the heads do not divide the width, or the kind of positions is unknown.
        """
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}"
            )
        if self.position_embedding not in (ROTARY, ALIBI):
            raise ValueError(f"position_embedding is '{self.position_embedding}'; it must be '{ROTARY}' or '{ALIBI}'")
