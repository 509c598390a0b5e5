"""The task to transfer to: where does the red object stand, seen from the blue one?

The same kind of images as `pairs` (shapes.py): soft-edged coloured objects on gray, among gray ones that say nothing.
What `pairs` taught helps here, because the objects have to be found and their places compared. It is not enough:
`pairs` knows no left and right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from vitedu.shapes import MEAN, PALETTE, SIDE, STD, Seed, _background, _count, _finished, _normal, _paint, _uniform

RELATIVE = ("above", "below", "left", "right")  # where the red object stands, seen from the blue one
STATISTICS = {"mean": (MEAN,) * 3, "std": (STD,) * 3}  # with which the generated images are normalised


def relative(count: int, rng: Seed) -> tuple[Tensor, Tensor]:
    """Images of a red and a blue object, and of two gray ones; the class says where the red one stands.

    Args:
        count: number of images.
        rng: a seed, or a generator, which goes on from where it stands.

    Returns:
        Normalised images (count, 3, 32, 32), float32, and labels (count,), int64, see RELATIVE.

    Raises:
        ValueError: there are to be no images.
    """
    rng, count = np.random.default_rng(rng), _count(count)
    kind = rng.integers(len(RELATIVE), size=count)
    radius = _uniform(rng, 3.0, 4.5, (2, count))  # red, blue
    # Along the axis that decides, the two lie apart; along the other one nearer to each other than that.
    both = radius.sum(axis=0)
    apart = both + 1 + _uniform(rng, 0, 1, count) * (SIDE - 2 * both - 2)  # from middle to middle
    room = SIDE - both - apart
    start = _uniform(rng, 0, 1, count) * room
    red_first = kind % 2 == 0
    red = start + radius[0] + np.where(red_first, 0, apart)
    blue = start + radius[1] + np.where(red_first, apart, 0)
    along = np.stack([red, blue])
    largest = radius.max(axis=0)
    middle = largest + _uniform(rng, 0, 1, count) * (SIDE - 2 * largest)
    across = np.clip(middle + _uniform(rng, -0.4, 0.4, (2, count)) * apart, radius, SIDE - radius)
    vertical = kind < 2
    rows, columns = np.where(vertical, along, across), np.where(vertical, across, along)
    images = _background(rng, count)
    for _ in range(2):
        size = _uniform(rng, 3.0, 4.5, count)
        row, column = (size + _uniform(rng, 0, 1, count) * (SIDE - 2 * size) for _ in range(2))
        _paint(images, row, column, size, rng, _uniform(rng, 0.1, 0.9, (count, 1)))
    for place, colour in enumerate((PALETTE[0], PALETTE[2])):
        shades = np.asarray(colour, dtype=np.float32) + _normal(rng, 0.1, (count, 3))
        _paint(images, rows[place], columns[place], radius[place], rng, shades)
    return _finished(images, rng, 0.08), torch.from_numpy(kind)


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
