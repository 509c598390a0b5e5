"""Lab 4's scenarios: a small model, a few batches, an optimizer, all known to the last digit.

A function that trains, tests, or saves is run on such a problem, and what it leaves behind is
recorded as tensors: the numbers that it returned, the model's state, the modes in which the
model ran. How the function got there is its own affair.

Parameters of a problem are those of its case: see `Problem` and the four scenarios.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vitedu.labs.lab4 import quantities
from vitedu.probe import toy_models
from vitedu.probe.case import ScenarioCase
from vitedu.probe.fake_device import FakeDeviceTensor, saved_on_fake_device
from vitedu.probe.recording import Numbers, flag, number_of, numbers, pairs, state
from vitedu.probe.scenarios import Call, Scenario

OPTIMIZERS = {name: getattr(torch.optim, name) for name in ("SGD", "Adam", "AdamW")}
SCHEDULERS = {name: getattr(torch.optim.lr_scheduler, name) for name in ("StepLR", "ExponentialLR", "LinearLR")}
HISTORY = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")


class Batches:
    """An iterable of (images, labels) that can be gone through again, and has no length and no dataset."""

    def __init__(self, problem: Problem, source: str) -> None:
        self._problem, self._source = problem, source
        x, y, sizes = (problem.given[source + name] for name in ("x", "y", "batches"))
        self._x, self._y = x.to(problem.dtype).split(list(sizes)), y.split(list(sizes))
        self._on_fake_device = bool(problem.given.get("elsewhere"))

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for x, y in zip(self._x, self._y, strict=True):
            self._problem.model.passes.source = self._source
            x, y = x.clone(), y.clone()
            yield (FakeDeviceTensor(x), FakeDeviceTensor(y)) if self._on_fake_device else (x, y)


class Problem:
    """A model, data, an optimizer and a scheduler, as the case says.

    parameters: x (n, ...), y (n,), batches (sizes), and the same with "val_" before the name;
    optimizer and options, scheduler and scheduler_options (names of torch's classes, and pairs of
    option and value); elsewhere, mode, epochs, on_epoch; for "checkpoint" see there.
    """

    def __init__(self, case: ScenarioCase, dtype: torch.dtype) -> None:
        self.case, self.dtype, self.given = case, dtype, dict(case.parameters)
        self.device = torch.device("cpu")
        self.lr: list[float] = []
        self.model = self.make_model(case.weights)
        self.optimizer = self.make_optimizer(self.model)
        self.optimizer.register_step_pre_hook(lambda *_: self.lr.append(self.optimizer.param_groups[0]["lr"]))
        self.scheduler = None
        if self.given.get("scheduler"):
            kind = SCHEDULERS[self.given["scheduler"]]
            self.scheduler = kind(self.optimizer, **pairs(self.given["scheduler_options"]))

    def make_model(self, weights: Mapping[str, Tensor]) -> toy_models.SmallModel:
        """The case's model (at least two layers) with these weights, in the mode in which it is to be found."""
        model = toy_models.build(self.case.model, weights, self.case.frozen, self.dtype)
        if not isinstance(model, toy_models.SmallModel):
            raise TypeError("expected at least two layers, got one")
        return model.train(self.given.get("mode", "train") == "train")

    def make_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """The case's optimizer for a model."""
        kind = OPTIMIZERS[self.given.get("optimizer", "SGD")]
        return kind(model.parameters(), **pairs(self.given.get("options", (("lr", 0.1),))))

    def any_pass(self, source: str, training: bool | None = None, gradients: bool | None = None) -> Tensor:
        """1 when a forward pass on batches of this loader had this mode, else 0."""
        return flag(any(
            source == s and training in (None, t) and gradients in (None, g) for s, t, g in self.model.passes
        ))  # fmt: skip


def train_call(problem: Problem) -> Call:
    """The call of train_one_epoch."""
    given = {"model": problem.model, "loader": Batches(problem, ""), "optimizer": problem.optimizer}
    rounds = problem.given.get("epochs", 1)
    then = f"the call is made {rounds} times in a row on the same objects" if rounds > 1 else ""
    return Call(given | {"device": problem.device}, _scheduled(problem), then)


def _scheduled(problem: Problem) -> dict[str, Any]:
    return {"scheduler": problem.scheduler} if problem.scheduler else {}


