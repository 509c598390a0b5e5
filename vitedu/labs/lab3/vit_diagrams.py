"""Pictures for Lab 3 that need no trained model: a block, the whole model, GELU, and what shortcuts are good for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitedu.plots.diagram import GREY, arrow, box
from vitedu.plots.figure import COLOURS, INK, Picture, finish, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
ATTENTION, NETWORK, CLASS, PATCH = COLOURS[0], COLOURS[2], COLOURS[1], "#9ecae1"
SIDE = 2.3  # how far right of the stream a branch runs
LINE: dict[str, Any] = {"color": INK, "linewidth": 1.5, "solid_capstyle": "round"}


# --- the block ------------------------------------------------------------------------------------


def encoder_block() -> Picture:
    """A block of the Vision Transformer beside one of 2017: where the norms stand, and what runs past them."""
    figure, (pre, post) = new_figure(8.0, 4.8, columns=2)
    _branch(pre, 0.6, 3.1, [(1.0, "norm1", GREY), (1.9, "attention", ATTENTION)])
    _branch(pre, 3.8, 6.3, [(4.2, "norm2", GREY), (5.1, "mlp", NETWORK)])
    _branch(post, 0.6, 2.5, [(1.2, "attention", ATTENTION)])
    _branch(post, 3.8, 5.7, [(4.4, "feed-forward", NETWORK)])
    for y in (2.85, 6.05):
        box(post, -0.9, y, 1.8, 0.6, "norm", GREY)
    stops = (0.0, 2.85, 3.45, 6.05, 6.65, 7.25)  # where the stream of 2017 starts, enters and leaves its norms, ends
    for axes, title, ends in ((pre, "pre-norm, 2020", (0.0, 7.25)), (post, "post-norm, 2017", stops)):
        for low, high in zip(ends[::2], ends[1::2], strict=True):
            axes.plot([0, 0], [low, high - 0.25], zorder=0, color=COLOURS[3], linewidth=5)
        arrow(axes, (0, 6.9), (0, 7.3))
        axes.text(0, -0.25, "tokens (B, T, D)", ha="center", va="center")
        axes.text(0, 7.55, "tokens (B, T, D)", ha="center", va="center")
        axes.set(title=title, xlim=(-1.6, SIDE + 1.5), ylim=(-0.6, 7.9))
        axes.axis("off")
    alt = (
        "Two diagrams of a block. Pre-norm: the tokens run up a line on which nothing stands but two additions; a "
        "branch leaves it, passes norm1 and attention, and is added; another passes norm2 and mlp, and is added. "
        "Post-norm: the branches hold attention and feed-forward alone, and a norm stands on the line after each "
        "addition."
    )
    return finish(figure, alt)


def _branch(axes: Axes, start: float, end: float, parts: Sequence[tuple[float, str, str]]) -> None:
    """A branch that leaves the stream at one height, passes its parts, and is added at another."""
    height, width = 0.65, 2.3
    axes.plot([0, SIDE, SIDE], [start, start, parts[0][0]], **LINE)
    for (low, *_), (high, *_) in pairwise(parts):
        axes.plot([SIDE, SIDE], [low + height, high], **LINE)
    for y, text, colour in parts:
        box(axes, SIDE - width / 2, y, width, height, text, colour)
    axes.plot([SIDE, SIDE, 0.25], [parts[-1][0] + height, end, end], **LINE)
    arrow(axes, (0.6, end), (0.17, end))
    plus = {"boxstyle": "circle,pad=0.12", "facecolor": "white", "edgecolor": INK, "linewidth": 1.5}
    axes.text(0, end, "+", ha="center", va="center", fontsize=13, bbox=plus)


# --- the model ------------------------------------------------------------------------------------


def vision_transformer() -> Picture:
    """The whole model, from the image to the logits, with the shape at each stage."""
    figure, (axes,) = new_figure(9.4, 3.0)
    for row in range(2):
        for column in range(2):
            _square(axes, 0.95 * column, 2.05 - 0.95 * row, 0.9, PATCH)
    for x in (4.3, 9.75):
        for i in range(5):
            _square(axes, x, 3.1 - 0.62 * i, 0.55, PATCH if i else CLASS)
        axes.text(x + 0.27, 3.95, "class token", ha="center", va="center", fontsize=9.5, color=CLASS, weight="bold")
    for shift in (0.24, 0.12, 0.0):
        box(axes, 5.4 + shift, 1.25 + shift, 1.9, 1.4, "" if shift else "blocks", ATTENTION)
        axes.patches[-1].set_alpha(0.4 if shift else 1)
    box(axes, 2.35, 1.25, 1.5, 1.4, "embedding", GREY)
    box(axes, 8.1, 1.25, 1.05, 1.4, "norm", GREY)
    box(axes, 10.9, 3.05, 1.1, 0.65, "head", NETWORK)
    for start, end in ((1.9, 2.3), (3.88, 4.25), (4.9, 5.35), (7.58, 8.05), (9.18, 9.7)):
        arrow(axes, (start, 1.95), (end, 1.95))
    for start, end in ((10.35, 10.85), (12.05, 12.5)):
        arrow(axes, (start, 3.375), (end, 3.375))
    axes.text(12.55, 3.375, "logits", ha="left", va="center", weight="bold")
    below = {
        0.92: "(B, C, H, W)", 4.57: "(B, N+1, D)", 6.4: "L times, the same\nshape all the way", 10.02: "(B, N+1, D)",
    }  # fmt: skip
    for x, text in below.items():
        axes.text(x, 0.4, text, ha="center", va="top", fontsize=9.5)
    for x, text in {10.65: "(B, D)", 12.95: "(B, classes)"}.items():
        axes.text(x, 2.85, text, ha="left" if x < 11 else "center", va="top", fontsize=9.5)
    axes.set(xlim=(-0.2, 13.9), ylim=(-0.45, 4.2), aspect="equal")
    axes.axis("off")
    alt = (
        "Diagram of the Vision Transformer: an image (B, C, H, W) goes through the embedding and becomes N+1 tokens of "
        "D features, the class token first; L blocks and a last norm keep that shape; from the class token alone, "
        "(B, D), the head makes logits (B, classes)."
    )
    return finish(figure, alt)


def _square(axes: Axes, x: float, y: float, side: float, colour: str) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((x, y), side, side, facecolor=colour, edgecolor="none"))


# --- curves ---------------------------------------------------------------------------------------


def gelu_and_relu() -> Picture:
    """GELU beside ReLU, and the derivatives of both."""
    x = torch.linspace(-4, 4, 401, dtype=torch.float64)
    share = torch.special.ndtr(x)  # Phi: how much of a standard normal distribution lies below x
    density = torch.exp(-x.square() / 2) / math.sqrt(2 * math.pi)
    curves = {"GELU": (x * share, share + x * density), "ReLU": (x.clamp(min=0), (x > 0).double())}
    figure, panels = new_figure(8.0, 3.1, columns=2)
    for (name, lines), colour, style in zip(curves.items(), COLOURS, ("-", "--"), strict=False):
        for axes, y in zip(panels, lines, strict=True):
            axes.plot(x.numpy(), y.numpy(), color=colour, linestyle=style, linewidth=2, label=name)
    for axes, title in zip(panels, ("the function", "its derivative"), strict=True):
        axes.axhline(0, color=GREY, linewidth=0.8, zorder=0)
        axes.set(title=title, xlabel="x")
        axes.legend(frameon=False, loc="upper left")
    gelu = curves["GELU"][0]
    alt = (
        f"GELU and ReLU from -4 to 4, and their derivatives. GELU has no corner at 0; left of it it is negative, "
        f"lowest with {gelu.min():.2f} at x = {x[gelu.argmin()]:.2f}; beyond 3 on either side the two can hardly be "
        f"told apart. The derivative of ReLU jumps from 0 to 1; that of GELU rises smoothly."
    )
    return finish(figure, alt)


def tokens_alike(block_class: Callable[..., nn.Module], depth: int = 16) -> Picture:
    """How alike the tokens become on their way through a stack of new blocks, with and without the shortcuts.

    Args:
        block_class: (dim, num_heads, mlp_dim) -> a block that maps tokens to tokens.
        depth: number of blocks.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        blocks = [block_class(64, 4, 128).eval() for _ in range(depth)]
        kept = alone = torch.randn(8, 17, 64)
        curves = {"your blocks": [_similarity(kept)], "the branches alone": [_similarity(alone)]}
        for block in blocks:
            kept, alone = block(kept), block(alone) - alone
            curves["your blocks"].append(_similarity(kept))
            curves["the branches alone"].append(_similarity(alone))
    figure, (axes,) = new_figure(6.4, 3.4)
    for (name, values), colour, marker in zip(curves.items(), COLOURS, "os", strict=False):
        axes.plot(range(depth + 1), values, color=colour, marker=marker, markersize=5, label=name)
    axes.set(xlabel="blocks passed", ylabel="cosine similarity of two tokens", ylim=(-0.05, 1.08))
    axes.legend(frameon=False, loc="center right")
    sentences = [
        f"{name}: {v[0]:.2f} at the start, {v[4]:.2f} after 4, {v[-1]:.2f} after all" for name, v in curves.items()
    ]
    return finish(
        figure, f"Mean cosine similarity of two tokens of an image over {depth} blocks. {'; '.join(sentences)}."
    )


def _similarity(x: Tensor) -> float:
    """Mean cosine of the angle between two different tokens of a sample; x is (B, T, D)."""
    unit = F.normalize(x, dim=-1)
    tokens = x.shape[1]
    return ((unit.sum(1).square().sum(-1) - tokens) / (tokens * (tokens - 1))).mean().item()
