"""What the exams of Lab 3 share: the solution cells, where ideas were met, and weights of norms, MLPs and blocks."""

from __future__ import annotations

import torch

from autograder.labs.lab import solution_cells
from autograder.labs.variants import Variant

CODE = solution_cells("lab3_vit")
REPORTS = "homework reports that were handed in"
TRACKERS = "issue trackers of public ViT code and of courses"
WRITING = "thought of while writing this exam"
# Heads and their width, unlike each other; their product is the width of all heads together. No width is the square
# root of a number of heads: (4, 2) is left out.
SPLITS = ((2, 3), (2, 4), (2, 5), (3, 2), (3, 4), (4, 3), (5, 2))


def split(variant: Variant, widest: int = 12) -> tuple[int, int, int]:
    """Heads, the width of a head, and the width of all together, `widest` at most."""
    choices = [(h, k, h * k) for h, k in SPLITS if h * k <= widest]
    return choices[variant.sizes(1, 0, len(choices) - 1)[0]]


def norm_weights(variant: Variant, name: str, dim: int) -> dict[str, torch.Tensor]:
    """A LayerNorm's weight, around 1, and its bias."""
    return {f"{name}.weight": 1 + variant.normal(dim, scale=0.4), f"{name}.bias": variant.normal(dim, scale=0.5)}


def mlp_weights(variant: Variant, dim: int, hidden: int, prefix: str = "") -> dict[str, torch.Tensor]:
    """Random weights and biases for fc1 and fc2."""
    shapes = {"fc1.weight": (hidden, dim), "fc1.bias": (hidden,), "fc2.weight": (dim, hidden), "fc2.bias": (dim,)}
    return {prefix + key: value for key, value in variant.weights(shapes).items()}


def block_weights(
    variant: Variant, dim: int, inner: int, hidden: int, qkv_bias: bool = True, prefix: str = ""
) -> dict[str, torch.Tensor]:
    """Random values for everything in a block; `inner` is the width of all heads together."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name in ("to_q", "to_k", "to_v"):
        shapes[f"attention.{name}.weight"] = (inner, dim)
        if qkv_bias:
            shapes[f"attention.{name}.bias"] = (inner,)
    values = variant.weights(shapes | {"attention.to_out.weight": (dim, inner), "attention.to_out.bias": (dim,)})
    values |= norm_weights(variant, "norm1", dim) | norm_weights(variant, "norm2", dim)
    return {prefix + key: value for key, value in values.items()} | mlp_weights(variant, dim, hidden, f"{prefix}mlp.")