def train(target: Callable[..., Any], problem: Problem, namespace: Mapping[str, Any]) -> tuple[str, Numbers]:
    """train_one_epoch, `epochs` times in a row on the same objects.

    parameters: look, "training" or "report": only at what was trained, or only at what came back; else at both.
    """
    call = train_call(problem)
    calls = [numbers(call.of(target), ("loss", "accuracy")) for _ in range(problem.given.get("epochs", 1))]
    report = {name: torch.stack([numbers[name] for _, numbers in calls]) for name in calls[0][1]}
    training = state(problem.model) | _rates(problem) | {"forward_in_eval": problem.any_pass("", training=False)}
    looks = {"training": training, "report": report}
    return calls[0][0], looks.get(problem.given.get("look", ""), report | training)


def _rates(problem: Problem) -> Numbers:
    """The learning rate before each step of the optimizer, and at the end."""
    return {"lr": torch.tensor([*problem.lr, problem.optimizer.param_groups[0]["lr"]], dtype=torch.float64)}


def evaluate_call(problem: Problem) -> Call:
    """The call of evaluate, on a model that has gradients."""
    for parameter in problem.model.parameters():
        parameter.grad = torch.full_like(parameter, 0.5)
    given = {"model": problem.model, "loader": Batches(problem, ""), "device": problem.device}
    off = "gradients are switched off before the call; " * bool(problem.given.get("gradients_off"))
    return Call(given, then=f"{off}the model is looked at afterwards: weights, buffers, gradients, mode, requires_grad")


def evaluate(target: Callable[..., Any], problem: Problem, namespace: Mapping[str, Any]) -> tuple[str, Numbers]:
    """evaluate, with everything that it must leave alone looked at afterwards.

    parameters: gradients_off: nothing records gradients where it is called.
    """
    model, call = problem.model, evaluate_call(problem)
    before = torch.get_rng_state()
    with torch.set_grad_enabled(not problem.given.get("gradients_off")):
        kind, found = numbers(call.of(target), ("loss", "accuracy"))
        found["random_state"] = flag(torch.equal(before, torch.get_rng_state()))
        found["grad_mode"] = flag(torch.is_grad_enabled())
    torch.set_grad_enabled(True)
    found["training"] = torch.tensor([int(module.training) for module in model.modules()])
    found["requires_grad"] = torch.tensor([int(p.requires_grad) for p in model.parameters()])
    gradients = {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in model.named_parameters()}
    found |= state(model) | {f"grad.{name}": g.clone() for name, g in gradients.items()}
    found["forward_in_train"] = problem.any_pass("", training=True)
    return kind, found | {"forward_with_gradients": problem.any_pass("", gradients=True)}


def fit_call(problem: Problem, on_epoch: Callable[..., None] = lambda epoch, history: None) -> Call:
    """The call of fit."""
    given = {
        "model": problem.model, "train_loader": Batches(problem, ""), "val_loader": Batches(problem, "val_"),
        "optimizer": problem.optimizer, "epochs": problem.given["epochs"], "device": problem.device,
    }  # fmt: skip
    watched = {"on_epoch": on_epoch} if problem.given.get("on_epoch") else {}
    return Call(given, _scheduled(problem) | watched, "the model is looked at in each call of on_epoch" * bool(watched))


def fit(target: Callable[..., Any], problem: Problem, namespace: Mapping[str, Any]) -> tuple[str, Numbers]:
    """fit, with a note of what each call of on_epoch was given and could see."""
    calls: list[tuple[int, int, Numbers]] = []

    def on_epoch(epoch: int, history: Mapping[str, Any]) -> None:
        calls.append((int(epoch), len(history["val_accuracy"]), state(problem.model, "calls.state")))

    kind, found = numbers(fit_call(problem, on_epoch).of(target), HISTORY)
    found |= state(problem.model) | _rates(problem)
    if problem.given.get("on_epoch"):
        # A first -1, because nothing equals an empty tensor.
        found["calls.epoch"] = torch.tensor([-1, *(epoch for epoch, _, _ in calls)])
        found["calls.length"] = torch.tensor([-1, *(length for _, length, _ in calls)])
        for name in calls[0][2] if calls else ():
            found[name] = torch.stack([seen[name] for _, _, seen in calls])
    found["train_forward_in_eval"] = problem.any_pass("", training=False)
    found["val_forward_in_train"] = problem.any_pass("val_", training=True)
    found["val_forward_with_gradients"] = problem.any_pass("val_", gradients=True)
    return kind, found


