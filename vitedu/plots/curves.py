"""Pictures of a training: curves by epoch and by iteration, confusion matrices, and samples with their labels.

All numbers come in from the student's own functions. What is drawn is also said in words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vitedu.plots.figure import COLOURS, INK, WEIGHTS, Picture, finish, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
PARTS = {"train": ("training", COLOURS[0]), "val": ("validation", COLOURS[1])}


def by_epoch(runs: Mapping[str, Mapping[str, Sequence[float]]], unit: str = "epoch") -> Picture:
    """Loss above and accuracy below, a column for each run, all on the same scales.

    The dot marks the best validation accuracy, the first of equals.

    Args:
        runs: title -> history with the lists train_loss, train_accuracy and perhaps val_loss, val_accuracy.
        unit: what the lists count.
    """
    alone = len(runs) == 1  # then loss and accuracy side by side
    figure, panels = new_figure(
        7.0 if alone else 1.0 + 2.7 * len(runs), 2.8 if alone else 4.8, 2 if alone else len(runs), 1 if alone else 2
    )
    top, sentences = (
        1.05 * max(max(values) for run in runs.values() for name, values in run.items() if "loss" in name),
        [],
    )
    for column, (title, run) in enumerate(runs.items()):
        upper, lower = panels[column], panels[column + len(runs)]
        for part, (label, colour) in PARTS.items():
            for axes, kind in ((upper, "loss"), (lower, "accuracy")):
                values = run.get(f"{part}_{kind}", ())
                if values:
                    axes.plot(range(1, len(values) + 1), values, color=colour, label=label, **_marks(len(values)))
        upper.set(title=title, ylim=(0, top), xlabel=unit if alone else "")
        lower.set(ylim=(0, 1.02), xlabel=unit)
        for axes in (upper, lower):
            axes.grid(axis="y", color="#dddddd", linewidth=0.6)
            axes.locator_params(axis="x", integer=True)
        sentences.append(f"{title}: {_course(run, unit, lower)}")
    panels[0].set_ylabel("loss")
    panels[len(runs)].set_ylabel("accuracy")
    panels[len(runs)].legend(frameon=False, loc="lower right")
    return finish(figure, f"Loss and accuracy by {unit}. {'; '.join(sentences)}.")


def _marks(points: int) -> dict[str, Any]:
    """A dot for each value where there is room for dots."""
    return {"linewidth": 1.6, "marker": "o" if points <= 15 else "", "markersize": 3.5}


def _course(run: Mapping[str, Sequence[float]], unit: str, axes: Axes) -> str:
    """A run in words; marks its best epoch."""
    sentences = [
        f"{label} loss {losses[0]:.2f} to {losses[-1]:.2f} and accuracy {accuracies[0]:.2f} to {accuracies[-1]:.2f}"
        for part, (label, _) in PARTS.items()
        if (losses := run.get(f"{part}_loss")) and (accuracies := run.get(f"{part}_accuracy"))
    ]
    values = list(run.get("val_accuracy", ()))
    if values:
        best = values.index(max(values))
        axes.plot(best + 1, values[best], "o", markersize=8, markerfacecolor="none", color=INK, zorder=5)
        sentences.append(f"best validation accuracy {values[best]:.3f} in {unit} {best + 1}")
    return ", ".join(sentences)


def by_iteration(runs: Mapping[str, Sequence[float]], steps: int, ylabel: str = "loss of a batch") -> Picture:
    """One number an iteration, pale, and over it the mean of each epoch; a panel for each run.

    Args:
        runs: title -> one number an iteration.
        steps: iterations in an epoch.
        ylabel: what the numbers are.
    """
    figure, panels = new_figure(1.0 + 2.7 * len(runs), 2.7, columns=len(runs))
    top, sentences = 1.05 * max(max(values) for values in runs.values()), []
    for axes, (title, values) in zip(panels, runs.items(), strict=True):
        axes.plot(range(1, len(values) + 1), values, color=COLOURS[0], alpha=0.4, linewidth=0.9, label="each batch")
        means = [sum(part) / len(part) for i in range(0, len(values), steps) if (part := values[i : i + steps])]
        middles = [(i + 0.5) * steps + 0.5 for i in range(len(means))]
        axes.plot(middles, means, color=INK, linewidth=1.5, label="mean of an epoch")
        axes.set(title=title, xlabel="iteration")
        axes.grid(axis="y", color="#dddddd", linewidth=0.6)
        sentences.append(f"{title}: {len(values)} iterations, mean {means[0]:.2f} at first, {means[-1]:.2f} at last")
        falls = means[0] > means[-1]
        axes.set_ylim(0, top)
    panels[0].set_ylabel(ylabel)
    panels[0].legend(frameon=False, loc="upper right" if falls else "lower right")
    return finish(figure, f"The {ylabel} by iteration. {'; '.join(sentences)}.")


def lines(
    values: Mapping[str, Sequence[float]], xlabel: str, ylabel: str, top: float | None = None, legend: str = ""
) -> Picture:
    """A few curves in one panel, named at the side.

    Args:
        values: name -> numbers, the first at 1.
        top: upper end of the vertical axis, for curves that leave the page.
        legend: what the names are.
    """
    figure, (axes,) = new_figure(6.4, 3.3)
    styles = [(colour, dash) for dash in ("-", "--") for colour in COLOURS]
    for (name, numbers), (colour, dash) in zip(values.items(), styles, strict=False):
        axes.plot(range(1, len(numbers) + 1), numbers, color=colour, linestyle=dash, linewidth=1.7, label=name)
    axes.set(xlabel=xlabel, ylabel=ylabel, ylim=(0, top))
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), title=legend)
    sentences = [f"{name} goes from {v[0]:.3g} to {v[-1]:.3g}" for name, v in values.items()]
    return finish(figure, f"{ylabel} by {xlabel}: {'; '.join(sentences)}.")


def confusions(matrices: Mapping[str, Any], names: Sequence[str]) -> Picture:
    """Confusion matrices side by side, with counts and names; a row is a true class.

    The colour is the share of the row; classes that do not occur stay white.

    Args:
        matrices: title -> counts (classes, classes), a tensor or an array.
        names: one name a class.

    Raises:
        ValueError: a matrix does not fit the names.
    """
    size = len(names)
    side = 1.5 + 0.42 * size
    figure, panels = new_figure(0.8 + side * len(matrices), side, columns=len(matrices))
    sentences = []
    for axes, (title, matrix) in zip(panels, matrices.items(), strict=True):
        counts = torch.as_tensor(matrix).cpu().double()
        if counts.shape != (size, size):
            raise ValueError(
                f"expected a matrix ({size}, {size}), a row and a column for each name, got {tuple(counts.shape)}"
            )
        shares = counts / counts.sum(1, keepdim=True).clamp(min=1)
        axes.imshow(shares.numpy(), cmap=WEIGHTS, vmin=0, vmax=1)
        for i, j in counts.nonzero().tolist():
            colour = "white" if shares[i, j] > 0.6 else INK
            axes.text(j, i, f"{counts[i, j]:g}", ha="center", va="center", fontsize=9, color=colour)
        short = max(map(len, names)) < 3
        turned: dict[str, Any] = {} if short else {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
        axes.set_xticks(range(size), names, **turned)
        axes.set_yticks(range(size), names if axes is panels[0] else [])
        axes.set(title=title, xlabel="predicted class")
        sentences.append(f"{title}: {_mistakes(counts, names)}")
    panels[0].set_ylabel("true class")
    return finish(figure, f"Confusion matrix with a row for each true class. {'; '.join(sentences)}.")


def _mistakes(counts: Tensor, names: Sequence[str]) -> str:
    """How many are right, and the most frequent mistakes."""
    wrong = counts.clone().fill_diagonal_(0)
    order = wrong.flatten().argsort(descending=True, stable=True)[:3].tolist()
    places = [divmod(place, len(names)) for place in order]
    often = {1: "once", 2: "twice"}
    most = [
        f"{names[i]} taken for {names[j]} {often.get(int(wrong[i, j]), f'{wrong[i, j]:g} times')}"
        for i, j in places
        if wrong[i, j]
    ]
    return f"{counts.diagonal().sum():g} of {counts.sum():g} are right" + "".join(f", {text}" for text in most)


def samples(
    images: Tensor, labels: Sequence[int], names: Sequence[str],
    predictions: Sequence[int] | None = None, columns: int = 6,
) -> Picture:  # fmt: skip
    """A grid of images with their classes; under a true class, in another colour, what was said instead.

    Args:
        images: (B, C, H, W) with one or three channels; each is stretched to its own darkest and brightest value.
        labels: the true classes.
        names: one name a class.
        predictions: the predicted classes.
        columns: images in a row.
    """
    labels = [int(label) for label in labels]
    guesses = labels if predictions is None else [int(guess) for guess in predictions]
    columns = min(columns, len(labels))
    rows = -(-len(labels) // columns)
    widest = max(len(names[k]) for k in labels + guesses) + (6 if guesses != labels else 0)  # letters of a title
    width, height = max(1.05, 0.075 * widest), 1.3 if guesses == labels else 1.5
    figure, panels = new_figure(width * columns, height * rows, columns, rows)
    for axes in panels:
        axes.set_axis_off()
    for axes, image, label, guess in zip(panels, images.detach().cpu().float(), labels, guesses, strict=False):
        low, high = image.min(), image.max()
        shown = ((image - low) / (high - low).clamp(min=1e-6)).permute(1, 2, 0).numpy()
        axes.imshow(shown.squeeze(-1) if shown.shape[-1] == 1 else shown, cmap="gray", interpolation="nearest")
        right = label == guess
        title = names[label] if right else f"{names[label]}\nsaid: {names[guess]}"
        axes.set_title(title, fontsize=8.5, color=INK if right else COLOURS[1])
    pairs = zip(labels, guesses, strict=True)
    sentences = [names[a] if a == b else f"{names[a]} taken for {names[b]}" for a, b in pairs]
    return finish(figure, f"{len(labels)} images: {', '.join(sentences)}.")
