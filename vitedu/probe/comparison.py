"""Is this answer that answer? Shapes and kinds before values, never with broadcasting."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from vitedu.probe.case import Answer, Case, FunctionCase, ScenarioCase

# Relative and absolute tolerance by the dtype of the question. Right code may round a constant
# such as 1/sqrt(K) to float32 on its way (relative error 6e-8), which float64 at 1e-8 would call
# wrong; every mutant that was tried differs by far more than 1e-4.
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-4}
APART = 10.0  # tolerances: a wrong idea differs from the model answer by more, or it explains nothing
LOSS_TOLERANCE = 1e-4  # of a mean loss that a function returned: it may have been added up in float32


@dataclass(frozen=True)
class ComparableAnswer:
    """An answer reduced to what is compared.

    Attributes:
        where: the function of the student's in which the exception was raised; no line.
        message: of the exception, with its numbers, but without addresses in memory.
        repeatable: two calls with equal inputs gave equal results.
        changed: the inputs that the call changed in place.
        values: result and gradients by name.
    """

    status: str
    kind: str
    error: str
    where: str
    message: str
    integers: frozenset[int]
    keys: tuple[tuple[str, ...], ...]
    repeatable: bool
    changed: tuple[str, ...]
    values: dict[str, Tensor]


def comparable(answer: Answer, case: Case, tolerance: float) -> ComparableAnswer:
    """Reduce an answer; `case` brings the judge's own copy of the inputs."""
    tensors = answer.tensors
    out = {name: t for name, t in tensors.items() if name.split(".")[0] == "out"}
    # A scenario calls once, or in a row: what chance did there would show in its numbers.
    again = {name: tensors.get("again" + name[3:]) for name in out}
    repeatable = isinstance(case, ScenarioCase) or all(_unchanged(t, again[name], tolerance) for name, t in out.items())
    changed = tuple(
        name
        for name, mine in sorted(case.inputs().items())
        if f"after.{name}" in tensors and not _unchanged(tensors[f"after.{name}"].to(mine.dtype), mine, tolerance)
    )
    gradients = {name: t for name, t in tensors.items() if name.startswith("grad.")}
    if isinstance(case, FunctionCase) and case.any_dtype:
        out = {name: t.double() for name, t in out.items()}
    integers = frozenset(answer.error.get("integers", ()))
    message = re.sub(r"\b0x[0-9a-fA-F]+", "0x", answer.error.get("message", ""))
    return ComparableAnswer(
        answer.status, answer.kind, answer.error.get("type", ""), answer.error.get("where", ""), message, integers,
        (answer.absent, answer.extra, answer.misshapen), repeatable, changed, out | gradients,
    )  # fmt: skip


def close(a: Tensor, b: Tensor | None, tolerance: float, nan: bool = False) -> bool:
    """Same shape, same kind of dtype, and equal within the tolerance, integers exactly; an empty tensor never is."""
    if b is None or a.shape != b.shape or a.is_floating_point() != b.is_floating_point():
        return False
    return a.numel() > 0 and not bool(unequal(a, b, tolerance, nan).any())


def unequal(a: Tensor, b: Tensor, tolerance: float, nan: bool = False) -> Tensor:
    """Where the values of two tensors of one shape differ: whole numbers at all, others by more than the tolerance."""
    apart = ~torch.isclose(a.double(), b.double(), rtol=tolerance, atol=tolerance, equal_nan=nan)
    return apart | (_whole(a) & _whole(b) & (a != b))  # a count of 86 million is wrong by one, too


def _whole(t: Tensor) -> Tensor:
    """Where whole numbers stand; a float so large that it has no other neighbours may be a rounded one."""
    if not t.is_floating_point():
        return torch.ones_like(t, dtype=torch.bool)
    return (t == t.round()) & (t.abs() < 1 / torch.finfo(t.dtype).eps)


def _unchanged(a: Tensor, b: Tensor | None, tolerance: float) -> bool:
    """Close, where NaN and emptiness may stay what they were."""
    return close(a, b, tolerance, nan=True) or (b is not None and a.shape == b.shape and a.numel() == 0)


def is_same_answer(
    a: ComparableAnswer, b: ComparableAnswer, tolerance: float, nan: bool = False, nondeterministic: bool = False
) -> bool:
    """Whether two answers are the same answer.

    Args:
        nan: NaN equals NaN (used to recognise a wrong answer, never to accept a right one).
        nondeterministic: values of `b` change from run to run, so only their shapes are compared.
    """
    if (a.status, a.keys, a.changed) != (b.status, b.keys, b.changed):
        return False
    if (a.error, a.where, a.message) != (b.error, b.where, b.message):
        return False
    if a.repeatable != b.repeatable or a.values.keys() != b.values.keys():
        return False
    if not a.values and a.kind != b.kind:
        return False
    if nondeterministic:
        return all(a.values[name].shape == b.values[name].shape for name in a.values)
    losses = max(tolerance, LOSS_TOLERANCE)
    return all(
        close(value, b.values[name], losses if name.endswith("loss") else tolerance, nan)
        for name, value in a.values.items()
    )


def is_correct(found: ComparableAnswer, expected: ComparableAnswer, case: Case, tolerance: float) -> bool:
    """Whether an answer earns its case: what is asked for, finite, and equal to the model answer."""
    scoring = case.scoring
    if scoring.raises is not None:
        return found.status == "error" and found.error == "ValueError" and set(scoring.raises) <= found.integers
    if scoring.random and found.repeatable:
        return False
    if found.status != "ok" or not all(torch.isfinite(t).all() for t in found.values.values() if t.is_floating_point()):
        return False
    return is_same_answer(found, expected, tolerance, nondeterministic=scoring.random)


@dataclass(frozen=True)
class Expected:
    """What a model answer or a misconception gives for one case; see `is_same_answer` for `nondeterministic`."""

    answer: ComparableAnswer
    nondeterministic: bool = False
