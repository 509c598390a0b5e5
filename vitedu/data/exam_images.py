"""The images of Lab 4's accuracy exam: `pairs`, with each object near a cell of a grid.

As in `shapes.pairs` two of three colours are there, and the class says which two and which one is above. Here
every object stands near the middle of a cell of 8x8 pixels. So a Vision Transformer with patches of that size
soon has a token for each object, while one that cuts its patches wrongly, or compares them wrongly, does not
get there in a few epochs: the accuracy says more about the code.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vitedu.data.drawing import PALETTE, SIDE, Colours, Floats, Seed, background, finished, normal, paint, uniform
from vitedu.data.shapes import ORDERS

CELL = 8  # pixels
CELLS = SIDE // CELL  # in a row, and in a column
GRAY = 2  # objects that say nothing


def exam_images(
    count: int, rng: Seed, palette: Colours = PALETTE, classes: Sequence[int] = range(len(ORDERS))
) -> tuple[Tensor, Tensor]:
    """Images of two coloured objects in different rows of cells, and two gray ones elsewhere.

    Args:
        count: number of images.
        rng: a seed, or a generator, which goes on from where it stands.
        palette: three RGB colours, 0 to 1.
        classes: the label of each class of shapes.PAIRS, a permutation of 0 to 5.

    Returns:
        Normalised images (count, 3, 32, 32), float32, and labels (count,), int64.
    """
    rng, colours = np.random.default_rng(rng), np.asarray(palette, dtype=np.float32)
    kind = rng.integers(len(ORDERS), size=count)
    rows = np.sort(rng.random((count, CELLS)).argsort(axis=1)[:, :2], axis=1)  # of the upper and of the lower one
    cells = rows * CELLS + rng.integers(CELLS, size=(count, 2))
    others = rng.random((count, CELLS**2))
    np.put_along_axis(others, cells, 2, axis=1)  # the two taken cells come last
    images = background(rng, count)
    for cell in others.argsort(axis=1)[:, :GRAY].T:
        _place(images, cell, rng, uniform(rng, 0.1, 0.9, (count, 1)))
    for cell, order in zip(cells.T, np.array(ORDERS)[kind].T, strict=True):
        brightness = uniform(rng, 0.8, 1, (count, 1))
        _place(images, cell, rng, colours[order] * brightness + normal(rng, 0.1, (count, 3)))
    return finished(images, rng, 0.06), torch.from_numpy(np.asarray(classes, dtype=np.int64)[kind])


def _place(images: Floats, cell: np.ndarray, rng: np.random.Generator, colour: Floats) -> None:
    """Draw an object near the middle of a cell (n,) of each image."""
    row, column = ((at + 0.5) * CELL + uniform(rng, -1.5, 1.5, len(cell)) for at in (cell // CELLS, cell % CELLS))
    paint(images, row.astype(np.float32), column.astype(np.float32), uniform(rng, 2.5, 4, len(cell)), rng, colour)
