"""Attention of a trained model over its images: the maps of all heads, and the rollout through all blocks.

The attention itself is computed by the student's own `attention_maps`, which comes in as an argument.

The weights in weights/pairs.safetensors, in float16, belong to Lab 3's VisionTransformer with the sizes
in SIZES. They were trained once: 12,000 images of shapes.pairs (rng=100), 25 epochs in batches of 64,
AdamW with weight decay 0.05 and a learning rate that rises to 2e-3 in 200 steps and falls to 0 by a
cosine. Of 2,000 other images (rng=7) the model gets 99.8 % right. (Its sizes are not those of Lab 4's
exam, which trains from chance.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitedu.data.drawing import MEAN, STD
from vitedu.plots.figure import Picture, finish, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
SIZES = {
    "image_size": 32, "patch_size": 8, "in_channels": 3, "num_classes": 6,
    "dim": 48, "depth": 3, "num_heads": 3, "mlp_dim": 96,
}  # fmt: skip
Maps = Callable[[nn.Module, Tensor], Tensor]  # (model, images) -> (B, depth, H, N)


def trained(model_class: Callable[..., nn.Module]) -> nn.Module:
    """A VisionTransformer with the trained weights, in eval mode.

    Args:
        model_class: called with the sizes of SIZES by name; its state_dict has Lab 3's keys.
    """
    from safetensors.torch import load_file

    model = model_class(**SIZES)
    weights = load_file(Path(__file__).parent / "weights" / "pairs.safetensors")
    model.load_state_dict({name: weight.float() for name, weight in weights.items()})
    model.eval()
    return model


def full_attention(attention_maps: Maps, model: nn.Module, images: Tensor) -> Tensor:
    """What every token looks at: (B, depth, H, T, T), the class token first; rows are queries and sum to 1.

    `attention_maps` knows only the row of the token that stands first. So each token is let go
    first once, in a batch in which every image stands T times: attention does not mind the order
    of the tokens once their places are added.
    """
    embedding: Any = model.embedding
    count = embedding.position.shape[-2]  # T
    order = torch.arange(count).repeat(count, 1)
    order[:, 0], order[range(count), range(count)] = torch.arange(count), 0  # token i and the class token swap
    order = order.repeat_interleave(len(images), dim=0)  # (T B, T)
    every = torch.arange(len(order))[:, None]
    handle = embedding.register_forward_hook(lambda _, __, tokens: tokens[every, order])
    try:
        others = attention_maps(model, images.repeat(count, 1, 1, 1))  # (T B, depth, H, T - 1)
    finally:
        handle.remove()
    rows = torch.cat([1 - others.sum(-1, keepdim=True), others], dim=-1)
    rows = rows.gather(-1, order[:, None, None].expand_as(rows))  # the exchange undoes itself
    return rows.unflatten(0, (count, len(images))).permute(1, 2, 3, 0, 4)


def rollout(attention: Tensor) -> Tensor:
    """How much of each patch has reached the class token through all blocks.

    Abnar and Zuidema (2020): the heads' mean, half of it replaced by the shortcut (each token keeps
    itself), multiplied from the first block to the last.

    Args:
        attention: (B, depth, H, T, T), rows sum to 1.

    Returns:
        (B, N): the class token's shares of the patches; with its share of itself they sum to 1.
    """
    mixed = (attention.mean(dim=2) + torch.eye(attention.shape[-1])) / 2  # (B, depth, T, T)
    reached = mixed[:, 0]
    for block in range(1, mixed.shape[1]):
        reached = mixed[:, block] @ reached
    return reached[:, 0, 1:]


def cover(images: Tensor, patches: Tensor) -> Tensor:
    """Images in which some patches are painted over with the mean colour of their image.

    Args:
        images: (B, C, H, W).
        patches: numbers of the patches (B, n), row by row from 0.
    """
    side = SIZES["image_size"] // SIZES["patch_size"]
    hidden = torch.zeros(len(images), side * side).scatter_(1, patches, 1).view(-1, 1, side, side)
    hidden = F.interpolate(hidden, size=images.shape[2:])  # 1 where painted over
    return images * (1 - hidden) + images.mean(dim=(2, 3), keepdim=True) * hidden


# --- pictures -------------------------------------------------------------------------------------


def show_images(images: Tensor, titles: Sequence[str]) -> Picture:
    """Images in a row, normalised as shapes.pairs gives them, each under a line of text."""
    figure, panels = new_figure(1.55 * len(images), 1.95, columns=len(images))
    for axes, image, title in zip(panels, images, titles, strict=True):
        _draw(axes, image, title)
    return finish(figure, f"{len(images)} images in a row: {'; '.join(' '.join(t.split()) for t in titles)}.")


def show_maps(image: Tensor, maps: Tensor) -> Picture:
    """What the class token looks at in one image, a row of panels for each block and a column for each head.

    Args:
        image: (C, H, W), normalised as shapes.pairs gives it.
        maps: (depth, heads, N).
    """
    depth, heads, _ = maps.shape
    figure, panels = new_figure(1.5 * (heads + 1), 1.55 * depth + 0.3, columns=heads + 1, rows=depth)
    sentences = []
    for block in range(depth):
        row = panels[block * (heads + 1) : (block + 1) * (heads + 1)]
        _draw(row[0], image, "image" if block == 0 else "")
        row[0].set_ylabel(f"block {block}")
        for head, axes in enumerate(row[1:]):
            strongest = maps[block, head].max().item()
            _draw(axes, image, f"head {head}" if block == 0 else "", maps[block, head])
            sentences.append(f"block {block} head {head} at most {strongest:.2f} on patch {maps[block, head].argmax()}")
    return finish(figure, f"Attention of the class token over the patches of one image: {'; '.join(sentences)}.")


def show_rollout(images: Tensor, shares: Tensor, titles: Sequence[str]) -> Picture:
    """Images, and below each the same image lit by its rollout: the brighter a patch, the larger its share.

    Args:
        images: (B, C, H, W), normalised as shapes.pairs gives them.
        shares: (B, N), as rollout gives them.
        titles: a line of text for each image.
    """
    figure, panels = new_figure(1.55 * len(images), 3.5, columns=len(images), rows=2)
    sentences = []
    for upper, lower, image, share, title in zip(panels, panels[len(images) :], images, shares, titles, strict=False):
        _draw(upper, image, title)
        _draw(lower, image, "", share)
        best = share.argsort(descending=True)[:2].tolist()
        sentences.append(f"{' '.join(title.split())}: most from the patches {best[0]} and {best[1]}")
    panels[0].set_ylabel("image")
    panels[len(images)].set_ylabel("rollout")
    return finish(figure, f"Images and the rollout of the class token's attention over them. {'; '.join(sentences)}.")


def show_positions(position: Tensor) -> Picture:
    """Cosine similarity of each patch's position embedding with all others, a small map for each patch.

    Args:
        position: (1, N+1, D) or (N+1, D), the class token first; the patches form a square.
    """
    patches = F.normalize(position.detach().reshape(-1, position.shape[-1])[1:], dim=-1)
    side = round(len(patches) ** 0.5)
    similar = (patches @ patches.mT).view(-1, side, side)
    figure, panels = new_figure(4.6, 3.9, columns=side, rows=side)
    for axes, values in zip(panels, similar, strict=True):
        shown = axes.imshow(values.numpy(), cmap="RdBu", vmin=-1, vmax=1)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    figure.colorbar(shown, ax=panels, label="cosine similarity", shrink=0.8)
    place = torch.cartesian_prod(torch.arange(side), torch.arange(side))
    rows, columns = (place[:, None] - place).abs().unbind(-1)  # how far two patches are apart, each (N, N)
    flat = similar.flatten(1)
    sentences = {
        "side by side in a row": (rows == 0) & (columns == 1),
        "one above the other": (rows == 1) & (columns == 0),
        "in the first and in the last row": rows == side - 1,
        "in the first and in the last column": columns == side - 1,
    }
    means = "; ".join(f"{flat[pairs].mean():.2f} for patches {name}" for name, pairs in sentences.items())
    return finish(figure, f"Similarity of the position vectors of {side} x {side} patches. Mean: {means}.")


def _draw(axes: Axes, image: Tensor, title: str, weights: Tensor | None = None) -> None:
    """An image; with weights (N,), each patch the darker the smaller its weight."""
    pixels = (image.detach() * STD + MEAN).permute(1, 2, 0).clamp(0, 1)
    if weights is not None:
        side = round(len(weights) ** 0.5)
        strength = (weights.detach() / weights.max()).view(1, 1, side, side)
        pixels = pixels * (0.12 + 0.88 * F.interpolate(strength, size=image.shape[1:])[0, 0, :, :, None])
    axes.imshow(pixels.numpy(), interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=9.5)
    axes.spines[:].set_visible(False)
