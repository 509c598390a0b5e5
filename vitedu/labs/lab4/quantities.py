"""What the outputs of Lab 4's scenarios are called in a note: losses by epoch, learning rates by batch.

Each function is a `Scenario.named`, see vitedu/probe/scenarios.py. A wrong mode of the model comes first, because all
that follows depends on it; what was left behind comes last.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vitedu.probe import toy_models
from vitedu.probe.case import ScenarioCase
from vitedu.probe.quantities import AFTERWARDS, BEFORE, Named, Quantities, Quantity, epochs, fact, facts_about

GRAPH = "the numbers that come back still hold their graph (requires_grad is True)"


def of_training(case: ScenarioCase, output: str, expected: Mapping[str, Tensor]) -> Named | None:
    """The outputs of `train`."""
    rounds, batches = case.parameters.get("epochs", 1), len(case.parameters["batches"])
    known: dict[str, Named] = {
        "forward_in_eval": fact((BEFORE, 0), one="batches go through the model in eval mode"),
        "loss": epochs("the loss", rounds, 1),
        "accuracy": epochs("the accuracy", rounds, 2),
        "keeps_graph": fact((AFTERWARDS, 0), one=GRAPH),
    }
    if "lr" in expected:  # where it is looked at
        known["lr"] = learning_rates(batches, len(expected["lr"]))
    return known.get(output) or _state(output, f"after step {rounds * batches}", (rounds, 0))


def of_testing(case: ScenarioCase, output: str, expected: Mapping[str, Tensor]) -> Named | None:
    """The outputs of `evaluate`."""
    known: dict[str, Named] = {
        "forward_in_train": fact((BEFORE, 0), one="batches go through the model in training mode"),
        "forward_with_gradients": fact((BEFORE, 1), one="batches go through the model with gradients recorded"),
        "loss": Quantity("the loss", (0, 0)),
        "accuracy": Quantity("the accuracy", (0, 1)),
        "random_state": fact((1, 4), zero="the random state is another one afterwards"),
        "grad_mode": fact(
            (1, 5),
            zero="gradients are switched off for everybody afterwards",
            one="gradients are switched on afterwards and were off",
        ),
        "keeps_graph": fact((AFTERWARDS, 0), one=GRAPH),
    }
    if output == "training":
        modules = (name or "the model" for name, _ in _model(case).named_modules())
        return facts_about("modules", modules, (1, 2), zero="{} is in eval mode afterwards and was in training mode",
                           one="{} is in training mode afterwards and was in eval mode")  # fmt: skip
    if output == "requires_grad":
        names = (name for name, _ in _model(case).named_parameters())
        return facts_about("parameters", names, (1, 3), zero="requires_grad of {} is False afterwards and was True",
                           one="requires_grad of {} is True afterwards and was False")  # fmt: skip
    if output.startswith("grad."):
        return Quantity(f"the gradient of {output.removeprefix('grad.')} afterwards", (1, 1))
    return known.get(output) or _state(output, "afterwards", (1, 0))


def of_fitting(case: ScenarioCase, output: str, expected: Mapping[str, Tensor]) -> Named | None:
    """The outputs of `fit`."""
    rounds, batches = case.parameters["epochs"], len(case.parameters["batches"])
    known: dict[str, Named] = {
        "train_forward_in_eval": fact((BEFORE, 0), one="training batches go through the model in eval mode"),
        "val_forward_in_train": fact((BEFORE, 1), one="validation batches go through the model in training mode"),
        "val_forward_with_gradients": fact(
            (BEFORE, 2), one="validation batches go through the model with gradients recorded"
        ),
        "lr": learning_rates(batches, len(expected["lr"])),
        "calls.epoch": _calls("the epoch that call {} of on_epoch is given", rounds, 6),
        "calls.length": _calls("the length of the history in call {} of on_epoch", rounds, 7),
        "keeps_graph": fact((AFTERWARDS, 1), one=GRAPH),
    }
    for rank, name in enumerate(("train_loss", "train_accuracy", "val_loss", "val_accuracy"), start=2):
        known[name] = epochs(f"the {name}", rounds, rank)
    if output.startswith("calls.state."):
        return _calls(f"{output.removeprefix('calls.state.')} in call {{}} of on_epoch", rounds, 8, extra=0)
    return known.get(output) or _state(output, "at the end", (AFTERWARDS, 0))


def of_checkpoints(case: ScenarioCase, output: str, expected: Mapping[str, Tensor]) -> Named | None:
    """The outputs of `checkpoint`."""
    known: dict[str, Named] = {
        "raised": fact((0, 0), zero="loading into a model with other keys raises no error"),
        "readable": fact((0, 1), zero="the file holds more than weights and plain values: torch.load refuses it with "
                                      "weights_only=True"),
        "epoch": Quantity("the epoch that comes back", (0, 3)),
        "history.keeps_graph": fact((AFTERWARDS, 0), one=GRAPH),
    }  # fmt: skip
    if output.startswith("loaded."):
        return Quantity(f"{output.removeprefix('loaded.')} after loading", (0, 2))
    if output.startswith("history.") and output not in known:
        name = output.removeprefix("history.")
        entries = [
            Quantity(f"the {name} of epoch {i + 1} that comes back", (0, 4)) for i in range(len(expected[output]))
        ]
        return Quantities(Quantity(f"the length of the {name} that comes back", (0, 4)), entries)
    return known.get(output) or _state(output, f"after {case.parameters['after']} more steps", (1, 0))


def learning_rates(batches: int, length: int) -> Quantities:
    """The learning rate before each step, `batches` of them an epoch, and at the end."""
    several = length - 1 > batches
    entries = [Quantity("the learning rate of the first step", (0, 0))]
    for step in range(length - 1):
        epoch, batch = divmod(step, batches)
        where = f"batch {batch + 1}" + (f" of epoch {epoch + 1}" if several else "")
        entries.append(Quantity(f"the learning rate after {where}", (epoch, 0)))
    return Quantities(Quantity("the number of steps of the given optimizer", (0, 0)), entries, extra=1)


def _calls(words: str, number: int, rank: int, extra: int = 1) -> Quantities:
    """What each call of on_epoch was given; the `extra` first entries are no call."""
    entries = [Quantity(words.format(i + 1 - extra), (max(i - extra, 0), rank)) for i in range(number + extra)]
    return Quantities(Quantity("the number of calls of on_epoch", (0, rank)), entries, extra)


def _state(output: str, when: str, order: tuple[int, int]) -> Quantity | None:
    """A parameter or buffer by its key."""
    key = output.removeprefix("state.")
    return Quantity(f"{key} {when}", order) if key != output else None


def _model(case: ScenarioCase) -> nn.Module:
    return toy_models.build(case.model, case.weights, case.frozen, torch.float32)
