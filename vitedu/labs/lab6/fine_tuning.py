"""Scenario of fine_tune: a few epochs on a stub model, with a clock that the scenario turns."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from vitedu.labs.lab6.recording import changed_entries, flags, joined, state_of
from vitedu.labs.lab6.stub_models import stub_model
from vitedu.probe.fake_device import FakeDeviceTensor
from vitedu.probe.recording import Numbers
from vitedu.probe.scenarios import Call

HISTORY = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "train_seconds", "val_seconds")


# --- fine-tuning ----------------------------------------------------------------------------------


class Clock:
    """A clock that stands still until somebody turns it; it takes the place of those in the module `time`.

    Only the thread that asks sees it: a kernel's other threads go on with the real time.
    """

    NAMES = ("perf_counter", "time", "monotonic", "process_time", "thread_time")

    def __init__(self) -> None:
        self.now, self.asked, self._thread = 1000.0, False, threading.get_ident()

    @contextmanager
    def instead(self) -> Iterator[None]:
        """Let `time.perf_counter()` and its like tell this clock's time."""
        kept = {name: getattr(time, name) for name in (*self.NAMES, *(f"{name}_ns" for name in self.NAMES))}
        try:
            for name, real in kept.items():
                setattr(time, name, self._hand(real, 1e9 if name.endswith("_ns") else 0))
            yield
        finally:
            for name, real in kept.items():
                setattr(time, name, real)

    def _hand(self, real: Callable[[], float], nanoseconds: float) -> Callable[[], float]:
        def tell() -> float:
            if threading.get_ident() != self._thread:
                return real()
            self.asked = True
            return round(self.now * nanoseconds) if nanoseconds else self.now

        return tell


class Timed:
    """Batches that take their time: each turns the clock on before it comes. Neither length nor dataset."""

    def __init__(self, given: dict, prefix: str, dtype: torch.dtype, clock: Clock) -> None:
        x, y, sizes = (given[prefix + name] for name in ("x", "y", "batches"))
        self._x, self._y = x.to(dtype).split(list(sizes)), y.split(list(sizes))
        self._on_fake_device, self._clock, self._step = bool(given.get("elsewhere")), clock, given[prefix + "seconds"]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for x, y in zip(self._x, self._y, strict=True):
            self._clock.now += self._step
            x, y = x.clone(), y.clone()
            yield (FakeDeviceTensor(x), FakeDeviceTensor(y)) if self._on_fake_device else (x, y)


def fine_tune_call(given: dict, dtype: torch.dtype, clock: Clock | None = None) -> Call:
    """The call of fine_tune, on a model that has gradients; the loaders turn the clock."""
    model, clock = stub_model(given, dtype), clock or Clock()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.5)
    loaders = {
        f"{name}_loader": Timed(given, prefix, dtype, clock) for name, prefix in (("train", ""), ("val", "val_"))
    }
    rest = {"module_names": list(given["names"]), "epochs": given["epochs"], "lr": given["lr"]}
    took = f"{given['seconds']:g} s for training, {given['val_seconds']:g} s for validation"
    return Call(
        {"model": model, **loaders, **rest, "device": torch.device("cpu")},
        then=f"time.perf_counter and its like stand still but for batches: {took}",
    )


def fine_tune(target: Callable[..., Any], given: dict, dtype: torch.dtype, namespace: Mapping[str, Any]) -> Any:
    """fine_tune on a model with gradients left from before, with everything that it left behind.

    parameters: those of stub_model; names, epochs, lr; x (n, C, H, W), y (n,), batches (sizes), seconds (of a batch),
    and the same with "val_" before the name; elsewhere.
    """
    clock = Clock()
    call = fine_tune_call(given, dtype, clock)
    model = call.positional["model"]
    names = [name for name, _ in model.named_parameters()]
    before, passes, stepped = state_of(model), [], []

    def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        passes.append((module.training, torch.is_grad_enabled()))

    model.register_forward_pre_hook(look)
    step_hook = register_optimizer_step_pre_hook(
        lambda optimizer, *_: stepped.append({id(p) for group in optimizer.param_groups for p in group["params"]})
    )
    started = time.perf_counter()
    try:
        with clock.instead():
            result = call.of(target)
    finally:
        step_hook.remove()
    elapsed = time.perf_counter() - started
    kind, found = _history(result)
    if not clock.asked:  # another clock than those of the module `time`: real seconds
        expected = {"train": len(given["batches"]) * given["seconds"],
                    "val": len(given["val_batches"]) * given["val_seconds"]}  # fmt: skip
        for part, seconds in expected.items():
            measured = found[f"{part}_seconds"]
            if measured.shape == (given["epochs"],) and (measured > 0).all() and measured.sum() <= elapsed:
                found[f"{part}_seconds"] = torch.full_like(measured, seconds)
    parameters = dict(model.named_parameters())
    frozen = {id(p) for p in parameters.values() if not p.requires_grad}
    state = state_of(model)
    found |= {
        "moved": changed_entries(before, model),
        "state": joined([t for name, t in state.items() if name not in before or not torch.equal(t, before[name])]),
        "trainable": flags(*(name in parameters and parameters[name].requires_grad for name in names)),
        "optimizer_holds_frozen": flags(any(held & frozen for held in stepped)),
        "val_passes": flags(any(not training and gradients for training, gradients in passes)),
    }  # fmt: skip
    return kind, found


def _history(result: Any) -> tuple[str, Numbers]:
    """The six lists of a history, as in recording.numbers."""
    from vitedu.probe.recording import numbers  # it names this module's scenarios

    return numbers(result, HISTORY)
