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
from autograder.labs.variants import Draw
from vitedu.labs.lab6 import recording
from vitedu.labs.lab6.stub_models import DEPTH, image_shape
from vitedu.probe import scenarios
from vitedu.probe.case import Case

CODE = solution_cells("lab6_transfer")
REPORTS = "homework reports that were handed in"
TRACKERS = "issue trackers of public training code and of courses"
WRITING = "thought of while writing this exam"
TRIES = 200
VALUES = 997  # numbers that a model's parameters are filled with; a prime, so that no two layers repeat each other
LAST = DEPTH - 1


@cache
def answers() -> dict[str, Any]:
    """The names that fine-tuning needs, as the solution cells define them."""
    space: dict[str, Any] = {"copy": copy, "time": time, "torch": torch, "F": F, "nn": nn, "Tensor": Tensor}
    for name in ("freeze_all_but", "heads", "fine_tune"):
        exec(compile(CODE[name], f"<lab6: {name}>", "exec"), space)
    return space


def solved(case: Case) -> recording.Numbers:
    """What the model answer makes of a case."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        return scenarios.run(answers()[case.thing], case, torch.float64, answers())[1]


def standing_in(draw: Draw, kind: str, width: int, classes: int, drop: float = 0.0) -> dict[str, Any]:
    """The parameters of a question that build and fill a stand-in."""
    return {"kind": kind, "width": width, "classes": classes, "drop": drop, "values": draw.normal(VALUES)}


def images(draw: Draw, kind: str, count: int) -> Tensor:
    """Random images for a stand-in."""
    return draw.normal(count, *image_shape(kind))


def labels(draw: Draw, count: int, classes: int) -> Tensor:
    """Random classes."""
    return draw.normal(count, classes).argmax(dim=1)


def apart(*numbers: float, by: float = 0.02) -> bool:
    """Whether no two of these numbers are close to each other."""
    return all(b - a > by for a, b in pairwise(sorted(numbers)))


def no_draw(what: str) -> UserError:
    """None of the draws for a problem shows what it is for."""
    return UserError(f"Lab 6: none of {TRIES} draws for {what} shows what it is for.")
