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
from autograder.labs.variants import Variant
from vitedu.labs.lab4 import scenarios as training_scenarios
from vitedu.probe import recording
from vitedu.probe.case import ScenarioCase
from vitedu.stand_ins import lab4 as stand_ins

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
def answers(bound: tuple[str, ...] = ()) -> dict[str, Any]:
    """The names that the lab's solution cells define, without the models; of the exercises in `bound` the stand-ins."""
    namespace: dict[str, Any] = {"copy": copy, "torch": torch, "F": F, "nn": nn, "Tensor": Tensor}
    for name in ("metrics", "train_one_epoch", "evaluate", "fit", "checkpoints"):
        if name in bound:
            namespace |= {each: getattr(stand_ins, each) for each in stand_ins.STAND_INS[name]}
        else:
            exec(compile(CODE[name], f"<lab4: {name}>", "exec"), namespace)
    return namespace


def solved(case: ScenarioCase, dtype: torch.dtype = torch.float64, bound: tuple[str, ...] = ()) -> Solved:
    """What the model answer makes of a case, with the norm of each step's gradient, and all logits in order.

    Args:
        bound: earlier exercises in whose place a stand-in is called.
    """
    problem, logits, norms = training_scenarios.Problem(case, dtype), [], [torch.zeros(())]
    problem.model.register_forward_hook(lambda model, images, out: logits.append(out.detach()))
    parameters = list(problem.model.parameters())
    problem.optimizer.register_step_pre_hook(
        lambda *_: norms.append(nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))
    )
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        _, found = training_scenarios.PROBLEMS[case.scenario.partition(".")[2]](
            answers(bound)[case.target], problem, answers(bound)
        )
    return {**found, "norms": torch.stack([norm.double() for norm in norms])}, logits


def drawn_until(
    make: Callable[[], ScenarioCase], fits: Callable[[ScenarioCase, recording.Numbers, list[Tensor]], bool]
) -> ScenarioCase:
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


def steady(case: ScenarioCase, found: recording.Numbers) -> bool:
    """Whether rounding stays small: a student's float32 must end where float64 does."""
    rough, _ = solved(case, torch.float32)
    return all(torch.allclose(rough[n].double(), t.double(), rtol=STEADY, atol=STEADY) for n, t in found.items())


# --- models and data ------------------------------------------------------------------------------


def small_net(
    variant: Variant, features: int, hidden: int, classes: int, norm: str = "BatchNorm1d"
) -> tuple[Layers, Weights]:
    """Images of `features` numbers in all -> classes.

    The norm comes after the Tanh: a bias right before it would have no gradient but rounding errors,
    which Adam blows up to whole steps.
    """
    layers = (
        ("flat", "Flatten", ()), ("first", "Linear", (features, hidden)), ("act", "Tanh", ()),
        ("norm", norm, (hidden,)), ("head", "Linear", (hidden, classes)),
    )  # fmt: skip
    weights = variant.weights({"first.weight": (hidden, features), "first.bias": (hidden,)})
    return layers, weights | normed(variant, hidden, running=norm == "BatchNorm1d") | headed(variant, hidden, classes)


def conv_net(
    variant: Variant, channels: int, height: int, width: int, hidden: int, classes: int
) -> tuple[Layers, Weights]:
    """Images (B, C, H, W) through a convolution of 2 x 2 pixels and a BatchNorm2d, which a lone image may enter."""
    inner = hidden * (height - 1) * (width - 1)
    layers = (
        ("conv", "Conv2d", (channels, hidden, 2)), ("act", "Tanh", ()), ("norm", "BatchNorm2d", (hidden,)),
        ("flat", "Flatten", ()), ("head", "Linear", (inner, classes)),
    )  # fmt: skip
    weights = {
        "conv.weight": variant.normal(hidden, channels, 2, 2, scale=channels**-0.5),
        "conv.bias": variant.normal(hidden, scale=0.5),
    }
    return layers, weights | normed(variant, hidden) | headed(variant, inner, classes)


def normed(variant: Variant, size: int, running: bool = True) -> Weights:
    """Weights of a normalisation that is far from doing nothing."""
    found = {"norm.weight": 1 + variant.normal(size, scale=0.3), "norm.bias": variant.normal(size, scale=0.5)}
    if running:
        found |= {
            "norm.running_mean": variant.normal(size, scale=0.5),
            "norm.running_var": 0.5 + variant.normal(size).abs(),
        }
    return found


def headed(variant: Variant, size: int, classes: int) -> Weights:
    """Weights of a last layer whose classes are far enough apart."""
    weight = variant.normal(classes, size, scale=1.5 * size**-0.5)
    return {"head.weight": weight, "head.bias": variant.normal(classes)}


