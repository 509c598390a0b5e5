"""What becomes of each submitted cell: an answer, one more attempt, what was added to a locked cell, or an own cell.

Nothing that a student wrote is dropped, but for copies of what the release has.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_raw_cell

from autograder.labs.lab import EXAMS, INSTALL
from autograder.sanitize.pictures import Attachments, joined, referenced
from autograder.submission.bindings import bound, imported, used
from autograder.submission.cell_order import Piece, slots
from autograder.submission.match_cells import exercises, normal
from autograder.submission.parse_notebook import SubmittedCell
from autograder.submission.statements import added, statements, without_todo

MANY = 8  # cells that were put back, for one reason, and are reported one by one
BEFORE, AT, BEHIND = -1, 0, 1


def is_unchanged(source: str, released: str, attachments: Attachments | None = None) -> bool:
    """Whether an answer is still the released stub; one with a picture is none."""
    return normal(source) == normal(released) and not attachments


class Pieces:
    """The pieces of one submission: call `all`, then read in `repairs` what was put right.

    Args:
        submitted: the cells as handed in, with the ids that match_cells.py has found.
        release: the student notebook as nbgrader made it.
    """

    def __init__(self, submitted: Sequence[SubmittedCell], release: NotebookNode) -> None:
        self.release, self.names = release, exercises(release)
        self.every: set[str] = set().union(*self.names.values())
        self.order = {cell.metadata.nbgrader.grade_id: i for i, cell in enumerate(release.cells)}
        self.submitted = submitted
        self.repairs: list[str] = []
        found, self.in_order = slots([self.order.get(cell.grade_id or "") for cell in submitted])
        self.slots = self._below_imports(found)
        self.copies: dict[str, list[int]] = {}
        for i, cell in enumerate(submitted):
            if cell.grade_id is not None and cell.grade_id in self.order:
                self.copies.setdefault(cell.grade_id, []).append(i)
        self.repeated: list[str] = []  # sentences on locked cells
        self.joined: set[int] = set()  # own texts that went into a written answer

    def _below_imports(self, slots: list[int]) -> list[int]:
        """Code above the release's imports that needs them runs behind them: it was run when they had been."""
        setup = next((cell for cell in self.release.cells if cell.metadata.vitedu.role == "setup"), None)
        if setup is None:
            return slots
        first, names = self.order[setup.metadata.nbgrader.grade_id], imported(setup.source)
        found, moved = [], False
        for slot, cell in zip(slots, self.submitted, strict=True):
            early = slot < first and cell.kind == "code"
            moved = moved or (early and bool(used(cell.source) & names))
            found.append(first if early and moved else slot)
        return found

    def all(self) -> list[Piece]:
        """The pieces, not in order yet."""
        found: list[Piece] = []
        for original in self.release.cells:
            make = {"solution": self._solution, "written": self._written, "playground": self._playground}
            found += make.get(original.metadata.vitedu.role, self._locked)(original)
        if len(self.repeated) > MANY:
            self.repeated = [f"{len(self.repeated)} locked cells were there more than once; each was put back once."]
        self.repairs += self.repeated
        self._report_missing()
        checks = {
            cell.metadata.vitedu.get("exercise", ""): normal(cell.source)
            for cell in self.release.cells
            if cell.metadata.vitedu.role in EXAMS
        }
        for i, cell in enumerate(self.submitted):
            if cell.grade_id in self.order or i in self.joined or cell.is_empty:
                continue
            found.append(Piece((self.slots[i], BEHIND, i), own_cell(cell, f"own-{i}")))
            text = normal(cell.source) if cell.kind == "code" else ""
            found += [self._mark(i, exercise) for exercise, check in checks.items() if check in text]
        return found

    def _mark(self, i: int, exercise: str) -> Piece:
        """Where a copy of a check stood."""
        return Piece((self.slots[i], BEHIND, i), None, exercise)

    def _report_missing(self) -> None:
        # Earlier releases had no such cell, or another address in it.
        missing = [id for id in self.order if id not in self.copies and id != INSTALL]
        if len(missing) > MANY:
            self.repairs.append(f"{len(missing)} of the release's cells were missing; they were put back.")
        else:
            self.repairs += [f"The cell {id} was missing; it was put back as released." for id in missing]

    def _released(self, original: NotebookNode) -> NotebookNode:
        cell = copy.deepcopy(original)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        return cell

    def _own(self, i: int, kind: str, source: str, name: str) -> NotebookNode:
        pictures = referenced(source, self.submitted[i].attachments)
        return own_cell(SubmittedCell(kind, source, None, pictures), f"{name}-{i}")

    # --- cells that belong to the author ---

    def _locked(self, original: NotebookNode) -> list[Piece]:
        """The cell as released, and as cells of the student's own what they added to it."""
        id, role = original.metadata.nbgrader.grade_id, original.metadata.vitedu.role
        exercise = original.metadata.vitedu.get("exercise", "") if role in EXAMS else ""
        found = [Piece((self.order[id], AT, 0), self._released(original), exercise)]
        copies = self.copies.get(id, [])
        more: list[Piece] = []
        for i in copies:
            if not is_unchanged(self.submitted[i].source, original.source):
                more += self._added(i, original, exercise)
            if role in EXAMS and i not in self.in_order:
                more.append(self._mark(i, exercise))
        if len(copies) > 1:
            self.repeated.append(
                f"The locked cell {id} was there {len(copies)} times; it was put back once, as released."
            )
        elif copies and not is_unchanged(self.submitted[copies[0]].source, original.source) and (more or id != INSTALL):
            kept = "; what was added to it is kept in a cell of its own" if more else ""
            self.repairs.append(f"The locked cell {id} had been changed; it was put back as released{kept}.")
        return found + more

    def _added(self, i: int, original: NotebookNode, exercise: str) -> list[Piece]:
        """What was added to one copy of a locked cell: before a check, behind all others."""
        cell, place = self.submitted[i], self.order[original.metadata.nbgrader.grade_id]
        before, behind = added(cell.source, original.source, original.metadata.vitedu.role != "display")
        is_check = bool(exercise) and i in self.in_order
        # Behind its check, a changed answer is an experiment; all else there helped the answer, or is one.
        apart = bool(is_check and bound(behind, self.names.get(exercise, set())) and self._answered(exercise, before))
        texts = [(before, is_check), (behind, is_check and not apart)]
        if not apart:
            texts = [("\n".join(text for text in (before, behind) if text), is_check)]
        found = []
        for n, (text, first) in enumerate(texts):
            if not text.strip():
                continue
            kind = cell.kind
            if kind != "code" and bound(text, self.every) and statements(text):
                kind = "code"
                self.repairs.append(f"Code in the text cell {original.metadata.nbgrader.grade_id} was run, too.")
            slot = place if i in self.in_order else self.slots[i]
            made = self._own(i, kind, text, f"added-{n}")
            found.append(Piece((slot, BEFORE if first else BEHIND, i), made))
        return found

    def _answered(self, exercise: str, before: str) -> bool:
        names = self.names.get(exercise, set())
        others = [self.submitted[i].source for i in self.copies.get(exercise, [])]
        return any(bound(without_todo(source, names), names) for source in (before, *others))

    # --- cells that belong to the student ---

    def _solution(self, original: NotebookNode) -> list[Piece]:
        """The first attempt has the id, all others run where they stand."""
        id = original.metadata.nbgrader.grade_id
        copies, names = self.copies.get(id, []), self.names[id]
        changed = [i for i in copies if not is_unchanged(self.submitted[i].source, original.source)]
        real = [i for i in changed if without_todo(self.submitted[i].source, names).strip()]
        real = [i for i in real if self.submitted[i].kind == "code"] or real
        chosen = next(iter(real or changed or copies), None)
        others = [i for i in changed if i != chosen]
        if len(copies) > 1:
            counts = "all that was changed in them counts, in their order" if others else "the changed one counts"
            self.repairs.append(f"The cell {id} was there {len(copies)} times; {counts}.")
        cell, place = self._released(original), (self.order[id], AT, 0)
        if chosen is None:
            cell.metadata.vitedu["stub"] = True
            return [Piece(place, cell, id, missing=True)]
        self._fill(cell, chosen)
        if not real:
            cell.metadata.vitedu["stub"] = True
        elif self._stands_apart(chosen, original):
            place = self.slots[chosen], BEHIND, chosen
        more = [
            Piece((self.slots[i], BEHIND, i), own_cell(self.submitted[i], f"own-{i}"), id if i in real else "")
            for i in others
        ]
        return [Piece(place, cell, id), *more]

    def _stands_apart(self, i: int, original: NotebookNode) -> bool:
        """Whether an answer that was moved runs where it stands now.

        One that was moved up runs in its released place, below all that it may need, unless code of the student's own
        or another attempt stands on the way there.
        """
        id = original.metadata.nbgrader.grade_id
        if i in self.in_order:
            return False
        if self.slots[i] >= self.order[id]:
            return True
        behind = range(i + 1, len(self.submitted))
        between = [self.submitted[j] for j in behind if self.slots[j] < self.order[id]]
        return any(c.kind == "code" and c.grade_id in (None, id) and c.source.strip() for c in between)

    def _fill(self, cell: NotebookNode, i: int) -> None:
        """Put a submitted text into a cell of the release."""
        mine, id, kind = self.submitted[i], cell.metadata.nbgrader.grade_id, cell.cell_type
        if mine.kind != kind:
            self.repairs.append(f"The cell {id} had become a {mine.kind} cell; it was made a {kind} cell again.")
        cell.source = mine.source
        if kind == "markdown" and mine.attachments:
            cell.attachments = mine.attachments

    def _playground(self, original: NotebookNode) -> list[Piece]:
        id = original.metadata.nbgrader.grade_id
        copies, cell = self.copies.get(id, []), self._released(original)
        changed = [i for i in copies if not is_unchanged(self.submitted[i].source, original.source)]
        if changed or copies:
            self._fill(cell, (changed or copies)[0])
        more = [Piece((self.slots[i], BEHIND, i), own_cell(self.submitted[i], f"own-{i}")) for i in changed[1:]]
        return [Piece((self.order[id], AT, 0), cell), *more]

    def _written(self, original: NotebookNode) -> list[Piece]:
        """All that was written for one question, in order, in the cell that is marked."""
        id = original.metadata.nbgrader.grade_id
        copies, cell, place = self.copies.get(id, []), self._released(original), self.order[id]
        parts = [
            i
            for i in copies
            if not is_unchanged(self.submitted[i].source, original.source, self.submitted[i].attachments)
        ]
        own = [i for i, c in enumerate(self.submitted) if c.grade_id is None and c.kind != "code" and not c.is_empty]
        behind = [i for i in own if self.slots[i] == place]
        above = [i for i in own if self.slots[i] == place - 1] if not parts and not behind else []
        if self.release.cells[place - 1].metadata.vitedu.role != "prose":  # the question
            above = []
        self.joined |= {*behind, *above}
        parts = sorted({*parts, *behind, *above})
        if len(parts) == 1 and parts[0] in copies:
            self._fill(cell, parts[0])
        elif parts:
            texts = [(self.submitted[i].source, self.submitted[i].attachments) for i in parts]
            cell.source, attachments = joined(texts)
            if attachments:
                cell.attachments = attachments
            where = f"in {len(parts)} cells; they were joined" if len(parts) > 1 else "in a cell of its own; it counts"
            self.repairs.append(f"The answer to {id} stood {where}.")
        elif copies:
            self._fill(cell, copies[0])
        return [Piece((place, AT, 0), cell)]


def own_cell(cell: SubmittedCell, id: str) -> NotebookNode:
    """A cell of the student's own: kept, shown, and run where it is code."""
    make: dict[str, Callable[..., NotebookNode]]
    make = {"code": new_code_cell, "raw": new_raw_cell, "markdown": new_markdown_cell}
    made = make[cell.kind](cell.source, metadata={"vitedu": {"role": "own"}})
    if cell.kind == "markdown" and cell.attachments:
        made.attachments = cell.attachments
    made.id = id[:64]
    return made
