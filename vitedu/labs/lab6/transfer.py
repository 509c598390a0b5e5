"""The transfer study: models with trained weights, one block of each fine-tuned, and a table of what came out.

The study is run with the student's own functions, which come in as arguments: on small models that the notebook
trains, and, where there are a GPU and a network, on the three models of the report with CIFAR-10.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vitedu.data.errors import DataError
from vitedu.progress import progress

LIBRARIES = "timm is not installed; `pip install timm` brings it, and everything else in this notebook works without."
IMAGENET: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
FUNCTIONS = ("make_transforms", "make_loaders", "replace_head", "trainable_parameters", "fine_tune")
History = dict[str, list[float]]


@dataclass(frozen=True)
class Candidate:
    """A model that takes part in the study.

    Attributes:
        kind: "ViT" or "CNN".
        make: gives the model with its weights, on the CPU.
        modules: names of what is trained; empty: everything.
        size, mean, std: of the images that its weights were trained on.
        lr: learning rate.
        crops: whether training images are cut out anew each time, or always seen whole, as in validation.
    """

    name: str
    kind: str
    make: Callable[[], nn.Module]
    modules: tuple[str, ...]
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    lr: float = 1e-3
    crops: bool = True


@dataclass(frozen=True)
class Row:
    """What one candidate reached: `trainable` parameters, and the history of its fine-tuning."""

    name: str
    kind: str
    trainable: int
    history: History


class Shown:
    """A loader that moves a progress bar on."""

    def __init__(self, loader: Iterable[Any], bar: Any) -> None:
        self.loader, self.bar = loader, bar

    def __iter__(self) -> Iterator[Any]:
        for batch in self.loader:
            yield batch
            self.bar.update()


def study(
    candidates: Sequence[Candidate], functions: Mapping[str, Callable[..., Any]], dataset: Any, classes: int, *,
    epochs: int, batch_size: int, val_fraction: float, device: torch.device | str, seed: int = 0,
) -> list[Row]:  # fmt: skip
    """Fine-tune every candidate on a data set with the notebook's functions.

    Args:
        functions: by name, see FUNCTIONS.
        dataset: gives (Pillow image, label), and has a length and a `transform`.
        classes: number of classes.
        epochs, batch_size, val_fraction, seed: the same for all.
    """
    call, rows = dict(functions), []
    for candidate in candidates:
        transforms = [
            call["make_transforms"](candidate.size, candidate.mean, candidate.std, train)
            for train in (candidate.crops, False)
        ]
        loaders = call["make_loaders"](dataset, *transforms, batch_size, val_fraction, seed)
        torch.manual_seed(seed)
        model = candidate.make()
        call["replace_head"](model, classes)
        model = model.to(device)
        names = list(candidate.modules) or [name for name, _ in model.named_children()]
        with progress(None, candidate.name, total=epochs * sum(map(len, loaders)), unit="batch") as bar:
            shown = [Shown(loader, bar) for loader in loaders]
            history = call["fine_tune"](model, *shown, names, epochs, candidate.lr, device)
        rows.append(Row(candidate.name, candidate.kind, int(call["trainable_parameters"](model)), history))
        del model
    return rows


def table(rows: Sequence[Row]) -> str:
    """The report's table: the best validation accuracy, the training accuracy of that epoch, seconds of an epoch."""
    head = ("model", "type", "trainable", "val acc.", "train acc.", "s/epoch train", "val")
    lines: list[tuple[str, ...]] = [head]
    for row in rows:
        accuracies = row.history["val_accuracy"]
        best = accuracies.index(max(accuracies))
        seconds = (sum(row.history[f"{part}_seconds"]) / len(accuracies) for part in ("train", "val"))
        lines.append((
            row.name, row.kind, f"{row.trainable:,}", f"{accuracies[best]:.3f}",
            f"{row.history['train_accuracy'][best]:.3f}", *(f"{s:.2f}" for s in seconds),
        ))  # fmt: skip
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    padded = [[text.ljust(w) if i < 2 else text.rjust(w) for i, (text, w) in enumerate(zip(line, widths, strict=True))]
              for line in lines]  # fmt: skip
    return "\n".join("  ".join(line) for line in padded)


# --- the three models of the report ---------------------------------------------------------------

