"""Facts about a model before and after, as zeros and ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vitedu.probe.recording import Numbers


def flags(*facts: Any) -> Tensor:
    """Facts as zeros and ones."""
    return torch.tensor([int(bool(fact)) for fact in facts])


def state_of(model: nn.Module) -> Numbers:
    return {name: t.detach().clone() for name, t in model.state_dict().items()}


def changed_entries(before: Numbers, model: nn.Module) -> Tensor:
    """For each entry of the old state_dict whether it is another one now, bit by bit."""
    after = model.state_dict()
    return flags(*(name not in after or not torch.equal(t, after[name]) for name, t in before.items()))


def joined(tensors: list[Tensor]) -> Tensor:
    return torch.cat([torch.zeros(1, dtype=torch.float64), *(t.cpu().double().flatten() for t in tensors)])
