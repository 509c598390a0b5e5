"""A GPU like Apple's for tests: it refuses float64 and mixed devices, and a copy that does not wait holds garbage.

Code inside `gpu()` computes on the device "mps". The numbers really lie on the CPU; torch is told that they lie on the
device "meta:1", because "meta" is the one device on which every build of torch runs backward without a driver.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from vitedu import devices

MPS, BEHIND = torch.device("mps", 0), torch.device("meta", 1)
WIDE = (torch.float64, torch.complex128)
NO_FLOAT64 = "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."
MIXED = "Expected all tensors to be on the same device, but found at least two devices, mps:0 and cpu!"

GARBAGE = -77
_pending: list[tuple[Tensor, Tensor]] = []  # copies that nobody has waited for, and what they will hold


class GpuTensor(Tensor):
    """A tensor on the GPU; `here` is what it holds."""

    here: Tensor

    @staticmethod
    def __new__(cls, here: Tensor) -> GpuTensor:
        if here.dtype in WIDE:
            raise TypeError(NO_FLOAT64)
        made = Tensor._make_wrapper_subclass(
            cls,
            here.size(),
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=BEHIND,
        )
        made.here = here
        return made

    def __repr__(self) -> str:  # type: ignore[override]
        return f"GpuTensor({self.here!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(func, args, kwargs or {})

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        made = self.detach().clone()
        made = torch.nn.Parameter(made, self.requires_grad) if isinstance(self, torch.nn.Parameter) else made
        memo[id(self)] = made
        return made

    def tolist(self) -> Any:
        return self.here.tolist()

    def __format__(self, spec: str) -> str:
        return format(self.here.detach(), spec)


def compute(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """One operation, on the GPU where an argument lies there or the result shall."""
    leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    there = [leaf for leaf in leaves if isinstance(leaf, GpuTensor)]
    here = [leaf for leaf in leaves if not isinstance(leaf, GpuTensor)]
    name, target = func.overloadpacket.__name__, kwargs.get("device")
    if name == "copy_" and there:
        moved = args[1].here if isinstance(args[1], GpuTensor) else args[1]
        into = args[0].here if isinstance(args[0], GpuTensor) else args[0]
        if len(there) == 2 or not (kwargs.get("non_blocking") or (len(args) > 2 and args[2])):
            into.copy_(moved)
        else:
            _later(into, moved)
        return args[0]
    if there and any(leaf.dim() for leaf in here):
        raise RuntimeError(MIXED)
    onto = bool(there) if target is None else target == BEHIND
    if target == BEHIND:
        kwargs = kwargs | {"device": torch.device("cpu")}
    if onto and kwargs.get("dtype") in WIDE:
        raise TypeError(NO_FLOAT64)
    garbage = kwargs.pop("non_blocking", False) and target is not None and bool(there) != onto
    kwargs.pop("pin_memory", None)
    found = func(*tree_map(_held, args), **tree_map(_held, kwargs))
    if garbage:
        found = _later(found.clone(), found)
    if not onto:
        return found
    known = {id(leaf.here): leaf for leaf in there}  # what an operation in place gives back
    return tree_map(lambda t: (known[id(t)] if id(t) in known else GpuTensor(t)) if isinstance(t, Tensor) else t, found)


def _later(into: Tensor, moved: Tensor) -> Tensor:
    _pending.append((into, moved.to(into.dtype, copy=True)))
    return into.fill_(GARBAGE)


def _synchronize() -> None:
    while _pending:
        into, moved = _pending.pop()
        into.copy_(moved)


def _held(value: Any) -> Any:
    return value.here if isinstance(value, GpuTensor) else value


class _Dispatch(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(func, args, kwargs or {})


class _Names(TorchFunctionMode):
    """Where code says "mps", torch is told what lies behind it, and the other way round."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func == Tensor.device.__get__ and isinstance(args[0], GpuTensor):
            return MPS
        if func == Tensor.is_cpu.__get__ and isinstance(args[0], GpuTensor):
            return False
        if func is not torch.device:
            args, kwargs = tree_map(_behind, args), tree_map(_behind, kwargs)
        return func(*args, **kwargs)


def _behind(value: Any) -> Any:
    if isinstance(value, str) and value in ("mps", "mps:0"):
        return BEHIND
    return BEHIND if isinstance(value, torch.device) and value.type == "mps" else value


AUTOCAST = torch.autocast


def _autocast(device: str, *args: Any, **kwargs: Any) -> Any:
    return nullcontext() if device == "mps" else AUTOCAST(device, *args, **kwargs)


@contextmanager
def gpu() -> Iterator[list[tuple[Tensor, Tensor]]]:
    """torch with the device "mps", which `best_device()` takes; gives the copies that nobody has waited for."""
    _pending.clear()
    kinds = {"mps": lambda: True, "cpu": lambda: True}
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(devices, "KINDS", kinds))
        stack.enter_context(mock.patch.object(torch.mps, "synchronize", _synchronize))
        stack.enter_context(mock.patch.object(torch.mps, "recommended_max_memory", lambda: 8 << 30))
        stack.enter_context(mock.patch.object(torch, "autocast", _autocast))
        stack.enter_context(mock.patch.object(torch, "inference_mode", torch.no_grad))  # it knows no such tensors
        stack.enter_context(_Names())
        stack.enter_context(_Dispatch())
        yield _pending
