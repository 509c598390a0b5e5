"""Is this answer that answer? Shapes and kinds before values, never with broadcasting."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vitedu.probe.case import Answer, Case

# Relative and absolute tolerance by the dtype of the question. Right code may round a constant
# such as 1/sqrt(K) to float32 on its way (relative error 6e-8), which float64 at 1e-8 would call
# wrong; every mutant that was tried differs by far more than 1e-4.
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-4}
# A wrong idea is recognised at this tolerance when nothing fits exactly: under another convention
# (an eps, an approximate GELU) it gives slightly other numbers. Never used to find an answer right.
LOOSE = 1e-3
LOSS_TOLERANCE = 1e-4  # of a mean loss that a function returned: it may have been added up in float32


@dataclass(frozen=True)
class ComparableAnswer:
    """An answer reduced to what is compared.

    Attributes:
        message: of the exception, with every number replaced by #.
        repeatable: two calls with equal inputs gave equal results.
        changed: the inputs that the call changed in place.
        values: result and gradients by name.
    """

    status: str
    kind: str
    error: str
    message: str
    integers: frozenset[int]
    keys: tuple[tuple[str, ...], ...]
    repeatable: bool
    changed: tuple[str, ...]
    values: dict[str, Tensor]


def facts(answer: Answer, case: Case, tolerance: float) -> ComparableAnswer:
    """Reduce an answer; `case` brings the judge's own copy of the inputs."""
    tensors = answer.tensors
    out = {name: t for name, t in tensors.items() if name.split(".")[0] == "out"}
    # A script calls once, or in a row: what chance did there would show in its numbers.
    again = {name: tensors.get("again" + name[3:]) for name in out}
    repeatable = bool(case.script) or all(_unchanged(t, again[name], tolerance) for name, t in out.items())
    changed = tuple(
        name
        for name, mine in sorted(case.inputs().items())
        if f"after.{name}" in tensors and not _unchanged(tensors[f"after.{name}"].to(mine.dtype), mine, tolerance)
    )
    gradients = {name: t for name, t in tensors.items() if name.startswith("grad.")}
    if case.any_dtype:
        out = {name: t.double() for name, t in out.items()}
    integers = frozenset(answer.error.get("integers", ()))
    message = re.sub(r"\d+", "#", answer.error.get("message", ""))
    return ComparableAnswer(
        answer.status, answer.kind, answer.error.get("type", ""), message, integers,
        (answer.absent, answer.extra, answer.misshapen), repeatable, changed, out | gradients,
    )  # fmt: skip


def close(a: Tensor, b: Tensor | None, tolerance: float, nan: bool = False) -> bool:
    """Same shape, same kind of dtype, and equal within the tolerance; an empty tensor never is."""
    if b is None or a.shape != b.shape or a.is_floating_point() != b.is_floating_point():
        return False
    if a.numel() == 0:
        return False
    return bool(torch.allclose(a.double(), b.double(), rtol=tolerance, atol=tolerance, equal_nan=nan))


def _unchanged(a: Tensor, b: Tensor | None, tolerance: float) -> bool:
    """Close, where NaN and emptiness may stay what they were."""
    return close(a, b, tolerance, nan=True) or (b is not None and a.shape == b.shape and a.numel() == 0)


def same(
    a: ComparableAnswer, b: ComparableAnswer, tolerance: float, nan: bool = False, by_chance: bool = False
) -> bool:
    """Whether two answers are the same answer.

    Args:
        nan: NaN equals NaN (used to recognise a wrong answer, never to accept a right one).
        by_chance: values of `b` change from run to run, so only their shapes are compared.
    """
    if (a.status, a.keys, a.error, a.message, a.changed) != (b.status, b.keys, b.error, b.message, b.changed):
        return False
    if a.repeatable != b.repeatable or a.values.keys() != b.values.keys():
        return False
    if not a.values and a.kind != b.kind:
        return False
    if by_chance:
        return all(a.values[name].shape == b.values[name].shape for name in a.values)
    losses = max(tolerance, LOSS_TOLERANCE)
    return all(
        close(value, b.values[name], losses if name.endswith("loss") else tolerance, nan)
        for name, value in a.values.items()
    )


def right(found: ComparableAnswer, expected: ComparableAnswer, case: Case, tolerance: float) -> bool:
    """Whether an answer earns its case: what is asked for, finite, and equal to the model answer."""
    if case.raises is not None:
        return found.status == "error" and found.error == "ValueError" and set(case.raises) <= found.integers
    if case.random and found.repeatable:
        return False
    if found.status != "ok" or not all(torch.isfinite(t).all() for t in found.values.values() if t.is_floating_point()):
        return False
    return same(found, expected, tolerance, by_chance=case.random)


@dataclass(frozen=True)
class Expected:
    """What a model answer or a misconception gives for one case; see `same` for `by_chance`."""

    facts: ComparableAnswer
    by_chance: bool = False


def explain(
    found: Sequence[ComparableAnswer],
    rights: Sequence[bool],
    misconceptions: Mapping[str, Sequence[Expected]],
    tolerances: Sequence[float],
) -> tuple[list[str], list[list[str]]]:
    """Name the wrong ideas behind a list of answers.

    Args:
        found: the answers, one a case.
        rights: which of them are right.
        misconceptions: for each id what it gives, one a case.
        tolerances: one a case.

    Returns:
        The ids that explain the whole exercise (equal in every case, the right ones too), and for
        each case the ids equal in that case alone (empty where the answer is right).
    """
    equal = {
        id: [
            same(f, e.facts, t, nan=True, by_chance=e.by_chance)
            for f, e, t in zip(found, given, tolerances, strict=True)
        ]
        for id, given in misconceptions.items()
    }
    per_case = [[] if right else [id for id, hits in equal.items() if hits[i]] for i, right in enumerate(rights)]
    whole = [id for id, hits in equal.items() if all(hit or right for hit, right in zip(hits, rights, strict=True))]
    exact = [id for id in whole if all(equal[id])]
    return (exact or whole if not all(rights) else []), per_case
