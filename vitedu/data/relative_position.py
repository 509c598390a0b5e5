"""The task to transfer to: where does the red object stand, seen from the blue one?

The same kind of images as `pairs` (shapes.py): soft-edged coloured objects on gray, among gray ones that say nothing.
What `pairs` taught helps here, because the objects have to be found and their places compared. It is not enough:
`pairs` knows no left and right.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vitedu.data.drawing import (
    MEAN,
    PALETTE,
    SIDE,
    STD,
    Seed,
    background,
    checked_count,
    finished,
    normal,
    paint,
    uniform,
)

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
    rng, count = np.random.default_rng(rng), checked_count(count)
    kind = rng.integers(len(RELATIVE), size=count)
    radius = uniform(rng, 3.0, 4.5, (2, count))  # red, blue
    # Along the axis that decides, the two lie apart; along the other one nearer to each other than that.
    both = radius.sum(axis=0)
    apart = both + 1 + uniform(rng, 0, 1, count) * (SIDE - 2 * both - 2)  # from middle to middle
    room = SIDE - both - apart
    start = uniform(rng, 0, 1, count) * room
    red_first = kind % 2 == 0
    red = start + radius[0] + np.where(red_first, 0, apart)
    blue = start + radius[1] + np.where(red_first, apart, 0)
    along = np.stack([red, blue])
    largest = radius.max(axis=0)
    middle = largest + uniform(rng, 0, 1, count) * (SIDE - 2 * largest)
    across = np.clip(middle + uniform(rng, -0.4, 0.4, (2, count)) * apart, radius, SIDE - radius)
    vertical = kind < 2
    rows, columns = np.where(vertical, along, across), np.where(vertical, across, along)
    images = background(rng, count)
    for _ in range(2):
        size = uniform(rng, 3.0, 4.5, count)
        row, column = (size + uniform(rng, 0, 1, count) * (SIDE - 2 * size) for _ in range(2))
        paint(images, row, column, size, rng, uniform(rng, 0.1, 0.9, (count, 1)))
    for place, colour in enumerate((PALETTE[0], PALETTE[2])):
        shades = np.asarray(colour, dtype=np.float32) + normal(rng, 0.1, (count, 3))
        paint(images, rows[place], columns[place], radius[place], rng, shades)
    return finished(images, rng, 0.08), torch.from_numpy(kind)
