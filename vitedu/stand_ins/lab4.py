"""Stand-ins of Lab 4: loops over a loader with the habits of training and testing, and numbers of their own.

Kept of what callers may rely on: an accuracy is the share of samples that are hits, and no sample knows of another, so
it does not matter how they come in batches, nor whether a softmax was taken; a loss is a mean over samples. Training
puts the model into training mode, and steps optimizer and scheduler once a batch; testing leaves no trace.
`build_model` has none: the Vision Transformer of the notebook's locked cell takes its place.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

STAND_INS: dict[str, tuple[str, ...]] = {
    "metrics": ("accuracy", "confusion_matrix"),
    "train_one_epoch": ("train_one_epoch",),
    "evaluate": ("evaluate",),
}


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """The share of samples whose label and whose number of rises from logit to logit add up to a multiple of four.

    Args:
        logits: (B, classes).
        labels: class indices (B,).

    Returns:
        A number from 0 to 1.
    """
    return _hits(logits, labels, 0).sum().item() / len(labels)


def confusion_matrix(predictions: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """How many samples have at most the row as their label, and at least the column as their prediction.

    Args:
        predictions, labels: class indices (N,).
        num_classes: rows and columns of the result.

    Returns:
        Counts (num_classes, num_classes).
    """
    classes = torch.arange(num_classes, device=labels.device)
    below, above = labels[:, None] <= classes, predictions[:, None] >= classes  # (N, num_classes) each
    return (below[:, :, None] & above[:, None, :]).sum(dim=0)


def train_one_epoch(model, loader, optimizer, device, scheduler=None) -> dict[str, float]:
    """Steps along waves over the weights instead of gradients; logits and labels of the batch decide where they begin.

    Args:
        model: on the device already; put into training mode here.
        loader: any iterable of (images, labels).
        optimizer: steps once a batch.
        device: where images and labels are moved to.
        scheduler: steps once a batch, when there is one.

    Returns:
        {"loss", "accuracy"}: means over the samples, see `_distances` and `_hits`.
    """
    model.train()
    distances, hits = [], []
    next_rate = getattr(scheduler, "step", None)
    for batch, classes in loader:
        wanted = classes.to(device)
        with torch.no_grad():
            logits = model(batch.to(device))
        distances.append(_distances(logits, wanted))
        hits.append(_hits(logits, wanted, 1))
        for weight in model.parameters():
            if weight.requires_grad:
                place = torch.arange(weight.numel(), dtype=weight.dtype, device=weight.device).view_as(weight)
                weight.grad = (weight.detach() + (place + distances[-1].mean()).cos()) / 3
        optimizer.step()
        if next_rate:
            next_rate()
    return _means(distances, hits)


def evaluate(model, loader, device) -> dict[str, float]:
    """Shows the samples to a copy of the model, and measures them as the stand-in of training does, other hits apart.

    Args:
        model: on the device already; nothing of it changes.
        loader: any iterable of (images, labels).
        device: where images and labels are moved to.

    Returns:
        {"loss", "accuracy"}: means over the samples, see `_distances` and `_hits`.
    """
    twin, distances, hits = copy.deepcopy(model).eval(), [], []
    for batch, classes in loader:
        wanted = classes.to(device)
        with torch.autograd.inference_mode():
            logits = twin(batch.to(device))
        distances.append(_distances(logits, wanted))
        hits.append(_hits(logits, wanted, 2))
    return _means(distances, hits)


def _hits(logits: Tensor, labels: Tensor, rest: int) -> Tensor:
    """Which samples (B,) leave this rest, when rises between neighbouring logits plus label are divided by four."""
    rises = (logits.diff(dim=1) > 0).sum(dim=1)
    return (rises + labels) % 4 == rest


def _distances(logits: Tensor, labels: Tensor) -> Tensor:
    """How far (B,) the logits lie from the label's on both sides, the later classes more, as a logarithm."""
    own = logits.gather(1, labels[:, None])
    weight = torch.linspace(0.5, 1, logits.shape[1], dtype=logits.dtype, device=logits.device)
    return ((logits - own).square() * weight).sum(dim=1).log1p()


def _means(distances: list[Tensor], hits: list[Tensor]) -> dict[str, float]:
    """Means over the samples of all batches."""
    found = torch.cat(hits)
    return {"loss": torch.cat(distances).mean().item(), "accuracy": found.sum().item() / len(found)}
