"""Diagrams that need no computation: how heads are split, and the transformer of 2017."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitedu.plots.diagram import GREY, arrow, box
from vitedu.plots.figure import COLOURS, INK, Picture, finish, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def heads_split(num_heads: int = 3, head_dim: int = 4) -> Picture:
    """Which features of a query belong to which head: the first K to head 0, the next K to head 1, ..."""
    figure, (axes,) = new_figure(7.6, 2.5)
    inner, gap = num_heads * head_dim, 1.0
    for i in range(inner):
        head = i // head_dim
        below = i + (head - (num_heads - 1) / 2) * gap
        for x, y in ((i, 1.6), (below, 0.0)):
            box(axes, x + 0.04, y, 0.92, 0.6, str(i), COLOURS[head % len(COLOURS)])
        axes.annotate("", (below + 0.5, 0.66), (i + 0.5, 1.54), arrowprops={"arrowstyle": "-", "color": "#888888"})
        if i % head_dim == 0:
            axes.text(below + head_dim / 2, -0.45, f"head {head}: K = {head_dim} features", ha="center", va="center")
    axes.text(inner / 2, 2.5, f"to_q(x): H * K = {inner} features of one token", ha="center", va="center")
    axes.set(xlim=(-gap - 0.3, inner + gap + 0.3), ylim=(-0.75, 2.8))
    axes.axis("off")
    alt = (
        f"{inner} features of a token in a row, cut into {num_heads} heads of {head_dim} neighbours: "
        f"head 0 has the features 0 to {head_dim - 1}, head 1 the next {head_dim}, and so on."
    )
    return finish(figure, alt)


def encoder_decoder() -> Picture:
    """The transformer of 2017 and where its three kinds of attention stand (Vaswani et al., figure 1)."""
    encoder = {1.2: ("self-attention\nq, k, v from the source", COLOURS[0]), 3.5: ("feed-forward", GREY)}
    decoder = {
        1.2: ("causal self-attention\nq, k, v from the target", COLOURS[1]),
        2.7: ("cross-attention\nq from the target; k, v from the source", COLOURS[2]),
        4.2: ("feed-forward", GREY),
    }
    figure, (axes,) = new_figure(8.0, 4.6)
    _column(axes, 0.0, "encoder, L times", "source tokens", encoder, "one vector per source token")
    _column(axes, 5.0, "decoder, L times", "target tokens so far", decoder, "the next target token")
    axes.plot([1.85, 4.35, 4.35], [5.3, 5.3, 3.15], color=INK, linewidth=1.5)
    arrow(axes, (4.35, 3.15), (5.0, 3.15))
    axes.set(xlim=(-0.3, 9.0), ylim=(-0.1, 6.9))
    axes.axis("off")
    alt = (
        "Diagram of the transformer. Encoder: source tokens pass through self-attention and feed-forward. "
        "Decoder: target tokens pass through causal self-attention, cross-attention whose keys and values "
        "come from the encoder, and feed-forward."
    )
    return finish(figure, alt)


def _column(axes: Axes, x: float, name: str, start: str, layers: dict[float, tuple[str, str]], end: str) -> None:
    """Layers, by their height in the picture, with arrows from what goes in to what comes out."""
    middle, height = x + 1.85, 0.9
    for y, (text, colour) in layers.items():
        box(axes, x, y, 2 * 1.85, height, text, colour)
    leaves, enters = [0.45, *(y + height for y in layers)], [*layers, 5.75]
    for low, high in zip(leaves, enters, strict=True):
        arrow(axes, (middle, low), (middle, high))
    axes.text(middle, 0.2, start, ha="center", va="center")
    axes.text(middle, 5.95, end, ha="center", va="center")
    axes.text(middle, 6.6, name, ha="center", va="center", weight="bold")
