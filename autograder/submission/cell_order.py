"""The order in which a rebuilt notebook runs: that of the release, with the student's cells where they stood.

Run from top to bottom it defines what the student's own notebook would have defined, but that a TODO never undoes
an answer. An exercise is examined at its check's place, or behind its last attempt where that stands further below;
one that is not right there is exam_at again behind the last cell that makes something else of it.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from nbformat import NotebookNode

from autograder.labs.lab import EXAMS
from autograder.submission.bindings import altered, bound, defined, used
from autograder.submission.statements import guarded, statements, without_todo

_OF_TORCH = re.compile(r"^[ \t]*from[ \t]+torch[\w.]*[ \t]+import[ \t]*\*", re.MULTILINE)  # see bindings.py
INDIRECT = re.compile(r"import[ \t]*\*|^[ \t]*%run\b|\bexec\(|\bimport_module\(|\b__import__\(", re.MULTILINE)


@dataclass
class Piece:
    """A cell of the rebuilt notebook, or a mark where a copy of a check stood.

    Attributes:
        place: sorts the pieces: place in the release; before, at or behind that cell; place in the submission.
        cell: None for a mark.
        exercise: the one that it is an attempt at, whose TODO it is, or whose check stood there.
        missing: it was put back.
        real: its code without what is still TODO; "" for what is not the student's code.
        binds: names of exercises that `real` binds.
    """

    place: tuple[int, int, int]
    cell: NotebookNode | None
    exercise: str = ""
    missing: bool = False
    real: str = ""
    binds: set[str] = field(default_factory=set)

    @property
    def role(self) -> str:
        return "" if self.cell is None else str(self.cell.metadata.vitedu.role)

    @property
    def code(self) -> NotebookNode | None:
        """Its cell, where that is code that the student may write."""
        written = self.role in ("own", "solution", "playground")
        return self.cell if written and self.cell is not None and self.cell.cell_type == "code" else None


def slots(places: Sequence[int | None]) -> tuple[list[int], set[int]]:
    """Behind which released cell each submitted cell stands, and which cells stand in their released order.

    Args:
        places: of each submitted cell its place in the release; None for a cell of the student's own.

    Returns:
        For each submitted cell the place of the nearest cell before it (or itself) that is in order, -1 above all of
        them; and the cells in order: as many as can be, the first ones where there is a choice.
    """
    ends: list[int] = []  # the cell with the smallest place at which 1, 2, 3, ... cells in order end
    heights: list[int] = []  # their places
    before: dict[int, int | None] = {}
    for i, place in enumerate(places):
        if place is None:
            continue
        n = bisect_left(heights, place)
        before[i] = ends[n - 1] if n else None
        if n == len(ends) or place < heights[n]:
            ends[n : n + 1], heights[n : n + 1] = [i], [place]
    ordered: set[int] = set()
    link = ends[-1] if ends else None
    while link is not None:
        ordered.add(link)
        link = before[link]
    found, last = [], -1
    for i, place in enumerate(places):
        last = place if place is not None and i in ordered else last
        found.append(last)
    return found, ordered


def arrange(pieces: list[Piece], names: dict[str, set[str]]) -> tuple[list[NotebookNode], list[str]]:
    """The cells in the order in which they run, and a sentence for each answer that stood elsewhere.

    Args:
        names: exercise -> what its stub defines.
    """
    every = set().union(*names.values())
    pieces = sorted(pieces, key=lambda piece: piece.place)
    for piece in pieces:
        if (cell := piece.code) is not None:
            piece.real = without_todo(cell.source, every)
            piece.binds = bound(piece.real, every)
    pieces, messages = _stubs_first(pieces, names)
    _guard(pieces, every)
    checks = {i: piece.exercise for i, piece in enumerate(pieces) if piece.role in EXAMS}
    exam_at = {i: _exam_position(exercise, i, pieces, names.get(exercise, set())) for i, exercise in checks.items()}
    below = [exercise for i, exercise in checks.items() if exam_at[i] > i]
    messages += [f"{exercise} is answered below its check, so it was examined there." for exercise in below]
    order = _with_exams(pieces, exam_at)
    _mark_answers(order, names)
    _mark_changed_again(order, names)
    return [piece.cell for piece in order if piece.cell is not None], messages


def _stubs_first(pieces: list[Piece], names: dict[str, set[str]]) -> tuple[list[Piece], list[str]]:
    """Put a TODO before the student's own cells that answer it: that is how people read it."""
    above, elsewhere = [], []
    for exercise, those in names.items():
        stub = next((p for p in pieces if p.role == "solution" and p.exercise == exercise and not p.real), None)
        if stub is None:
            continue
        at = pieces.index(stub)
        first = next((i for i, p in enumerate(pieces[:at]) if p.binds & those), at)
        defines = first < at and bool(defined(pieces[first].real) & those)
        if first < at and pieces[first].role == "own":
            pieces.insert(first, pieces.pop(at))
            above += [exercise] if defines else []
        elif defines:
            elsewhere.append(exercise)
    messages = [f"The answer to {exercise} stood above its TODO cell; it counts." for exercise in above]
    if len(elsewhere) == 1:
        messages.append(f"The answer to {elsewhere[0]} stands in the cell of another exercise; it counts.")
    elif elsewhere:
        listed = f"{', '.join(elsewhere[:-1])} and {elsewhere[-1]}"
        messages.append(f"The answers to {listed} stand in cells of other exercises; they count.")
    return pieces, messages


def _guard(pieces: list[Piece], every: set[str]) -> None:
    """A TODO below an answer, or one that was put back, must not undo what defines its name."""
    seen: set[str] = set()
    for piece in pieces:
        if (cell := piece.code) is not None:
            source = guarded(cell.source, every if piece.missing else every & (seen | piece.binds))
            if source != cell.source:
                cell.metadata.vitedu["runs"] = source
        seen |= piece.binds


