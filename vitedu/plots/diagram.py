"""Boxes and arrows for diagrams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitedu.plots.figure import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GREY = "#666666"


def box(axes: Axes, x: float, y: float, width: float, height: float, text: str, colour: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    style = "round,pad=0,rounding_size=0.08"
    axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=style, facecolor=colour, edgecolor="none"))
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", color="white", weight="bold", fontsize=9.5)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    look = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.5, "shrinkA": 1, "shrinkB": 1}
    axes.annotate("", end, start, arrowprops=look)
