"""What the exams of Lab 2 share: the solution cells, where ideas were met, and sizes that are pairwise distinct."""

from __future__ import annotations

from autograder.labs.lab import solution_cells
from autograder.labs.variants import Variant

CODE = solution_cells("lab2_tokens")
REPORTS = "homework reports that were handed in"
TRACKERS = "issue trackers of public Vision Transformer code and of courses"
WRITING = "thought of while writing this exam"


def sizes(variant: Variant, grid: str, channels: int = 0) -> tuple[int, int, int, int, int]:
    """B, C, P and a grid h, w that is "wide", "tall", or "square"; pairwise distinct but for a square's sides."""
    channels = channels or variant.sizes(1, 2, 6, without=(3,))[0]  # three are what code with a fixed number expects
    (patch,) = variant.sizes(1, 2, 4, without=(channels,))
    batch, *sides = variant.sizes(3, 2, 6, without=(channels, patch))
    few, many = sorted(sides)
    h, w = {"wide": (few, many), "tall": (many, few), "square": (many, many)}[grid]
    return batch, channels, patch, h, w
