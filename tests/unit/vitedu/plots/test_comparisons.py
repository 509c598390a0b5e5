"""Lab 7's pictures: what their texts say is what was computed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from vitedu.plots import comparisons


def test_the_spread_is_the_standard_deviation_of_a_sample():
    values = [0.3, 0.5, 0.9, 0.2]
    assert comparisons.spread(values) == pytest.approx(np.std(values, ddof=1))
    assert comparisons.spread([0.7]) == 0


def test_a_curve_says_mean_and_spread_at_each_place_in_order():
    alt = comparisons.with_spread({"CNN": {300: [0.5, 0.7], 20: [0.25]}}, "images").alt
    assert "CNN at 20: 0.250 plus or minus 0.000, at 300: 0.600 plus or minus 0.141" in alt


@pytest.mark.parametrize("values", [{}, {20: []}])
def test_a_curve_without_values_is_refused(values):
    with pytest.raises(ValueError, match="CNN"):
        comparisons.with_spread({"CNN": values}, "images")


def test_bars_say_mean_and_spread_of_each_name():
    alt = comparisons.bars({"one": [0.2, 0.4], "other": [0.9]}).alt
    assert "one 0.300 plus or minus 0.141" in alt and "other 0.900 plus or minus 0.000" in alt


def test_the_influence_of_a_kernel_is_as_large_as_the_kernel():
    model, image = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Flatten()), torch.randn(1, 2, 10, 10)
    image.requires_grad_()
    feature = comparisons.feature_of(model, model[0], image)
    assert feature.shape == (1, 3, 10, 10) and not model[0]._forward_hooks
    picture = comparisons.influence({"a": feature[0, 1, 5, 5], "all": feature.square().sum()}, image)
    assert "a: 9% of the pixels" in picture.alt and "all: 100% of the pixels" in picture.alt
    assert picture.png.startswith(b"\x89PNG")
