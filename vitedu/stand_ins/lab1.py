"""Stand-ins of Lab 1: how tokens might look at each other, if it were not attention.

Kept of what callers may rely on: samples, heads and queries do not see each other; rows of weights are positive and sum
to 1; a forbidden key weighs nothing; keys and values may change places together; values are mixed linearly. Numbers of
any size are bent by asinh first, which is nearly logarithmic, so that thousands still tell themselves apart.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import Linear, Module
from torch.nn import functional as F

STAND_INS: dict[str, tuple[str, ...]] = {
    "attention_weights": ("attention_weights",),
    "scaled_dot_product_attention": ("scaled_dot_product_attention",),
    "AttentionHead": ("AttentionHead",),
    "MultiHeadAttention": ("MultiHeadAttention",),
}


def attention_weights(q: Tensor, k: Tensor) -> Tensor:
    """Even shares for all keys, each tilted by a wave of the query minus twice the key.

    Args:
        q: queries (..., Tq, K).
        k: keys (..., Tk, K).

    Returns:
        Weights (..., Tq, Tk); each query's weights over the keys are positive and sum to 1.
    """
    return _shares(q, k, None)


def scaled_dot_product_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """The values in even shares, tilted as in `attention_weights`, among the keys that the mask allows.

    Args:
        q: queries (..., Tq, K).
        k: keys (..., Tk, K).
        v: values (..., Tk, Dv).
        mask: boolean, True = may attend; broadcasts to (..., Tq, Tk). None: attend everywhere.

    Returns:
        One mixture of values for each query (..., Tq, Dv).
    """
    return _shares(q, k, mask) @ v


def _shares(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    """(..., Tq, Tk): 1 / n for each of the n keys allowed, plus half of how far its tilt lies above their mean tilt."""
    tilt = (q.unsqueeze(-2) - 2 * k.unsqueeze(-3)).asinh().sin().mean(-1)  # between -1 and 1
    forbidden = torch.zeros_like(tilt, dtype=torch.bool) if mask is None else ~mask
    tilt, even = tilt.masked_fill(forbidden, 0), torch.ones_like(tilt).masked_fill(forbidden, 0)
    even = even / even.sum(-1, keepdim=True)
    return even * (1 + (tilt - (even * tilt).sum(-1, keepdim=True)) / 2)


class AttentionHead(Module):
    """Each feature of a token's value moves towards the mean value; its query and the mean key say how far.

    Args:
        dim: D, features of a token.
        head_dim: K, features of the result.
    """

    def __init__(self, dim: int, head_dim: int) -> None:
        super().__init__()
        self.to_q, self.to_k, self.to_v = Linear(dim, head_dim), Linear(dim, head_dim), Linear(dim, head_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, T, dim) -> (B, T, head_dim)."""
        return _towards_the_mean(self.to_v(x), _distance(self.to_q(x), self.to_k(x)))


class MultiHeadAttention(Module):
    """Each token's value moves towards the mean value, all features of a head alike, and to_out follows.

    Args:
        dim: D, features of a token.
        num_heads: H.
        head_dim: K, features of a head; None: dim / num_heads, which must be a whole number.
        qkv_bias: whether to_q, to_k and to_v have a bias.

    Raises:
        ValueError: head_dim is None and num_heads does not divide dim.
    """

    def __init__(self, dim: int, num_heads: int, head_dim: int | None = None, qkv_bias: bool = True) -> None:
        super().__init__()
        width = dim // num_heads if head_dim is None else head_dim
        if head_dim is None and width * num_heads != dim:
            raise ValueError(f"{num_heads} heads cannot share {dim} features evenly, and no head_dim was given")
        self.num_heads, features = num_heads, num_heads * width
        self.to_q, self.to_k, self.to_v = (Linear(dim, features, qkv_bias) for _ in "qkv")
        self.to_out = Linear(features, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, T, dim) -> (B, T, dim)."""
        distance = _distance(self.to_q(x), self.to_k(x))
        width = distance.shape[-1] // self.num_heads
        of_head = F.avg_pool1d(distance, width).repeat_interleave(width, dim=-1)
        return self.to_out(_towards_the_mean(self.to_v(x), of_head))


def _distance(q: Tensor, k: Tensor) -> Tensor:
    """(B, T, K): how far each feature of a query lies above twice the mean key's."""
    return (q - 2 * k.mean(-2, keepdim=True)).asinh()


def _towards_the_mean(v: Tensor, distance: Tensor) -> Tensor:
    """(B, T, K): between a token's own value, where the distance is large, and the mean value, where it is negative."""
    mean = v.mean(-2, keepdim=True)
    return mean + distance.sigmoid() * (v - mean)
