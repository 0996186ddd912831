"""Attention over packed sequences: each document attends to itself alone, without a mask of all tokens by all tokens.

Several documents lie behind one another in one sequence, their position ids starting anew at each. `use_segments`
gives a model an attention function of ours through transformers' `AttentionInterface`; what else is asked of the
model (padded batches, generation with a cache) goes to transformers' own scaled-dot-product attention as before.

A mask of all tokens by all tokens costs time and memory with the square of the packed length, most of it for pairs of
tokens that may not see each other. The documents' boundaries cost nothing, and they travel in the mask's place: so they
reach every layer of every model that hands its mask on, and a model that would not understand them fails loudly.

Two answers to one prompt need the prompt once: within `sharing_prompts` a document also sees the first tokens of the
document before it, and its position ids go on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from pediatricsgpt.errors import UserError

NAME = "pediatricsgpt_segments"
_KNOWN_LAYERS = {"full_attention", "sliding_attention"}
# What changes the scores and what no kernel used here computes.
_REFUSED = ("softcap", "s_aux", "position_bias", "cache")
_PROMPTS: ContextVar[tuple[int, ...] | None] = ContextVar("shared_prompts", default=None)
_DOCUMENTS: ContextVar[tuple[int, ...] | None] = ContextVar("known_documents", default=None)


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """Where the documents of a packed sequence begin and end; handed to the layers in the place of a mask."""

    bounds: torch.Tensor
    """[documents + 1] int32, on the model's device: the first token of each document, and the number of all tokens"""
    lengths: tuple[int, ...]
    """Tokens of each document"""
    window: int | None = None
    """How many tokens a token sees, itself included (sliding-window layers); None is all before it"""
    prompts: tuple[int, ...] | None = None
    """How many of the first tokens of the document before it each document sees too; None is none of them does"""


def use_segments(model: Any) -> None:
    """Let a model attend within documents only, from now on and in place.

    Args:
        model: a causal LM of transformers, or an adapter around one.

    Raises:
        UserError: its attention does not go through transformers' interface, or it mixes tokens by other means
            (state-space or linear-attention layers, convolutions), so documents would see each other.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    kind = type(base).__name__
    if not getattr(base, "_supports_attention_backend", False):
        raise UserError(
            f"{kind} has an attention of its own that cannot keep packed documents apart; set packing: false"
        )
    other = set(getattr(base.config.get_text_config(), "layer_types", None) or ()) - _KNOWN_LAYERS
    if other:
        raise UserError(f"{kind} has layers that cannot keep packed documents apart ({', '.join(sorted(other))})")
    AttentionInterface.register(NAME, segment_attention)
    AttentionMaskInterface.register(NAME, segment_mask)
    base.set_attn_implementation(NAME)


@contextmanager
def sharing_prompts(prompts: tuple[int, ...] | None) -> Iterator[None]:
    """Within it, forward passes of packed sequences share prompts.

    Args:
        prompts: for each document the number of first tokens of the document before it that it sees as well; its
            position ids go on from that number. None shares nothing.
    """
    token = _PROMPTS.set(prompts)
    try:
        yield
    finally:
        _PROMPTS.reset(token)


@contextmanager
def with_documents(lengths: tuple[int, ...]) -> Iterator[None]:
    """Within it, packed sequences are taken to be of these documents, without a look at their position ids.

    For tensors that have shapes and no values, as those of an estimate.

    Args:
        lengths: tokens of each document.
    """
    token = _DOCUMENTS.set(lengths)
    try:
        yield
    finally:
        _DOCUMENTS.reset(token)


def segment_mask(
    *,
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int = 0,
    mask_function: Callable[..., torch.Tensor],
    attention_mask: torch.Tensor | None = None,
    allow_is_causal_skip: bool = True,
    local_size: int | None = None,
    use_vmap: bool = False,
    device: torch.device | str = "cpu",
    **options: Any,
) -> Segments | torch.Tensor | None:
    """What transformers asks for in the place of a mask; called once per forward pass and kind of layer.

    Returns:
        `Segments` for a packed sequence (transformers sees the position ids start anew), else what its own
        scaled-dot-product attention would get.

    Raises:
        ValueError: prompts are to be shared, and the documents are not those that they were told for.
    """
    prompts = _PROMPTS.get()
    packed = attention_mask is None and not allow_is_causal_skip and not use_vmap
    if packed and (known := _DOCUMENTS.get()):
        return Segments(torch.empty(len(known) + 1, dtype=torch.int32, device=device), known, local_size, prompts)
    if packed and batch_size == 1 and q_offset == 0 and 1 < q_length == kv_length:
        place = torch.arange(q_length, device=device)
        zero = place.new_zeros(())
        sees_previous = mask_function(zero, zero, place[1:], place[:-1])
        if not bool(mask_function(zero, zero, place[:-1], place[1:]).any()):  # no token sees the next one
            starts = torch.cat([zero[None], place[1:][~sees_previous], place.new_tensor([q_length])])
            lengths = tuple(starts.diff().tolist())
            if prompts is None or len(prompts) == len(lengths):
                return Segments(starts.to(torch.int32), lengths, local_size, prompts)
    if prompts is not None:
        raise ValueError(f"prompts are told for {len(prompts)} packed documents, and the sequence holds others")
    return sdpa_mask(
        batch_size=batch_size,
        q_length=q_length,
        kv_length=kv_length,
        q_offset=q_offset,
        mask_function=mask_function,
        attention_mask=attention_mask,
        allow_is_causal_skip=allow_is_causal_skip,
        local_size=local_size,
        use_vmap=use_vmap,
        device=device,
        **options,
    )


def segment_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Segments | torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each document of a packed sequence.

    Args:
        query: [1, heads, tokens, width]; `key` and `value` may have fewer heads (grouped queries).
        attention_mask: what `segment_mask` returned; without `Segments` transformers' own function answers.

    Returns:
        [1, tokens, heads, width], and None for the attention weights, which are never built.

    Raises:
        ValueError: the layer asks for something that would change the result and is not computed here.
    """
    if not isinstance(attention_mask, Segments):
        given: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **options
        )
        return given
    refused = [name for name in _REFUSED if options.get(name) is not None]
    if refused or options.get("is_causal") is False:
        raise ValueError(
            f"{type(module).__name__}: packed documents with {refused or 'two-way attention'} are not supported"
        )
    segments = attention_mask
    if segments.prompts is None and _has_kernel(query, value, dropout):
        return _by_kernel(query, key, value, segments, scaling), None
    return _one_by_one(query, key, value, segments, dropout, scaling), None


