"""What goes into a call, each thing in a few words: a tensor by its shape, a loader by its batches."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vitedu.probe.fake_device import FakeDeviceTensor
from vitedu.probe.toy_models import SmallModel

FEW = 6  # numbers that are shown one by one
LONG = 100  # characters of a line


def described(value: Any) -> str:
    """One line about an argument."""
    if isinstance(value, Tensor):
        return _tensor(value)
    if isinstance(value, nn.Module):
        return _model(value)
    if isinstance(value, (Optimizer, LRScheduler)):
        return _made_with(value)
    if isinstance(value, Mapping) and value and all(isinstance(each, Tensor) for each in value.values()):
        return f"{len(value)} tensors, from {next(iter(value))} to {list(value)[-1]}"
    if isinstance(value, tuple) and any(isinstance(each, Tensor) for each in value):
        return " and ".join(map(described, value))
    if isinstance(value, Iterable) and not isinstance(value, (str, Mapping, list, tuple)):
        return _loader(value)
    if callable(value):
        return "a function"
    if hasattr(value, "__len__") and not isinstance(value, (str, Mapping, list, tuple)):
        return f"{type(value).__name__} of {len(value)} entries"
    return _cut(str(value) if isinstance(value, torch.device) else repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= LONG else f"{text[: LONG - 4]} ..."


def _tensor(value: Tensor) -> str:
    shape = f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    if value.numel() > FEW or value.is_meta:
        return shape
    numbers = ", ".join(f"{number:.4g}" for number in value.flatten().tolist())
    return f"{shape}: {numbers}"


def _model(model: nn.Module) -> str:
    if isinstance(model, SmallModel):
        return ", ".join(f"{name} {type(layer).__name__}" for name, layer in model.named_children())
    mode = "training" if model.training else "eval"
    return f"{type(model).__name__} in {mode} mode, {sum(p.numel() for p in model.parameters()):,} parameters"


def _made_with(value: Optimizer | LRScheduler) -> str:
    """An optimizer or a scheduler with the options that are not torch's own."""
    known = value.defaults if isinstance(value, Optimizer) else vars(value)
    options = [
        f"{name}={known[name]!r}"
        for name, parameter in inspect.signature(type(value)).parameters.items()
        if name in known and name not in ("optimizer", "last_epoch") and known[name] != parameter.default
    ]
    return f"{type(value).__name__}({', '.join(options)})"


def _loader(value: Iterable[Any]) -> str:
    """Batches of (images, labels); anything else that can be gone through by its length."""
    batches = list(value)
    if not batches or not all(isinstance(batch, tuple) and isinstance(batch[0], Tensor) for batch in batches):
        return f"{type(value).__name__} with {len(batches)} entries"
    images = batches[0][0]
    sizes = ", ".join(str(len(labels)) for _, labels in batches)
    away = ", on another device" if isinstance(images, FakeDeviceTensor) else ""
    kind = f"{str(images.dtype).removeprefix('torch.')} {tuple(images.shape[1:])}"
    return f"batches of {sizes} images {kind} with their labels{away}"
