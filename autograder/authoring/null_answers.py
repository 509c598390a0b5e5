"""Answers that need no idea at all, and must earn nothing; and one that is nearly right, and must be told no idea."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from vitedu.probe.case import Answer, Case


def _filled(fill: Callable[[torch.Tensor, Case], torch.Tensor]) -> Callable[[Answer, Case], Answer]:
    """A null answer: the model's form, with every number replaced."""

    def null(answer: Answer, case: Case) -> Answer:
        tensors = {
            name: value if name.startswith("after.") else fill(value, case) for name, value in answer.tensors.items()
        }
        return Answer("ok", answer.kind or "Tensor", tensors=tensors)

    return null


def _echo(value: torch.Tensor, case: Case) -> torch.Tensor:
    inputs = [t for t in case.inputs().values() if t.is_floating_point()]
    alike = [t for t in inputs if t.shape == value.shape]
    return (alike or inputs or [value * 0])[0]


NULLS = {
    "zeros": _filled(lambda t, case: torch.zeros_like(t)),
    "ones": _filled(lambda t, case: torch.ones_like(t)),
    "uniform": _filled(lambda t, case: torch.full_like(t, 1 / t.shape[-1] if t.ndim else 0.5)),
    "echo of an input": _filled(_echo),
    "noise": _filled(lambda t, case: torch.rand(t.shape, dtype=torch.float64)),  # another with each call
    "empty": _filled(lambda t, case: t.new_empty(0)),
    "NaN": _filled(lambda t, case: torch.full(t.shape, float("nan"), dtype=torch.float64)),
    "ValueError": lambda answer, case: Answer(
        "error", error={"type": "ValueError", "message": "", "where": "", "integers": list(case.scoring.raises or ())}
    ),
}


def nearly_right(answer: Answer | None) -> Answer | None:
    """A right answer, but for rounding that is far too coarse: no idea is behind it."""
    if answer is None:
        return None
    near = {
        name: t * 1.0001 if t.is_floating_point() and not name.startswith("after.") else t
        for name, t in answer.tensors.items()
    }
    return replace(answer, tensors=near)