def checkpoint_call(problem: Problem, path: str = "checkpoint.pt") -> Call:
    """The call of save_checkpoint, on a model and an optimizer that have made some steps."""
    given = problem.given
    for step in range(given["before"]):
        _step(problem, problem.model, problem.optimizer, step)
    history = {name: list(values) for name, values in given["history"]}
    into = "a model with other keys" if given.get("mismatch") else "a fresh model"
    also = ", a fresh optimizer" if given["with_optimizer"] and not given.get("mismatch") else ""
    then = f"then load_checkpoint(path, {into}{also})" + f", and {given['after']} more steps" * (
        not given.get("mismatch")
    )
    saved = {"path": path, "model": problem.model, "optimizer": problem.optimizer, "epoch": given["epoch"]}
    return Call(saved | {"history": history}, then=then)


def checkpoint(target: Callable[..., Any], problem: Problem, namespace: Mapping[str, Any]) -> tuple[str, Numbers]:
    """save_checkpoint and load_checkpoint with steps before and after, moved by given gradients.

    parameters: "grad.KEY" (steps, ...) for each parameter; before and after (numbers of steps); epoch;
    history (pairs of name and numbers); with_optimizer; mismatch: the fresh model has other keys;
    elsewhere: the file says that its tensors lay on a device that this machine does not have.
    """
    load, given = namespace["load_checkpoint"], problem.given
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # Windows: a file left open
        path = str(Path(folder) / "checkpoint.pt")
        call = checkpoint_call(problem, path)
        with saved_on_fake_device(bool(given.get("elsewhere"))):
            call.of(target)
        _step(problem, problem.model, problem.optimizer, max(given["before"] - 1, 0))  # what was saved must stay
        history = call.positional["history"]
        history["val_accuracy"] = [*history.get("val_accuracy", []), -1.0]
        other = {key: 0.5 - t if t.is_floating_point() else t for key, t in problem.case.weights.items()}
        fresh = problem.make_model(other)
        if given.get("mismatch"):
            return "dict", {"raised": _raises(lambda: load(path, nn.ModuleDict({"net": fresh})))}
        renewed = problem.make_optimizer(fresh)
        found = {"readable": flag(_readable(path))}
        result = load(path, fresh, renewed, problem.device) if given["with_optimizer"] else load(path, fresh)
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        raise TypeError(f"expected (epoch, history), got {type(result).__name__}")
    found["epoch"] = number_of(result[0])
    kind, saved = numbers(result[1], tuple(name for name, _ in given["history"]))
    found |= {f"history.{name}": t for name, t in saved.items()} | state(fresh, "loaded")
    for step in range(given["before"], given["before"] + given["after"]):
        _step(problem, fresh, renewed, step)
    return kind, found | state(fresh)


def _step(problem: Problem, model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    """One step of an optimizer along given gradients."""
    for name, parameter in model.named_parameters():
        parameter.grad = problem.given[f"grad.{name}"][step].to(parameter.dtype)
    optimizer.step()


def _raises(call: Callable[[], Any]) -> Tensor:
    try:
        call()
    except NotImplementedError:
        raise  # a TODO is no answer
    except Exception:
        return flag(True)
    return flag(False)


def _readable(path: str) -> bool:
    """Whether a file holds weights and plain values only."""
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception:
        return False
    return True


PROBLEMS = {"train": train, "evaluate": evaluate, "fit": fit, "checkpoint": checkpoint}
CALLS: dict[str, Callable[[Problem], Call]] = {
    "train": train_call, "evaluate": evaluate_call, "fit": fit_call, "checkpoint": checkpoint_call,
}  # fmt: skip
NAMED = {
    "train": quantities.of_training, "evaluate": quantities.of_testing, "fit": quantities.of_fitting,
    "checkpoint": quantities.of_checkpoints,
}  # fmt: skip


def _scenario(name: str) -> Scenario:
    return Scenario(
        run=lambda target, case, dtype, namespace: PROBLEMS[name](target, Problem(case, dtype), namespace),
        call=lambda case, dtype: CALLS[name](Problem(case, dtype)),
        named=NAMED[name],
    )


SCENARIOS = {name: _scenario(name) for name in PROBLEMS}
