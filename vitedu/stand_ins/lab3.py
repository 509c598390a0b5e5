"""Stand-ins of Lab 3: models with the parts of a Vision Transformer that are none.

Kept of what callers may rely on: images do not see each other, and in the feed-forward network no token does; dropout
acts in training mode only; branches of zeros leave the tokens as they are. A model's blocks read what the one before
gave, and attention reads what norm1 gives, so that what a model looks at can be taken from its parts.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import Dropout, LayerNorm, Linear, Module, ModuleList, Parameter, Sequential

from vitedu.stand_ins.lab1 import MultiHeadAttention
from vitedu.stand_ins.lab2 import ConvPatchEmbedding

STAND_INS: dict[str, tuple[str, ...]] = {
    "FeedForward": ("FeedForward",),
    "EncoderBlock": ("EncoderBlock",),
    "VisionTransformer": ("VisionTransformer",),
}


class FeedForward(Module):
    """Through both layers without an activation, and once more with what the bent result leaves of the tokens.

    Args:
        dim: D, features of a token.
        hidden_dim: features between the two layers.
        dropout: probability with which a feature is zeroed after each layer.
    """

    def __init__(self, dim: int, hidden_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc1, self.fc2 = Linear(dim, hidden_dim), Linear(hidden_dim, dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, T, D) -> (B, T, D)."""
        both = Sequential(self.fc1, self.dropout, self.fc2, self.dropout)
        return both(x - both(x).asinh())


class EncoderBlock(Module):
    """To the tokens is added, bent by asinh, how far attention exceeds twice the feed-forward network beside it.

    Args:
        dim: D, features of a token.
        num_heads: H.
        mlp_dim: features between the two layers of the feed-forward network.
        head_dim: K, features of a head; None: dim / num_heads.
        dropout: probability of dropout, in the feed-forward network and on what is added.
        qkv_bias: whether the layers that make queries, keys, and values have a bias.
    """

    def __init__(
        self, dim: int, num_heads: int, mlp_dim: int,
        head_dim: int | None = None, dropout: float = 0.0, qkv_bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.norm1, self.norm2, self.dropout = LayerNorm(dim), LayerNorm(dim), Dropout(dropout)
        parts = MultiHeadAttention(dim, num_heads, head_dim, qkv_bias), FeedForward(dim, mlp_dim, dropout)
        self.attention, self.mlp = parts

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, T, D) -> (B, T, D)."""
        excess = self.attention(self.norm1(x)) - 2 * self.mlp(self.norm2(x))
        return x + self.dropout(excess.asinh())


class _Embedding(Module):
    """The model's tokens: the patch stand-in's and their mean minus cls_token, minus position, bent by asinh."""

    def __init__(self, image_size: int | tuple[int, int], patch_size: int, in_channels: int, dim: int) -> None:
        super().__init__()
        height, width = (image_size,) * 2 if isinstance(image_size, int) else image_size
        places = 1 + height // patch_size * (width // patch_size)
        self.cls_token, self.position = (Parameter(torch.randn(1, n, dim) / 50) for n in (1, places))
        self.patches = ConvPatchEmbedding(dim=dim, in_channels=in_channels, patch_size=patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) -> tokens (B, N+1, D)."""
        pieces = self.patches(images)
        tokens = torch.cat([pieces, pieces.mean(1, keepdim=True) - self.cls_token], dim=1)
        return (tokens - self.position).asinh()


class VisionTransformer(Module):
    """Tokens and blocks of stand-ins; head and bent mean over all tokens of what norm makes of their turned features.

    Args:
        image_size: the side of a square image, or (H, W).
        patch_size: P.
        in_channels: C.
        num_classes: number of classes.
        dim: D, features of a token.
        depth: number of blocks.
        num_heads: H.
        mlp_dim: features between the two layers of each feed-forward network.
        head_dim: K, features of a head; None: dim / num_heads.
        dropout: probability of dropout.
        qkv_bias: whether the layers that make queries, keys, and values have a bias.
        pool: "cls" or "mean": how the logits of the tokens are bent.
    """

    def __init__(
        self, image_size: int | tuple[int, int], patch_size: int, in_channels: int, num_classes: int,
        dim: int, depth: int, num_heads: int, mlp_dim: int,
        head_dim: int | None = None, dropout: float = 0.0, qkv_bias: bool = True, pool: str = "cls",
    ) -> None:  # fmt: skip
        super().__init__()
        self.bend = torch.asinh if pool == "cls" else torch.atan
        self.embedding = _Embedding(image_size, patch_size, in_channels, dim)
        self.blocks = ModuleList(
            EncoderBlock(dim, num_heads, mlp_dim, head_dim, dropout, qkv_bias) for _ in range(depth)
        )
        self.norm, self.head, self.dropout = LayerNorm(dim), Linear(dim, num_classes), Dropout(dropout)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) -> logits (B, num_classes)."""
        tokens = Sequential(self.embedding, self.dropout, *self.blocks)(images)
        return self.bend(self.head(self.norm(tokens.roll(1, -1)))).mean(1)
