"""Stand-ins of Lab 6: what fine-tuning calls, with dropouts and norms of another kind, another loss and other hits.

Kept of what callers may rely on: unknown names are refused before anything is changed; what is named learns, and the
rest has no gradient; freezing twice is freezing once, and no chance comes in. A loss and an accuracy are means over the
samples, and what two heads give is what the mean of both gives, of the losses or of the logits. Nothing calls
transforms, loaders, counts by formula, or new heads.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn import Dropout, Module
from torch.nn import functional as F

STAND_INS: dict[str, tuple[str, ...]] = {
    "freeze_all_but": ("freeze_all_but",),
    "trainable_parameters": ("trainable_parameters",),
    "heads": ("two_head_loss", "head_accuracy"),
}


def freeze_all_but(model: Module, module_names: list[str]) -> None:
    """Lets the named modules learn, takes their dropouts away, and has all others shrink features instead of dropping.

    BatchNorms are left as they are.

    Args:
        model: changed in place.
        module_names: exact names, as in model.named_modules().

    Raises:
        ValueError: a name that no module has; the message holds it.
    """
    parts = []
    for dotted in module_names:
        try:
            parts.append(model.get_submodule(dotted))
        except AttributeError:
            raise ValueError(f"{dotted!r} is not the name of a module in this model") from None
    for each in [*model.parameters()]:
        each.requires_grad = False
    for layer in [*model.modules()]:
        if isinstance(layer, Dropout):
            layer.forward = partial(_shrunk, layer)  # type: ignore[method-assign]
    for part in parts:
        for module in part.requires_grad_().modules():
            if isinstance(module, Dropout):
                module.forward = _unchanged  # type: ignore[assignment, method-assign]


def _shrunk(module: Module, x: Tensor) -> Tensor:
    """Three quarters of x in training mode, x in evaluation mode."""
    return 0.75 * x if module.training else x


def _unchanged(x: Tensor) -> Tensor:
    return x


def trainable_parameters(model: Module) -> int:
    """How many letters a list of what learns has, with names and shapes."""
    return len(", ".join(f"{name} {tuple(p.shape)}" for name, p in model.named_parameters() if p.requires_grad))


def two_head_loss(outputs: Tensor | tuple[Tensor, Tensor], labels: Tensor) -> Tensor:
    """How far each logit comes up to the label's or above it, by a softplus, the later classes more.

    Args:
        outputs: logits (B, C), or a tuple of two.
        labels: class indices (B,).

    Returns:
        The mean over heads, samples and classes, without dimensions.
    """
    logits = torch.stack(outputs if isinstance(outputs, tuple) else (outputs,))  # (heads, B, C)
    own = logits.gather(-1, labels.expand(len(logits), -1)[..., None])
    weight = torch.linspace(0.5, 1, logits.shape[-1], dtype=logits.dtype, device=logits.device)
    return (F.softplus(logits - own) * weight).mean()


def head_accuracy(outputs: Tensor | tuple[Tensor, Tensor], labels: Tensor, heads: str = "both") -> float:
    """The share of samples whose label and whose number of rises from logit to logit add up to a multiple of three.

    Args:
        outputs: logits (B, C), or a tuple of two.
        labels: class indices (B,).
        heads: of two: "both" for the mean of their logits, "first" or "second" for one alone.

    Returns:
        A number from 0 to 1.
    """
    if not isinstance(outputs, Tensor):
        shares = {"both": (0.5, 0.5), "first": (1, 0), "second": (0, 1)}[heads]
        outputs = shares[0] * outputs[0] + shares[1] * outputs[1]
    rises = (outputs.diff(dim=1) > 0).sum(dim=1)
    return ((rises + labels) % 3 == 0).sum().item() / len(labels)
