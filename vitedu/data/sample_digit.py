"""A handwritten digit that comes with scikit-learn: nothing is downloaded."""

from __future__ import annotations

import torch
from torch import Tensor


def digit(number: int) -> Tensor:
    """One of scikit-learn's handwritten digits: (1, 1, 8, 8), whole numbers from 0 (black) to 16."""
    from sklearn.datasets import load_digits

    return torch.from_numpy(load_digits().images[number]).float()[None, None]
