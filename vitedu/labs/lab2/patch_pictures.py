"""Pictures of images as patches and tokens.

What is cut, put together or embedded is computed by the student's own functions, which come in as
arguments. No solution stands here, and nothing is downloaded: photo and digits come with scikit-learn.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from vitedu.data.sample_digit import digit
from vitedu.data.sample_photo import small_photo
from vitedu.plots.figure import COLOURS, INK, Picture, bare, expect, finish, new_figure, rows, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
GREY = "#666666"


def cut_up(patchify: Callable[[Tensor, int], Tensor], patch_size: int = 32) -> Picture:
    """The photo, and its patches one after the other, five in a row, as the function returns them."""
    photo = small_photo()
    h, w = (side // patch_size for side in photo.shape[2:])
    patches = expect(patchify(photo, patch_size), (1, h * w, 3 * patch_size**2), "patches")[0]
    figure, (whole, sheet) = new_figure(8.2, 2.8, columns=2)
    show(whole, photo[0], title=f"the photo: {photo.shape[2]} x {photo.shape[3]} pixels")
    gap = 1.1 * patch_size
    for n, patch in enumerate(patches):
        row, column = divmod(n, w)
        x, y = column * gap, row * gap
        show(sheet, patch.view(3, patch_size, patch_size), at=(x, y))
        sheet.text(x + 3, y + 3, str(n), color="white", fontsize=9.5, weight="bold", va="top", bbox=_label(COLOURS[0]))
    sheet.set(xlim=(0, w * gap), ylim=(h * gap, 0), title=f"patches 0 to {len(patches) - 1}, {w} in a row")
    alt = (
        f"Left a photo of a pagoda by a lake. Right the {len(patches)} patches of {patch_size} x {patch_size} pixels "
        f"that the function returns, numbered in their order, {w} in a row."
    )
    return finish(figure, alt, photo=True)


def patch_numbers(patchify: Callable[[Tensor, int], Tensor], patch_size: int = 3) -> Picture:
    """Patch 0 of a piece of the photo: its three colours as the image holds them, and its row of numbers."""
    image = small_photo()[:, :, 45:48, 78:84]
    vector = expect(patchify(image, patch_size), (1, 2, 3 * patch_size**2), "patches")[0, 0]
    corner, names, maps = image[0, :, :patch_size, :patch_size], ("red", "green", "blue"), ("Reds", "Greens", "Blues")
    figure, (axes,) = new_figure(9.4, 2.6)
    show(axes, corner, at=(-patch_size - 1, 0))
    axes.text(-patch_size / 2 - 1, -0.45, "patch 0", ha="center")
    every = patch_size**2
    for c, (name, colours) in enumerate(zip(names, maps, strict=True)):
        left = c * every + (every - patch_size) / 2  # above its own share of the row
        _numbers(axes, corner[c], colours, (left, 0))
        axes.text(left + patch_size / 2, -0.45, f"channel {c}: {name}", ha="center")
        _numbers(axes, vector[None, c * every : (c + 1) * every], colours, (c * every, patch_size + 1.7))
    for k in range(0, len(vector), 3):
        axes.text(k + 0.5, patch_size + 3.2, str(k), ha="center", fontsize=8.5, color=GREY)
    axes.text(-0.4, patch_size + 2.2, "its numbers", ha="right", va="center")
    axes.set(xlim=(-patch_size - 1.2, len(vector) + 0.2), ylim=(patch_size + 3.4, -1.1))
    row = ", ".join(f"{value:.2f}" for value in vector.tolist())
    alt = f"Patch 0 in colour, its red, green and blue values as {patch_size} x {patch_size} tables, and as a row: "
    return finish(figure, f"{alt}{row}.")


def digit_patches(patchify: Callable[[Tensor, int], Tensor], number: int = 1, patch_size: int = 2) -> Picture:
    """A handwritten digit with its patches numbered, and the same digit as a table with a row for each patch."""
    image = digit(number)
    per_row = image.shape[3] // patch_size
    patches = expect(patchify(image, patch_size), (1, per_row**2, patch_size**2), "patches")[0]
    figure, (whole, table) = new_figure(8.2, 4.4, columns=2)
    _numbers(whole, image[0, 0], "Greys_r", (0, 0), high=16)
    for n in range(per_row**2):
        row, column = (patch_size * place for place in divmod(n, per_row))
        whole.text(column + 0.08, row + 0.1, str(n), fontsize=8.5, weight="bold", color=COLOURS[1], va="top")
    _grid(whole, patch_size, image.shape[3], image.shape[2], COLOURS[1])
    whole.set(xlim=(-0.1, 8.1), ylim=(8.1, -0.1), title="the image, its patches numbered")
    _numbers(table, patches, "Greys_r", (0, 0), high=16, wide=2.2)
    rows(table, range(len(patches)), "patch")
    table.set(title=f"the tokens: {len(patches)} rows of {patches.shape[1]} numbers")
    table.set(xlim=(-3.0, 2.2 * patches.shape[1]), ylim=(len(patches), 0))
    empty = [str(n) for n, patch in enumerate(patches) if not patch.any()]
    alt = f"A handwritten digit of 8 x 8 pixels, and its {len(patches)} patches as rows of numbers; without ink are "
    return finish(figure, f"{alt}{', '.join(empty)}.")


def token_cost(patchify: Callable[[Tensor, int], Tensor], side: int = 224, dim: int = 768) -> Picture:
    """How many tokens an image gives, and how many multiplications a layer then takes, by patch size."""
    sizes = [size for size in (2, 4, 8, 16, 32) if side % size == 0]
    tokens = torch.tensor([patchify(torch.zeros(1, 3, side, side), size).shape[1] for size in sizes]).double()
    # Four D x D maps (queries, keys, values, out) and an MLP with 4 D hidden features; q k and weights times v.
    linear, attention = 12 * tokens * dim**2, 2 * tokens**2 * dim
    figure, (count, work) = new_figure(8.6, 3.3, columns=2)
    count.plot(sizes, tokens.numpy(), color=COLOURS[0], marker="o", markersize=5)
    for size, n in zip(sizes, tokens.int().tolist(), strict=True):
        count.annotate(f"{n:,}", (size, n), (4, 4), textcoords="offset points", fontsize=9.5)
    for values, name, colour, marker in (
        (linear, "linear maps", COLOURS[0], "o"), (attention, "attention: comparing and mixing", COLOURS[1], "s"),
    ):  # fmt: skip
        work.plot(sizes, values.numpy() / 1e9, color=colour, marker=marker, markersize=5, label=name)
    titles = (f"tokens of a {side} x {side} image", f"multiplications of a layer, D = {dim}")
    for axes, title in zip((count, work), titles, strict=True):
        axes.set(xscale="log", yscale="log", xlabel="patch size P", title=title, xlim=(1.8, 45))
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
    work.set_ylabel("billions")
    work.legend(frameon=False)
    said = [
        f"P = {size}: {int(n):,} tokens, {a / 1e9:.3g} in linear maps, {b / 1e9:.3g} in attention"
        for size, n, a, b in zip(sizes, tokens.tolist(), linear.tolist(), attention.tolist(), strict=True)
    ]
    return finish(figure, f"Tokens by patch size, and billions of multiplications in a layer. {'; '.join(said)}.")


def put_together(
    patchify: Callable[[Tensor, int], Tensor],
    unpatchify: Callable[[Tensor, int, tuple[int, int]], Tensor],
    shuffled: bool = False,
    patch_size: int = 16,
    gap: int = 3,
) -> Picture:
    """The photo cut into patches and put together again: with gaps between the patches, and without.

    Args:
        patchify: (images, P) -> patches.
        unpatchify: (patches, P, (H, W)) -> images; with a white frame around each patch the gaps show.
        shuffled: whether the patches are put together in another order.
        patch_size: P.
        gap: width of the frame in pixels.
    """
    photo = small_photo()
    h, w = (side // patch_size for side in photo.shape[2:])
    patches = expect(patchify(photo, patch_size), (1, h * w, 3 * patch_size**2), "patches")
    if shuffled:
        patches = patches[:, torch.randperm(h * w, generator=torch.Generator().manual_seed(0))]
    framed = F.pad(patches.unflatten(-1, (3, patch_size, patch_size)), (gap, 0, gap, 0), value=1.0).flatten(2)
    side = patch_size + gap
    apart = expect(unpatchify(framed, side, (h * side, w * side)), (1, 3, h * side, w * side), "images")[0]
    whole = expect(unpatchify(patches, patch_size, (h * patch_size, w * patch_size)), tuple(photo.shape), "images")
    figure, panels = new_figure(8.2, 2.8, columns=2)
    order = "shuffled" if shuffled else "in their order"
    result = "put together"
    if not shuffled:
        result += f"; largest difference: {(whole - photo).abs().max().item():.2g}"
    show(panels[0], apart, title=f"{h * w} patches, {order}")
    show(panels[1], whole[0], title=result)
    alt = f"The photo's {h * w} patches {order}, left with white gaps between them, right {result}."
    return finish(figure, alt, photo=True)


def _numbers(
    axes: Axes, table: Tensor, colours: str, at: tuple[float, float], high: float = 1.0, wide: float = 1.0
) -> None:
    """A table of numbers from 0 to `high` with their values written in; each column is `wide`."""
    (x, y), (rows, columns) = at, table.shape
    extent = (x, x + columns * wide, y + rows, y)
    image = axes.imshow(table.numpy(), cmap=colours, vmin=0, vmax=high, extent=extent, interpolation="nearest")
    for i, j in itertools.product(range(rows), range(columns)):
        value = table[i, j].item()
        red, green, blue, _ = image.cmap(value / high)
        ink = INK if 0.3 * red + 0.6 * green + 0.1 * blue > 0.5 else "white"
        text = f"{value:.0f}" if high > 1 else f"{value:.2f}".removeprefix("0")
        axes.text(x + (j + 0.5) * wide, y + i + 0.5, text, ha="center", va="center", fontsize=8.5, color=ink)
    bare(axes)


def _grid(axes: Axes, patch_size: int, width: int, height: int, colour: str) -> None:
    axes.vlines(range(0, width + 1, patch_size), 0, height, color=colour, linewidth=1)
    axes.hlines(range(0, height + 1, patch_size), 0, width, color=colour, linewidth=1)


def _label(colour: str) -> dict[str, str]:
    return {"boxstyle": "round,pad=0.12", "facecolor": colour, "edgecolor": "none"}
