"""Baichuan and Baichuan2 as a transformers model: rotary positions in the 7B, ALiBi in the 13B.

Parameter names are those of the published checkpoints (`model.layers.0.self_attn.W_pack.weight`, ...). Sources: the
Baichuan 2 report (arXiv 2309.10305), RMSNorm (arXiv 1910.07467), SwiGLU (arXiv 2002.05202).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.cache_utils import Cache, DynamicCache
from transformers.generation import GenerationMixin
from transformers.masking_utils import create_causal_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, PreTrainedModel
from transformers.utils.generic import can_return_tuple, merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from pediatricsgpt.models import segments
from pediatricsgpt.models.baichuan.configuration import ALIBI, BaichuanConfig
from pediatricsgpt.models.baichuan.positions import PackedAlibi, alibi_mask, packed_alibi, rotary_angles, rotate


class BaichuanRMSNorm(nn.Module):
    """Division by the root mean square in float32, then a learned scale: [..., d] -> [..., d]."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension; the type is kept."""
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * wide.to(x.dtype)


class BaichuanMLP(nn.Module):
    """The gated feed-forward network: down(act(gate(x)) * up(x))."""

    def __init__(self, config: BaichuanConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.act_fn = ACT2FN[config.hidden_act]

    def forward(self, x: Tensor) -> Tensor:
        """[..., d] -> [..., d]."""
        down: Tensor = self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))
        return down


def eager_attention(
    _: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float, **__: Any
) -> tuple[Tensor, Tensor]:
    """Attention written out, for transformers' interface: output [batch, length, heads, d] and the weights."""
    scores = query @ key.transpose(2, 3) * scaling
    if mask is not None:
        scores = scores + mask
    weights = scores.softmax(dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(query.dtype)
    return (weights @ value).transpose(1, 2).contiguous(), weights


class BaichuanAttention(nn.Module):
    """Self-attention with one fused projection `W_pack` for queries, keys and values."""

    def __init__(self, config: BaichuanConfig, layer_idx: int) -> None:
        super().__init__()
        self.config = config
        self.layer_idx = layer_idx
        self.head_dim = config.head_dim
        self.num_key_value_groups = 1
        self.scaling = self.head_dim**-0.5
        self.attention_dropout = 0.0
        self.is_causal = True
        self.W_pack = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=False)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | PackedAlibi | None = None,
        past_key_values: Cache | None = None,
        angles: tuple[Tensor, Tensor] | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """[batch, length, d] -> the same, and the weights where the implementation gives them."""
        packed = self.W_pack(hidden_states).unflatten(-1, (3, -1, self.head_dim))
        query, key, value = (part.transpose(1, 2) for part in packed.unbind(dim=2))
        if angles is not None:
            query, key = rotate(query, *angles), rotate(key, *angles)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        if isinstance(attention_mask, PackedAlibi):
            return self.o_proj(attention_mask.attend(query, key, value, self.scaling).flatten(2)), None
        attend: Callable[..., tuple[Tensor, Tensor | None]] = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention
        )
        output, weights = attend(self, query, key, value, attention_mask, dropout=0.0, scaling=self.scaling, **kwargs)
        return self.o_proj(output.flatten(2)), weights


class BaichuanDecoderLayer(GradientCheckpointingLayer):
    """Attention and feed-forward network, each behind a norm and around a residual connection."""

    def __init__(self, config: BaichuanConfig, layer_idx: int) -> None:
        super().__init__()
        self.self_attn = BaichuanAttention(config, layer_idx)
        self.mlp = BaichuanMLP(config)
        self.input_layernorm = BaichuanRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = BaichuanRMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, hidden_states: Tensor, **kwargs: Any) -> Tensor:
        """[batch, length, d] -> [batch, length, d]."""
        attended, _ = self.self_attn(self.input_layernorm(hidden_states), **kwargs)
        hidden_states = hidden_states + attended
        output: Tensor = hidden_states + self.mlp(self.post_attention_layernorm(hidden_states))
        return output


class NormHead(nn.Linear):
    """An output head whose rows have length 1 at use: logit_v = w_v · h / |w_v| (NormHead of the Baichuan 2 report).

    The stored weight stays as it was loaded or trained, in training and in inference alike. The published code
    overwrites it with its normalised form at the first inference, which computes the same.
    Whoever computes logits from `weight` without calling the module (fused or chunked losses) leaves the norm out.
    """

    def forward(self, hidden_states: Tensor) -> Tensor:
        """[..., d] -> [..., vocabulary], type kept."""
        # Dividing the logits rather than the weight spares a copy of the largest matrix of the model.
        return F.linear(hidden_states, self.weight).mul_(self._lengths().reciprocal())

    def fold(self) -> None:
        """Store the rows with length 1, in place: the outputs stay, also for readers that know of no norm (GGUF)."""
        with torch.no_grad():
            self.weight.copy_(self.weight / self._lengths()[:, None])

    def _lengths(self) -> Tensor:
        wide = torch.promote_types(self.weight.dtype, torch.float32)
        return torch.linalg.vector_norm(self.weight, dim=1, dtype=wide).clamp_min(1e-12)


