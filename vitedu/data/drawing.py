"""Parts that the generated images have in common: backgrounds, painted objects, noise, and their arguments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SIDE = 32  # height and width in pixels
MEAN, STD = 0.5, 0.25  # images are given as (pixel - MEAN) / STD, with pixels from 0 to 1
PALETTE = ((0.85, 0.25, 0.20), (0.20, 0.65, 0.30), (0.20, 0.40, 0.85))
Floats = NDArray[np.float32]
Colours = Sequence[Sequence[float]] | Floats
Seed = int | np.random.Generator


def random_palette(rng: Seed) -> Floats:
    """Three colours that are easily told apart (3, 3): hues a third of the circle apart, from a random start."""
    hue = np.random.default_rng(rng).uniform() + np.arange(3) / 3
    strength = np.abs((hue[:, None] * 6 + np.array([0, 4, 2])) % 6 - 3) - 1  # each of R, G, B along the circle
    return (0.2 + 0.6 * np.clip(strength, 0, 1)).astype(np.float32)


def background(rng: np.random.Generator, count: int) -> Floats:
    """Each image in a gray of its own (count, 3, SIDE, SIDE)."""
    return np.repeat(uniform(rng, 0.35, 0.65, (count, 1)), 3 * SIDE * SIDE, axis=1).reshape(count, 3, SIDE, SIDE)


def paint(images: Floats, row: Floats, column: Floats, size: Floats, rng: np.random.Generator, colour: Floats) -> None:
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


def finished(images: Floats, rng: np.random.Generator, noise: float) -> Tensor:
    """With noise, cut to 0 to 1, and normalised."""
    images += noise * rng.standard_normal(images.shape, dtype=np.float32)
    return torch.from_numpy(images.clip(0, 1, out=images)).sub_(MEAN).div_(STD)


def uniform(rng: np.random.Generator, low: float, high: float, shape: int | tuple[int, ...]) -> Floats:
    return low + (high - low) * rng.random(shape, dtype=np.float32)


def normal(rng: np.random.Generator, spread: float, shape: tuple[int, ...]) -> Floats:
    return spread * rng.standard_normal(shape, dtype=np.float32)


def checked_count(count: int) -> int:
    if count < 1:
        raise ValueError(f"expected a number of images from 1, found {count}")
    return count


def checked_colours(palette: Colours | None, at_least: int, at_most: int | None) -> Floats:
    colours = np.asarray(PALETTE if palette is None else palette, dtype=np.float32)
    fits = colours.ndim == 2 and colours.shape[1] == 3 and at_least <= len(colours) <= (at_most or len(colours))
    if not fits or not ((colours >= 0) & (colours <= 1)).all():
        number = f"{at_least}" if at_most else f"at least {at_least}"
        raise ValueError(f"expected a palette of {number} RGB colours with values from 0 to 1, found {palette}")
    return colours


def checked_labels(classes: Sequence[int] | None, number: int) -> NDArray[np.int64]:
    labels = np.arange(number) if classes is None else np.asarray(classes)
    if sorted(labels.tolist()) != list(range(number)):
        raise ValueError(f"expected classes as a permutation of 0 to {number - 1}, found {classes}")
    return labels.astype(np.int64)
