"""Tensors as a dataset of PIL images, for labs that start from image files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from vitedu.data.drawing import (
    MEAN,
    STD,
)


class Pictures(Dataset):
    """Images as files would give them: Pillow images with their labels, and a `transform` as torchvision has it.

    Args:
        images: uint8 (n, 3, H, W).
        labels: n class indices.
        classes: their names.

    Attributes:
        transform: called with each image that is read; None: images come as they are.
    """

    def __init__(self, images: Tensor, labels: Tensor, classes: Sequence[str] = ()) -> None:
        self.images, self.labels, self.classes = images, [int(label) for label in labels], tuple(classes)
        self.transform: Callable[[Image.Image], Any] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image = Image.fromarray(self.images[index].permute(1, 2, 0).contiguous().numpy())
        return image if self.transform is None else self.transform(image), self.labels[index]


def as_pictures(images: Tensor, labels: Tensor, classes: Sequence[str] = ()) -> Pictures:
    """Generated images (n, 3, H, W), which are normalised, as pictures with values from 0 to 255."""
    return Pictures(((images * STD + MEAN) * 255).round().clamp(0, 255).to(torch.uint8), labels, classes)
