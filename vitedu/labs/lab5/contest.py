"""Models side by side: parameters, and images per second in testing and in training, measured in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitedu.devices import synchronize
from vitedu.plots.anatomy import Table
from vitedu.plots.figure import COLOURS, INK, Picture, finish, new_figure

PARTS = ("testing", "training")
Rates = dict[str, dict[str, list[float]]]  # part -> name -> images per second, one number a round


def rates(
    models: Mapping[str, nn.Module], images: Tensor, labels: Tensor, device: torch.device | str,
    rounds: int = 9, tick: Callable[[], None] = lambda: None,
) -> Rates:  # fmt: skip
    """Images per second of each model, forward alone and with the way back; all models meet the same minute.

    Each round measures every model once, in turns; a round before the first is not counted: memory is
    reserved in it, and kernels are chosen.

    Args:
        models: name -> model, on the device.
        images, labels: one batch, on the device.
        tick: called after each round.
    """

    def testing(model: nn.Module) -> None:
        with torch.no_grad():
            model.eval()(images)

    def training(model: nn.Module) -> None:
        model.train()
        model.zero_grad(set_to_none=True)
        F.cross_entropy(model(images), labels).backward()

    found: Rates = {part: {name: [] for name in models} for part in PARTS}
    for round_ in range(rounds + 1):
        for part, call in zip(PARTS, (testing, training), strict=True):
            for name, model in models.items():
                synchronize(device)
                started = time.perf_counter()
                call(model)
                synchronize(device)
                if round_:
                    found[part][name].append(len(images) / (time.perf_counter() - started))
        tick()
    return found


def table(models: Mapping[str, nn.Module], found: Rates, count: Callable[[nn.Module], int]) -> Table:
    """Parameters and median rates of each model, with the ratio to the first."""
    titles, rows, first = ("model", "class", "tensors", "parameters", *PARTS, "of the first"), [], None
    for name, model in models.items():
        medians = [median(found[part][name]) for part in PARTS]
        first = first or medians[-1]
        facts = (type(model).__module__.split(".")[0], type(model).__name__)
        place = facts[1] if facts[0] == "__main__" else ".".join(facts)
        tensors = len(list(model.parameters()))
        rows.append((name, place, str(tensors), f"{count(model):,}", *(f"{rate:,.0f} images/s" for rate in medians),
                     f"{medians[-1] / first:.0%}"))  # fmt: skip
    note = "Rates are medians over rounds in which the models took turns; the last column compares them in training."
    return Table(titles, rows, note)


def picture(found: Rates) -> Picture:
    """The rates of each model: a dot for each round, a line at the median."""
    figure, panels = new_figure(8.6, 0.9 + 0.5 * len(found[PARTS[0]]), columns=len(PARTS))
    sentences = []
    for axes, part in zip(panels, PARTS, strict=True):
        names = list(found[part])
        for place, (name, colour) in enumerate(zip(names, COLOURS, strict=False)):
            values = found[part][name]
            axes.plot(values, [place] * len(values), "o", color=colour, alpha=0.45, markersize=5)
            axes.plot([median(values)] * 2, [place - 0.3, place + 0.3], color=INK, linewidth=2)
            sentences.append(f"{name} in {part} {median(values):,.0f}")
        axes.set_yticks(range(len(names)), names if axes is panels[0] else [])
        axes.set(title=part, xlabel="images per second", xlim=(0, None), ylim=(len(names) - 0.4, -0.6))
        axes.locator_params(axis="x", nbins=4)
        axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    return finish(figure, f"Images per second, a dot for each round and a line at the median: {', '.join(sentences)}.")