class BaichuanPreTrainedModel(PreTrainedModel):
    """What transformers has to know of the family."""

    config: BaichuanConfig
    config_class = BaichuanConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules: ClassVar[list[str]] = ["BaichuanDecoderLayer"]
    _skip_keys_device_placement: ClassVar[list[str]] = ["past_key_values"]
    _keys_to_ignore_on_load_unexpected: ClassVar[list[str]] = [r"rotary_emb\.inv_freq"]
    _supports_sdpa = True
    _supports_flash_attn = True  # rotary models; the others are refused in `BaichuanModel.forward`
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_record_outputs: ClassVar[dict[str, type]] = {
        "hidden_states": BaichuanDecoderLayer,
        "attentions": BaichuanAttention,
    }


class BaichuanModel(BaichuanPreTrainedModel):
    """The decoder without its output head."""

    def __init__(self, config: BaichuanConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.layers = nn.ModuleList(BaichuanDecoderLayer(config, index) for index in range(config.num_hidden_layers))
        self.norm = BaichuanRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.gradient_checkpointing = False
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """Hidden states [batch, length, d] of tokens [batch, length].

        Documents packed into one row are kept apart where `position_ids` start again, in both sizes; give no
        `attention_mask` and no filled cache then. With `models.segments.use_segments` that takes no mask of all tokens
        by all tokens.

        Args:
            attention_mask: 1 for tokens and 0 for padding [batch, seen + length]; or a ready 4-D mask.

        Raises:
            ValueError: tokens and embeddings, or neither; an attention implementation that has no ALiBi; or, in the
                13B, prompts that documents share (`models.segments.sharing_prompts`).
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        hidden_states: Tensor = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        seen = 0 if past_key_values is None else past_key_values.get_seq_length()
        if position_ids is None:
            position_ids = (torch.arange(hidden_states.shape[1], device=hidden_states.device) + seen).unsqueeze(0)
        # transformers looks for packed documents only where there is no cache: one made below is none yet.
        mask: Any = self._mask(hidden_states, attention_mask, position_ids, past_key_values, seen)
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        alibi = self.config.position_embedding == ALIBI
        angles = None if alibi else rotary_angles(position_ids, self.config.head_dim)
        for layer in self.layers:
            hidden_states = layer(
                hidden_states,
                attention_mask=mask,
                position_ids=position_ids,
                past_key_values=past_key_values,
                use_cache=use_cache,
                angles=angles,
                **kwargs,
            )
        return BaseModelOutputWithPast(last_hidden_state=self.norm(hidden_states), past_key_values=past_key_values)

    def _mask(
        self, x: Tensor, padding: Tensor | None, position_ids: Tensor, cache: Cache | None, seen: int | Tensor
    ) -> Tensor | PackedAlibi | None:
        alibi = self.config.position_embedding == ALIBI
        implementation = self.config._attn_implementation
        if alibi and implementation not in ("eager", "sdpa", segments.NAME):
            raise ValueError(
                f"attention '{implementation}' does not know the ALiBi positions of this model; "
                "load it with attn_implementation='sdpa'"
            )
        mask: Tensor | segments.Segments | None = create_causal_mask(
            config=self.config,
            inputs_embeds=x,
            attention_mask=padding,
            past_key_values=cache,
            position_ids=position_ids,
            allow_is_causal_skip=not alibi,
        )
        if not alibi:
            return mask
        heads, dtype = self.config.num_attention_heads, _attention_dtype(x)
        if isinstance(mask, segments.Segments):
            if mask.prompts is not None:
                raise ValueError("shared prompts are not known to the ALiBi positions of this model")
            return packed_alibi(mask.lengths, heads, x, dtype)
        return alibi_mask(mask, heads, seen, dtype)


def _attention_dtype(x: Tensor) -> torch.dtype:
    """The type that attention computes in: masks rounded later to a narrower one would become infinite."""
    device = x.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return x.dtype


class BaichuanForCausalLM(BaichuanPreTrainedModel, GenerationMixin):
    """Baichuan or Baichuan2, 7B or 13B, with its output head."""

    def __init__(self, config: BaichuanConfig) -> None:
        super().__init__(config)
        self.model = BaichuanModel(config)
        self.vocab_size = config.vocab_size
        head = NormHead if config.normalized_head else nn.Linear
        self.lm_head = head(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits [batch, length, vocabulary], and the mean next-token loss where labels are given.

        Args:
            labels: token ids, -100 where there is no loss; shifted by one in the loss function.
            logits_to_keep: the last n positions (0: all), or indices of positions.

        Raises:
            ValueError: labels for a configuration with a z-loss.
        """
        if labels is not None and self.config.z_loss_weight:
            raise ValueError(f"z_loss_weight {self.config.z_loss_weight} is not supported in training; set it to 0")
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, kept])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    def _get_resized_lm_head(self, old_lm_head: nn.Linear, *args: Any, **kwargs: Any) -> nn.Linear:
        # transformers makes a plain linear layer of another size; the norm must outlive it.
        head: nn.Linear = super()._get_resized_lm_head(old_lm_head, *args, **kwargs)
        if isinstance(old_lm_head, NormHead):
            head.__class__ = NormHead
        return head


__all__ = ["BaichuanForCausalLM", "BaichuanModel", "BaichuanPreTrainedModel"]
