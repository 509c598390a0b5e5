"""Two models that homework reports called Vision Transformers, taken apart in Lab 3.

Both were rebuilt from numbers that the reports print. Neither does what a transformer does, and a
look at their parameters shows why.

FlattenedViT. Known: images 3 x 64 x 64, patches of 16, 17 tokens of 128 features, two blocks with
two heads of 64; each head maps the flattened sequence, 17 * 64 = 1088 numbers, by Linear(1088, 1088)
to its queries, keys and values; a feed-forward network 2176 -> 4352 -> 2176 on the flattened
sequence, 2176 = 17 * 128; no output projection; 26,055,936 parameters in 20 tensors a block,
52,213,253 in 46 tensors altogether, among them 98,432 for the patches, 2,304 for class token and
positions and 645 for the head. Reconstructed: where shortcuts and norms stood (here as in the
transformer of 2017), the activation, and that the head read the class token.

OneTensorViT. Known: a single weight tensor makes queries, keys and values by the einsum
`bshq,hksqSQ->kbhSQ` and has 887,808 numbers; the class token comes last; the head is a network with
one hidden layer on the flattened sequence, with 140,037 parameters; parameters were made by
`nn.Parameter(...).to(device)`. Sizes found by search: with 17 tokens and 5 classes only 4 heads of
16 features and 128 hidden ones give both numbers. Reconstructed: the patches, one layer, and which
parameters were moved.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PATCH, CLASSES = 16, 5
TOKENS = (64 // PATCH) ** 2 + 1  # 17, the class token among them


class FlattenedHead(nn.Module):
    """One head whose queries, keys and values are each made from all tokens at once: (B, T, K) -> (B, T, K)."""

    def __init__(self, tokens: int, features: int) -> None:
        super().__init__()
        size = tokens * features
        self.query, self.key, self.value = (nn.Linear(size, size) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """Half of the features of every token -> mixtures of the same shape."""
        flat = x.flatten(1)  # (B, T * K): the tokens are no longer apart
        return F.scaled_dot_product_attention(*(to(flat).view_as(x) for to in (self.query, self.key, self.value)))


class FlattenedBlock(nn.Module):
    """The homework's block: 20 tensors, 26,055,936 parameters, (B, 17, 128) -> (B, 17, 128)."""

    def __init__(self, tokens: int = TOKENS, features: int = 128, heads: int = 2) -> None:
        super().__init__()
        size = tokens * features
        self.heads = nn.ModuleList(FlattenedHead(tokens, features // heads) for _ in range(heads))
        self.after_heads, self.after_network = nn.LayerNorm(features), nn.LayerNorm(features)
        self.widen, self.narrow = nn.Linear(size, 2 * size), nn.Linear(2 * size, size)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens -> tokens, for the one sequence length that the layers were built for."""
        shares = x.chunk(len(self.heads), dim=-1)
        found = torch.cat([head(share) for head, share in zip(self.heads, shares, strict=True)], dim=-1)
        x = self.after_heads(x + found)
        network = self.narrow(F.gelu(self.widen(x.flatten(1))))
        return self.after_network(x + network.view_as(x))


class FlattenedViT(nn.Module):
    """The homework's model of 52,213,253 parameters: images (B, 3, 64, 64) -> logits (B, 5)."""

    def __init__(self) -> None:
        super().__init__()
        self.pixels = nn.Conv2d(3, 128, kernel_size=PATCH, stride=PATCH)
        self.first = nn.Parameter(torch.zeros(1, 1, 128))  # the class token
        self.places = nn.Parameter(torch.zeros(1, TOKENS, 128))
        self.layers = nn.Sequential(FlattenedBlock(), FlattenedBlock())
        self.classes = nn.Linear(128, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Images -> logits."""
        patches = self.pixels(images).flatten(2).mT  # (B, 16, 128)
        tokens = torch.cat([self.first.expand(len(images), 1, 128), patches], dim=1) + self.places
        return self.classes(self.layers(tokens)[:, 0])


class OneTensorAttention(nn.Module):
    """Queries, keys and values of all heads and tokens by one tensor: (B, T, H * K) -> (B, T, H * K).

    Args:
        device: where the weights are to live; moved there as the homework did.
    """

    def __init__(
        self, tokens: int = TOKENS, heads: int = 4, features: int = 16, device: str | torch.device = "cpu"
    ) -> None:
        super().__init__()
        start = torch.randn(heads, 3, tokens, features, tokens, features) / (tokens * features) ** 0.5
        self.weight = nn.Parameter(start).to(device)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens -> tokens, for the one sequence length that the tensor was built for."""
        x = x.unflatten(2, (self.weight.shape[0], -1))  # (B, T, H, K)
        q, k, v = torch.einsum("bshq,hksqSQ->kbhSQ", x, self.weight)  # each (B, H, T, K)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class OneTensorViT(nn.Module):
    """The homework's einsum variant: images (B, 3, 64, 64) -> logits (B, 5).

    Args:
        device: where it is to live; its own parameters are moved there as the homework did.
    """

    def __init__(self, device: str | torch.device = "cpu") -> None:
        super().__init__()
        self.pixels = nn.Conv2d(3, 64, kernel_size=PATCH, stride=PATCH, device=device)
        self.last = nn.Parameter(torch.zeros(1, 1, 64)).to(device)  # the class token
        self.places = nn.Parameter(torch.zeros(1, TOKENS, 64)).to(device)
        self.mixing = OneTensorAttention(device=device)
        self.classes = nn.Sequential(
            nn.Flatten(), nn.Linear(TOKENS * 64, 128, device=device), nn.GELU(), nn.Linear(128, CLASSES, device=device)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Images -> logits, which read every token."""
        patches = self.pixels(images).flatten(2).mT  # (B, 16, 64)
        tokens = torch.cat([patches, self.last.expand(len(images), 1, 64)], dim=1) + self.places
        return self.classes(tokens + self.mixing(tokens))
