"""What Lab 6's exams have in common: the solution cells, and problems on the stand-in models."""

from __future__ import annotations

import copy
import time
from functools import cache
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autograder.errors import UserError
from autograder.labs.lab import solution_cells
from autograder.labs.variants import Variant
from vitedu.labs.lab6 import recording
from vitedu.labs.lab6.stub_models import DEPTH, image_shape
from vitedu.probe import scenarios
from vitedu.probe.case import ScenarioCase
from vitedu.stand_ins import lab6 as stand_ins

CODE = solution_cells("lab6_transfer")
REPORTS = "homework reports that were handed in"
TRACKERS = "issue trackers of public training code and of courses"
WRITING = "thought of while writing this exam"
TRIES = 200
VALUES = 997  # numbers that a model's parameters are filled with; a prime, so that no two layers repeat each other
LAST = DEPTH - 1


@cache
def answers(bound: tuple[str, ...] = ()) -> dict[str, Any]:
    """The names that fine-tuning needs, as the solution cells define them; of the exercises in `bound` by stand-ins."""
    namespace: dict[str, Any] = {"copy": copy, "time": time, "torch": torch, "F": F, "nn": nn, "Tensor": Tensor}
    for name in ("freeze_all_but", "heads", "fine_tune"):
        if name in bound:
            namespace |= {each: getattr(stand_ins, each) for each in stand_ins.STAND_INS[name]}
        else:
            exec(compile(CODE[name], f"<lab6: {name}>", "exec"), namespace)
    return namespace


def solved(case: ScenarioCase, bound: tuple[str, ...] = (), cells: tuple[str, ...] = ()) -> recording.Numbers:
    """What the model answer makes of a case.

    Args:
        bound: earlier exercises in whose place a stand-in is called.
        cells: code that is run on top, in the place of what it defines.
    """
    namespace = answers(bound)
    if cells:
        namespace = dict(namespace)
        exec(compile("\n\n".join(cells), "<lab6: cells>", "exec"), namespace)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        return scenarios.run(namespace[case.target], case, torch.float64, namespace)[1]


def standing_in(variant: Variant, kind: str, width: int, classes: int, drop: float = 0.0) -> dict[str, Any]:
    """The parameters of a question that build and fill a stand-in."""
    return {"kind": kind, "width": width, "classes": classes, "drop": drop, "values": variant.normal(VALUES)}


def images(variant: Variant, kind: str, count: int) -> Tensor:
    """Random images for a stand-in."""
    return variant.normal(count, *image_shape(kind))


def labels(variant: Variant, count: int, classes: int) -> Tensor:
    """Random classes."""
    return variant.normal(count, classes).argmax(dim=1)


def apart(*numbers: float, by: float = 0.02) -> bool:
    """Whether no two of these numbers are close to each other."""
    return all(b - a > by for a, b in pairwise(sorted(numbers)))


def no_draw(what: str) -> UserError:
    """None of the draws for a problem shows what it is for."""
    return UserError(f"Lab 6: none of {TRIES} draws for {what} shows what it is for.")
