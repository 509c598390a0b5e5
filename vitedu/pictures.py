"""Pictures for the notebooks: what each shows is also said in words.

Whatever is attended is computed by the student's own function, which comes in as an argument. No
solution stands here. matplotlib is imported when something is drawn, not before.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, WEIGHTS = "#222222", "Blues"  # of text; of attention weights, the darker the larger
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # told apart by colour-blind readers too (Okabe and Ito)


@dataclass(frozen=True, repr=False)
class Picture:
    """A drawing that a notebook shows, with a text for those who do not see it.

    Attributes:
        png: the image, as the bytes of a PNG file.
        alt: what is to be seen in it.
    """

    png: bytes
    alt: str

    def _repr_html_(self) -> str:
        data = base64.b64encode(self.png).decode()
        return f'<img alt="{escape(self.alt)}" src="data:image/png;base64,{data}" style="max-width: 100%;">'

    def __repr__(self) -> str:
        return f"Picture: {self.alt}"


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


def new_figure(width: float, height: float, columns: int = 1, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure in the notebooks' style, and its panels; sizes in inches."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure  # not pyplot: the notebook's own figures stay untouched

    style = {
        "font.size": 10.5, "axes.titlesize": 11, "text.color": INK, "axes.labelcolor": INK,
        "axes.spines.top": False, "axes.spines.right": False,
    }  # fmt: skip
    with rc_context(style):
        figure = Figure(figsize=(width, height), dpi=100, layout="constrained", facecolor="white")
        return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def finish(figure: Figure, alt: str, photo: bool = False) -> Picture:
    """The figure as a small PNG: all but photos look the same in 256 colours, at a third of the bytes."""
    from PIL import Image

    full, small = io.BytesIO(), io.BytesIO()
    figure.savefig(full, format="png")
    image = Image.open(full).convert("RGB")
    if not photo:
        image = image.quantize(256, dither=Image.Dither.NONE)
    image.save(small, format="png", optimize=True)
    return Picture(small.getvalue(), alt)
