"""How one tensor differs from the right one, in words."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vitedu.probe.comparison import close, unequal

TINY = 1e-12  # far below any tolerance: such a number is shown as 0


def difference(got: Tensor, wanted: Tensor, tolerance: float, what: str, shown: bool, named: bool = True) -> str:
    """A sentence about a tensor: its shape first, then its kind, then its values; "" where it is right.

    Args:
        what: what the tensor is, "the loss of epoch 1"; a "the " in front is left out where no sentence needs it.
        shown: whether expected values may be shown.
        named: whether `what` is said where the numbers speak for themselves, too.
    """
    plain = what.removeprefix("the ")
    if text := _form(got, wanted):
        return f"{plain}: {text}" if named else text
    if close(got, wanted, tolerance):
        return ""
    a, b = got.double(), wanted.double()
    odd = ~torch.isfinite(a)
    if odd.any():
        kind = "NaN" if torch.isnan(a[odd]).any() else "infinity"
        text = f"{kind} at {_place(odd)} ({int(odd.sum())} of {odd.numel()} values are not finite)"
        text = text if a.ndim else f"got {kind}"
        return f"{plain}: {text}" if named else text
    off = unequal(a, b, tolerance)
    count = f"{int(off.sum())} of {off.numel()} values"
    if not shown:
        return f"{what} differs ({count}, the first at {_place(off)})" if a.ndim else f"{what} differs"
    place = tuple(_place(off))
    pair = _pair(b[place].item(), a[place].item())
    text = f"expected {pair[0]}, got {pair[1]}"
    text = f"at {list(place)} {text} ({count} differ)" if place else text
    return f"{plain}: {text}" if named else text


def _form(got: Tensor, wanted: Tensor) -> str:
    """What is wrong with a tensor besides its values."""
    if got.shape != wanted.shape:
        return f"shape: expected {tuple(wanted.shape)}, got {tuple(got.shape)}"
    if got.is_floating_point() != wanted.is_floating_point():
        return f"dtype: expected {_dtype(wanted)}, got {_dtype(got)}"
    return f"the result is empty: its shape is {tuple(got.shape)}" if got.numel() == 0 else ""


def _place(where: Tensor) -> list[int]:
    return where.nonzero()[0].tolist()


def _pair(wanted: float, got: float) -> tuple[str, str]:
    """Two numbers with as few digits as tell them apart; whole numbers as they are, and never -0."""
    for digits in (4, 8, 17):
        pair = _number(wanted, digits), _number(got, digits)
        if pair[0] != pair[1]:
            break
    return pair


def _number(value: float, digits: int) -> str:
    if math.isfinite(value) and value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return "0" if abs(value) < TINY else f"{value:.{digits}g}"


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
