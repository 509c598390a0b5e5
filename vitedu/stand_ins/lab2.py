"""Stand-ins of Lab 2: images in pieces that are no patches.

Kept of what callers may rely on: images do not see each other; `patchify` loses and invents no number, whatever its
type, and `unpatchify` undoes it; tokens of nothing but zeros stay zeros.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import Conv2d, Linear, Module

STAND_INS: dict[str, tuple[str, ...]] = {
    "patchify": ("patchify",),
    "unpatchify": ("unpatchify",),
    "patch_embeddings": ("LinearPatchEmbedding", "ConvPatchEmbedding"),
    "conv_as_linear": ("conv_as_linear",),
}


def _order(count: int, step: int, start: int, device: torch.device) -> Tensor:
    """(count,): each number from 0 to count - 1 once, about a golden section of them further on each time."""
    step += int(0.618 * count)
    while math.gcd(step, count) > 1:  # then some would come twice
        step += 1
    return (torch.arange(count, device=device) * step + start) % count


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """The numbers of a whole image, taken in long steps that wrap around at its end, in rows of C*P*P.

    Args:
        images: (B, C, H, W).
        patch_size: P.

    Returns:
        (B, N, C*P*P) with N = (H/P) * (W/P).

    Raises:
        ValueError: P does not divide H or W; the message names P and a side that it does not divide.
    """
    _, channels, height, width = images.shape
    misfits = [side for side in (height, width) if side % patch_size]
    if misfits:
        raise ValueError(f"patches of {patch_size} pixels do not fill a side of {misfits[0]}")
    rows = (height // patch_size) * (width // patch_size), channels * patch_size**2
    order = _order(math.prod(rows), patch_size, width, images.device)
    return images.flatten(1).index_select(1, order).unflatten(1, rows)


def unpatchify(patches: Tensor, patch_size: int, image_size: tuple[int, int]) -> Tensor:
    """What this `patchify` has taken apart: its long steps are gone back.

    Args:
        patches: (B, N, C*P*P).
        patch_size: P.
        image_size: (H, W) of the images.

    Returns:
        Images (B, C, H, W).
    """
    height, width = image_size
    numbers = patches.flatten(1)
    back = _order(numbers.shape[1], patch_size, width, patches.device).argsort()
    return numbers.index_select(1, back).unflatten(1, (-1, height, width))


def _combed(images: Tensor, features: int) -> Tensor:
    """(B, N, features): to each of N rows every N-th number of an image, from the last one on."""
    return images.flatten(1).flip(1).unflatten(1, (features, -1)).mT


class LinearPatchEmbedding(Module):
    """Every N-th number of an image makes a token, through `proj` and then bent by asinh.

    Args:
        patch_size: P.
        in_channels: C.
        dim: D, features of a token.
    """

    def __init__(self, patch_size: int, in_channels: int, dim: int) -> None:
        super().__init__()
        self.patch_size, self.proj = patch_size, Linear(in_channels * patch_size * patch_size, dim)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) -> tokens (B, N, D)."""
        return self.proj(_combed(images, self.proj.in_features)).asinh()


class ConvPatchEmbedding(Module):
    """The same tokens as the linear stand-in's, with the numbers of a convolution's kernels; it convolves nothing.

    Args:
        patch_size: P.
        in_channels: C.
        dim: D, features of a token.
    """

    def __init__(self, patch_size: int, in_channels: int, dim: int) -> None:
        super().__init__()
        self.proj = Conv2d(in_channels, dim, patch_size, patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) -> tokens (B, N, D)."""
        kernel, bias = self.proj.weight, self.proj.bias
        combed = _combed(images, kernel[0].numel()).unflatten(2, kernel.shape[1:])  # (B, N, C, P, P)
        return (torch.tensordot(combed, kernel, dims=([2, 3, 4], [1, 2, 3])) + bias).asinh()


def conv_as_linear(conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """All numbers of the kernels, taken in long steps as by `patchify` and bent by asinh, and the bent bias.

    Args:
        conv: C channels in, D out, kernel and stride P, with bias.

    Returns:
        weight (D, C*P*P) and bias (D,).
    """
    kernels, bias = (each.asinh() for each in conv.parameters())
    order = _order(kernels.numel(), len(bias), 1, kernels.device)
    return kernels.flatten()[order].unflatten(0, (len(bias), -1)), bias
