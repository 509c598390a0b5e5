"""Tensors and files that pretend to come from a device which this machine does not have.

Code that forgets to move its data, or has a device written into it, works by luck wherever
everything lies on one device. Here it fails on any machine, and in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

NAME = "elsewhere"
MIXED = f"Expected all tensors to be on the same device, but found at least two devices, {NAME}:0 and cpu!"
ABSENT = "the device to use is the one that was given, not another one"


class FakeDeviceTensor(Tensor):
    """A tensor that computes with its like only, until `.to(device)` or `.cpu()` brings it here.

    Attributes:
        here: what it holds, on the CPU.
    """

    here: Tensor

    @staticmethod
    def __new__(cls, here: Tensor) -> FakeDeviceTensor:
        meta = torch.device("meta")
        made = Tensor._make_wrapper_subclass(cls, here.size(), strides=here.stride(), dtype=here.dtype, device=meta)
        made.here = here
        return made

    def __repr__(self) -> str:  # type: ignore[override]
        return f"FakeDeviceTensor({tuple(self.shape)}, {self.dtype})"

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        # Before torch looks for a driver: it says something else on every machine.
        if func in (Tensor.cuda, Tensor.xpu):
            raise RuntimeError(ABSENT)
        if func is Tensor.to and any(_absent(value) for value in (*args[1:], kwargs.get("device"))):
            raise RuntimeError(ABSENT)
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch declares it without func
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = func.overloadpacket.__name__
        if name == "copy_" and not isinstance(args[0], cls):  # into a tensor that is here
            return args[0].copy_(args[1].here)
        if "pin_memory" in name:
            return args[0]
        target = kwargs.pop("device", None)
        if target is not None and target.type not in ("cpu", "meta"):
            raise RuntimeError(ABSENT)
        if any(isinstance(leaf, Tensor) and not isinstance(leaf, cls) for leaf in tree_leaves((args, kwargs))):
            raise RuntimeError(MIXED)
        kwargs.pop("pin_memory", None)
        found = func(*tree_map(_here, args), **tree_map(_here, kwargs))
        if target is not None and target.type == "cpu":
            return found
        return tree_map(lambda t: cls(t) if isinstance(t, Tensor) else t, found)


def _absent(value: Any) -> bool:
    """Whether a value names another device than the CPU, on which all problems are set."""
    return isinstance(value, (str, torch.device)) and torch.device(value).type not in ("cpu", "meta")


def _here(value: Any) -> Any:
    return value.here if isinstance(value, FakeDeviceTensor) else value


_writing = False


def _tag(_: Any) -> str | None:
    return f"{NAME}:0" if _writing else None


def _restore(_: Any, location: str) -> None:
    if location.startswith(NAME):
        raise RuntimeError(f"Attempting to load a tensor from the device {location}, which is not here")


torch.serialization.register_package(0, _tag, _restore)


@contextmanager
def saved_on_fake_device(really: bool) -> Iterator[None]:
    """Make torch.save note for every tensor that it lay on a device which is not here."""
    global _writing
    _writing = really
    try:
        yield
    finally:
        _writing = False
