"""Notes on Lab 4's scenarios: a wrong answer to each, and the sentence about it, with and without expected values."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from support.notes import said
from vitedu.probe.case import ScenarioCase

# One feature, two classes, so that everything can be worked out on paper.
# The first logits are (1, 0) throughout, so the losses of the first batch are log(1 + 1/e) and log(1 + e). Its gradient
# leaves head.weight[1] at 0.2983, and the second batch, whose loss is 0.2273, at 0.4000: the mean loss is 0.6180. The
# losses of the second epoch are 0.6106, 0.4278 and 0.1335, and head.bias[0] is 1.076 then.

LAYERS = (("flat", "Flatten", ()), ("head", "Linear", (1, 2)))
WEIGHTS = {"head.weight": torch.zeros(2, 1).double(), "head.bias": torch.tensor([1.0, 0.0]).double()}
PROBLEM = {
    "x": torch.tensor([[1.0], [2.0], [-1.0]]).double(), "y": torch.tensor([0, 1, 0]), "batches": (2, 1),
    "val_x": torch.tensor([[1.0]]).double(), "val_y": torch.tensor([0]), "val_batches": (1,),
    "optimizer": "SGD", "options": (("lr", 0.5),),
}  # fmt: skip


def problem(scenario: str, **more: Any) -> ScenarioCase:
    return ScenarioCase("", "f", scenario=f"lab4.{scenario}", model=LAYERS, weights=WEIGHTS, parameters=PROBLEM | more)


def train(model, loader, optimizer, device, scheduler=None):
    model.train()
    losses, hits, count = 0.0, 0, 0
    for x, y in loader:
        optimizer.zero_grad()
        out = model(x)
        loss = F.cross_entropy(out, y)
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        losses, hits, count = losses + loss.item() * len(y), hits + (out.argmax(1) == y).sum().item(), count + len(y)
    return {"loss": losses / count, "accuracy": hits / count}


def halved(model, loader, optimizer, device, scheduler=None):
    found = train(model, loader, optimizer, device, scheduler)
    return found | {"loss": found["loss"] / 2}


def without_scheduler(model, loader, optimizer, device, scheduler=None):
    return train(model, loader, optimizer, device)


def moved(model, loader, optimizer, device, scheduler=None):
    found = train(model, loader, optimizer, device, scheduler)
    model.head.weight.data[1, 0] += 1.0
    return found


def not_a_step(model, loader, optimizer, device, scheduler=None):
    return train(copy.deepcopy(model), loader, torch.optim.SGD(model.parameters(), lr=0.0), device)


def in_eval_mode(model, loader, optimizer, device, scheduler=None):
    model.train = lambda mode=True: nn.Module.train(model, False)
    return train(model, loader, optimizer, device, scheduler)


def with_graph(model, loader, optimizer, device, scheduler=None):
    found = train(model, loader, optimizer, device, scheduler)
    return found | {"loss": torch.tensor(found["loss"]).double().requires_grad_()}


def percent(model, loader, optimizer, device, scheduler=None):
    found = train(model, loader, optimizer, device, scheduler)
    return found | {"accuracy": 100 * found["accuracy"]}


def not_a_number(model, loader, optimizer, device, scheduler=None):
    return train(model, loader, optimizer, device, scheduler) | {"loss": float("nan")}


HALVED = {"scheduler": "ExponentialLR", "scheduler_options": (("gamma", 0.5),)}
# (of the problem, wrong function, the note with expected values, the note without them)
TRAINING = [
    ({}, halved, "loss of epoch 1: expected 0.618, got 0.309", "the loss of epoch 1 differs"),
    ({"epochs": 2}, percent,
     "accuracy of epoch 1: expected 0.6667, got 66.67\nand 1 more differs\naccuracy of epoch 2: expected 1, got 100",
     "the accuracy of epoch 1 differs\nand 1 more differs\nthe accuracy of epoch 2 differs"),
    ({}, not_a_number, "loss of epoch 1: got NaN", "loss of epoch 1: got NaN"),
    ({}, moved,
     "head.weight after step 2: at [1, 0] expected 0.4, got 1.4 (1 of 2 values differ)",
     "head.weight after step 2 differs (1 of 2 values, the first at [1, 0])"),
    ({}, in_eval_mode, "batches go through the model in eval mode", "batches go through the model in eval mode"),
    ({}, with_graph, "the numbers that come back still hold their graph (requires_grad is True)",
     "the numbers that come back still hold their graph (requires_grad is True)"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "wrong", "public", "hidden"), TRAINING)
def test_training(more, wrong, public, hidden):
    asked = problem("train", **more)
    assert said(asked, train, wrong, True) == public
    assert said(asked, train, wrong, False) == hidden


def test_learning_rates_and_steps_come_before_what_follows_from_them():
    lines = said(problem("train", **HALVED), train, without_scheduler, True).split("\n")
    assert lines[:3] == [
        "learning rate after batch 1: expected 0.25, got 0.5",
        "and 3 more differ",
        "learning rate after batch 2: expected 0.125, got 0.5",
    ]
    assert [line.partition(":")[0] for line in lines[3:]] == ["head.weight after step 2", "head.bias after step 2"]
    lines = said(problem("train", epochs=2, **HALVED), train, without_scheduler, False).split("\n")
    assert [lines[0], *lines[2:]] == [
        "the learning rate after batch 1 of epoch 1 differs",
        "the learning rate after batch 2 of epoch 1 differs",
        "the learning rate after batch 1 of epoch 2 differs",
        "the learning rate after batch 2 of epoch 2 differs",
        "the loss of epoch 2 differs",
        "head.weight after step 4 differs (2 of 2 values, the first at [0, 0])",
        "head.bias after step 4 differs (2 of 2 values, the first at [0])",
    ]
    lines = said(problem("train"), train, not_a_step, True).split("\n")
    assert lines[0] == "number of steps of the given optimizer: expected 2, got 0"


def evaluate(model, loader, device):
    mode = model.training
    model.eval()
    losses, hits, count = 0.0, 0, 0
    with torch.no_grad():
        for x, y in loader:
            out = model(x)
            losses += F.cross_entropy(out, y, reduction="sum").item()
            hits, count = hits + (out.argmax(1) == y).sum().item(), count + len(y)
    model.train(mode)
    return {"loss": losses / count, "accuracy": hits / count}


def afterwards(change: Callable[[nn.Module], Any]) -> Callable[..., Any]:
    def evaluates_and_changes(model, loader, device):
        found = evaluate(model, loader, device)
        change(model)
        return found

    return evaluates_and_changes


def as_it_is(model, loader, device):
    out = [(model(x), y) for x, y in loader]
    losses = sum(F.cross_entropy(z, y, reduction="sum").item() for z, y in out) / 3
    return {"loss": losses, "accuracy": sum((z.argmax(1) == y).sum().item() for z, y in out) / 3}


# The numbers of the untrained model: (log(1 + 1/e) + log(1 + e) + log(1 + 1/e)) / 3 and 2 / 3.
LEFT = (
    "the model is in eval mode afterwards and was in training mode\nand 2 more differ\n"
    "flat is in eval mode afterwards and was in training mode\n"
    "head is in eval mode afterwards and was in training mode"
)
TESTING = [
    (lambda *given: evaluate(*given) | {"loss": 1.0}, "loss: expected 0.6466, got 1", "the loss differs"),
    (lambda *given: evaluate(*given) | {"accuracy": 2}, "accuracy: expected 0.6667, got 2", "the accuracy differs"),
    (as_it_is,
     "batches go through the model in training mode\nand 1 more differs\n"
     "batches go through the model with gradients recorded",
     "batches go through the model in training mode\nand 1 more differs\n"
     "batches go through the model with gradients recorded"),
    (afterwards(lambda model: model.eval()),
     LEFT, LEFT),
    (afterwards(lambda model: model.head.bias.requires_grad_(False)),
     "requires_grad of head.bias is False afterwards and was True",
     "requires_grad of head.bias is False afterwards and was True"),
    (afterwards(lambda model: model.zero_grad()),
     "gradient of head.weight afterwards: at [0, 0] expected 0.5, got 0 (2 of 2 values differ)\nand 1 more differs\n"
     "gradient of head.bias afterwards: at [0] expected 0.5, got 0 (2 of 2 values differ)",
     "the gradient of head.weight afterwards differs (2 of 2 values, the first at [0, 0])\nand 1 more differs\n"
     "the gradient of head.bias afterwards differs (2 of 2 values, the first at [0])"),
    (afterwards(lambda model: torch.rand(1)), "the random state is another one afterwards",
     "the random state is another one afterwards"),
    (afterwards(lambda model: torch.set_grad_enabled(False)), "gradients are switched off for everybody afterwards",
     "gradients are switched off for everybody afterwards"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "public", "hidden"), TESTING)
def test_testing(wrong, public, hidden):
    assert said(problem("evaluate"), evaluate, wrong, True) == public
    assert said(problem("evaluate"), evaluate, wrong, False) == hidden


def fit(model, train_loader, val_loader, optimizer, epochs, device, scheduler=None, on_epoch=None, **wrong):
    history = {name: [] for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy")}
    for epoch in range(epochs):
        for name, value in train(model, train_loader, optimizer, device, scheduler).items():
            history[f"train_{name}"].append(value)
        for name, value in evaluate(model, val_loader, device).items():
            history[f"val_{name}"].append(value)
        if on_epoch and not wrong.get("silent"):
            on_epoch(epoch + wrong.get("first", 0), history)
    return history


def changed(change: Callable[[dict[str, list[float]]], Any]) -> Callable[..., Any]:
    def fits_and_changes(*given, **options):
        history = fit(*given, **options)
        change(history)
        return history

    return fits_and_changes


def resumed(*given, **options):
    history = fit(*given, **options)
    given[0].head.bias.data += 1.0
    return history


TWO = {"epochs": 2}
FITTING = [
    (TWO, changed(lambda h: h["train_loss"].reverse()),
     "train_loss of epoch 1: expected 0.618, got 0.3907\nand 1 more differs\n"
     "train_loss of epoch 2: expected 0.3907, got 0.618",
     "the train_loss of epoch 1 differs\nand 1 more differs\nthe train_loss of epoch 2 differs"),
    (TWO, changed(lambda h: h["val_loss"].pop()), "length of val_loss: expected 2, got 1",
     "the length of val_loss differs"),
    (TWO, changed(lambda h: h["val_loss"].clear()), "length of val_loss: expected 2, got 0",
     "the length of val_loss differs"),
    (TWO, changed(lambda h: h.update(val_loss=h["val_loss"][0])), "length of val_loss: expected 2, got 1",
     "the length of val_loss differs"),
    (TWO, resumed,
     "head.bias at the end: at [0] expected 1.076, got 2.076 (2 of 2 values differ)",
     "head.bias at the end differs (2 of 2 values, the first at [0])"),
    (TWO | {"on_epoch": True}, lambda *given, **options: fit(*given, **options, first=1),
     "epoch that call 1 of on_epoch is given: expected 0, got 1\nand 1 more differs\n"
     "epoch that call 2 of on_epoch is given: expected 1, got 2",
     "the epoch that call 1 of on_epoch is given differs\nand 1 more differs\n"
     "the epoch that call 2 of on_epoch is given differs"),
    (TWO | {"on_epoch": True}, lambda *given, **options: fit(*given, **options, silent=True),
     "number of calls of on_epoch: expected 2, got 0\nand 2 more differ\n"
     "head.weight in call 1 of on_epoch is missing\nhead.bias in call 1 of on_epoch is missing",
     "the number of calls of on_epoch differs\nand 2 more differ\n"
     "head.weight in call 1 of on_epoch is missing\nhead.bias in call 1 of on_epoch is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "wrong", "public", "hidden"), FITTING)
def test_fitting(more, wrong, public, hidden):
    assert said(problem("fit", **more), fit, wrong, True) == public
    assert said(problem("fit", **more), fit, wrong, False) == hidden


STEPS = {
    "grad.head.weight": torch.ones(4, 2, 1).double(), "grad.head.bias": torch.ones(4, 2).double(),
    "before": 2, "after": 2, "epoch": 3, "history": (("train_loss", (2.0, 1.0)),), "with_optimizer": True,
    "options": (("lr", 0.1), ("momentum", 0.5)),
}  # fmt: skip


def save(path, model, optimizer, epoch, history):
    torch.save({"m": model.state_dict(), "o": optimizer.state_dict(), "e": epoch, "h": history}, path)


def load(path, model, optimizer=None, device="cpu"):
    saved = torch.load(path, map_location=device)
    model.load_state_dict(saved["m"])
    if optimizer is not None:
        optimizer.load_state_dict(saved["o"])
    return saved["e"], saved["h"]


def pickled(path, model, optimizer, epoch, history):
    saved = {"m": model.state_dict(), "o": optimizer.state_dict(), "e": epoch, "h": history, "model": model}
    torch.save(saved, path)


def saves(**instead: Any) -> Callable[..., Any]:
    return lambda path, model, optimizer, epoch, history: save(
        path, model, optimizer, instead.get("epoch", epoch), instead.get("history", history)
    )


def without_memory(path, model, optimizer, epoch, history):
    save(path, model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5), epoch, history)


CHECKPOINTS = [
    (saves(epoch=0), "epoch that comes back: expected 3, got 0", "the epoch that comes back differs"),
    (saves(history={"train_loss": [2.0, 0.5]}), "train_loss of epoch 2 that comes back: expected 1, got 0.5",
     "the train_loss of epoch 2 that comes back differs"),
    (saves(history={"train_loss": []}), "length of the train_loss that comes back: expected 2, got 0",
     "the length of the train_loss that comes back differs"),
    # Momentum by hand: velocities 1, 1.5, 1.75, 1.875 times 0.1; without a memory the last two are 1 and 1.5.
    (without_memory,
     "head.weight after 2 more steps: at [0, 0] expected -0.6125, got -0.5 (2 of 2 values differ)\nand 1 more differs\n"
     "head.bias after 2 more steps: at [0] expected 0.3875, got 0.5 (2 of 2 values differ)",
     "head.weight after 2 more steps differs (2 of 2 values, the first at [0, 0])\nand 1 more differs\n"
     "head.bias after 2 more steps differs (2 of 2 values, the first at [0])"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "public", "hidden"), CHECKPOINTS)
def test_checkpoints(wrong, public, hidden):
    asked = problem("checkpoint", **STEPS)
    assert said(asked, save, wrong, True, {"load_checkpoint": load}) == public
    assert said(asked, save, wrong, False, {"load_checkpoint": load}) == hidden


def test_checkpoints_that_hold_more_than_weights_or_fit_everywhere():
    def unpickled(path, model, optimizer=None, device="cpu"):
        saved = torch.load(path, weights_only=False)
        model.load_state_dict(saved["m"])
        optimizer.load_state_dict(saved["o"])
        return saved["e"], saved["h"]

    for values in (True, False):
        assert said(
            problem("checkpoint", **STEPS),
            save,
            pickled,
            values,
            {"load_checkpoint": load},
            {"load_checkpoint": unpickled},
        ) == ("the file holds more than weights and plain values: torch.load refuses it with weights_only=True")

    def lenient(path, model, optimizer=None, device="cpu"):
        model.load_state_dict(torch.load(path)["m"], strict=False)
        return 0, {}

    other = problem("checkpoint", mismatch=True, **STEPS)
    assert said(other, save, save, True, {"load_checkpoint": load}, {"load_checkpoint": lenient}) == (
        "loading into a model with other keys raises no error"
    )
