"""Images to learn from, by name: what is embedded needs no download, and the step up goes the same way.

data = load("pairs")            # generated, see vitedu.data.shapes; also "oddone"
data = load("digits")           # real handwritten digits, which scikit-learn brings along
data = load("fashion-mnist")    # downloaded once by torchvision; also "cifar10"
data = load("folder:photos")    # your own images, a folder for each class

loader = DataLoader(data.train, batch_size=64, shuffle=True)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import TensorDataset

from vitedu.data.drawing import MEAN, STD
from vitedu.data.errors import DataError
from vitedu.data.shapes import ODDONE, PAIRS, oddone, pairs
from vitedu.plots.figure import Picture

__all__ = ["NAMES", "DataError", "Dataset", "digits", "fit_to", "gallery", "load", "oddone", "pairs"]
GENERATED = {"pairs": (pairs, PAIRS, 3000), "oddone": (oddone, ODDONE, 4000)}  # name: (function, classes, train)
GENERATED_TEST = 600
TEST_SHARE = 0.2  # of images that come without a test set of their own
NAMES = ("digits", *GENERATED, "fashion-mnist", "cifar10", "folder:PATH")


@dataclass(frozen=True)
class Dataset:
    """Images and labels, to train on and to test with.

    Attributes:
        name: what it was loaded by.
        train, test: images (n, C, H, W), normalised, float32, and labels (n,), int64.
        classes: the classes' names, by label.
        mean, std: for each channel; an image is (pixel - mean) / std, with pixels from 0 to 1.
    """

    name: str
    train: TensorDataset
    test: TensorDataset
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        channels, height, width = self.train.tensors[0].shape[1:]
        return channels, height, width

    def gallery(self, count: int = 9) -> Picture:
        """The first training images with their classes; with three channels in their own colours."""
        images, labels = (t[:count] for t in self.train.tensors)
        mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (self.mean, self.std))
        return gallery(images * std + mean, labels, self.classes)


def load(
    name: str, root: str | Path | None = None, *,
    train: int | None = None, test: int | None = None, size: int = 64, seed: int = 0,
) -> Dataset:  # fmt: skip
    """A data set by its name.

    Args:
        name: "digits", "pairs", "oddone", "fashion-mnist", "cifar10", or "folder:PATH". PATH holds a folder of
            images for each class, or two such folders, "train" and "test" (or "val").
        root: where downloads are kept and where PATH starts. None: for downloads the folder that the environment
            variable VITEDU_DATA names, else the user's cache folder; for PATH the current folder.
        train, test: number of images; None: all (of the generated ones 3,000 or 4,000, and 600).
        size: height and width to which the images of "folder:PATH" are brought.
        seed: of generated images, and of the choice where only some images are taken or a test set is split off.

    Raises:
        DataError: an argument does not fit, files are missing or damaged, or there is no network.
    """
    for which, number in (("training", train), ("test", test)):
        if number is not None and number < 1:
            raise DataError(f"expected a number of {which} images from 1 on, found {number}")
    if seed < 0:
        raise DataError(f"expected a seed from 0 on, found {seed}")
    mean: tuple[float, ...]
    std: tuple[float, ...]
    if name in GENERATED:
        return _generated(name, train, test, seed)
    if name == "digits":
        images, labels = digits()
        sets = _split(images, labels, seed)
        classes = tuple("0123456789")
        mean, std = (MEAN,), (STD,)
    elif name in ("fashion-mnist", "cifar10") or name.startswith("folder:"):
        from vitedu.data import downloads  # torchvision takes a second to import

        if name.startswith("folder:"):
            whole, classes = downloads.folder(Path(root or "", name.removeprefix("folder:")).expanduser(), size)
        else:
            whole, classes = downloads.fetch(name, Path(root).expanduser() if root else downloads.cache_folder())
        sets = [(images.float().div_(255), labels) for images, labels in whole]
        if len(sets) == 1 and len(sets[0][0]) < 2:
            raise DataError(f"expected at least 2 images in {name}, one to train on and one to test with, found 1")
        if len(sets) == 1:
            sets = _split(*sets[0], seed)
        mean, std = _normalise(sets)
    else:
        raise DataError(f"expected one of {', '.join(NAMES)} as the name of a data set, found {name!r}")
    train_set = TensorDataset(*_some(*sets[0], train, "training", seed))
    test_set = TensorDataset(*_some(*sets[1], test, "test", seed))
    return Dataset(name, train_set, test_set, classes, mean, std)


def digits() -> tuple[Tensor, Tensor]:
    """scikit-learn's handwritten digits: normalised images (1797, 1, 8, 8), float32, and labels (1797,)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.from_numpy(bunch.images).float()[:, None] / 16
    return (images - MEAN) / STD, torch.from_numpy(bunch.target).long()