def batches(
    variant: Variant, sizes: tuple[int, ...], shape: tuple[int, ...], classes: int, prefix: str = ""
) -> dict[str, Any]:
    """Random images and labels in batches of these sizes."""
    count = sum(sizes)
    return {
        f"{prefix}x": variant.normal(count, *shape),
        f"{prefix}y": random_labels(variant, count, classes),
        f"{prefix}batches": sizes,
    }


def random_labels(variant: Variant, count: int, classes: int) -> Tensor:
    """Random classes."""
    return variant.normal(count, classes).argmax(dim=1)


def rate(variant: Variant, low: int, high: int) -> float:
    """A learning rate of so many hundredths."""
    return variant.sizes(1, low, high)[0] / 100


# --- what a problem must show ---------------------------------------------------------------------


def telling(shares: Tensor) -> bool:
    """Whether accuracies are none of the numbers that mistakes give as well: 0, a half, 1."""
    return all(min(abs(share - other) for other in (0, 0.5, 1)) > 0.01 for share in shares.flatten().tolist())


def per_batch(case: ScenarioCase, logits: list[Tensor], prefix: str = "") -> tuple[list[float], list[float]]:
    """Loss and accuracy of each batch of the first pass through the data."""
    parts = case.parameters[f"{prefix}y"].split(list(case.parameters[f"{prefix}batches"]))
    losses = [F.cross_entropy(out, y).item() for out, y in zip(logits, parts, strict=False)]
    rights = [(out.argmax(1) == y).double().mean().item() for out, y in zip(logits, parts, strict=False)]
    return losses, rights


def apart(*numbers: float, by: float = 0.02) -> bool:
    """Whether no two of these numbers are close to each other."""
    return all(b - a > by for a, b in pairwise(sorted(numbers)))


# --- a history with a pattern ---------------------------------------------------------------------


def with_pattern(
    variant: Variant, case: ScenarioCase, pattern: Callable[[Tensor, Tensor, Tensor, Tensor], bool], tries: int = 300
) -> ScenarioCase | None:
    """A case for fit with validation labels that give its history a pattern; None when none did.

    Validation labels have no influence on training: so the model answer trains once, and the labels
    are drawn until losses and accuracies (train, then validation, each (epochs,)) have the pattern.
    """
    found, logits = solved(case)
    if not clear(logits):
        return None
    seen = torch.stack(list(_validation(case, logits)))  # (epochs, V, classes)
    wanted = variant.normal(tries, *seen.shape[1:]).argmax(-1)  # (tries, V)
    for y in wanted:
        losses = torch.stack([F.cross_entropy(out, y) for out in seen])
        rights = (seen.argmax(-1) == y).double().mean(-1)
        if pattern(found["train_loss"], found["train_accuracy"], losses, rights):
            return replace(case, parameters={**case.parameters, "val_y": y})
    return None


def never_right(case: ScenarioCase) -> ScenarioCase | None:
    """The case with validation labels that are right in no epoch; None when each class is right in one.

    They are not right either where a stand-in trains the model, or tests it.
    """
    _, logits = solved(case)
    if not clear(logits):
        return None
    ways = (logits, solved(case, bound=("train_one_epoch",))[1])
    seen = [epoch for each in ways for epoch in _validation(case, each)]  # (V, classes) each
    tests = [answers(bound)["evaluate"] for bound in ((), ("evaluate",))]
    chosen = []
    for rows in zip(*seen, strict=True):  # what one sample's logits are in all epochs
        labels = [(row[None], torch.tensor([c])) for row in rows for c in range(len(row))]
        right = {int(y) for x, y in labels if any(test(nn.Identity(), [(x, y)], "cpu")["accuracy"] for test in tests)}
        free = [c for c in range(len(rows[0])) if c not in right]
        if not free:
            return None
        chosen.append(free[0])
    return replace(case, parameters={**case.parameters, "val_y": torch.tensor(chosen)})


def _validation(case: ScenarioCase, logits: list[Tensor]) -> Iterator[Tensor]:
    """The validation logits of each epoch, out of all forward passes in order."""
    train, val = len(case.parameters["batches"]), len(case.parameters["val_batches"])
    for start in range(train, len(logits), train + val):
        yield torch.cat(logits[start : start + val])


def first_drawn(make: Callable[[], ScenarioCase | None]) -> ScenarioCase:
    """The first case that is one.

    Raises:
        UserError: there was none.
    """
    for _ in range(TRIES):
        if (case := make()) is not None and steady(case, solved(case)[0]):
            return case
    raise UserError(f"Lab 4: none of {TRIES} drawn problems has the pattern that fit is examined with.")