def _one_by_one(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    segments: Segments,
    dropout: float,
    scaling: float | None,
) -> torch.Tensor:
    """A loop over documents: on a CPU the fastest way that was measured, batches of padded documents included."""
    lengths = list(segments.lengths)
    keys, values = key.split(lengths, 2), value.split(lengths, 2)
    grouped = query.shape[1] != key.shape[1]
    outputs = []
    for number, (q, k, v) in enumerate(zip(query.split(lengths, 2), keys, values, strict=True)):
        prompt = segments.prompts[number] if segments.prompts else 0
        if prompt:
            k, v = (torch.cat([own[number - 1][:, :, :prompt], own[number]], 2) for own in (keys, values))
        mask = _mask(q.shape[2], prompt, segments.window, q.device)
        output = functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, dropout_p=dropout, scale=scaling, is_causal=mask is None, enable_gqa=grouped
        )
        outputs.append(output.transpose(1, 2))
    return torch.cat(outputs, 1)


def _mask(length: int, prompt: int, window: int | None, device: torch.device) -> torch.Tensor | None:
    """[length, prompt + length] bool, what the tokens behind a prompt see; None where that is all before them."""
    whole = prompt + length
    if not prompt and (window is None or length <= window):
        return None
    seen = torch.ones(length, whole, dtype=torch.bool, device=device).tril(prompt)
    return seen if window is None else seen.triu(prompt + 1 - window)


def _has_kernel(query: torch.Tensor, value: torch.Tensor, dropout: float) -> bool:
    """Whether one kernel of PyTorch's does all documents at once: CUDA, half precision, no dropout, equal widths."""
    half = query.dtype in (torch.bfloat16, torch.float16)
    return query.is_cuda and half and dropout == 0.0 and query.shape[-1] == value.shape[-1] <= 256


def _by_kernel(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, segments: Segments, scaling: float | None
) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn

    bounds = segments.bounds.to(query.device)
    longest = max(segments.lengths)
    window = (-1, 0) if segments.window is None else (segments.window - 1, 0)
    q, k, v = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    grouped = query.shape[1] != key.shape[1]
    output = varlen_attn(
        q, k, v, bounds, bounds, longest, longest, scale=scaling, window_size=window, enable_gqa=grouped
    )
    return output[None]
