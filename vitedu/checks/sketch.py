"""A few numbers of a tensor by which it is recognised: enough to tell a wrong idea, at a small part of its size."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from vitedu.probe.comparison import ComparableAnswer

SAMPLES = 48  # values that are kept of a larger tensor
SUMS = 3  # weighted sums over all of it, in which any other value shows
GOLDEN = 0.6180339887498949  # multiples of it fall evenly between 0 and 1, and never in step with a row


def sketch(answer: ComparableAnswer) -> ComparableAnswer:
    """The answer with a sketch of each value; its shape stands in the name."""
    values: dict[str, Tensor] = {}
    for name, t in answer.values.items():
        flat, key = t.detach().reshape(-1), f"{tuple(t.shape)} {name}"
        if flat.numel() <= SAMPLES:
            values[key] = flat
            continue
        places = (torch.arange(1, SAMPLES + 1, dtype=torch.float64) * GOLDEN % 1 * flat.numel()).long()
        samples, sums = flat[places], _sums(flat.double())
        if flat.is_floating_point():
            values[key] = torch.cat([samples.double(), sums])
        else:
            values |= {key: samples, f"sums of {key}": sums}
    return replace(answer, values=values)


def _sums(flat: Tensor) -> Tensor:
    """Sums with waves of different length as weights, over the root of the size: as exact as a single value is."""
    places = torch.arange(flat.numel(), dtype=torch.float64)
    waves = torch.stack([torch.cos(places * (0.7 + i) + i) for i in range(SUMS)])
    return (waves * flat).sum(1) / flat.numel() ** 0.5
