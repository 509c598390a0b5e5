"""How a result looks on a page: a CSS class and a sign, so that no fact hangs on colour alone."""

from __future__ import annotations

from .results import WAITING, Cell
from .verdict import DIED, ERROR, FOR_REVIEW, GRADED, NOT_ANSWERED, NOT_GRADED, OUT_OF_MEMORY, TIMED_OUT

# status -> CSS class and sign; a graded cell is looked up by its share of the points
LOOKS = {
    "full": ("full", "\u25cf"), "part": ("part", "\u25d0"), "zero": ("zero", "\u25cb"),
    NOT_ANSWERED: ("blank", "\u2013"), ERROR: ("zero", "!"), TIMED_OUT: ("zero", "\u2026"), DIED: ("zero", "\u2020"),
    OUT_OF_MEMORY: ("zero", "\u2191"), NOT_GRADED: ("lost", "?"),
    FOR_REVIEW: ("wait", "\u2315"), WAITING: ("wait", "\u270e"),
}  # fmt: skip


def look(cell: Cell) -> tuple[str, str]:
    """CSS class and sign of a cell, so that no fact hangs on colour alone."""
    if cell.status != GRADED or cell.points is None:
        return LOOKS[cell.status] if cell.status in LOOKS else LOOKS["zero"]
    return LOOKS["full" if cell.points >= cell.max_points else "part" if cell.points > 0 else "zero"]
