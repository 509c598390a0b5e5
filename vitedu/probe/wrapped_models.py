"""What may be wrapped around an answer or its layers: torch.compile, and layers that learn their sizes late.

A probe asks what is computed, so it calls compiled code as it was written: a first compilation can take a minute.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

EPS = (1e-5, 1e-6)  # of a LayerNorm, where the course accepts either


@contextmanager
def eagerly() -> Iterator[None]:
    """Inside, what torch.compile has wrapped runs as it was written. Where nobody has compiled, nothing is imported."""
    if "torch._dynamo" not in sys.modules:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def plain(key: str) -> str:
    """A name in a state_dict without what torch.compile puts before the names of a compiled module."""
    return re.sub(r"(^|\.)(?:_orig_mod\.)+", r"\1", key)


def lazies(tensors: Iterable[Tensor]) -> bool:
    """Whether there are some whose size a first call would decide."""
    return any(is_lazy(tensor) for tensor in tensors)


def materialise(model: nn.Module, images: Tensor) -> None:
    """Let lazy layers find their sizes, by a call in eval mode that trains nothing; other models are left alone."""
    if not lazies((*model.parameters(), *model.buffers())):
        return
    training = model.training
    with torch.no_grad():
        model.eval()(images)
    model.train(training)


def unusual_eps(module: nn.Module) -> str:
    """A sentence on a LayerNorm with an eps that makes other numbers; "" where there is none."""
    found = {layer.eps for layer in module.modules() if isinstance(layer, nn.LayerNorm)}
    odd = sorted(eps for eps in found if isinstance(eps, (int, float)) and not any(abs(eps - e) < 1e-9 for e in EPS))
    return f"a LayerNorm has eps {odd[0]:g}, and accepted are 1e-5 and 1e-6" if odd else ""
