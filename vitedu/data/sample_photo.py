"""A photo that comes with scikit-learn: nothing is downloaded."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

PATCH = 32  # side of a patch in pixels


@cache
def pagoda() -> Tensor:
    """A photo of a pagoda by a lake that scikit-learn brings along: (3, 416, 640), values 0 to 1."""
    # Its load_sample_image reads the same file, but to import that function takes a second.
    path = Path(str(find_spec("sklearn").origin)).parent / "datasets" / "images" / "china.jpg"
    photo = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1) / 255
    return photo[:, : photo.shape[1] // PATCH * PATCH, : photo.shape[2] // PATCH * PATCH]


def small_photo() -> Tensor:
    """The photo of the pagoda as a batch of one: (1, 3, 96, 160), 16 levels from 0 to 1."""
    photo = pagoda()[None, :, :384]
    return (F.avg_pool2d(photo, 4) * 15).round() / 15
