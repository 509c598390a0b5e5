"""Cells that lost their ids, recognised by what stands in them.

Some tools clear a notebook's metadata, and people copy their work into a cell of their own. What
they wrote is right or wrong all the same, so the id is not what decides: a released text is the
released cell, and a cell that defines an exercise's name is its answer.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace

from nbformat import NotebookNode

# Top-level definitions and assignments. No parser: cells hold magics, and mistakes. The bounds keep it quick
# on a megabyte without a line end.
_NAMES = re.compile(
    r"^(?:async[ \t]+def|def|class)[ \t]+(\w{1,80})\b|^(\w{1,80})[ \t]{0,9}(?::[^=\n]{0,200})?=(?!=)", re.MULTILINE
)


@dataclass(frozen=True)
class SubmittedCell:
    """A cell as it was handed in: its kind, its text, and the id it claims to have."""

    kind: str
    source: str
    grade_id: str | None


def normal(source: str) -> str:
    """A text up to line ends, trailing blanks, and the way its characters are composed."""
    lines = unicodedata.normalize("NFC", source.replace("\r\n", "\n")).split("\n")
    return "\n".join(line.rstrip() for line in lines).strip()


def defined(source: str) -> set[str]:
    """The names that a code cell binds at its top level, as far as its text tells."""
    return {a or b for a, b in _NAMES.findall(source)}


def recognise(submitted: Sequence[SubmittedCell], release: NotebookNode) -> tuple[list[SubmittedCell], list[str]]:
    """The cells with lost ids put back where they can be told, and one sentence about it.

    Only ids that no cell claims are given out, so that a cell with an id is never overruled.
    """
    known = {cell.metadata.nbgrader.grade_id: cell for cell in release.cells}
    cells = [cell if cell.grade_id in known else replace(cell, grade_id=None) for cell in submitted]
    lost = {id: cell for id, cell in known.items() if all(mine.grade_id != id for mine in cells)}
    found = _by_text(cells, lost)
    found |= _by_names(cells, {id: cell for id, cell in lost.items() if id not in found.values()}, found.keys())
    cells = [replace(cell, grade_id=found.get(i, cell.grade_id)) for i, cell in enumerate(cells)]
    written = _by_place(cells, list(known), {id for id, cell in lost.items() if cell.metadata.vitedu.role == "written"})
    cells = [replace(cell, grade_id=written.get(i, cell.grade_id)) for i, cell in enumerate(cells)]
    ids = [*found.values(), *written.values()]
    told = f"The cell {ids[0]} had lost its id" if len(ids) == 1 else f"{len(ids)} cells had lost their ids"
    return cells, [f"{told}; recognised by what stands there."] if ids else []


def _by_text(cells: Sequence[SubmittedCell], lost: dict[str, NotebookNode]) -> dict[int, str]:
    """Place -> id of the cells that hold a released text; written answers may look alike, and are left out."""
    texts: dict[tuple[str, str], list[str]] = {}
    for id, cell in lost.items():
        if cell.metadata.vitedu.role != "written":
            texts.setdefault((cell.cell_type, normal(cell.source)), []).append(id)
    found = {}
    for i, cell in enumerate(cells):
        ids = texts.get((cell.kind, normal(cell.source)), [])
        if cell.grade_id is None and ids:
            found[i] = ids.pop(0)
    return found


def _by_names(cells: Sequence[SubmittedCell], lost: dict[str, NotebookNode], taken: Sequence[int]) -> dict[int, str]:
    """Place -> id of the first cell that defines all that an exercise's stub defines."""
    wanted = {id: defined(stub.source) for id, stub in lost.items() if stub.metadata.vitedu.role == "solution"}
    found: dict[int, str] = {}
    for i, cell in enumerate(cells):
        if cell.grade_id is not None or cell.kind != "code" or i in taken:
            continue
        names = defined(cell.source)
        for id in [id for id, those in wanted.items() if those and those <= names][:1]:
            found[i] = id
            del wanted[id]
    return found


def _by_place(cells: Sequence[SubmittedCell], order: list[str], lost: set[str]) -> dict[int, str]:
    """Place -> id of the first text of one's own that stands where a written answer is asked for."""
    found: dict[int, str] = {}
    place = 0  # of the next released cell
    for i, cell in enumerate(cells):
        if cell.grade_id is not None:
            place = order.index(cell.grade_id) + 1
        elif cell.kind == "markdown" and cell.source.strip() and place < len(order) and order[place] in lost:
            found[i] = order[place]
            lost = lost - {order[place]}
    return found
