"""What a scenario records: facts, numbers and states as tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vitedu.probe.serialization import as_tensor

Numbers = dict[str, Tensor]


def pairs(options: Any) -> dict[str, Any]:
    """Options that came as pairs of name and value."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in options}


def flag(value: Any) -> Tensor:
    """A fact as 0 or 1."""
    return torch.tensor(int(bool(value)))


def state(model: nn.Module, prefix: str = "state") -> Numbers:
    """Every parameter and buffer as it is now."""
    return {f"{prefix}.{key}": t.detach().clone() for key, t in model.state_dict().items()}


def numbers(result: Any, names: tuple[str, ...]) -> tuple[str, Numbers]:
    """The numbers, or lists of numbers, of a returned dictionary.

    Raises:
        TypeError: it is no dictionary with these names, or something in it is no number.
    """
    if not isinstance(result, Mapping):
        raise TypeError(f"expected a dictionary with {', '.join(names)}, got {type(result).__name__}")
    if missing := [name for name in names if name not in result]:
        raise TypeError(f"expected a dictionary with {', '.join(names)}; {', '.join(missing)} is missing")
    found, kind, graph = {}, "dict", False
    for name in names:
        values = result[name]
        for value in values if isinstance(values, (list, tuple)) else [values]:
            kind = "dict of tensors" if isinstance(value, Tensor) else kind
            graph = graph or (isinstance(value, Tensor) and value.requires_grad)
        value = as_tensor(values)
        if value is None and values != []:
            raise TypeError(f"expected numbers under {name!r}, got {type(values).__name__}")
        # An empty list: NaN is something that can be compared and is never right.
        found[name] = torch.tensor([torch.nan]) if value is None else value.detach().cpu().double()
    return kind, found | {"keeps_graph": flag(graph)}


def number_of(value: Any) -> Tensor:
    found = as_tensor(value)
    if found is None:
        raise TypeError(f"expected the saved epoch, got {type(value).__name__}")
    return found.detach().cpu().double()
