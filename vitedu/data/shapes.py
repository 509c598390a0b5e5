"""Two generated tasks in which the class depends on how coloured objects stand to each other.

`pairs`: an image holds two of three coloured objects, and its class says which two and which one is above.
The colours alone give the two; only their positions give the order. `oddone`: six objects, all but one of the
same colour, and the class is the place of that one. Every object has to be compared with the others.

Images are drawn for all samples at once; the same seed gives the same images.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vitedu.data.drawing import (
    SIDE,
    Colours,
    Seed,
    background,
    checked_colours,
    checked_count,
    checked_labels,
    finished,
    normal,
    paint,
    uniform,
)

COLOURS = ("red", "green", "blue")  # the names of PALETTE's colours
ORDERS = ((0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1))  # of pairs: (the upper colour, the lower one)
PAIRS = tuple(f"{COLOURS[upper]} over {COLOURS[lower]}" for upper, lower in ORDERS)
ROWS, COLUMNS = 2, 3  # of oddone's cells
ODDONE = tuple(f"{row} {column}" for row in ("top", "bottom") for column in ("left", "middle", "right"))


def pairs(
    count: int, rng: Seed, palette: Colours | None = None, classes: Sequence[int] | None = None
) -> tuple[Tensor, Tensor]:
    """Images of two coloured objects, one above the other; among them up to two gray ones that say nothing.

    Args:
        count: number of images.
        rng: a seed, or a generator, which goes on from where it stands.
        palette: three RGB colours, 0 to 1; None: PALETTE.
        classes: the label of each class of PAIRS, a permutation of 0 to 5; None: their order in PAIRS.

    Returns:
        Normalised images (count, 3, 32, 32), float32, and labels (count,), int64.

    Raises:
        ValueError: an argument does not fit.
    """
    colours, labels_of = checked_colours(palette, 3, 3), checked_labels(classes, len(PAIRS))
    rng, count = np.random.default_rng(rng), checked_count(count)
    kind = rng.integers(len(PAIRS), size=count)
    radius = uniform(rng, 3.0, 4.5, (2, count))  # upper, lower
    room = SIDE - 2 * radius.sum(axis=0) - 1  # rows that are free above, between, and below the two
    above, below = np.sort(uniform(rng, 0, 1, (2, count)), axis=0) * room
    rows = np.stack([above + radius[0], below + 2 * radius[0] + radius[1] + 1])
    columns = radius + uniform(rng, 0, 1, (2, count)) * (SIDE - 2 * radius)
    images = background(rng, count)
    for _ in range(2):
        size = uniform(rng, 3.0, 4.5, count)
        row, column = (size + uniform(rng, 0, 1, count) * (SIDE - 2 * size) for _ in range(2))
        paint(images, row, column, size, rng, uniform(rng, 0.1, 0.9, (count, 1)))
    for place, row, column, size in zip(range(2), rows, columns, radius, strict=True):
        colour = colours[np.array(ORDERS)[kind, place]] + normal(rng, 0.1, (count, 3))
        paint(images, row, column, size, rng, colour)
    return finished(images, rng, 0.08), torch.from_numpy(labels_of[kind])


def oddone(
    count: int, rng: Seed, palette: Colours | None = None, classes: Sequence[int] | None = None
) -> tuple[Tensor, Tensor]:
    """Images of six objects in two rows of three, of which one has another colour than the rest.

    Args:
        count: number of images.
        rng: a seed, or a generator, which goes on from where it stands.
        palette: at least two RGB colours, 0 to 1, from which each image takes two; None: PALETTE.
        classes: the label of each class of ODDONE, a permutation of 0 to 5; None: their order in ODDONE.

    Returns:
        Normalised images (count, 3, 32, 32), float32, and labels (count,), int64.

    Raises:
        ValueError: an argument does not fit.
    """
    colours, labels_of = checked_colours(palette, 2, None), checked_labels(classes, len(ODDONE))
    rng, count = np.random.default_rng(rng), checked_count(count)
    cell = rng.integers(len(ODDONE), size=count)
    usual = rng.integers(len(colours), size=count)
    odd = (usual + rng.integers(1, len(colours), size=count)) % len(colours)
    images = background(rng, count)
    for i in range(ROWS * COLUMNS):
        middle = (i // COLUMNS + 0.5) * SIDE / ROWS, (i % COLUMNS + 0.5) * SIDE / COLUMNS
        row, column = (at + uniform(rng, -2, 2, count) for at in middle)
        colour = colours[np.where(cell == i, odd, usual)] + normal(rng, 0.05, (count, 3))
        paint(images, row, column, uniform(rng, 2.5, 3.5, count), rng, colour)
    return finished(images, rng, 0.05), torch.from_numpy(labels_of[cell])