REPORT = {  # name: (kind, what the report trained)
    "DenseNet-201": ("CNN", ("features.denseblock4.denselayer16", "classifier")),
    "DeiT-B distilled": ("ViT", ("blocks.11", "head", "head_dist")),
    "CaiT-S24": ("ViT", ("blocks.23",)),
}
TIMM = {"DeiT-B distilled": "deit_base_distilled_patch16_224", "CaiT-S24": "cait_s24_224"}
SMALLER: dict[str, dict[str, Any]] = {  # the same architectures at a size that a test can train
    "DenseNet-201": {"growth_rate": 2, "block_config": (2, 2, 2, 16), "num_init_features": 4, "bn_size": 2},
    "DeiT-B distilled": {"img_size": 32, "patch_size": 16, "embed_dim": 24, "num_heads": 2},
    "CaiT-S24": {"img_size": 32, "patch_size": 16, "embed_dim": 24, "num_heads": 2},
}


def report_model(name: str, pretrained: bool = False, **sizes: Any) -> nn.Module:
    """One of the report's models, from torchvision or timm.

    Args:
        name: one of REPORT.
        pretrained: with the weights that ImageNet-1k gave, which are downloaded; else with random ones.
        sizes: num_classes, and other sizes than the published ones.

    Raises:
        ImportError: timm is not installed.
    """
    if name == "DenseNet-201":
        from torchvision import models

        if sizes.keys() - {"num_classes"}:
            return models.DenseNet(**sizes)
        return models.densenet201(weights=models.DenseNet201_Weights.IMAGENET1K_V1 if pretrained else None, **sizes)
    try:
        import timm
    except ImportError as error:
        raise ImportError(LIBRARIES) from error
    model: Any = timm.create_model(TIMM[name], pretrained=pretrained, **sizes)
    if hasattr(model, "set_distilled_training"):
        model.set_distilled_training(True)  # a tuple of two logits while it trains
    return model


def report_skeleton(name: str, num_classes: int = 1000) -> nn.Module:
    """One of the report's models on torch's device "meta": all its names and shapes, without a single number."""
    with torch.device("meta"):
        return report_model(name, num_classes=num_classes)


def report_candidates(pretrained: bool = True, smaller: bool = False) -> list[Candidate]:
    """The three models as the report trained them; with `smaller` in sizes for a test."""

    def make(name: str) -> Callable[[], nn.Module]:
        return lambda: report_model(name, pretrained, **(SMALLER[name] if smaller else {}))

    return [
        Candidate(name, kind, make(name), modules, 32 if smaller else 224, **IMAGENET, lr=1e-3 if smaller else 1e-4)
        for name, (kind, modules) in REPORT.items()
    ]


def why_not_full(device: torch.device) -> str:
    """Why the study of the three real models is not run here; "" when it is."""
    if os.environ.get("VITEDU_FULL") != "1":
        return "It is run where the environment variable VITEDU_FULL is 1."
    return "" if device.type == "cuda" else f"It needs a GPU; this notebook runs on the device {device}."


def cifar10_pictures(root: str | os.PathLike | None = None) -> Any:
    """CIFAR-10's 50,000 training images as Pillow images, downloaded once (170 MB).

    Raises:
        DataError: it is not there and cannot be downloaded.
    """
    from torchvision.datasets import CIFAR10

    from vitedu.data.downloads import cache_folder, fetch

    folder = os.fspath(root or cache_folder())
    fetch("cifar10", type(cache_folder())(folder))  # with our words for what can go wrong
    return CIFAR10(folder, train=True)


def full_study(
    functions: Mapping[str, Callable[..., Any]], device: torch.device | str, dataset: Any = None,
    candidates: Sequence[Candidate] | None = None, epochs: int = 10, batch_size: int = 64,
) -> list[Row]:  # fmt: skip
    """The report's study: three pretrained models, one block of each, CIFAR-10 at 224 pixels.

    Args:
        functions, device, epochs, batch_size: see `study`.
        dataset: None: CIFAR-10.
        candidates: None: the three pretrained models.

    Raises:
        DataError: data or weights could not be downloaded.
        ImportError: timm is not installed.
    """
    dataset = cifar10_pictures() if dataset is None else dataset
    try:
        return study(
            report_candidates() if candidates is None else candidates, functions, dataset, len(dataset.classes),
            epochs=epochs, batch_size=batch_size, val_fraction=0.1, device=device,
        )  # fmt: skip
    except OSError as error:  # of urllib and of timm's hub: no network, no answer
        raise DataError(f"The pretrained weights could not be downloaded: {error}") from error
