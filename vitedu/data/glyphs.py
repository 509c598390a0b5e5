"""Two generated tasks of Lab 7 in which the class depends on what a small object looks like.

`oneform`: an image holds one object of six forms, somewhere. What tells them apart lies within a few pixels, and
where these are says nothing. `twoforms`, the capstone's: the same beside a gray object of another form, which says
nothing, either.

As in `shapes`, images are drawn for all samples at once, and the same seed gives the same images.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vitedu.data.drawing import PALETTE, SIDE, Colours, Floats, Seed, background, finished, normal, uniform

FORMS = ("square", "diamond", "disc", "ring", "plus", "cross")  # the classes


def oneform(count: int, rng: Seed) -> tuple[Tensor, Tensor]:
    """Images of one object in any colour, anywhere.

    Args:
        count: number of images.
        rng: a seed, or a generator, which goes on from where it stands.

    Returns:
        Normalised images (count, 3, 32, 32), float32, and labels (count,), int64, by FORMS.
    """
    rng = np.random.default_rng(rng)
    form = rng.integers(len(FORMS), size=count)
    size = uniform(rng, 4.0, 5.5, count)
    row, column = (size + uniform(rng, 0, 1, count) * (SIDE - 2 * size) for _ in range(2))
    images = background(rng, count)
    _draw(images, row, column, size, form, uniform(rng, 0, 1, (count, 3)))
    return finished(images, rng, 0.05), torch.from_numpy(form.astype(np.int64))


def twoforms(
    count: int, rng: Seed, palette: Colours = PALETTE, classes: Sequence[int] = range(len(FORMS))
) -> tuple[Tensor, Tensor]:
    """Images of a coloured object and a gray one, anywhere; the coloured one is in front and tells the class.

    Args:
        count: number of images.
        rng: a seed, or a generator, which goes on from where it stands.
        palette: RGB colours, 0 to 1; each coloured object has one of them, by chance.
        classes: the label of each form of FORMS, a permutation of 0 to 5.

    Returns:
        Normalised images (count, 3, 32, 32), float32, and labels (count,), int64.
    """
    rng, colours = np.random.default_rng(rng), np.asarray(palette, dtype=np.float32)
    form, other = rng.integers(len(FORMS), size=(2, count))
    images = background(rng, count)
    gray = np.repeat(uniform(rng, 0.1, 0.9, (count, 1)), 3, axis=1)
    bright = colours[rng.integers(len(colours), size=count)] * uniform(rng, 0.8, 1, (count, 1))
    for shown, colour in ((other, gray), (form, bright + normal(rng, 0.05, (count, 3)))):
        size = uniform(rng, 4.0, 5.5, count)
        row, column = (size + uniform(rng, 0, 1, count) * (SIDE - 2 * size) for _ in range(2))
        _draw(images, row, column, size, shown, colour)
    return finished(images, rng, 0.05), torch.from_numpy(np.asarray(classes, dtype=np.int64)[form])


def _draw(images: Floats, row: Floats, column: Floats, size: Floats, form: np.ndarray, colour: Floats) -> None:
    """Draw one object into each image, in place.

    Args:
        images: (n, 3, SIDE, SIDE).
        row, column: its middle in pixels (n,).
        size: half its width in pixels (n,).
        form: its place in FORMS (n,).
        colour: (n, 3).
    """
    pixels = np.arange(SIDE, dtype=np.float32) + 0.5
    dy, dx = np.abs(pixels - row[:, None])[:, :, None], np.abs(pixels - column[:, None])[:, None, :]
    form, size = form[:, None, None], size[:, None, None]
    far, near, away = np.maximum(dy, dx), np.minimum(dy, dx), np.hypot(dy, dx)

    def within(distance: Floats) -> Floats:
        """How much of a pixel lies inside: 0 to 1."""
        return np.clip(distance + 0.5, 0, 1)

    cover = np.select(
        [form == i for i in range(len(FORMS))],
        [
            within(0.9 * size - far),
            within((1.25 * size - dy - dx) / 1.2),
            within(size - away),
            within(size - away) * within(away - 0.5 * size),
            within(1.1 * size - far) * within(0.33 * size - near),
            within(size - far) * within(0.33 * size - np.abs(dy - dx) / np.sqrt(np.float32(2))),
        ],
    ).astype(np.float32)[:, None]
    images += cover * (colour[:, :, None, None] - images)
