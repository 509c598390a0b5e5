"""Pictures of attention matrices and of what the scale of the scores does."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from vitedu.plots.figure import COLOURS, INK, WEIGHTS, Picture, finish, new_figure


def attention_matrices(maps: Mapping[str, Tensor], words: Sequence[str]) -> Picture:
    """Attention weights over a sentence as heat maps with numbers, side by side.

    Args:
        maps: title -> weights (T, T); rows are queries, columns are keys.
        words: the T words.

    Raises:
        ValueError: a map is not (T, T).
    """
    size = len(words)
    figure, panels = new_figure(0.9 + 3.4 * len(maps), 3.9, columns=len(maps))
    for axes, (title, weights) in zip(panels, maps.items(), strict=True):
        if weights.shape != (size, size):
            raise ValueError(
                f"expected weights ({size}, {size}), a row and a column for each word, got {tuple(weights.shape)}"
            )
        axes.imshow(weights.numpy(force=True), cmap=WEIGHTS, vmin=0, vmax=1)
        for i, row in enumerate(weights.tolist()):
            for j, value in enumerate(row):
                text = "0" if value == 0 else f"{value:.2f}".removeprefix("0")
                axes.text(j, i, text, ha="center", va="center", fontsize=8.5, color="white" if value > 0.6 else INK)
        axes.set_xticks(range(size), words, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(size), words if axes is panels[0] else [])
        axes.set(title=title, xlabel="key: the word looked at")
    panels[0].set_ylabel("query: the word that looks")
    said = [f"{title}: {_strongest(weights, words)}" for title, weights in maps.items()]
    return finish(figure, "Heat map of attention weights, a row for each query word. " + ". ".join(said) + ".")


def _strongest(weights: Tensor, words: Sequence[str]) -> str:
    """Where each row has its largest weight, in words."""
    best = weights.detach().max(dim=-1)
    return ", ".join(
        f"{word} looks most at {words[j]} ({value:.2f})"
        for word, value, j in zip(words, best.values.tolist(), best.indices.tolist(), strict=True)
    )


def scale_entropy(attend: Callable[[Tensor, Tensor], Tensor], keys: int = 64) -> Picture:
    """Mean entropy of attention weights for random queries and keys of growing size K, with and without the scale.

    Args:
        attend: (q, k) -> weights, scaled by 1/sqrt(K); queries times sqrt(K) undo its scale.
        keys: the number of keys.
    """
    generator = torch.Generator().manual_seed(0)
    sizes = [2**i for i in range(11)]
    curves: dict[str, list[float]] = {"with the scale": [], "without the scale": []}
    for size in sizes:
        q, k = (torch.randn(n, size, generator=generator) for n in (256, keys))
        for name, factor in zip(curves, (1.0, math.sqrt(size)), strict=True):
            curves[name].append(torch.special.entr(attend(q * factor, k)).sum(-1).mean().item())
    figure, (axes,) = new_figure(6.4, 3.6)
    axes.axhline(math.log(keys), color="#666666", linestyle=":", linewidth=1.5)
    note = f"all {keys} keys alike: log {keys} = {math.log(keys):.2f}"
    axes.text(sizes[0], math.log(keys) + 0.08, note, fontsize=9.5)
    for (name, values), colour, marker in zip(curves.items(), COLOURS, "os", strict=False):
        axes.plot(sizes, values, color=colour, marker=marker, markersize=5, label=name)
    axes.set_xscale("log", base=2)
    axes.set(xlabel="K, features of a query", ylabel="entropy of a row (nats)", ylim=(0, math.log(keys) + 0.5))
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.legend(frameon=False, loc="lower left")
    said = [
        f"{name} it goes from {v[0]:.1f} at K = {sizes[0]} to {v[-1]:.1f} at K = {sizes[-1]}"
        for name, v in curves.items()
    ]
    return finish(figure, f"Entropy of attention weights over {keys} random keys, in nats: {'; '.join(said)}.")
