"""The training problems on which Lab 4's functions are examined, drawn until nothing is hidden.

A drawn problem may be a bad one: every sample right, the best epoch the last one. So the model
answer solves it first, and it is drawn again until it shows what it is for. The numbers come from
the draw alone, so a variant always ends with the same problem.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autograder.errors import UserError
from autograder.labs.lab import solution_cells
from autograder.labs.variants import Draw
from vitedu.labs.lab4 import scenarios as training_scenarios
from vitedu.probe import recording
from vitedu.probe.case import Case

CODE = solution_cells("lab4_training")
REPORTS = "homework reports that were handed in"
TRACKERS = "issue trackers of public training code and of courses"
WRITING = "thought of while writing this exam"
TRIES = 400
MARGIN = 2e-3  # between the two largest logits: float32 and float64 must predict the same class
STEADY = 3e-5  # a third of what float32 answers are allowed
Layers = tuple[tuple[str, str, tuple[Any, ...]], ...]
Weights = dict[str, Tensor]
Solved = tuple[recording.Numbers, list[Tensor]]


@cache
def answers() -> dict[str, Any]:
    """The names that the lab's solution cells define, without the models."""
    space: dict[str, Any] = {"copy": copy, "torch": torch, "F": F, "nn": nn, "Tensor": Tensor}
    for name in ("metrics", "train_one_epoch", "evaluate", "fit", "checkpoints"):
        exec(compile(CODE[name], f"<lab4: {name}>", "exec"), space)
    return space


def solved(case: Case, dtype: torch.dtype = torch.float64) -> Solved:
    """What the model answer makes of a case, with the norm of each step's gradient, and all logits in order."""
    problem, logits, norms = training_scenarios.Problem(case, dtype), [], [torch.zeros(())]
    problem.model.register_forward_hook(lambda model, images, out: logits.append(out.detach()))
    parameters = list(problem.model.parameters())
    problem.optimizer.register_step_pre_hook(
        lambda *_: norms.append(nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))
    )
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        _, found = training_scenarios.PROBLEMS[case.script.partition(".")[2]](answers()[case.thing], problem, answers())
    return {**found, "norms": torch.stack([norm.double() for norm in norms])}, logits


def drawn_until(make: Callable[[], Case], fits: Callable[[Case, recording.Numbers, list[Tensor]], bool]) -> Case:
    """The first drawn case that shows what it is for, with classes that no rounding can exchange.

    Raises:
        UserError: none did.
    """
    for _ in range(TRIES):
        case = make()
        found, logits = solved(case)
        if clear(logits) and fits(case, found, logits) and steady(case, found):
            return case
    raise UserError(f"Lab 4: none of {TRIES} drawn problems for {case.name!r} shows what it is for.")


def clear(logits: list[Tensor]) -> bool:
    """Whether every sample's largest logit is well above its second."""
    two = torch.cat(logits).topk(2, dim=1).values
    return bool((two[:, 0] - two[:, 1]).min() > MARGIN)


def steady(case: Case, found: recording.Numbers) -> bool:
    """Whether rounding stays small: a student's float32 must end where float64 does."""
    rough, _ = solved(case, torch.float32)
    return all(torch.allclose(rough[n].double(), t.double(), rtol=STEADY, atol=STEADY) for n, t in found.items())


# --- models and data ------------------------------------------------------------------------------


def small_net(
    draw: Draw, features: int, hidden: int, classes: int, norm: str = "BatchNorm1d"
) -> tuple[Layers, Weights]:
    """Images of `features` numbers in all -> classes.

    The norm comes after the Tanh: a bias right before it would have no gradient but rounding errors,
    which Adam blows up to whole steps.
    """
    layers = (
        ("flat", "Flatten", ()), ("first", "Linear", (features, hidden)), ("act", "Tanh", ()),
        ("norm", norm, (hidden,)), ("head", "Linear", (hidden, classes)),
    )  # fmt: skip
    weights = draw.weights({"first.weight": (hidden, features), "first.bias": (hidden,)})
    return layers, weights | normed(draw, hidden, running=norm == "BatchNorm1d") | headed(draw, hidden, classes)


def conv_net(draw: Draw, channels: int, height: int, width: int, hidden: int, classes: int) -> tuple[Layers, Weights]:
    """Images (B, C, H, W) through a convolution of 2 x 2 pixels and a BatchNorm2d, which a lone image may enter."""
    inner = hidden * (height - 1) * (width - 1)
    layers = (
        ("conv", "Conv2d", (channels, hidden, 2)), ("act", "Tanh", ()), ("norm", "BatchNorm2d", (hidden,)),
        ("flat", "Flatten", ()), ("head", "Linear", (inner, classes)),
    )  # fmt: skip
    weights = {
        "conv.weight": draw.normal(hidden, channels, 2, 2, scale=channels**-0.5),
        "conv.bias": draw.normal(hidden, scale=0.5),
    }
    return layers, weights | normed(draw, hidden) | headed(draw, inner, classes)


