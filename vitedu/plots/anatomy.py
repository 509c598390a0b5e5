"""A model taken apart: shapes, parameters and multiply-adds of its layers, as a table like the lab reports'.

Parameters are counted by the student's own function, which comes in as an argument.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import torch
from torch import Tensor, nn

TITLES = ("layer", "class", "times", "input", "output", "kernel", "parameters", "multiply-adds")
# Columns that are set flush right.
NUMBERS = {"times", "tensors", "parameters", "multiply-adds", "published", "your model", "your formula"}


@dataclass(frozen=True, repr=False)
class Table:
    """Lines of text in columns: HTML in a notebook, aligned text elsewhere.

    Attributes:
        titles: one for each column.
        rows: lines of as many texts; leading blanks move a text to the right.
        note: a sentence below the table.
    """

    titles: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def _repr_html_(self) -> str:
        lines = [_line("th", self.titles, self.titles), *(_line("td", row, self.titles) for row in self.rows)]
        note = f'<p style="font-size: 13px;">{escape(self.note)}</p>' if self.note else ""
        return f'<table style="font-size: 13px;">{"".join(lines)}</table>{note}'

    def __repr__(self) -> str:
        lines = [self.titles, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        sides = [str.rjust if title in NUMBERS else str.ljust for title in self.titles]
        text = ["  ".join(map(lambda put, t, n: put(t, n), sides, line, widths)).rstrip() for line in lines]
        return "\n".join([*text, self.note]).rstrip()


def _line(tag: str, texts: Sequence[str], titles: Sequence[str]) -> str:
    cells = []
    for text, title in zip(texts, titles, strict=True):
        side, blanks = "right" if title in NUMBERS else "left", len(text) - len(text.lstrip())
        style = f"text-align: {side}; white-space: nowrap; padding: 2px 9px 2px {4 + 8 * blanks}px;"
        cells.append(f'<{tag} style="{style}">{escape(text.strip())}</{tag}>')
    return f"<tr>{''.join(cells)}</tr>"


def anatomy(
    model: nn.Module, example: Tensor, count: Callable[[nn.Module], int], published: Mapping[str, int] | None = None
) -> Table:
    """What each layer of a model does to the shape of its input, and what it costs.

    Layers without parameters are left out, and layers that are alike but for a number in their
    name stand in one line: it says how many they are, and its numbers hold for each.

    Args:
        model: any module.
        example: an input with a batch of 1; multiply-adds are counted for it.
        count: module -> number of its parameters.
        published: class of a layer -> parameters as published, for a column beside the counted ones.
    """
    lines: Counter[tuple[str, ...]] = Counter()
    total = 0
    with _calls(model) as calls:
        model(example)
    for name, module, given, made in calls:
        work = _multiply_adds(module, made)
        total += work
        if own := count(module):
            lines[(*_facts(name, module, given, made), f"{own:,}", f"{work:,}" if work else "")] += 1
    rows = [(*line[:2], str(times) if times > 1 else "", *line[2:]) for line, times in lines.items()]
    note = f"Together: {count(model):,} parameters, and {total:,} multiply-adds in the linear and convolution layers."
    if published is None:
        return Table(TITLES, rows, note)
    rows = [(*row, f"{published[row[1]]:,}" if row[1] in published else "") for row in rows]
    return Table((*TITLES, "published"), rows, note)


@contextmanager
def _calls(model: nn.Module) -> Iterator[list[list[Any]]]:
    """Every call of a part of the model: its name, the part, input and output shape; in the order of their starts."""
    calls: list[list[Any]] = []

    def watch(name: str, module: nn.Module) -> list[torch.utils.hooks.RemovableHandle]:
        open_calls: list[int] = []

        def before(_: nn.Module, args: tuple[Any, ...]) -> None:
            open_calls.append(len(calls))
            calls.append([name, module, _shape(args[0] if args else None), None])

        def after(_: nn.Module, __: tuple[Any, ...], made: Any) -> None:
            calls[open_calls.pop()][3] = made.shape if isinstance(made, Tensor) else None

        return [module.register_forward_pre_hook(before), module.register_forward_hook(after)]

    handles = [handle for name, module in model.named_modules() for handle in watch(name, module)]
    try:
        with torch.no_grad():
            yield calls
    finally:
        for handle in handles:
            handle.remove()


def _facts(name: str, module: nn.Module, given: str, made: torch.Size | None) -> tuple[str, ...]:
    """Name with its depth as blanks, class, input, output and kernel."""
    parts = re.sub(r"(^|\.)\d+", "[i]", name).split(".")  # blocks.3.mlp is blocks[i].mlp: a line for all blocks
    weight = getattr(module, "weight", None)
    kernel = " x ".join(map(str, weight.shape)) if isinstance(weight, Tensor) else ""
    label = 2 * (len(parts) - 1) * " " + parts[-1] if name else "the model"
    return label, type(module).__name__, given, " x ".join(map(str, made or ())), kernel


def _shape(given: Any) -> str:
    return " x ".join(map(str, given.shape)) if isinstance(given, Tensor) else ""


def _multiply_adds(module: nn.Module, made: torch.Size | None) -> int:
    """Each number that a linear or convolution layer puts out is one sum over its part of the weight."""
    if made is None or not isinstance(module, (nn.Linear, nn.Conv2d)):
        return 0
    return made.numel() * module.weight[0].numel()
