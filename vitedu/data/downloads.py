"""The step up from embedded data: Fashion-MNIST, CIFAR-10, and a folder of images, read by torchvision.

torchvision downloads with a progress bar, compares every file's md5 and unpacks. What can go wrong on the way
becomes one sentence here.
"""

from __future__ import annotations

import http.client
import os
import pickle
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor
from torchvision.datasets import CIFAR10, FashionMNIST, ImageFolder
from torchvision.datasets.utils import calculate_md5, check_integrity
from torchvision.transforms import functional as transforms

from vitedu.data.errors import DataError
from vitedu.progress import progress

Kind = type[FashionMNIST] | type[CIFAR10]
SETS: dict[str, Kind] = {"fashion-mnist": FashionMNIST, "cifar10": CIFAR10}
OFFLINE = 'load("digits") and load("pairs") need no network'
PATIENCE = 30  # seconds without an answer until there is no network
NETWORK = (URLError, ConnectionError, TimeoutError, http.client.HTTPException)
Images = tuple[Tensor, Tensor]  # uint8 (n, C, H, W), labels (n,)


def cache_folder() -> Path:
    """Where downloads are kept: VITEDU_DATA, else `vitedu` in the user's cache folder (XDG_CACHE_HOME, ~/.cache)."""
    if os.environ.get("VITEDU_DATA"):
        return Path(os.environ["VITEDU_DATA"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "vitedu"


def fetch(name: str, root: Path) -> tuple[list[Images], tuple[str, ...]]:
    """The training and the test images of a set, downloaded into `root` unless they are there, and its classes.

    Raises:
        DataError: there is no network, a file is damaged, or `root` cannot be written to.
    """
    kind, sets = SETS[name], []
    try:
        with _patience():
            for train in (True, False):
                found = kind(str(root), train=train, download=True)
                images, labels = torch.as_tensor(found.data), torch.as_tensor(found.targets)
                images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)
                if len(images) != len(labels):
                    raise EOFError(f"{len(images)} images and {len(labels)} labels")
                sets.append((images, labels.long()))
    except NETWORK as error:
        raise _unreachable(name, kind, root) from error
    except OSError as error:
        raise DataError(
            f"{name} cannot be kept in {root}: {error.strerror or error}; name another folder, "
            f"load({name!r}, root=...), or set VITEDU_DATA. {OFFLINE}."
        ) from error
    except (RuntimeError, AssertionError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as error:
        if isinstance(error, RuntimeError) and not _unpacked(kind, root):  # no mirror answers, or a wrong md5
            raise _unreachable(name, kind, root) from error
        where = root / getattr(kind, "base_folder", f"{kind.__name__}/raw")
        raise DataError(f"{name} in {where} is damaged; delete that folder and load it again.") from error
    return sets, tuple(found.classes)


def folder(path: Path, size: int) -> tuple[list[Images], tuple[str, ...]]:
    """The images below a folder, brought to a size: one set, or two where it holds "train" and "test" or "val".

    Args:
        path: holds a folder of images for each class.
        size: height and width; the shorter side of an image is brought to it, and the middle is cut out.

    Raises:
        DataError: there are no such images, or one cannot be read.
    """
    if size < 1:
        raise DataError(f"expected a size in pixels from 1 on, found {size}")
    if not path.is_dir():
        raise DataError(f"expected a folder with a folder of images for each class, found none at {path}")
    held_out = next((path / name for name in ("test", "val") if (path / name).is_dir()), None)
    parts = [path / "train", held_out] if held_out and (path / "train").is_dir() else [path]
    sets = [_reader(part) for part in parts]
    if any(one.classes != sets[0].classes for one in sets):
        raise DataError(f"expected the same classes in {parts[0]} and {parts[1]}, found different folders")
    return [_read(one, size) for one in sets], tuple(sets[0].classes)


def _reader(path: Path) -> ImageFolder:
    try:
        return ImageFolder(str(path))
    except FileNotFoundError as error:  # no folders, or one without images
        raise DataError(f"expected in {path} a folder of images (.png, .jpg, ...) for each class: {error}") from error


def _read(images: ImageFolder, size: int) -> Images:
    """All images of a folder as uint8 (n, 3, size, size), and their labels."""
    found = torch.empty(len(images), 3, size, size, dtype=torch.uint8)
    for i in progress(range(len(images)), "reading images"):
        try:
            image, _ = images[i]
        except (OSError, SyntaxError) as error:  # Pillow's words for a damaged file
            raise DataError(f"{images.imgs[i][0]} is no image that can be read; mend or delete it.") from error
        image = transforms.center_crop(transforms.resize(image, size, antialias=True), [size, size])
        found[i] = transforms.pil_to_tensor(image)
    return found, torch.tensor(images.targets)


def _unreachable(name: str, kind: Kind, root: Path) -> DataError:
    """Why a set could not be had: a damaged file, or else no network."""
    for path, md5 in _files(kind, root):
        if path.exists() and not check_integrity(path, md5):
            return DataError(
                f"{path} is damaged (expected md5 {md5}, found {calculate_md5(path)}) and could not be downloaded "
                f"again; delete it and load {name} with a network. {OFFLINE}."
            )
    return DataError(f"{name} is not in {root} and could not be downloaded: no network, or no answer. {OFFLINE}.")


def _files(kind: Kind, root: Path) -> Iterator[tuple[Path, str]]:
    """The files of a set that torchvision knows an md5 of."""
    if issubclass(kind, FashionMNIST):
        yield from ((root / kind.__name__ / "raw" / name, md5) for name, md5 in kind.resources)
    else:
        yield root / kind.filename, kind.tgz_md5
        listed = [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]
        yield from ((root / kind.base_folder / name, md5) for name, md5 in listed)


def _unpacked(kind: Kind, root: Path) -> bool:
    """Whether Fashion-MNIST's files lie there unpacked; torchvision then reads them and compares no md5."""
    return issubclass(kind, FashionMNIST) and all(path.with_suffix("").exists() for path, _ in _files(kind, root))


@contextmanager
def _patience() -> Iterator[None]:
    """A server that does not answer is given up after some seconds."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def present(name: str) -> bool:
    """Whether a set needs no download: what is embedded, a folder, or what lies unpacked in the cache folder."""
    if name not in SETS:
        return True
    kind = SETS[name]
    return (cache_folder() / getattr(kind, "base_folder", f"{kind.__name__}/raw")).is_dir()
