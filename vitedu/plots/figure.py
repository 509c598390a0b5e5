"""Pictures for the notebooks: what each shows is also said in words.

Whatever is attended is computed by the student's own function, which comes in as an argument. No
solution stands here. matplotlib is imported when something is drawn, not before.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from torch import Tensor

from vitedu.terminal import printable

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
        return printable(f"Picture: {self.alt}")


def new_figure(width: float, height: float, columns: int = 1, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure in the notebooks' style, and its panels; sizes in inches."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure  # not pyplot: the notebook's own figures stay untouched

    style: dict[Any, Any] = {
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


def expect(found: Tensor, shape: tuple[int, ...], what: str) -> Tensor:
    """The tensor, if it has this shape.

    Raises:
        ValueError: it has another.
    """
    if tuple(found.shape) != shape:
        raise ValueError(f"expected {what} {shape}, got {tuple(found.shape)}; make the check above say right first")
    return found


def show(axes: Axes, image: Tensor, at: tuple[float, float] = (0, 0), title: str = "") -> None:
    """An image (3, H, W) with its upper left corner at a place."""
    (x, y), (height, width) = at, image.shape[1:]
    pixels = image.detach().cpu().clamp(0, 1).movedim(0, -1).numpy()
    axes.imshow(pixels, extent=(x, x + width, y + height, y), interpolation="nearest")
    bare(axes, title)


def rows(axes: Axes, names: Sequence[Any], label: str) -> None:
    """A name at each row of a table."""
    axes.set_yticks([n + 0.5 for n in range(len(names))], names, fontsize=8.5)
    axes.tick_params(length=0)
    axes.set(ylabel=label, xticks=[])


def bare(axes: Axes, title: str = "") -> None:
    axes.set(title=title, xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
