"""A Vision Transformer of the solution notebook on real images: accuracy and seconds.

    VITEDU_DATA=FOLDER python benchmarks/real_data.py [--epochs N] [--train N]

FOLDER holds real data in one of these forms, or both: Fashion-MNIST's four idx files below FashionMNIST/raw (.gz or
unpacked), and CIFAR-10 as images in cifar10-jpeg.tar.xz (train/CLASS/*.jpg, test/CLASS/*.jpg). It is only read:
files are unpacked into a temporary folder.
"""

from __future__ import annotations

import argparse
import gzip
import os
import shutil
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from autograder.reproduction.configs import Training
from autograder.reproduction.train import loaders, optimizer_of, solutions
from vitedu.data.datasets import Dataset, load
from vitedu.devices import best_device, describe
from vitedu.progress import watch

SIZES = {"fashion-mnist": (28, 7), "cifar10": (32, 4)}  # image side, patch size


def main() -> None:
    """Train on what is there, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--train", type=int, help="number of training images (default: all)")
    args = parser.parse_args()
    folder = Path(os.environ.get("VITEDU_DATA") or "/nowhere")
    if not folder.is_dir():
        sys.exit("Expected VITEDU_DATA to name a folder with real data; see the head of this file for its form.")
    device = best_device()
    notebook = solutions()
    print(f"{describe(device)}, {args.epochs} epochs")
    with tempfile.TemporaryDirectory() as scratch:
        for name, take in (("fashion-mnist", fashion), ("cifar10", cifar)):
            started = time.perf_counter()
            data = take(folder, Path(scratch), args.train)
            if data is None:
                print(f"{name}: not in {folder}")
                continue
            read = time.perf_counter() - started
            accuracy, seconds = train(data, SIZES[name], args.epochs, device, notebook, name)
            facts = f"{len(data.train)} + {len(data.test)} images, mean {_short(data.mean)}, std {_short(data.std)}"
            print(f"{name}: {facts}")
            times = f"{read:.0f} s to unpack and read, {seconds:.0f} s to train"
            print(f"  test accuracy {accuracy:.3f}; {times}", flush=True)


def fashion(folder: Path, scratch: Path, train: int | None) -> Dataset | None:
    """Fashion-MNIST by torchvision's reader, from an unpacked copy."""
    files = sorted((folder / "FashionMNIST" / "raw").glob("*-ubyte*"))
    if not files:
        return None
    raw = scratch / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for path in files:
        opened = gzip.open(path) if path.suffix == ".gz" else path.open("rb")
        with opened as source, (raw / path.name.removesuffix(".gz")).open("wb") as target:
            shutil.copyfileobj(source, target)
    return load("fashion-mnist", root=scratch, train=train)


def cifar(folder: Path, scratch: Path, train: int | None) -> Dataset | None:
    """CIFAR-10 as a folder of images, from an unpacked copy."""
    path = folder / "cifar10-jpeg.tar.xz"
    if not path.is_file():
        return None
    with tarfile.open(path) as archive:
        archive.extractall(scratch / "cifar10", filter="data")
    inside = next(found.parent for found in sorted((scratch / "cifar10").rglob("train")) if found.is_dir())
    return load(f"folder:{inside}", size=32, train=train)


def train(
    data: Dataset, sizes: tuple[int, int], epochs: int, device: torch.device, notebook: dict[str, Any], title: str
) -> tuple[float, float]:
    """Accuracy on the test images, and seconds of training."""
    torch.manual_seed(0)
    side, patch = sizes
    model: nn.Module = notebook["VisionTransformer"](
        side, patch, data.shape[0], len(data.classes), dim=64, depth=2, num_heads=4, mlp_dim=128
    ).to(device)
    training = Training(epochs=(epochs,), batch_size=128)
    fitting, validation, test = loaders(data, training.batch_size, device)
    optimizer, scheduler = optimizer_of(model, training, epochs * len(fitting))
    started = time.perf_counter()
    notebook["fit"](model, fitting, validation, optimizer, epochs, device, scheduler, watch(epochs, title))
    seconds = time.perf_counter() - started
    return notebook["evaluate"](model, test, device)["accuracy"], seconds


def _short(numbers: tuple[float, ...]) -> str:
    return " ".join(f"{number:.4f}" for number in numbers)


if __name__ == "__main__":
    main()
