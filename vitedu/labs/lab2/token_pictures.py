"""Pictures of tokens as vectors: what embedding a patch and adding its position do.

What is embedded is computed by the student's own classes and functions, which come in as arguments.
No solution stands here.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitedu.data.sample_digit import digit
from vitedu.data.sample_photo import small_photo
from vitedu.plots.figure import INK, Picture, bare, expect, finish, new_figure, rows

TOKENS = "RdBu_r"  # of features: blue below zero, red above


def feature_maps(embedding_class: Callable[..., nn.Module], patch_size: int = 4) -> Picture:
    """Four features of the photo's tokens as small images, from an embedding whose weights are made by hand.

    Args:
        embedding_class: (patch_size, in_channels, dim) -> a module with a convolution named proj.
        patch_size: P, even.
    """
    photo, half = small_photo(), patch_size // 2
    filters = torch.zeros(4, 3, patch_size, patch_size)
    filters[0] = 1
    filters[1, 2], filters[1, 0] = 1, -1
    filters[2, :, :, :half], filters[2, :, :, half:] = 1, -1
    filters[3, :, :half], filters[3, :, half:] = 1, -1
    embedding = embedding_class(patch_size, 3, 4)
    embedding.load_state_dict({"proj.weight": filters, "proj.bias": torch.zeros(4)})
    h, w = (side // patch_size for side in photo.shape[2:])
    with torch.no_grad():
        tokens = expect(embedding(photo), (1, h * w, 4), "tokens")[0]
    names = ("brightness", "blue, not red", "brighter on the left", "brighter above")
    figure, panels = new_figure(8.2, 5.0, columns=2, rows=2)
    for axes, name, pattern, feature in zip(panels, names, filters, tokens.T, strict=True):
        signed = bool(pattern.min() < 0)
        top = feature.abs().max().item()
        look = {"cmap": "RdBu", "vmin": -top, "vmax": top} if signed else {"cmap": "gray", "vmin": 0, "vmax": top}
        axes.imshow(feature.view(h, w).numpy(), interpolation="nearest", **look)
        bare(axes, f"feature {names.index(name)}: {name}")
        inset = axes.inset_axes((0.0, 0.0, 0.2, 0.33))
        inset.imshow((pattern.movedim(0, -1).numpy() + 1) / 2, interpolation="nearest")
        inset.set(xticks=[], yticks=[])
        inset.spines[:].set(visible=True, color=INK, linewidth=1)
    said = ", ".join(f"{name} from {f.min():.1f} to {f.max():.1f}" for name, f in zip(names, tokens.T, strict=True))
    alt = f"Four features of {h} x {w} tokens of the photo, each as an image with one pixel for a token: {said}."
    return finish(figure, alt)


def token_stages(embedding_class: Callable[..., nn.Module], number: int = 1, dim: int = 8) -> Picture:
    """A digit's tokens before and after class token and positions are there, with random weights.

    Args:
        embedding_class: (image_size, patch_size, in_channels, dim) -> a module with patches, cls_token and position.
        number: which digit.
        dim: D.
    """
    image, random = digit(number) / 16, torch.Generator().manual_seed(0)
    embedding = embedding_class(8, 2, 1, dim)
    with torch.no_grad():
        for parameter in embedding.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random) * 0.7)
        patches = expect(embedding.patches(image), (1, 16, dim), "tokens")[0]
        tokens = expect(embedding(image), (1, 17, dim), "tokens")[0]
        position = embedding.position.detach().reshape(17, dim)
    empty = [n for n in range(16) if torch.equal(patches[n], patches[0])]  # patch 0 has no ink
    figure, panels = new_figure(9.0, 4.6, columns=3)
    titles = ("patch embedding", "position", "class token first, position added")
    top = max(part.abs().max().item() for part in (patches, position, tokens))
    for axes, title, part in zip(panels, titles, (patches, position, tokens), strict=True):
        skipped = 17 - len(part)
        extent = (0, dim, 17, skipped)
        axes.imshow(part.numpy(), cmap=TOKENS, vmin=-top, vmax=top, extent=extent, interpolation="nearest")
        for n in empty if axes is not panels[1] else ():
            axes.plot(dim + 0.4, n + 1.5, marker="<", color=INK, markersize=5, clip_on=False)
        rows(axes, ["class" if n < 0 else n for n in range(-1, 16)], "patch" if axes is panels[0] else "")
        axes.set(title=title, xlim=(0, dim), ylim=(17, 0), xlabel=f"{dim} features", aspect="auto")
        axes.spines[:].set_visible(False)
    panels[0].set_yticks([n + 1.5 for n in range(16)], range(16))
    same = "all alike" if all(torch.equal(tokens[n + 1], tokens[1]) for n in empty) else "all different"
    alt = (
        f"Tables of 16 patch embeddings, 17 positions and the 17 tokens that come out. Patches {empty} have no ink: "
        f"their embeddings are all alike, and their tokens {same}."
    )
    return finish(figure, alt)


def position_similarity(positions: Tensor, height: int, width: int) -> Picture:
    """Cosine similarity of each place's position vector with those of all places: one small map a place.

    Args:
        positions: (height * width, D), places row by row.
        height, width: of the grid of patches.
    """
    positions = expect(positions, (height * width, positions.shape[-1]), "positions").detach()
    similar = F.cosine_similarity(positions[:, None], positions[None], dim=-1)
    figure, (axes,) = new_figure(6.0, 5.2)
    for (y, x), row in zip(itertools.product(range(height), range(width)), similar, strict=True):
        look = {"cmap": "viridis", "vmin": similar.min().item(), "vmax": 1, "interpolation": "nearest"}
        shown = axes.imshow(row.view(height, width).numpy(), extent=(x + 0.05, x + 0.95, y + 0.95, y + 0.05), **look)
    axes.set(xlim=(0, width), ylim=(height, 0), xlabel="column of the patch", ylabel="row of the patch")
    axes.set_xticks([x + 0.5 for x in range(width)], range(width))
    axes.set_yticks([y + 0.5 for y in range(height)], range(height))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.colorbar(shown, ax=axes, shrink=0.8, label="cosine similarity")
    middle = similar[height // 2 * width + width // 2].view(height, width)
    alt = (
        f"{height} by {width} maps of the similarity of position vectors. The middle place with itself: "
        f"{middle[height // 2, width // 2]:.2f}, with its right neighbour {middle[height // 2, width // 2 + 1]:.2f}, "
        f"with the corner at the upper left {middle[0, 0]:.2f}."
    )
    return finish(figure, alt)
