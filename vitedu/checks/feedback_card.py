"""A check's or a verdict's result as HTML and as plain text, from plain data.

The HTML has no class, script or outside resource, so that it reads the same in JupyterLab (light
or dark), in a feedback file, and after sanitising. Colour never says anything that a word does not.
"""

from __future__ import annotations

import base64
import io
import itertools
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import torch
from torch import Tensor

RIGHT, WRONG, OPEN = "right", "wrong", "open"
# Under white text the contrast is at least 4.5; as a mark they are seen on white and on nearly black.
COLOURS = {RIGHT: "#1f883d", WRONG: "#c9372c", OPEN: "#6e7781"}
MARKS = {True: ("\u2713", "right", RIGHT), False: ("\u2717", "wrong", WRONG), None: ("\u2013", "not yet", OPEN)}
LINE = "border: 0; border-bottom: 1px solid var(--jp-border-color2, rgba(128, 128, 128, 0.4));"
CELL = f"{LINE} padding: 3px 12px 3px 0; text-align: left; vertical-align: top; white-space: normal;"
LARGEST = 64  # rows and columns of a matrix that a picture still shows


@dataclass(frozen=True)
class Card:
    """What is shown about one exercise. All texts are plain: they are escaped here.

    Attributes:
        title: the exercise, as the student knows it.
        state: how it stands, in a few words: "right", "2 of 4 cases differ", "1.5 of 3 points".
        tone: RIGHT, WRONG, or OPEN; the colour of the state.
        messages: the diagnosis, as (sentence, question that leads on or "").
        rows: (right, wrong or not yet: True, False, None; name of the case; what was found, a note as mismatch.py
            makes it, of which all lines but the first are folded away).
        remarks: sentences worth knowing that cost nothing.
    """

    title: str
    state: str
    tone: str
    messages: Sequence[tuple[str, str]] = ()
    rows: Sequence[tuple[bool | None, str, str]] = ()
    remarks: Sequence[str] = ()


def html(card: Card, picture: tuple[bytes, str] | None = None) -> str:
    """The card as HTML; `picture` is a PNG and the text that stands for it."""
    badge = (
        f'<span style="background-color: {COLOURS[card.tone]}; color: #fff; border-radius: 4px; padding: 2px 8px; '
        f'font-weight: 600;">{escape(card.state)}</span>'
    )
    parts = [f'<div style="margin-bottom: 6px;"><b>{escape(card.title)}</b> &nbsp;{badge}</div>']
    parts += [_message_html(sentence, question, card.tone) for sentence, question in card.messages]
    if card.rows:
        table = _table(card.rows)
        if card.tone == RIGHT:  # nothing to mend: the cases are there for the curious
            table = f"<details><summary>what was looked at</summary>{table}</details>"
        parts.append(table)
    if picture is not None:
        data = base64.b64encode(picture[0]).decode()
        style = "max-width: 100%; margin-top: 8px; border-radius: 4px;"
        parts.append(f'<img alt="{escape(picture[1])}" src="data:image/png;base64,{data}" style="{style}">')
    parts += [f'<p style="margin: 6px 0 0 0;">{escape(remark)}</p>' for remark in card.remarks]
    body = "".join(parts)
    return f'<div style="max-width: 60em; padding: 4px 0; font-size: 14px; line-height: 1.45;">{body}</div>'


def _message_html(sentence: str, question: str, tone: str) -> str:
    asked = f'<br><span style="font-style: italic;">{escape(question)}</span>' if question else ""
    style = f"margin: 0 0 8px 0; padding: 2px 0 2px 10px; border-left: 3px solid {COLOURS[tone]};"
    return f'<div style="{style}">{escape(sentence)}{asked}</div>'


def _table(rows: Sequence[tuple[bool | None, str, str]]) -> str:
    lines, before = [], ""
    for ok, name, note in rows:
        mark, word, tone = MARKS[ok]
        same, before = note == before != "", note
        sign = f'<span style="color: {COLOURS[tone]}; font-weight: 700;">{mark}</span>'
        cells = (
            f'<span style="white-space: nowrap;">{sign} {word}</span>',
            escape(name),
            '<span style="opacity: 0.75;">the same</span>' if same else _note_html(note),
        )
        row = "".join(f'<td style="{CELL}">{cell}</td>' for cell in cells)
        lines.append(f'<tr style="background-color: transparent;">{row}</tr>')
    style = "border-collapse: collapse; margin: 4px 0; font-size: 13px; border: 0;"
    return f'<table style="{style}"><tbody>{"".join(lines)}</tbody></table>'


def _note_html(note: str) -> str:
    """What was found; what else differs stands behind a summary that says how much it is."""
    first, *folded = note.split("\n")
    if not folded:
        return escape(first)
    rest = "".join(f"<div>{escape(line)}</div>" for line in folded[1:])
    return f"{escape(first)}<details><summary>{escape(folded[0])}</summary>{rest}</details>"


