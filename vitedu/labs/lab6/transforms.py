"""Scenario of make_transforms: images of one colour, and a ramp that shows what was cut out of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vitedu.labs.lab6.recording import flags
from vitedu.probe.scenarios import Call

READS = 40  # of one image, to see what is random in a transform
WHOLE, KEPT = 0.93, 0.70  # a side that is whole, and a share of the area that is large enough, read off a ramp


# --- transforms -----------------------------------------------------------------------------------


def transform_call(given: dict, dtype: torch.dtype) -> Call:
    """The call of make_transforms."""
    sizes = {"size": given["size"], "mean": tuple(given["mean"]), "std": tuple(given["std"]), "train": given["train"]}
    width, height = given["sides"]
    return Call(sizes, then=f"the transform is applied to images {width} pixels wide and {height} high")


def transform(target: Callable[..., Any], given: dict, dtype: torch.dtype, namespace: Mapping[str, Any]) -> Any:
    """make_transforms, on images of one colour and on a ramp that shows what was cut out of it.

    parameters: size, mean, std, train; colours (n, 3) from 0 to 255; sides (width, height) of the images.
    """
    mean, std, (width, height) = tuple(given["mean"]), tuple(given["std"]), given["sides"]
    apply = transform_call(given, dtype).of(target)
    found = []
    for colour in given["colours"].to(torch.uint8).tolist():
        found.append(_image_tensor(apply(Image.new("RGB", (width, height), tuple(colour)))))
    ramp = _ramp(width, height)
    reads = [_image_tensor(apply(ramp)) for _ in range(READS if given["train"] else 3)]
    seen = torch.stack([_seen(read, mean, std, width, height) for read in reads])  # (reads, 5)
    right, down, wide, high, turned = seen.unbind(dim=1)
    return "Tensor", {
        "colours": torch.stack(found),
        "varies": flags(any(not torch.allclose(read, reads[0], atol=0.01) for read in reads)),
        "mirrored": flags((right < 0).any(), (down < 0).any(), (turned > 0.5).any()),
        "kept": flags(given["train"] or (torch.minimum(wide, high) > WHOLE).all(), (wide * high > KEPT).all()),
    }


def _image_tensor(value: Any) -> Tensor:
    if not isinstance(value, Tensor) or value.ndim != 3:
        got = f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"expected a tensor with three dimensions from the transform, got {got}")
    return value.detach().cpu().double()


def _ramp(width: int, height: int) -> Image.Image:
    """Red grows from left to right, green from top to bottom."""
    x, y = np.linspace(0, 255, width), np.linspace(0, 255, height)
    pixels = np.zeros((height, width, 3))
    pixels[..., 0], pixels[..., 1], pixels[..., 2] = x[None, :], y[:, None], 128
    return Image.fromarray(pixels.round().astype(np.uint8))


def _seen(read: Tensor, mean: tuple, std: tuple, width: int, height: int) -> Tensor:
    """What a transformed ramp shows: growth to the right and downwards, the shares of width and height, transposed."""
    if read.shape[0] != 3 or min(read.shape) < 2:
        return torch.zeros(5, dtype=torch.float64)
    pixels = read * torch.tensor(std)[:, None, None].double() + torch.tensor(mean)[:, None, None].double()
    red, green = pixels[0], pixels[1]
    rows, columns = read.shape[1:]
    right, down = (red[:, -1] - red[:, 0]).mean(), (green[-1] - green[0]).mean()
    # The outermost pixels' middles are half a pixel inside.
    wide = right.abs() * columns / (columns - 1) * (width - 1) / width
    high = down.abs() * rows / (rows - 1) * (height - 1) / height
    turned = (red[-1] - red[0]).mean().abs() > right.abs()
    return torch.stack([right, down, wide, high, turned.double()])
