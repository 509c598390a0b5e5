"""Small models for questions: built from a list of layers, with weights that come with the question."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Tokens(nn.Module):
    """Bare parameters, as a Vision Transformer has them: a token in front of (B, N, D), positions for all N + 1."""

    def __init__(self, tokens: int, dim: int) -> None:
        super().__init__()
        self.cls_token, self.position = (nn.Parameter(torch.zeros(1, count, dim)) for count in (1, tokens + 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, N + 1, D)."""
        in_front = self.cls_token + 0 * x[:, :1]
        return torch.hstack([in_front, x]) + self.position


LAYERS: dict[str, type[nn.Module]] = {"Tokens": Tokens} | {
    name: getattr(nn, name)
    for name in (
        "Linear", "Conv2d", "LayerNorm", "BatchNorm1d", "BatchNorm2d", "Flatten", "Tanh", "GELU", "ReLU", "Dropout",
        "Identity",
    )
}  # fmt: skip
Layers = Sequence[tuple[str, str, Sequence[Any]]]


class Passes(list[tuple[str, bool, bool]]):
    """One entry a forward pass: what `source` said, training mode or not, gradients recorded or not.

    A deep copy of a model goes on writing into the same list.
    """

    source = ""

    def __deepcopy__(self, memo: dict[int, Any]) -> Passes:
        return self


class SmallModel(nn.Sequential):
    """Layers one after the other, which note down in `passes` how each forward pass found them."""

    def __init__(self, layers: OrderedDict[str, nn.Module]) -> None:
        super().__init__(layers)
        self.passes = Passes()

    def forward(self, x: Tensor) -> Tensor:
        """Any input that the first layer takes -> what the last layer gives."""
        self.passes.append((self.passes.source, self.training, torch.is_grad_enabled()))
        return super().forward(x)


def build(layers: Layers, weights: Mapping[str, Tensor], frozen: Sequence[str], dtype: torch.dtype) -> nn.Module:
    """The model of a question.

    Args:
        layers: (name, class, arguments), in order; the class "same" uses the layer that its one argument names
            once more, and "tied" makes another one like it, which shares its weight and has a bias of its own.
        weights: by state_dict key.
        frozen: beginnings of the names of parameters that need no gradient.

    Returns:
        A SmallModel, or the layer itself when there is one only.
    """
    made: OrderedDict[str, nn.Module] = OrderedDict()
    for name, kind, arguments in layers:
        if kind in ("same", "tied"):
            made[name] = made[arguments[0]] if kind == "same" else _tied(made[arguments[0]])
        else:
            made[name] = LAYERS[kind](*arguments)
    model: nn.Module = SmallModel(made) if len(made) > 1 else next(iter(made.values()))
    model = model.to(dtype)
    own = model.state_dict()
    for key, value in weights.items():  # of a single layer both "conv.weight" and "weight" are understood
        own[key if key in own else key.split(".", 1)[-1]].copy_(value)
    for name, parameter in model.named_parameters():
        if name.startswith(tuple(frozen)):
            parameter.requires_grad_(False)
    return model


def _tied(layer: nn.Module) -> nn.Module:
    """A layer like this one, with the same parameter as its weight."""
    other = copy.deepcopy(layer)
    other.weight = layer.weight
    return other