def in_short(note: str) -> str:
    """A note on one line: what matters most, and how much else differs."""
    return "; ".join(note.split("\n")[:2])


def text(card: Card, width: int = 100) -> str:
    """The same facts in a few lines of plain text."""
    lines = [f"{card.title}: {card.state}"]
    for sentence, question in card.messages:
        lines += [_wrapped(part, "  ", width) for part in (sentence, question) if part]
    before = ""
    if card.tone != RIGHT:
        for ok, name, note in card.rows:
            shown = "the same" if note == before != "" else in_short(note)
            before = note
            lines.append(_wrapped(f"{MARKS[ok][1]:<7} {name}" + (f": {shown}" if shown else ""), "  ", width))
    lines += [_wrapped(remark, "  ", width) for remark in card.remarks]
    return "\n".join(lines)


def _wrapped(line: str, indent: str, width: int) -> str:
    return textwrap.fill(line, width, initial_indent=indent, subsequent_indent=indent + "    ", break_long_words=False)


def heatmaps(expected: Tensor, got: Tensor) -> tuple[bytes, str]:
    """Expected values, the student's, and their difference side by side: a PNG and a text that stands for it.

    Of more than two dimensions the matrix (the last two) with the largest difference is shown.

    Args:
        expected, got: finite values of equal shapes (..., rows, columns).
    """
    from matplotlib.figure import Figure  # not pyplot: the notebook's own figures stay untouched

    place, start, a, b = _matrix(expected.detach().double(), got.detach().double())
    difference, (rows, columns) = b - a, a.shape
    height = min(3.2, max(1.3, 0.8 + 2.1 * rows / columns))
    figure = Figure(figsize=(8.2, height), dpi=110, layout="constrained", facecolor="white")
    axes = figure.subplots(1, 3)
    _panel(axes[0], "expected", a, torch.cat([a, b]), start)
    yours = _panel(axes[1], "yours", b, torch.cat([a, b]), start)
    apart = _panel(axes[2], "yours - expected", difference, difference, start)
    for image, panels in ((yours, list(axes[:2])), (apart, axes[2])):
        figure.colorbar(image, ax=panels, shrink=0.9, pad=0.02).ax.tick_params(labelsize=7, length=2)
    where = f"[{', '.join(map(str, place))}]" if place else ""
    if where:
        figure.supxlabel(f"the matrix at {where} of the result", fontsize=8, color="#222")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    alt = (
        f"Heat maps of {rows} by {columns} values{' at ' + where if where else ''}: expected, yours, "
        f"and the difference, which is at most {difference.abs().max().item():.3g}."
    )
    return buffer.getvalue(), alt


def _panel(axes: Any, title: str, matrix: Tensor, scale: Tensor, start: list[int]) -> Any:
    """One matrix with the colours of `scale`: blue to red about zero when it holds both signs."""
    rows, columns = matrix.shape
    low, high = scale.min().item(), scale.max().item()
    look: dict[str, Any] = {"cmap": "viridis", "vmin": low, "vmax": high}
    if low < 0 < high or title.startswith("yours -"):
        top = max(-low, high)
        look = {"cmap": "RdBu_r", "vmin": -top, "vmax": top}
    image = axes.imshow(matrix.numpy(), aspect="equal", interpolation="nearest", **look)
    axes.set_title(title, fontsize=9, color="#222")
    for ticks, size, first in ((axes.set_yticks, rows, start[0]), (axes.set_xticks, columns, start[1])):
        ends = sorted({0, size - 1})
        ticks(ends, [str(first + end) for end in ends])
    axes.tick_params(labelsize=7, length=2, colors="#222")
    if rows <= 8 and columns <= 8 and scale.abs().max() < 100:  # room for the numbers themselves
        for i, j in itertools.product(range(rows), range(columns)):
            red, green, blue, _ = image.cmap(image.norm(matrix[i, j].item()))
            ink = "black" if 0.3 * red + 0.6 * green + 0.1 * blue > 0.5 else "white"
            axes.text(j, i, f"{matrix[i, j].item():.2f}", ha="center", va="center", fontsize=6, color=ink)
    return image


def _matrix(expected: Tensor, got: Tensor) -> tuple[list[int], list[int], Tensor, Tensor]:
    """The matrix that differs most, cut to a size that one can see.

    Returns:
        Its place among the leading dimensions, its first row and column, and the two matrices.
    """
    apart = (got - expected).abs()
    worst = [int(i) for i in torch.unravel_index(apart.argmax(), apart.shape)]
    place, start = worst[:-2], []
    for at, size in zip(worst[-2:], expected.shape[-2:], strict=True):
        start.append(max(0, min(at - LARGEST // 2, size - LARGEST)))
    window: tuple[Any, ...] = (*place, *(slice(first, first + LARGEST) for first in start))
    return place, start, expected[window], got[window]