def gallery(images: Tensor, labels: Sequence[int] | Tensor, names: Sequence[str], columns: int = 3) -> Picture:
    """Images in a grid, each with the name of its class; nine images make the homework's 3x3 grid.

    Args:
        images: (n, C, H, W) with one or three channels; each is stretched to its darkest and brightest value.
        labels: n class indices.
        names: the classes' names, by label.
        columns: images in a row.
    """
    from vitedu.plots.curves import samples

    return samples(images, [int(label) for label in labels], names, columns=columns)


def fit_to(data: Dataset, image: tuple[int, int, int], classes: int) -> Dataset:
    """A data set for a model made for others: images resized, channels repeated or averaged, classes left out.

    Args:
        image: (C, H, W), C being 1 or 3.
        classes: the first so many are kept; there may be fewer.

    Raises:
        DataError: no image is left to train on or to test with.
    """
    channels, size = image[0], image[1:]

    def fitted(images: Tensor, labels: Tensor) -> TensorDataset:
        images, labels = images[labels < classes], labels[labels < classes]
        if not len(images):
            raise DataError(f"expected images of the first {classes} classes in both parts of {data.name}, found none")
        if images.shape[2:] != size:
            images = F.interpolate(images, size, mode="bilinear", antialias=True)
        if channels < images.shape[1]:
            images = images.mean(dim=1, keepdim=True)
        return TensorDataset(images.expand(-1, channels, -1, -1).contiguous(), labels)

    def per_channel(numbers: tuple[float, ...]) -> tuple[float, ...]:
        return numbers if len(numbers) == channels else (sum(numbers) / len(numbers),) * channels

    train, test = (fitted(*part.tensors) for part in (data.train, data.test))
    return Dataset(data.name, train, test, data.classes[:classes], per_channel(data.mean), per_channel(data.std))


def _generated(name: str, train: int | None, test: int | None, seed: int) -> Dataset:
    """Training and test images from streams of their own: more of the one changes nothing in the other."""
    import numpy as np

    function, classes, usual = GENERATED[name]
    streams = np.random.default_rng(seed).spawn(2)
    sizes = (train or usual, test or GENERATED_TEST)
    train_set, test_set = (TensorDataset(*function(n, stream)) for n, stream in zip(sizes, streams, strict=True))
    return Dataset(name, train_set, test_set, classes, (MEAN,) * 3, (STD,) * 3)


def _split(images: Tensor, labels: Tensor, seed: int) -> list[tuple[Tensor, Tensor]]:
    """(images, labels) to train on and to test with, mixed by the seed."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    parts = order.tensor_split([len(images) - max(1, round(TEST_SHARE * len(images)))])
    return [(images[part], labels[part]) for part in parts]


def _some(images: Tensor, labels: Tensor, number: int | None, which: str, seed: int) -> tuple[Tensor, Tensor]:
    """All images, or a number of them chosen by the seed."""
    if number is None:
        return images, labels
    if number > len(images):
        raise DataError(f"expected at most {len(images)} {which} images, which is all there are, found {number}")
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:number]
    return images[chosen], labels[chosen]


def _normalise(sets: list[tuple[Tensor, Tensor]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Bring all images, in place, to the mean 0 and deviation 1 of the training images; what these were."""
    images = sets[0][0]
    mean = images.mean(dim=(0, 2, 3), keepdim=True)
    std = images.std(dim=(0, 2, 3), keepdim=True).clamp(min=1e-3)  # images of a single colour stay finite
    for some, _ in sets:
        some.sub_(mean).div_(std)
    return tuple(mean.flatten().tolist()), tuple(std.flatten().tolist())