def _exam_position(exercise: str, check: int, pieces: list[Piece], names: set[str]) -> int:
    """Behind which piece an exercise is examined; the check's own place where nothing below belongs to it."""
    if not names:
        return check
    attempts = [
        i
        for i, p in enumerate(pieces)
        if p.exercise == exercise and p.real and (p.binds & names or not p.binds)  # else a copy used for another one
    ]
    # Who has answered above may try something else below; who has not, answers there.
    still_open = names.difference(*(p.binds for p in pieces[:check]), *(pieces[i].binds for i in attempts))
    late = [i for i, p in enumerate(pieces) if i > check and p.binds & still_open]
    # A file that is written, or a text for exec, and only then read.
    real = pieces[late[-1]].real if late else ""
    if late and (statements(real) is None or not defined(real) & names):
        late += [i for i, p in enumerate(pieces) if i > late[-1] and INDIRECT.search(p.real)]
    last = max([check, *attempts, *late])
    # A copy of the check further below is asked where code of the student's own stands on the way that matters to it.
    needed = set().union(*(used(p.real) for p in pieces[:last] if p.binds & names))
    matters = False
    for i, piece in enumerate(pieces[last + 1 :], last + 1):
        if piece.cell is None and piece.exercise == exercise and matters:
            last, matters = i, False
        elif piece.binds & names or (piece.role == "own" and defined(piece.real) & needed):
            needed, matters = needed | used(piece.real), True
    return last


def _with_exams(pieces: list[Piece], exam_at: dict[int, int]) -> list[Piece]:
    """All pieces, each exam behind what it waits for, and never before an earlier exam: ideas are carried over."""
    exams, order = sorted(exam_at), []
    for i, piece in enumerate(pieces):
        if i not in exam_at:
            order.append(piece)
        while exams and exam_at[exams[0]] <= i:
            order.append(pieces[exams.pop(0)])
    return order


def _mark_answers(order: list[Piece], names: dict[str, set[str]]) -> None:
    """Write into each cell what it defines of which other exercise; a cell counts that runs before the exam."""
    at = {piece.exercise: i for i, piece in enumerate(order) if piece.role in EXAMS}
    for i, piece in enumerate(order):
        if piece.cell is None or not piece.real:
            continue
        mine = piece.cell.metadata.get("nbgrader", {}).get("grade_id")
        answers = {
            exercise: sorted(piece.binds & those)
            for exercise, those in names.items()
            if exercise != mine and i < at.get(exercise, -1) and (piece.binds & those or piece.exercise == exercise)
        }
        if answers:
            piece.cell.metadata.vitedu["answers"] = answers


def _mark_changed_again(order: list[Piece], names: dict[str, set[str]]) -> None:
    """Write into each cell which exercises it makes something else of behind their exam, as the last one to do so."""
    at = {piece.exercise: i for i, piece in enumerate(order) if piece.role in EXAMS}
    for exercise, exam in at.items():
        those = names.get(exercise, set())
        below = [p for p in order[exam + 1 :] if p.real and those]
        indirect = [p for p in below if INDIRECT.search(_OF_TORCH.sub("", p.real))]
        changing = [p for p in below if p in indirect or p.binds & those or altered(p.real) & those]
        if changing and (cell := changing[-1].code) is not None:
            cell.metadata.vitedu.setdefault("again", []).append(exercise)


def runs(cell: NotebookNode) -> str:
    """The code to run for a cell; what is shown of it is its source."""
    code: str = cell.metadata.vitedu.get("runs", cell.source)
    return code


def answers(cell: NotebookNode) -> list[str]:
    """The exercises that a cell answers, its own first."""
    grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
    return [*([grade_id] if grade_id else []), *cell.metadata.vitedu.get("answers", {})]


def again(cell: NotebookNode) -> list[str]:
    """The exercises that a cell makes something else of behind their exam, as the last one to do so."""
    changed: list[str] = cell.metadata.vitedu.get("again", [])
    return changed


def _belongs(cell: NotebookNode, exercise: str) -> bool:
    return exercise in answers(cell) or exercise in again(cell)


def answered_elsewhere(notebook: NotebookNode) -> set[str]:
    """The exercises that are answered, or also answered, in other cells than their own."""
    return {id for cell in notebook.cells for id in cell.metadata.vitedu.get("answers", {})}


def answer_to(notebook: NotebookNode, exercise: str) -> str:
    """All of the student's code that answers an exercise, as one text.

    Of a cell that also answers others, only the statements that define what this exercise asks for.
    """
    found = []
    for cell in notebook.cells:
        if cell.cell_type != "code" or not _belongs(cell, exercise):
            continue
        names = cell.metadata.vitedu.get("answers", {}).get(exercise)
        mine = [s.text for s in statements(cell.source) or [] if names and s.names & set(names)]
        found.append("\n".join(mine) or cell.source)
    return "\n\n".join(found)


def contributing(notebook: NotebookNode, exercise: str) -> list[str]:
    """The texts of all cells that may change an answer: those that answer it, and own ones that define what it uses."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    texts = [cell.source for cell in cells if _belongs(cell, exercise)]
    real = [cell.source for cell in cells if _belongs(cell, exercise) and not cell.metadata.vitedu.get("stub")]
    own = [c.source for c in cells if c.metadata.vitedu.role == "own" and not _belongs(c, exercise)]
    needed = set().union(*map(used, real))
    while more := [source for source in own if defined(source) & needed]:
        own = [source for source in own if source not in more]
        texts, needed = texts + more, needed.union(*map(used, more))
    return texts
