"""Attention over a photo: which patches a patch looks at, computed by the student's own function.

The photo comes with scikit-learn; nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vitedu.data.sample_photo import PATCH, pagoda
from vitedu.plots.figure import COLOURS, WEIGHTS, Picture, finish, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def patch_queries_keys() -> tuple[Tensor, Tensor, int]:
    """Queries and keys of the photo's patches (N, 6), row by row, and the number of patches in a row.

    A patch is described by its mean colour and its place, five numbers f. Query `(f, 1)` and key `(f', -|f'|^2 / 2)`
    have the product `-|f - f'|^2 / 2 + |f|^2 / 2`: the closer two patches are, the larger.
    """
    colour = F.avg_pool2d(pagoda(), PATCH)  # (3, h, w)
    h, w = colour.shape[1:]
    place = torch.stack(torch.meshgrid(torch.arange(h) / w, torch.arange(w) / w, indexing="ij"))
    f = torch.cat([25 * colour, 6 * place]).flatten(1).T  # (h w, 5); the factors set how choosy a patch is
    one, half_square = torch.ones(h * w, 1), f.square().sum(-1, keepdim=True) / 2
    return torch.cat([f, one], dim=-1), torch.cat([f, -half_square], dim=-1), w


def photo_attention(
    attend: Callable[[Tensor, Tensor], Tensor], places: Sequence[tuple[int, int]] = ((2, 16), (3, 6), (10, 12))
) -> Picture:
    """What some patches of the photo look at, when they look for patches like themselves.

    Args:
        attend: (q, k) -> weights.
        places: (row, column) of up to three patches that look.
    """
    q, k, w = patch_queries_keys()
    weights = attend(q, k)
    figure, panels = new_figure(7.0, 5.0, columns=2, rows=2)
    _draw_photo(panels[0], "the photo and its patches")
    sentences = []
    for axes, name, (i, j) in zip(panels[1:], "ABC", places, strict=False):
        row = weights[i * w + j].detach().view(-1, w)
        _draw_photo(axes, f"what patch {name} looks at", row)
        _mark(panels[0], (i, j), name)
        _mark(axes, (i, j), name)
        sentences.append(f"patch {name} in row {i}, column {j} {_spread(row)}")
    for axes in panels[1 + len(sentences) :]:
        axes.set_visible(False)
    alt = f"A photo of a pagoda by a lake, cut into {len(q)} patches, and attention maps: {'; '.join(sentences)}."
    return finish(figure, alt, photo=True)


def photo_causal(attention: Callable[..., Tensor], place: tuple[int, int] = (6, 14)) -> Picture:
    """What one patch looks at without a mask, and when it may see only itself and the patches before it.

    Args:
        attention: (q, k, v, mask) -> mixtures; with the identity as values the mixtures are the weights.
        place: (row, column) of the patch that looks.
    """
    q, k, w = patch_queries_keys()
    earlier = torch.ones(len(q), len(q), dtype=torch.bool).tril()
    figure, panels = new_figure(7.0, 2.7, columns=2)
    sentences = []
    for axes, title, mask in zip(panels, ("no mask", "causal mask"), (None, earlier), strict=True):
        row = attention(q, k, torch.eye(len(q)), mask)[place[0] * w + place[1]].detach().view(-1, w)
        _draw_photo(axes, title, row)
        _mark(axes, place, "D")
        sentences.append(f"with {title} it {_spread(row)}")
    alt = f"Attention maps of the patch in row {place[0]}, column {place[1]} of the photo: {'; '.join(sentences)}."
    return finish(figure, alt, photo=True)


def _draw_photo(axes: Axes, title: str, weights: Tensor | None = None) -> None:
    """The photo in patches; with weights (h, w) pale, and the bluer a patch the larger its weight."""
    height, width = pagoda().shape[1:]
    look: dict[str, Any] = {"extent": (0, width, height, 0), "interpolation": "nearest"}
    if weights is None:
        axes.imshow(_coarse(5).permute(1, 2, 0).numpy(), **look)
    else:
        axes.imshow(_coarse(8).mean(0).numpy(), cmap="gray", vmin=-1.5, vmax=1.15, **look)
        strength = (weights / weights.max()).clamp(0, 1).numpy()
        axes.imshow(0 * strength + 0.9, cmap=WEIGHTS, vmin=0, vmax=1, alpha=strength, **look)
    lines: dict[str, Any] = {"color": "white", "linewidth": 0.5}
    axes.vlines(range(0, width + 1, PATCH), 0, height, **lines)
    axes.hlines(range(0, height + 1, PATCH), 0, width, **lines)
    axes.set(title=title, xticks=[], yticks=[], xlim=(0, width), ylim=(height, 0))
    axes.spines[:].set_visible(False)


def _coarse(pixels: int) -> Tensor:
    """The photo in squares of so many pixels and 16 levels: what a small PNG can hold."""
    return (F.avg_pool2d(pagoda(), pixels) * 16).round() / 16


def _mark(axes: Axes, place: tuple[int, int], name: str) -> None:
    """A frame around a patch, and its letter beside it."""
    from matplotlib.patches import Rectangle

    y, x = (PATCH * n for n in place)
    axes.add_patch(Rectangle((x, y), PATCH, PATCH, fill=False, edgecolor=COLOURS[1], linewidth=2.5))
    label = {"boxstyle": "round,pad=0.15", "facecolor": COLOURS[1], "edgecolor": "none"}
    axes.text(x - 8, y - 6, name, ha="center", va="center", fontsize=9.5, weight="bold", color="white", bbox=label)


def _spread(row: Tensor) -> str:
    """How widely a patch spreads its attention, in words."""
    order = row.flatten().sort(descending=True).values
    return f"gives half of its weight to {int((order.cumsum(0) < 0.5).sum()) + 1} of {order.numel()} patches"