def normed(draw: Draw, size: int, running: bool = True) -> Weights:
    """Weights of a normalisation that is far from doing nothing."""
    found = {"norm.weight": 1 + draw.normal(size, scale=0.3), "norm.bias": draw.normal(size, scale=0.5)}
    if running:
        found |= {
            "norm.running_mean": draw.normal(size, scale=0.5),
            "norm.running_var": 0.5 + draw.normal(size).abs(),
        }
    return found


def headed(draw: Draw, size: int, classes: int) -> Weights:
    """Weights of a last layer whose classes are far enough apart."""
    weight = draw.normal(classes, size, scale=1.5 * size**-0.5)
    return {"head.weight": weight, "head.bias": draw.normal(classes)}


def batches(
    draw: Draw, sizes: tuple[int, ...], shape: tuple[int, ...], classes: int, prefix: str = ""
) -> dict[str, Any]:
    """Random images and labels in batches of these sizes."""
    count = sum(sizes)
    return {
        f"{prefix}x": draw.normal(count, *shape),
        f"{prefix}y": random_labels(draw, count, classes),
        f"{prefix}batches": sizes,
    }


def random_labels(draw: Draw, count: int, classes: int) -> Tensor:
    """Random classes."""
    return draw.normal(count, classes).argmax(dim=1)


def rate(draw: Draw, low: int, high: int) -> float:
    """A learning rate of so many hundredths."""
    return draw.sizes(1, low, high)[0] / 100


# --- what a problem must show ---------------------------------------------------------------------


def telling(shares: Tensor) -> bool:
    """Whether accuracies are none of the numbers that mistakes give as well: 0, a half, 1."""
    return all(min(abs(share - other) for other in (0, 0.5, 1)) > 0.01 for share in shares.flatten().tolist())


def per_batch(case: Case, logits: list[Tensor], prefix: str = "") -> tuple[list[float], list[float]]:
    """Loss and accuracy of each batch of the first pass through the data."""
    parts = case.kwargs[f"{prefix}y"].split(list(case.kwargs[f"{prefix}batches"]))
    losses = [F.cross_entropy(out, y).item() for out, y in zip(logits, parts, strict=False)]
    rights = [(out.argmax(1) == y).double().mean().item() for out, y in zip(logits, parts, strict=False)]
    return losses, rights


def apart(*numbers: float, by: float = 0.02) -> bool:
    """Whether no two of these numbers are close to each other."""
    return all(b - a > by for a, b in pairwise(sorted(numbers)))


# --- a history with a pattern ---------------------------------------------------------------------


def with_pattern(
    draw: Draw, case: Case, pattern: Callable[[Tensor, Tensor, Tensor, Tensor], bool], tries: int = 300
) -> Case | None:
    """A case for fit with validation labels that give its history a pattern; None when none did.

    Validation labels have no influence on training: so the model answer trains once, and the labels
    are drawn until losses and accuracies (train, then validation, each (epochs,)) have the pattern.
    """
    found, logits = solved(case)
    if not clear(logits):
        return None
    seen = torch.stack(list(_validation(case, logits)))  # (epochs, V, classes)
    wanted = draw.normal(tries, *seen.shape[1:]).argmax(-1)  # (tries, V)
    for y in wanted:
        losses = torch.stack([F.cross_entropy(out, y) for out in seen])
        rights = (seen.argmax(-1) == y).double().mean(-1)
        if pattern(found["train_loss"], found["train_accuracy"], losses, rights):
            return replace(case, kwargs={**case.kwargs, "val_y": y})
    return None


def never_right(case: Case) -> Case | None:
    """The case with validation labels that the model predicts in no epoch; None when it predicts each class once."""
    _, logits = solved(case)
    if not clear(logits):
        return None
    seen = torch.stack(list(_validation(case, logits)))
    free = torch.ones(seen.shape[1:], dtype=torch.bool).scatter_(1, seen.argmax(-1).T, False)  # (V, classes)
    return replace(case, kwargs={**case.kwargs, "val_y": free.long().argmax(-1)}) if free.any(-1).all() else None


def _validation(case: Case, logits: list[Tensor]) -> Iterator[Tensor]:
    """The validation logits of each epoch, out of all forward passes in order."""
    train, val = len(case.kwargs["batches"]), len(case.kwargs["val_batches"])
    for start in range(train, len(logits), train + val):
        yield torch.cat(logits[start : start + val])


def first_drawn(make: Callable[[], Case | None]) -> Case:
    """The first case that is one.

    Raises:
        UserError: there was none.
    """
    for _ in range(TRIES):
        if (case := make()) is not None and steady(case, solved(case)[0]):
            return case
    raise UserError(f"Lab 4: none of {TRIES} drawn problems has the pattern that fit is examined with.")
