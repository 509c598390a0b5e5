"""Lab 7's images and pictures: what tells the classes apart is in them, and what is drawn is also said."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from vitedu.data import glyphs
from vitedu.data.drawing import MEAN, STD
from vitedu.data.glyphs import FORMS, oneform, twoforms
from vitedu.plots import comparisons

TASKS = pytest.mark.parametrize("task", [oneform, twoforms])


@TASKS
def test_the_same_seed_gives_the_same_images_and_every_class_occurs(task):
    (images, labels), (again, same), (others, _) = task(60, 3), task(60, 3), task(60, 4)
    assert images.shape == (60, 3, 32, 32) and images.dtype == torch.float32 and labels.dtype == torch.int64
    assert torch.equal(images, again) and torch.equal(labels, same) and not torch.equal(images, others)
    assert set(labels.tolist()) == set(range(len(FORMS)))
    pixels = images * STD + MEAN
    assert pixels.min() >= -1e-6 and pixels.max() <= 1 + 1e-6


def drawn(form: int, size: float) -> np.ndarray:
    """One object in white on black (32, 32)."""
    images, middle = np.zeros((1, 3, 32, 32), np.float32), np.array([16.0], np.float32)
    glyphs._draw(images, middle, middle, np.array([size], np.float32), np.array([form]), np.ones((1, 3), np.float32))
    return images[0, 0]


def test_the_forms_are_unlike_each_other_and_like_themselves_flipped_and_turned():
    shown = [drawn(form, 5.0) for form in range(len(FORMS))]
    for i, image in enumerate(shown):
        assert image.sum() > 15 and (image > 0).any(1).sum() >= 9, FORMS[i]
        for other in (image[::-1], image[:, ::-1], image.T):
            np.testing.assert_allclose(image, other, atol=1e-5)
        for j in range(i):
            assert np.abs(image - shown[j]).sum() > 10, (FORMS[i], FORMS[j])


def test_the_coloured_object_tells_the_class_and_stands_in_front():
    palette, classes = [[1.0, 0.0, 0.0]], (3, 1, 4, 0, 5, 2)
    images, labels = twoforms(300, 5, palette, classes)
    pixels = images * STD + MEAN
    red = (pixels[:, 0] - pixels[:, 1] > 0.4).float().flatten(1).sum(1)  # pixels of the coloured object
    areas = torch.stack([red[labels == k].mean() for k in classes])  # by form
    names = [FORMS[i] for i in areas.argsort(descending=True)]
    assert set(names[:2]) <= {"square", "diamond", "disc"} and areas.min() > 5
    plain, ordinary = twoforms(300, 5, palette)
    assert torch.equal(plain, images) and torch.equal(torch.tensor(classes)[ordinary], labels)


def test_a_curve_says_its_means_and_its_spread():
    found = {"one": {10: [0.5, 0.7], 100: [0.9, 0.9]}, "two": {10: [0.3], 100: [0.4]}}
    picture = comparisons.with_spread(found, "images")
    assert "one at 10: 0.600 plus or minus 0.141, at 100: 0.900 plus or minus 0.000" in picture.alt
    assert Image.open(io.BytesIO(picture.png)).size[0] > 300
    with pytest.raises(ValueError, match="values for three"):
        comparisons.with_spread({"three": {}}, "images")


def test_bars_say_the_same():
    assert "ViT 0.600 plus or minus 0.141; CNN 0.800" in comparisons.bars({"ViT": [0.5, 0.7], "CNN": [0.8]}).alt


def test_influence_counts_the_pixels_that_matter():
    image = torch.randn(1, 3, 8, 8, requires_grad=True)
    conv = nn.Conv2d(3, 2, 3, padding=1)
    model = nn.Sequential(conv, nn.Dropout(0.5))
    feature = comparisons.feature_of(model, conv, image)
    assert feature.shape == (1, 2, 8, 8) and not model.training and not conv._forward_hooks
    picture = comparisons.influence({"middle": feature[0, 0, 4, 4], "all": feature.sum()}, image)
    assert "middle: 14% of the pixels" in picture.alt and "all: 100%" in picture.alt  # 9 of 64
