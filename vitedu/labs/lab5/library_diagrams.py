"""Diagrams for Lab 5: a Vision Transformer around an encoder for text, and three weights in one."""

from __future__ import annotations

from vitedu.plots.diagram import GREY, arrow, box
from vitedu.plots.figure import COLOURS, INK, Picture, finish, new_figure

OWN = COLOURS[1]


def around_an_encoder() -> Picture:
    """What is the student's own in EncoderViT, and what stands in the encoder of the library."""
    figure, (axes,) = new_figure(9.4, 3.0)
    box(axes, 2.2, 1.9, 2.0, 0.8, "patch_embed", OWN)
    box(axes, 2.2, 0.5, 2.0, 0.8, "cls_token", OWN)
    box(axes, 6.0, 0.3, 4.4, 2.8, "", "#e4e4e4")
    axes.text(8.2, 2.82, "encoder(inputs_embeds=...)", ha="center", va="center", weight="bold", fontsize=9.5)
    box(axes, 6.15, 0.55, 1.55, 1.9, "positions\nadded,\nnorm", GREY)
    for shift in (0.24, 0.12, 0.0):
        box(axes, 8.1 + shift, 0.75 + shift, 1.7, 1.4, "" if shift else "layers", GREY)
        axes.patches[-1].set_alpha(0.4 if shift else 1)
    box(axes, 11.6, 0.5, 1.4, 0.8, "readout", OWN)
    axes.text(0.65, 2.3, "images\n(B, C, H, W)", ha="center", va="center")
    arrow(axes, (1.45, 2.3), (2.15, 2.3))
    axes.plot([4.2, 4.7, 4.7], [2.3, 2.3, 1.5], color=INK, linewidth=1.5)
    axes.plot([4.2, 4.7, 4.7], [0.9, 0.9, 1.5], color=INK, linewidth=1.5)
    arrow(axes, (4.7, 1.5), (6.15, 1.5))
    axes.text(5.3, 1.28, "(B, N+1, D)", ha="center", va="top", fontsize=9.5)
    arrow(axes, (7.73, 1.5), (8.07, 1.5))
    arrow(axes, (10.15, 0.9), (11.55, 0.9))
    axes.text(10.98, 0.68, "token 0", ha="center", va="top", fontsize=9.5)
    arrow(axes, (13.05, 0.9), (13.5, 0.9))
    axes.text(13.6, 0.9, "logits", ha="left", va="center", weight="bold")
    axes.set(xlim=(-0.3, 14.7), ylim=(0.0, 3.3), aspect="equal")
    axes.axis("off")
    alt = (
        "Diagram of EncoderViT. Its own parts: patch_embed makes images into patch vectors, cls_token is put in front "
        "of them, and readout makes logits of token 0. Between them the library's encoder, called with inputs_embeds: "
        "it adds positions, normalises, and runs its layers."
    )
    return finish(figure, alt)


def fused() -> Picture:
    """Three layers of ours and the single one of the libraries: q, k, and v on top of each other."""
    figure, (axes,) = new_figure(8.6, 3.5)
    colours = dict(zip("qkv", COLOURS, strict=False))
    side = 1.5
    for i, (name, colour) in enumerate(colours.items()):
        box(axes, 2.1 * i, 2.1, side, side, f"to_{name}\nweight\n(D, D)", colour)
        box(axes, 2.1 * i + side + 0.08, 2.1, 0.22, side, "", colour)
        box(axes, 8.2, 3.7 - 1.25 * i, side, 1.2, f"{name}", colour)
        box(axes, 8.2 + side + 0.08, 3.7 - 1.25 * i, 0.22, 1.2, "", colour)
    arrow(axes, (6.6, 2.85), (7.8, 2.85))
    axes.text(2.95, 1.75, "ours: three layers, each with a weight and a bias (D)", ha="center", va="center")
    axes.text(9.1, 0.75, "the libraries': one layer\n(3 D, D) and (3 D)", ha="center", va="center")
    axes.text(7.2, 3.0, "on top of\neach other", ha="center", va="bottom", fontsize=9)
    axes.set(xlim=(-0.3, 11.6), ylim=(0.3, 5.1), aspect="equal")
    axes.axis("off")
    alt = (
        "Diagram: the weights of to_q, to_k and to_v, each D x D with a bias of D, lie on top of each other in the "
        "libraries' single layer of 3 D x D with a bias of 3 D: queries on top, then keys, then values."
    )
    return finish(figure, alt)
