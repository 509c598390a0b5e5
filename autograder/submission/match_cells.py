"""Cells that lost their ids, recognised by what stands in them.

Some tools clear a notebook's metadata, and people copy their work into a cell of their own. What
they wrote is right or wrong all the same, so the id is not what decides: a released text is the
released cell, and a cell that defines an exercise's name is its answer.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

from nbformat import NotebookNode

from autograder.labs.lab import all_labs
from autograder.submission.bindings import defined
from autograder.submission.parse_notebook import SubmittedCell
from autograder.submission.statements import statements


def normal(source: str) -> str:
    """A text up to line ends, trailing blanks, and the way its characters are composed."""
    lines = unicodedata.normalize("NFC", source.replace("\r\n", "\n")).split("\n")
    return "\n".join(line.rstrip() for line in lines).strip()


def recognise(submitted: Sequence[SubmittedCell], release: NotebookNode) -> tuple[list[SubmittedCell], list[str]]:
    """The cells with lost ids put back where they can be told, and one sentence about it.

    Only ids that no cell claims are given out, so that a cell with an id is never overruled. A cell that has an id
    which is not in the release was copied from a released one: what it defines says from which.
    """
    known = {cell.metadata.nbgrader.grade_id: cell for cell in release.cells}
    claimed = {cell.grade_id for cell in submitted}
    wanted = {id: names for id, names in exercises(release).items() if id in claimed}
    cells = [
        cell if cell.grade_id in known else replace(cell, grade_id=_copied(cell, wanted) if cell.grade_id else None)
        for cell in submitted
    ]
    lost = {id: cell for id, cell in known.items() if all(mine.grade_id != id for mine in cells)}
    found = _by_text(cells, lost)
    found |= _by_names(cells, {id: cell for id, cell in lost.items() if id not in found.values()}, found.keys())
    cells = [replace(cell, grade_id=found.get(i, cell.grade_id)) for i, cell in enumerate(cells)]
    written = _by_place(cells, list(known), {id for id, cell in lost.items() if cell.metadata.vitedu.role == "written"})
    cells = [replace(cell, grade_id=written.get(i, cell.grade_id)) for i, cell in enumerate(cells)]
    ids = [*found.values(), *written.values()]
    what = f"The cell {ids[0]} had lost its id" if len(ids) == 1 else f"{len(ids)} cells had lost their ids"
    return cells, [f"{what}; recognised by what stands there."] if ids else []


def exercises(release: NotebookNode) -> dict[str, set[str]]:
    """What each exercise's stub defines, by its grade_id."""
    cells = (cell for cell in release.cells if cell.metadata.vitedu.role == "solution")
    return {cell.metadata.nbgrader.grade_id: defined(cell.source) for cell in cells}


def _copied(cell: SubmittedCell, wanted: dict[str, set[str]]) -> str | None:
    """The one exercise that a code cell with an unknown id defines something of."""
    names = defined(cell.source) if cell.kind == "code" else set()
    ids = [id for id, those in wanted.items() if those & names]
    return ids[0] if len(ids) == 1 else None


def _by_text(cells: Sequence[SubmittedCell], lost: dict[str, NotebookNode]) -> dict[int, str]:
    """Place -> id of the cells that hold a released text; written answers may look alike, and are left out."""
    texts: dict[tuple[str, str], list[str]] = {}
    for id, released in lost.items():
        if released.metadata.vitedu.role != "written":
            texts.setdefault((released.cell_type, normal(released.source)), []).append(id)
    found = {}
    for i, cell in enumerate(cells):
        ids = texts.get((cell.kind, normal(cell.source)), [])
        if cell.grade_id is None and ids:
            found[i] = ids.pop(0)
    return found


def _by_names(cells: Sequence[SubmittedCell], lost: dict[str, NotebookNode], taken: Collection[int]) -> dict[int, str]:
    """Place -> id of the first cell that defines all that an exercise's stub defines; code cells come first."""
    wanted = {id: defined(stub.source) for id, stub in lost.items() if stub.metadata.vitedu.role == "solution"}
    found: dict[int, str] = {}
    for i, cell in sorted(enumerate(cells), key=lambda place: place[1].kind != "code"):
        if cell.grade_id is not None or i in taken or (cell.kind != "code" and not statements(cell.source)):
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
        elif cell.kind == "markdown" and not cell.is_empty and place < len(order) and order[place] in lost:
            found[i] = order[place]
            lost = lost - {order[place]}
    return found


_MIN_VOTES = 3
_DEFINED = re.compile(r"^(?:def|class)[ \t]+(\w{1,80})", re.MULTILINE)


@lru_cache(maxsize=1)
def _marks() -> dict[str, str]:
    """What is found in one lab only, a grade_id or a text, and that lab's assignment."""
    marks = [
        (mark, lab.assignment)
        for lab in all_labs()
        for mark in {mark for cell in lab.cells for mark in (cell.grade_id, normal(cell.source))}
    ]
    times = Counter(mark for mark, _ in marks)
    return {mark: assignment for mark, assignment in marks if times[mark] == 1}


def lab_of(cells: Iterable[SubmittedCell]) -> str | None:
    """The assignment that most of a notebook's cells belong to, by their ids or else by their texts.

    None where no lab has more of them than all others together, or where too few can be told.
    """
    marks = _marks()
    votes = Counter(
        lab for cell in cells if (lab := marks.get(cell.grade_id or "") or marks.get(normal(cell.source))) is not None
    )
    ((lab, most),) = votes.most_common(1) or [("", 0)]
    return lab if most >= _MIN_VOTES and 2 * most > votes.total() else None


def lab_answered(cells: Iterable[SubmittedCell]) -> str | None:
    """The one assignment of which a notebook without any of its cells answers most exercises; None without one."""
    names = {name for cell in cells if cell.kind == "code" for name in _DEFINED.findall(cell.source)}
    votes = Counter({lab: len(names & ids) for lab, ids in _exercises().items() if names & ids}).most_common(2)
    return votes[0][0] if votes and votes[0][1] > sum(count for _, count in votes[1:]) else None


@lru_cache(maxsize=1)
def _exercises() -> dict[str, set[str]]:
    """What the answers to each assignment define."""
    return {
        lab.assignment: set().union(*(defined(cell.source) for cell in lab.cells if cell.role == "solution"))
        for lab in all_labs()
    }
