"""`autograder train NAME`: a configuration of `configs`, run by the solution notebooks' own model and loop.

What is trained and how stands in configs.py; the Vision Transformer, `fit` and `evaluate` come out of Lab 4's
solution notebook, or Lab 5's. The best epoch is chosen on a tenth of the training images, so the test images are
looked at once.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from autograder.errors import UserError
from autograder.judging.reference_answers import Reference
from autograder.labs.lab import find_lab
from autograder.reproduction.configs import CONFIGS, Config, Training
from vitedu.data.datasets import Dataset, fit_to, load
from vitedu.data.errors import DataError
from vitedu.devices import best_device, describe
from vitedu.optional_dependencies import MissingLibraryError
from vitedu.plots import curves
from vitedu.progress import watch

VALIDATION = 0.1  # share of the training images that chooses the best epoch
SEED = 0


def train(name: str, epochs: int | None, data: str | None, folder: Path, device: str) -> int:
    """Train a configuration, print a table, and write NAME.json and NAME.png into a folder.

    Args:
        name: of a configuration.
        epochs: instead of the configuration's.
        data: instead of the configuration's, as a name for vitedu.data.load.
        folder: made when it is not there.
        device: such as "cpu" or "cuda"; "" or "auto": the fastest one.

    Raises:
        UserError: a name is unknown, data cannot be had or do not fit, or the device is not there.
    """
    config = _config(name)
    if epochs is not None and epochs < 1:
        raise UserError(f"Expected a number of epochs from 1 on, found {epochs}.")
    target = _device(device)
    images, said = _data(config, data)
    folder.mkdir(parents=True, exist_ok=True)  # a folder that cannot be made shows now, not after minutes
    torch.manual_seed(SEED)
    notebook, parameters = solutions(config.lab), 0
    print(f"{name} on {describe(target)}\n{said}")
    rows, runs = [], {}
    for count in (epochs,) if epochs else config.training.epochs:
        torch.manual_seed(SEED)
        model = config.build(notebook).to(target)
        parameters = sum(p.numel() for p in model.parameters())
        row, history = _run(model, config.training, count, images, target, notebook, name)
        rows.append(row)
        runs[f"{count} epochs" if count > 1 else "1 epoch"] = history
    print(_table(rows, parameters))
    record = {
        "config": asdict(config), "parameters": parameters, "data": said, "device": describe(target),
        "runs": [row | {"history": history} for row, history in zip(rows, runs.values(), strict=True)],
    }  # fmt: skip
    (folder / f"{name}.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    (folder / f"{name}.png").write_bytes(curves.by_epoch(runs).png)
    print(f"History and curves: {folder / name}.json, .png")
    return 0


def _config(name: str) -> Config:
    if name not in CONFIGS:
        raise UserError(f"There is no configuration {name!r}; the configurations are: {', '.join(CONFIGS)}.")
    return CONFIGS[name]()


def _device(name: str) -> torch.device:
    """The device of that name, if a tensor can be put there."""
    try:
        if name in ("", "auto"):
            return best_device()
        torch.empty(1, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError, ValueError) as error:  # torch's words for: unknown, not there, not built in
        reason = str(error).split("\n")[0].rstrip(".")
        raise UserError(f"Nothing can be computed on the device {name or 'auto'!r}: {reason}.") from error


def _data(config: Config, name: str | None) -> tuple[Dataset, str]:
    """The images to train on, in the shape that the model takes, and a sentence about them."""
    from vitedu.data.downloads import present

    wanted = name or config.data
    if not wanted or (not name and wanted != config.stand_in and not present(wanted)):
        original = f"`--data {config.data}` takes them" if config.data else "`--data folder:PATH` takes such a folder"
        why = f"The original images are not here ({original}); {config.stand_in} stands in"
        wanted = config.stand_in
    else:
        why = f"Data: {wanted}"
    try:
        found = load(wanted, size=config.image[1])
        fitted = fit_to(found, config.image, config.classes)
    except DataError as error:
        text = str(error).rstrip(".")
        raise UserError(f"{text[0].upper()}{text[1:]}.") from error
    classes = f"{len(fitted.classes)} of {len(found.classes)} classes"
    return fitted, f"{why}: {len(fitted.train)} training and {len(fitted.test)} test images, {classes}."


def solutions(lab: str = "lab4") -> dict[str, Any]:
    """The names of a solution notebook; torch keeps its threads, and nothing is printed."""
    threads = torch.get_num_threads()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return Reference(find_lab(lab)).namespace([])
    except MissingLibraryError as error:
        raise UserError(str(error)) from None
    finally:
        torch.set_num_threads(threads)


def _run(
    model: nn.Module, training: Training, epochs: int, data: Dataset, device: torch.device,
    notebook: dict[str, Any], title: str,
) -> tuple[dict[str, Any], dict[str, list[float]]]:  # fmt: skip
    """One training from the start; what the table shows of it, and its history."""
    train, validation, test = loaders(data, training.batch_size, device)
    steps = epochs * math.ceil(len(train.dataset) / training.batch_size)
    optimizer, scheduler = optimizer_of(model, training, steps)
    started = time.perf_counter()
    history = notebook["fit"](
        model, train, validation, optimizer, epochs, device, scheduler, watch(epochs, f"{title}, {epochs} epochs")
    )
    seconds = time.perf_counter() - started
    best = max(history["val_accuracy"])
    row = {
        "epochs": epochs, "best_epoch": history["val_accuracy"].index(best) + 1, "train": history["train_accuracy"][-1],
        "validation": best, "test": notebook["evaluate"](model, test, device)["accuracy"], "seconds": seconds,
    }  # fmt: skip
    return row, history


def loaders(data: Dataset, batch_size: int, device: torch.device) -> list[DataLoader]:
    """Loaders of the training, validation and test images; always the same images and orders."""
    images, labels = data.train.tensors
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(SEED))
    held, rest = order.tensor_split([max(1, round(VALIDATION * len(order)))])
    if not len(rest):
        raise UserError(f"{data.name} has {len(order)} training image; expected at least two, one to validate with.")
    sets = [TensorDataset(images[part], labels[part]) for part in (rest, held)] + [data.test]
    common = {"batch_size": batch_size, "pin_memory": device.type == "cuda"}
    shuffled = {"shuffle": True, "generator": torch.Generator().manual_seed(SEED)}
    return [DataLoader(part, **common, **(shuffled if i == 0 else {})) for i, part in enumerate(sets)]


def optimizer_of(
    model: nn.Module, training: Training, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """The optimizer and the schedule of a training of so many steps."""
    kind = getattr(torch.optim, training.optimizer)
    optimizer = kind(model.parameters(), lr=training.lr, betas=training.betas, weight_decay=training.weight_decay)

    def factor(step: int) -> float:
        if training.schedule == "constant":
            return 1.0
        rise = min(1.0, (step + 1) / max(1.0, training.warmup * steps))
        return rise * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def _table(rows: list[dict[str, Any]], parameters: int) -> str:
    """The trainings, a line each: accuracies of the last epoch (training) and of the best one."""
    lines = ["epochs  best  training  validation   test   seconds  parameters"]
    for row in rows:
        lines.append(
            f"{row['epochs']:6}  {row['best_epoch']:4}  {row['train']:8.1%}  {row['validation']:10.1%}  "
            f"{row['test']:5.1%}  {row['seconds']:7.1f}  {parameters:10,}"
        )
    return "\n".join(lines)
