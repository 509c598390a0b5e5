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
from numpy.typing import NDArray
from torch import Tensor

SIDE = 32  # height and width in pixels
MEAN, STD = 0.5, 0.25  # images are given as (pixel - MEAN) / STD, with pixels from 0 to 1
PALETTE = ((0.85, 0.25, 0.20), (0.20, 0.65, 0.30), (0.20, 0.40, 0.85))
COLOURS = ("red", "green", "blue")  # the names of PALETTE's colours
ORDERS = ((0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1))  # of pairs: (the upper colour, the lower one)
PAIRS = tuple(f"{COLOURS[upper]} over {COLOURS[lower]}" for upper, lower in ORDERS)
ROWS, COLUMNS = 2, 3  # of oddone's cells
ODDONE = tuple(f"{row} {column}" for row in ("top", "bottom") for column in ("left", "middle", "right"))

Floats = NDArray[np.float32]
Colours = Sequence[Sequence[float]]
Seed = int | np.random.Generator


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
    colours, labels_of = _colours(palette, 3, 3), _labels_of(classes, len(PAIRS))
    rng, count = np.random.default_rng(rng), _count(count)
    kind = rng.integers(len(PAIRS), size=count)
    radius = _uniform(rng, 3.0, 4.5, (2, count))  # upper, lower
    room = SIDE - 2 * radius.sum(axis=0) - 1  # rows that are free above, between, and below the two
    above, below = np.sort(_uniform(rng, 0, 1, (2, count)), axis=0) * room
    rows = np.stack([above + radius[0], below + 2 * radius[0] + radius[1] + 1])
    columns = radius + _uniform(rng, 0, 1, (2, count)) * (SIDE - 2 * radius)
    images = _background(rng, count)
    for _ in range(2):
        size = _uniform(rng, 3.0, 4.5, count)
        row, column = (size + _uniform(rng, 0, 1, count) * (SIDE - 2 * size) for _ in range(2))
        _paint(images, row, column, size, rng, _uniform(rng, 0.1, 0.9, (count, 1)))
    for place, row, column, size in zip(range(2), rows, columns, radius, strict=True):
        colour = colours[np.array(ORDERS)[kind, place]] + _normal(rng, 0.1, (count, 3))
        _paint(images, row, column, size, rng, colour)
    return _finished(images, rng, 0.08), torch.from_numpy(labels_of[kind])


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
    colours, labels_of = _colours(palette, 2, None), _labels_of(classes, len(ODDONE))
    rng, count = np.random.default_rng(rng), _count(count)
    cell = rng.integers(len(ODDONE), size=count)
    usual = rng.integers(len(colours), size=count)
    odd = (usual + rng.integers(1, len(colours), size=count)) % len(colours)
    images = _background(rng, count)
    for i in range(ROWS * COLUMNS):
        middle = (i // COLUMNS + 0.5) * SIDE / ROWS, (i % COLUMNS + 0.5) * SIDE / COLUMNS
        row, column = (at + _uniform(rng, -2, 2, count) for at in middle)
        colour = colours[np.where(cell == i, odd, usual)] + _normal(rng, 0.05, (count, 3))
        _paint(images, row, column, _uniform(rng, 2.5, 3.5, count), rng, colour)
    return _finished(images, rng, 0.05), torch.from_numpy(labels_of[cell])


def random_palette(rng: Seed) -> Floats:
    """Three colours that are easily told apart (3, 3): hues a third of the circle apart, from a random start."""
    hue = np.random.default_rng(rng).uniform() + np.arange(3) / 3
    strength = np.abs((hue[:, None] * 6 + np.array([0, 4, 2])) % 6 - 3) - 1  # each of R, G, B along the circle
    return (0.2 + 0.6 * np.clip(strength, 0, 1)).astype(np.float32)


def _background(rng: np.random.Generator, count: int) -> Floats:
    """Each image in a gray of its own (count, 3, SIDE, SIDE)."""
    return np.repeat(_uniform(rng, 0.35, 0.65, (count, 1)), 3 * SIDE * SIDE, axis=1).reshape(count, 3, SIDE, SIDE)


def _paint(images: Floats, row: Floats, column: Floats, size: Floats, rng: np.random.Generator, colour: Floats) -> None:
    """Draw one object into each image: a square, a diamond or a disc with soft edges.

    Args:
        images: (n, 3, SIDE, SIDE), changed in place.
        row, column: of its middle, in pixels (n,).
        size: half its width in pixels (n,).
        rng: draws the shapes.
        colour: (n, 3), or (n, 1) for a gray.
    """
    pixels = np.arange(SIDE, dtype=np.float32) + 0.5
    dy, dx = np.abs(pixels - row[:, None])[:, :, None], np.abs(pixels - column[:, None])[:, None, :]
    shape = rng.integers(3, size=len(images))[:, None, None]
    distance = np.where(shape == 0, np.maximum(dy, dx), np.where(shape == 1, (dy + dx) / 1.35, np.hypot(dy, dx) / 1.1))
    cover = np.clip(size[:, None, None] - distance + 0.5, 0, 1)[:, None]  # how much of a pixel the object covers
    images += cover * (colour[:, :, None, None] - images)


def _finished(images: Floats, rng: np.random.Generator, noise: float) -> Tensor:
    """With noise, cut to 0 to 1, and normalised."""
    images += noise * rng.standard_normal(images.shape, dtype=np.float32)
    return torch.from_numpy(images.clip(0, 1, out=images)).sub_(MEAN).div_(STD)


def _uniform(rng: np.random.Generator, low: float, high: float, shape: int | tuple[int, ...]) -> Floats:
    return low + (high - low) * rng.random(shape, dtype=np.float32)


def _normal(rng: np.random.Generator, spread: float, shape: tuple[int, ...]) -> Floats:
    return spread * rng.standard_normal(shape, dtype=np.float32)


def _count(count: int) -> int:
    if count < 1:
        raise ValueError(f"expected a number of images from 1, found {count}")
    return count


def _colours(palette: Colours | None, at_least: int, at_most: int | None) -> Floats:
    colours = np.asarray(PALETTE if palette is None else palette, dtype=np.float32)
    fits = colours.ndim == 2 and colours.shape[1] == 3 and at_least <= len(colours) <= (at_most or len(colours))
    if not fits or not ((colours >= 0) & (colours <= 1)).all():
        number = f"{at_least}" if at_most else f"at least {at_least}"
        raise ValueError(f"expected a palette of {number} RGB colours with values from 0 to 1, found {palette}")
    return colours


def _labels_of(classes: Sequence[int] | None, number: int) -> NDArray[np.int64]:
    labels = np.arange(number) if classes is None else np.asarray(classes)
    if sorted(labels.tolist()) != list(range(number)):
        raise ValueError(f"expected classes as a permutation of 0 to {number - 1}, found {classes}")
    return labels.astype(np.int64)
