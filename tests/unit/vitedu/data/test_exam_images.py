"""The accuracy exam's images: what their labels say is to be seen in them."""

from __future__ import annotations

import time

import numpy as np
import torch

from vitedu.data.drawing import MEAN, PALETTE, STD, random_palette
from vitedu.data.exam_images import exam_images
from vitedu.data.shapes import ORDERS, PAIRS

MANY = 400


def seen(images: torch.Tensor, palette: np.ndarray) -> torch.Tensor:
    """The class of each image by eye: which two colours cover most, and whose middle is higher."""
    pixels = images * STD + MEAN
    tint = pixels - pixels.mean(dim=1, keepdim=True)  # gray objects and backgrounds have none
    colours = torch.as_tensor(palette) - torch.as_tensor(palette).mean(dim=1, keepdim=True)
    likeness = torch.einsum("bchw,kc->bkhw", tint, colours / colours.norm(dim=1, keepdim=True))
    best = likeness == likeness.amax(dim=1, keepdim=True)
    cover = ((likeness > 0.25) & best).double()  # (B, colours, H, W)
    area, rows = cover.sum((2, 3)), torch.arange(32, dtype=torch.float64)[:, None]
    height = (cover * rows).sum((2, 3)) / area.clamp(min=1)
    found = []
    for a, h in zip(area, height, strict=True):
        pair = a.topk(2).indices.tolist()
        found.append(ORDERS.index(tuple(sorted(pair, key=lambda k, h=h: h[k].item()))))
    return torch.tensor(found)


def test_the_labels_are_to_be_seen():
    for palette in (np.array(PALETTE, dtype=np.float32), random_palette(5)):
        images, labels = exam_images(MANY, 1, palette)
        assert (seen(images, palette) == labels).double().mean() > 0.95  # by a crude eye
        assert torch.bincount(labels, minlength=len(PAIRS)).min() > MANY / 6 / 2


def test_classes_give_other_numbers_to_the_same_images():
    order = [3, 5, 0, 1, 4, 2]
    (images, labels), (same, other) = exam_images(50, 2), exam_images(50, 2, classes=order)
    assert torch.equal(images, same) and torch.equal(torch.tensor(order)[labels], other)


def test_images_are_normalised_and_fixed_by_the_seed():
    images, labels = exam_images(60, 3)
    assert images.shape == (60, 3, 32, 32) and images.dtype == torch.float32 and labels.dtype == torch.int64
    assert images.min() >= (0 - MEAN) / STD - 1e-5 and images.max() <= (1 - MEAN) / STD + 1e-5
    assert torch.equal(images, exam_images(60, 3)[0]) and not torch.equal(images, exam_images(60, 4)[0])
    rng = np.random.default_rng(3)
    assert torch.equal(images, exam_images(60, rng)[0]) and not torch.equal(images, exam_images(60, rng)[0])


def test_five_thousand_images_in_a_few_seconds():
    started = time.process_time()
    exam_images(5000, 0)
    assert time.process_time() - started < 6
