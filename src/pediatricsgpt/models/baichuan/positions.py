"""How Baichuan knows where a token stands: rotary positions in the 7B, ALiBi in the 13B.

Sources: arXiv 2104.09864 (rotary), arXiv 2108.12409 (ALiBi).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

ROTARY_BASE = 10_000.0
"""Base of the rotary angles; the published files have no setting for it"""


def rotary_angles(position_ids: Tensor, head_dim: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine for positions [batch, length]: two tensors [batch, 1, length, head_dim] in float32."""
    pairs = torch.arange(0, head_dim, 2, dtype=torch.float32, device=position_ids.device)
    angles = position_ids[..., None].float() * ROTARY_BASE ** (-pairs / head_dim)
    angles = torch.cat((angles, angles), dim=-1).unsqueeze(1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn each pair (i, i + head_dim / 2) of x [batch, heads, length, head_dim] by its angle, in float32."""
    first, second = x.float().chunk(2, dim=-1)
    turned = torch.cat((first, second), dim=-1) * cosine + torch.cat((-second, first), dim=-1) * sine
    return turned.to(x.dtype)


def alibi_slopes(heads: int) -> list[float]:
    """The slope of each head: 2^(-8 i / p) for i = 1..p, p the largest power of two up to `heads`.

    Further heads take every other slope of the series for 2 p, from its first on (ALiBi, as published for head
    counts that are no power of two; Baichuan-13B has 40).
    """
    power: int = 1 << (heads.bit_length() - 1)
    plain = [2.0 ** (-8 * i / power) for i in range(1, power + 1)]
    between = [2.0 ** (-4 * i / power) for i in range(1, 2 * (heads - power), 2)]
    return plain + between


def alibi_mask(mask: Tensor, heads: int, seen: int | Tensor, dtype: torch.dtype) -> Tensor:
    """The additive mask of ALiBi: slope * (key - query) where a query may look, the type's minimum elsewhere.

    A distance is one between places in the row. Padding on the left and documents that are packed behind one another
    leave it as it is, so they need no positions of their own: `mask` alone keeps them apart.

    Args:
        mask: who may look where, [batch, 1, queries, keys]; boolean, or additive as eager attention has it.
        heads: number of attention heads.
        seen: tokens before the first query, which are in the cache.
        dtype: type of the result.

    Returns:
        [batch or 1, heads, queries, keys]: one for the whole batch where all of its rows are masked alike.
    """
    if mask.stride(0) == 0:
        mask = mask[:1]
    visible = mask if mask.dtype == torch.bool else mask == 0
    keys = torch.arange(mask.shape[-1], device=mask.device)
    queries = torch.arange(mask.shape[-2], device=mask.device) + seen
    slopes = torch.tensor(alibi_slopes(heads), device=mask.device).view(1, -1, 1, 1)
    return torch.where(visible, (slopes * (keys - queries[:, None])).to(dtype), torch.finfo(dtype).min)


@dataclass(frozen=True, slots=True, eq=False)
class PackedAlibi:
    """In the place of a mask: documents packed into one row, each of which attends to itself alone."""

    lengths: tuple[int, ...]
    """Tokens of each document"""
    bias: Tensor
    """The additive mask of the longest one, [1, heads, longest, longest]; each other one's is its first corner"""

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Causal attention of [1, heads, tokens, d] within the documents: [1, tokens, heads, d]."""
        parts = zip(*(part.split(self.lengths, dim=2) for part in (query, key, value)), strict=True)
        outputs = [
            F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias[..., : q.shape[2], : q.shape[2]], scale=scaling)
            for q, k, v in parts
        ]
        return torch.cat(outputs, dim=2).transpose(1, 2)


def packed_alibi(lengths: tuple[int, ...], heads: int, like: Tensor, dtype: torch.dtype) -> PackedAlibi:
    """ALiBi for packed documents of these lengths, on the device of `like`."""
    longest = max(lengths)
    causal = torch.ones(1, 1, longest, longest, dtype=torch.bool, device=like.device).tril()
    return PackedAlibi(lengths, alibi_mask(causal, heads, 0, dtype))
