"""Pictures of Lab 7: accuracies with their spread over seeds, and which pixels a model looks at.

All numbers come in from the student's own models. What is drawn is also said in words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev

import torch
from torch import Tensor, nn

from vitedu.plots.figure import COLOURS, INK, Picture, finish, new_figure

Values = Sequence[float]


def with_spread(found: Mapping[str, Mapping[int, Values]], xlabel: str, ylabel: str = "accuracy") -> Picture:
    """A curve for each name: the mean over seeds, an error bar of one standard deviation, and a dot for each seed.

    Args:
        found: name -> number on the axis (from 1 on; the axis is logarithmic) -> one value a seed.

    Raises:
        ValueError: a name has no values.
    """
    figure, (axes,) = new_figure(6.4, 3.5)
    said = []
    for i, (name, values) in enumerate(found.items()):
        if not values or not all(values.values()):
            raise ValueError(f"expected values for {name}, found none")
        colour, places = COLOURS[i % len(COLOURS)], sorted(values)
        shift = 1 + 0.03 * (i - (len(found) - 1) / 2)  # so that bars at the same place stand side by side
        means, spreads = [mean(values[x]) for x in places], [spread(values[x]) for x in places]
        xs = [x * shift for x in places]
        axes.errorbar(xs, means, spreads, color=colour, label=name, linewidth=1.7, capsize=3, marker="o", markersize=4)
        for x, at in zip(places, xs, strict=True):
            axes.plot([at] * len(values[x]), values[x], "o", color=colour, alpha=0.35, markersize=3.5)
        ends = (f"{places[j]}: {means[j]:.3f} plus or minus {spreads[j]:.3f}" for j in range(len(places)))
        said.append(f"{name} at {', at '.join(ends)}")
    places = sorted({x for values in found.values() for x in values})
    axes.set(xscale="log", xlabel=xlabel, ylabel=ylabel)
    axes.set_xticks(places, [f"{x:,}" for x in places])
    axes.minorticks_off()
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return finish(figure, f"{ylabel} by {xlabel}, mean and standard deviation over seeds. {'; '.join(said)}.")


def bars(found: Mapping[str, Values], xlabel: str = "accuracy") -> Picture:
    """A horizontal bar for each name: the mean over seeds, its standard deviation, and a dot for each seed.

    Args:
        found: name -> one value a seed.
    """
    figure, (axes,) = new_figure(6.8, 0.9 + 0.42 * len(found))
    names = list(found)
    for row, name in enumerate(names):
        values = found[name]
        axes.barh(row, mean(values), xerr=spread(values), color=COLOURS[0], alpha=0.35, capsize=3, height=0.6)
        axes.plot(values, [row] * len(values), "o", color=COLOURS[1], markersize=4)
        axes.text(1.02, row, f"{mean(values):.3f}", va="center", color=INK, fontsize=9)  # beside the axes
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set(xlabel=xlabel, xlim=(0, 1))
    said = [f"{name} {mean(values):.3f} plus or minus {spread(values):.3f}" for name, values in found.items()]
    return finish(figure, f"{xlabel}, mean and standard deviation over seeds: {'; '.join(said)}.")


def spread(values: Values) -> float:
    """The standard deviation; 0 for a single value."""
    return stdev(values) if len(values) > 1 else 0.0


def influence(features: Mapping[str, Tensor], image: Tensor) -> Picture:
    """Which pixels a feature depends on: the size of its gradient at each pixel, relative to the largest.

    The colour is the square root of it.

    Args:
        features: title -> a scalar that was computed from `image`.
        image: (1, C, H, W), a leaf that requires its gradient.
    """
    figure, panels = new_figure(0.6 + 2.6 * len(features), 3.0, columns=len(features))
    said = []
    for axes, (title, feature) in zip(panels, features.items(), strict=True):
        (gradient,) = torch.autograd.grad(feature, image, retain_graph=True)
        size = gradient[0].abs().sum(0)
        size = size / size.max().clamp(min=1e-12)
        axes.imshow(size.sqrt().numpy(force=True), cmap="Blues", vmin=0, vmax=1)  # small ones can be seen, too
        axes.set(title=title, xticks=[], yticks=[])
        axes.spines[:].set_visible(True)  # the image ends here
        said.append(f"{title}: {(size > 1e-6).float().mean():.0%} of the pixels have some influence")
    return finish(figure, f"Influence of each pixel. {'; '.join(said)}.")


def feature_of(model: nn.Module, part: nn.Module, image: Tensor) -> Tensor:
    """What one part of a model gives for an image, as the part returned it; the model is in eval mode then.

    Args:
        part: a module inside `model`.
        image: (1, C, H, W).
    """
    kept = []
    handle = part.register_forward_hook(lambda module, inputs, out: kept.append(out))
    try:
        model.eval()(image)
    finally:
        handle.remove()
    return kept[-1]
