"""Probes and answers as bytes: safetensors with a small JSON header, never pickle.

A request goes into the student's process, an answer comes out of it, and fingerprints lie on
disk in the same form. Reading is defensive, because an answer is written by somebody else's
program: size, number of tensors, dtypes, and the header are checked before anything is used.
"""

from __future__ import annotations

import json
import numbers
import struct
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor


def as_tensor(value: Any) -> Tensor | None:
    """A tensor, a number, an array, or a list of numbers as a tensor; None for anything else."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, (numbers.Integral, np.bool_)):
        return torch.tensor(int(value), dtype=torch.int64)
    if isinstance(value, numbers.Real):
        return torch.tensor(float(value), dtype=torch.float64)
    if isinstance(value, (list, tuple)) and value and len(value) <= 1024:
        parts = [part for part in map(as_tensor, value) if part is not None and part.ndim == 0]
        if len(parts) == len(value):
            return torch.stack([part.detach().cpu().double() for part in parts])  # Apple's GPU has no float64
    return None


MIME = "application/vnd.vitedu.answer"  # the display message that carries one answer
MAX_BYTES = 16 * 2**20
MAX_TENSORS = 256
DTYPES = {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"}
TORCH_DTYPES = {
    torch.float64, torch.float32, torch.float16, torch.bfloat16,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
}  # fmt: skip


class WireError(ValueError):
    """The bytes are not what this module writes."""


def pack(header: dict[str, Any], tensors: dict[str, Tensor]) -> bytes:
    """Header and tensors as safetensors bytes.

    Args:
        header: anything JSON can hold.
        tensors: plain tensors of any shape; they are copied to contiguous CPU memory.
    """
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    return save(plain, metadata={"header": json.dumps(header)})


def unpack(
    data: bytes, max_bytes: int = MAX_BYTES, max_tensors: int = MAX_TENSORS, max_header: int = 2**20
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The header and the tensors of `pack`.

    Raises:
        WireError: too many bytes or tensors, a dtype that no probe uses, or a broken header.
    """
    if not 8 < len(data) <= max_bytes:
        raise WireError(f"expected 9 to {max_bytes} bytes, found {len(data)}")
    (length,) = struct.unpack("<Q", data[:8])
    if length > min(len(data) - 8, max_header):
        raise WireError(f"the header claims {length} bytes of {len(data)}")
    try:
        layout = json.loads(data[8 : 8 + length])
        header = json.loads(layout.pop("__metadata__")["header"])
        found = {entry["dtype"] for entry in layout.values()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise WireError(f"the header is not readable ({type(error).__name__})") from None
    if not isinstance(header, dict):
        raise WireError("the header is not an object")
    if len(layout) > max_tensors:
        raise WireError(f"expected at most {max_tensors} tensors, found {len(layout)}")
    if not found <= DTYPES:
        raise WireError(f"dtype {min(map(str, found - DTYPES))} is not used by any probe")
    try:
        return header, load(data)
    except Exception as error:  # safetensors raises its own error type from Rust
        raise WireError(f"not safetensors ({type(error).__name__})") from None


def flatten(values: dict[str, Any], prefix: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Move the tensors of a flat mapping into `tensors`; leave a reference in their place."""
    tree = {}
    for key, value in values.items():
        if isinstance(value, Tensor):
            tensors[f"{prefix}.{key}"] = value
            tree[key] = {"tensor": f"{prefix}.{key}"}
        else:
            tree[key] = {"value": value}
    return tree


def restore(tree: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, Any]:
    """The mapping that `flatten` took apart; tuples come back as tuples."""

    def one(entry: dict[str, Any]) -> Any:
        if "tensor" in entry:
            return tensors[entry["tensor"]]
        value = entry["value"]
        return tuple(value) if isinstance(value, list) else value

    return {key: one(entry) for key, entry in tree.items()}


def as_dtype(value: Any, dtype: torch.dtype) -> Any:
    """A fresh copy of a tensor, floating ones in `dtype`; anything else as it is."""
    if not isinstance(value, Tensor):
        return value
    return value.detach().clone().to(dtype) if value.is_floating_point() else value.detach().clone()
