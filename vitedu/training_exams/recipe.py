"""The accuracy exam's training: one recipe for everybody, run with the student's own training step.

The exam fixes everything but the model and `train_one_epoch`: optimizer, schedule, epochs, batches,
seed, threads and dtype. So an accuracy says something about the code that reached it, and not about
who had more time or a larger machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vitedu.data.drawing import MEAN, STD
from vitedu.probe.wrapped_models import materialise

THINGS = ("exam_model", "train_one_epoch")  # what the exam takes from the notebook
TIERS = {"bronze": 584 / 600, "silver": 586 / 600, "gold": 588 / 600}  # of the hidden images right: 1, 2, 3 points
CLASSES, CHANNELS = 6, 3
TRAIN, TEST = 3000, 600  # images
CPU_SECONDS = 120  # that one training may take in the exam; the model answer takes about 10
History = dict[str, list[float]]


@dataclass(frozen=True)
class Recipe:
    """How every model is trained: AdamW, a short warm-up, then a cosine down to zero, stepped once a batch.

    Attributes:
        warmup: share of the steps in which the learning rate rises to `lr`.
    """

    epochs: int = 12
    batch_size: int = 50
    lr: float = 2e-3
    weight_decay: float = 0.05
    warmup: float = 0.1

    @property
    def label(self) -> str:
        """The recipe in one line."""
        return (
            f"{self.epochs} epochs in batches of {self.batch_size}, AdamW with learning rate {self.lr:g} and weight "
            f"decay {self.weight_decay:g}, warm-up over {self.warmup:.0%} of the steps, then a cosine down to zero"
        )

    def factor(self, step: int, steps: int) -> float:
        """What the learning rate is multiplied with in one step of all."""
        rising = min(1.0, (step + 1) / max(1.0, self.warmup * steps))
        return rising * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))


RECIPE = Recipe()


class Batches:
    """One epoch of (images, labels), always in the same order; it has no length and no dataset.

    Args:
        images: uint8 (n, C, H, W); they are handed out as normalised float32.
        labels: class indices (n,).
        seed: decides the order.
    """

    def __init__(self, images: Tensor, labels: Tensor, batch_size: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self._order = torch.randperm(len(images), generator=generator).split(batch_size)
        self._images, self._labels = images, labels

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for places in self._order:
            yield as_floats(self._images[places]), self._labels[places]


def as_bytes(images: Tensor) -> Tensor:
    """Normalised images as uint8: a quarter of the size on their way into a kernel."""
    return ((images * STD + MEAN) * 255).round().to(torch.uint8)


def as_floats(images: Tensor) -> Tensor:
    """uint8 images as normalised float32."""
    return (images.to(torch.float32) / 255 - MEAN) / STD


def learn(
    make_model: Callable[[], nn.Module],
    train_one_epoch: Callable[..., Any],
    images: Tensor,
    labels: Tensor,
    seed: int,
    progress: Callable[[int, History], None] | None = None,
    recipe: Recipe = RECIPE,
) -> tuple[nn.Module, History]:
    """Train a fresh model by the recipe, each epoch with one call of `train_one_epoch`.

    Args:
        make_model: gives the model, as `exam_model()` does.
        train_one_epoch: called as train_one_epoch(model, loader, optimizer, device, scheduler).
        images: uint8 (n, C, H, W).
        labels: class indices (n,).
        seed: of the weights and of the order of the batches.
        progress: called as progress(epoch, history) after each epoch, with epoch counted from 0.

    Returns:
        The model as it was after the last epoch, and {"loss", "accuracy"} as train_one_epoch gave
        them, one number an epoch (NaN where it gave none).
    """
    history: History = {"loss": [], "accuracy": []}
    steps = recipe.epochs * math.ceil(len(images) / recipe.batch_size)
    with exam_settings(seed):
        model = make_model()
        if not isinstance(model, nn.Module):
            raise TypeError(f"expected an nn.Module from exam_model(), got {type(model).__name__}")
        materialise(model, as_floats(images[:2]))
        optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: recipe.factor(step, steps))
        for epoch in range(recipe.epochs):
            loader = Batches(images, labels, recipe.batch_size, seed + epoch)
            found = train_one_epoch(model, loader, optimizer, torch.device("cpu"), scheduler)
            for name, values in history.items():
                values.append(_number(found, name))
            if progress is not None:
                progress(epoch, history)
    return model, history


@contextmanager
def exam_settings(seed: int) -> Iterator[None]:
    """One thread, float32, gradients on, and the seed; afterwards everything is as it was."""
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.set_num_threads(1)
        torch.set_default_dtype(torch.float32)
        torch.default_generator.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
            torch.set_num_threads(threads)


def logits_of(model: nn.Module, images: Tensor, batch_size: int = 100) -> Tensor:
    """float32 logits (n, classes) for uint8 images (n, C, H, W), in eval mode and without gradients.

    Raises:
        ValueError: the model gives something else than one row of six logits an image.
    """
    model.eval()
    found = []
    with torch.no_grad():
        for some in images.split(batch_size):
            out = model(as_floats(some))
            if not isinstance(out, Tensor) or out.shape != (len(some), CLASSES):
                got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
                raise ValueError(f"for {len(some)} images expected logits {(len(some), CLASSES)}, got {got}")
            found.append(out.detach().to("cpu", torch.float32))
    return torch.cat(found)


def points_of(accuracy: float, tiers: Mapping[str, float] = TIERS) -> int:
    """How many tiers an accuracy reaches: its points."""
    return sum(accuracy >= least - 1e-9 for least in tiers.values())


def tier(accuracy: float, tiers: Mapping[str, float] = TIERS) -> str:
    """The best tier that an accuracy reaches; "" below the first."""
    return ["", *tiers][points_of(accuracy, tiers)]


def _number(found: Any, name: str) -> float:
    """A number out of what train_one_epoch returned; what it returns is another exercise's question."""
    try:
        return float(found[name])
    except Exception:
        return math.nan
