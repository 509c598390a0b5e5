"""Who handed in what: the notebook that counts, wherever it lies, and why one cannot be graded. Nobody vanishes.

A notebook belongs at submitted/STUDENT/LAB/NOTEBOOK.ipynb. What lies elsewhere, under another name or in a zip is
found by its content, and graded where it is the only one that can be meant; otherwise a sentence says what to do.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from .arrivals import BESIDE, ZIP, Arrival, _start, arrivals, arrivals_in, files, is_packed
from .bindings import defined
from .errors import UserError
from .lab import Lab, all_labs
from .rebuild import Unreadable, is_unchanged
from .recognise import SubmittedCell, normal
from .trouble import AGAIN
from .untrusted import shown

LINK = "it is a link, and links are not followed; put the folder itself there"
WORK = (".py", ".html", ".htm", ".pdf", ".md", ".doc", ".docx")


@dataclass(frozen=True)
class Submission:
    """What one student handed in.

    Attributes:
        file: what counts; None where nothing can be graded.
        problem: why nothing can, and what to do: a sentence without its full stop; "" where something can.
        note: what was done about an odd name or place: a sentence; "" where all is as it should be.
    """

    file: Arrival | None
    problem: str = ""
    note: str = ""

    def content(self) -> tuple[bytes | None, str]:
        """The notebook's bytes and "", or None and why there are none."""
        if self.file is None or self.problem:
            return None, self.problem
        try:
            return self.file.read(), ""
        except Unreadable as problem:
            return None, f"{problem}: hand in the notebook again"


@dataclass
class Handed:
    """What was handed in for a lab, by student, in order.

    Attributes:
        found: what there is of each student, to be graded or named.
        unreadable: what nbgrader cannot even take the name of, or nobody may read: by name, and why.
        absent: students whose folder holds nothing for this lab.
    """

    found: dict[str, Submission] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)

    def of(self, students: set[str]) -> Handed:
        """The part of some students."""
        return Handed(
            {student: each for student, each in self.found.items() if student in students},
            {student: problem for student, problem in self.unreadable.items() if student in students},
            [student for student in self.absent if student in students],
        )


def handed_in(course: Path, lab: Lab, students: list[str] | None) -> Handed:
    """Find the submissions to a lab.

    Raises:
        UserError: there are none, or none of a student who was named.
    """
    handed = _Search(course, lab).everybody()
    if not handed.found and not handed.unreadable:
        raise UserError(
            f"Nothing to grade: expected files submitted/STUDENT/{lab.assignment}/{lab.notebook}.ipynb "
            f"in {course}, found none."
        )
    known = {*handed.found, *handed.unreadable}
    if unknown := [student for student in students or [] if student not in known]:
        raise UserError(
            f"{', '.join(map(shown, unknown))} handed in nothing for {lab.assignment}; check the spelling of --student."
        )
    return handed.of(set(students)) if students else handed


class _Search:
    """The search for the submissions to one lab in one course."""

    def __init__(self, course: Path, lab: Lab) -> None:
        self.root, self.lab = course / "submitted", lab
        self.course = course
        self.right = Path(lab.assignment) / f"{lab.notebook}.ipynb"
        self.labs = {name: each.assignment for each in all_labs() for name in (_plain(each.assignment), each.key)}

    @cached_property
    def released(self) -> dict[str, NotebookNode]:
        """The cells of the release by grade_id."""
        path = self.course / "release" / self.lab.assignment / f"{self.lab.notebook}.ipynb"
        cells = nbformat.read(path, as_version=4).cells if path.exists() else []
        return {cell.metadata.nbgrader.grade_id: cell for cell in cells}

    def everybody(self) -> Handed:
        """Go through submitted/."""
        handed = Handed()
        names = sorted(os.listdir(self.root)) if self.root.is_dir() else ()
        alike = Counter(map(_looks, names))
        for name in names:
            place = self.root / name
            if name.startswith(".") or name == "__MACOSX":
                continue
            if place.is_symlink() and place.is_dir():
                handed.unreadable[name] = f"{LINK} {AGAIN}"
            elif not place.is_dir():
                if problem := self._astray(place):
                    handed.unreadable[name] = problem
            elif _plain(name) in self.labs:  # the folders of lab and student are in the wrong order
                self._turned_round(place, handed)
            elif problem := _bad_name(name, alike):
                if any(files(place)):
                    handed.unreadable[name] = problem
            elif not _is_open(place, self.right):
                handed.unreadable[name] = _closed(place)
            elif (found := self.of_student(place)) is not None:
                handed.found[name] = found
            else:
                handed.absent.append(name)
        handed.found = dict(sorted(handed.found.items()))
        handed.absent = [name for name in handed.absent if name not in handed.found]
        return handed

    def _astray(self, path: Path) -> str:
        """Why a file that lies in submitted/ itself belongs to nobody; "" for one that says nothing of this lab."""
        here = [] if path.is_symlink() else arrivals_in(path)
        closed = Arrival(path).is_meant and Arrival(path).cells is None  # damaged
        closed = closed or (is_packed(path) and all(each.cells is None for each in here))
        if not closed and not any(map(self._is_mine, here)):
            return ""
        return f"it lies in no student's folder, so nobody knows whose it is; move it to submitted/STUDENT/{self.right}"

    def _turned_round(self, place: Path, handed: Handed) -> None:
        """submitted/LAB/STUDENT instead of submitted/STUDENT/LAB."""
        if self.labs[_plain(place.name)] != self.lab.assignment:
            return
        paths = [path for path in sorted(place.iterdir()) if not path.name.startswith(".")]
        alike = Counter(_looks(path.name) for path in paths)
        for path in paths:
            if not path.is_dir():
                problem = self._astray(path)
            elif path.is_symlink():
                problem = f"{LINK} {AGAIN}"
            elif problem := _bad_name(path.name, alike):
                problem = problem if any(files(path)) else ""
            elif (found := self._anywhere(path, path)) is not None and path.name not in handed.found:
                handed.found[path.name] = found
            if problem:
                handed.unreadable[f"{place.name}/{path.name}"] = problem

    def _is_mine(self, which: Arrival) -> bool:
        """Whether a notebook is this lab's: by what is left of the release, or else by the exercises it answers."""
        if which.lab is not None or which.cells is None:
            return which.lab == self.lab.assignment
        return self.lab.assignment in _answers_in(which)

    def _is_anothers(self, which: Arrival) -> bool:
        """Whether a notebook is another lab's."""
        labs = {which.lab} if which.lab is not None else _answers_in(which)
        return bool(labs) and self.lab.assignment not in labs

    def of_student(self, folder: Path) -> Submission | None:
        """What a student handed in; None: nothing."""
        right = folder / self.right
        if not os.path.lexists(right):
            return self._anywhere(folder, right.parent)
        if right.is_dir() and not right.is_symlink():  # some unpack a file into a folder of its name
            return self._anywhere(folder, right.parent)
        mine = Arrival(right)
        if not stat.S_ISREG(os.lstat(right).st_mode):
            return Submission(mine)
        zipped = _start(right).startswith(ZIP)
        if self._is_tidy(folder) and not zipped:
            return Submission(mine)  # as nearly everybody's
        here = [each for each in arrivals(folder) if each != mine]
        others = [each for each in self._answered(filter(self._is_mine, here)) if each.digest != mine.digest]
        usable = mine.cells is not None and mine.lab in (None, self.lab.assignment)
        if usable and (self._is_answered(mine) or not others):
            left = [each.name(folder) for each in others or here if others or each.cells is None]
            if not left and not self._is_answered(mine):  # the work may be in a file that is no notebook
                left = [os.path.relpath(path, folder) for path in self._beside(folder) if path != right]
            names = ", ".join(map(shown, left[:3]))
            what = "which differs" if others else "which is no notebook that can be read"
            note = f"{self.right.name} was graded; {names}, {what}, was not looked at."
            return Submission(mine, note=note if left else "")
        if len(others) == 1:
            what = "is as it was released" if usable else "cannot be graded"
            return Submission(others[0], note=self._note(others[0], folder, f"{self.right.name} {what}"))
        if others:
            return Submission(None, self._several(others, folder))
        return Submission(mine)

    def _is_tidy(self, folder: Path) -> bool:
        """Whether a student's folder holds only labs' folders, and this lab's only the notebook."""
        here = [entry.name for entry in os.scandir(folder) if not entry.name.startswith(".")]
        mine = [entry.name for entry in os.scandir(folder / self.right.parent) if not entry.name.startswith(".")]
        return set(here) <= {*self.labs.values(), *BESIDE} and set(mine) <= {self.right.name, *BESIDE}

    def _anywhere(self, folder: Path, place: Path) -> Submission | None:
        """What a student handed in at none of the right places."""
        here = list(arrivals(folder))
        mine = [each for each in here if self._is_mine(each)]
        chosen = self._answered(mine) or _different(mine)[:1]
        if len(chosen) == 1:
            return Submission(chosen[0], note=self._note(chosen[0], folder))
        if chosen:
            return Submission(None, self._several(chosen, folder))
        return self._nothing(folder, place, here)

    def _nothing(self, folder: Path, place: Path, here: list[Arrival]) -> Submission | None:
        """Where no notebook of this lab was found: what there is instead, if it was meant for this lab."""
        folders = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
        meant = [path for path in folders if self.labs.get(_plain(path.name)) == self.lab.assignment]
        if folder == place:
            meant = [folder]
        if not meant and any(_plain(path.name) in self.labs for path in folders):
            return None  # this student hands in by lab, and nothing for this one
        anothers = {} if meant else {each.path for each in here if self._is_anothers(each)}
        there = [path for one in meant or [folder] for path in files(one) if path not in anothers]
        if not meant and not there:
            return None  # an empty folder for a student, or one with other labs: nothing handed in
        named = [each for each in here if each.path in there and (each.cells is not None or each.is_meant)]
        named += [each for each in map(Arrival, there) if each.is_meant and _is_file(each.path)]  # damaged
        lost = next((each for each in named if each.lab is not None), next(iter(named), None))
        expected = f"expected {self.lab.notebook}.ipynb"
        if lost is not None:
            return Submission(lost, note=self._note(lost, folder))
        if not there:
            return Submission(None, f"{expected}, found an empty folder {shown(meant[0].name)}: hand in the notebook")
        names = ", ".join(shown(os.path.relpath(path, folder)) for path in there[:3])
        more = f" and {len(there) - 3} more" if len(there) > 3 else ""
        zipped = any(_start(path).startswith(ZIP) for path in there)
        what = "hand in the notebook itself, not packed" if zipped else "hand in the notebook itself, the .ipynb file"
        return Submission(None, f"{expected}, found {names}{more}: {what}")

    def _several(self, which: list[Arrival], folder: Path) -> str:
        names = " and ".join(shown(each.name(folder)) for each in which[:3])
        return f"found {names}, which differ: keep the one that counts, as {self.right}"

    def _note(self, which: Arrival, folder: Path, because: str = "") -> str:
        start = f"{because}, so the file" if because else "The file"
        return f"{start} {shown(which.name(folder))} was graded; it belongs at {self.right}."

    def _beside(self, folder: Path) -> list[Path]:
        """Files in the lab's folder, or in none, that may be somebody's work: archives, scripts, pages."""
        there = [path for path in files(folder) if path.parent in (folder, folder / self.right.parent)]
        return [path for path in there if path.suffix.lower() in WORK or is_packed(path)]

    def _answered(self, which: Iterable[Arrival]) -> list[Arrival]:
        """Those that differ from the release, of equal ones the first."""
        return _different([each for each in which if self._is_answered(each)])

    def _is_answered(self, which: Arrival) -> bool:
        """Whether anything in a notebook is the student's."""
        texts = {normal(cell.source) for cell in self.released.values()}
        return any(_is_own(cell, self.released, texts) for cell in which.cells or ())


def _is_own(cell: SubmittedCell, released: dict[str, NotebookNode], texts: set[str]) -> bool:
    if cell.grade_id in released:
        return not is_unchanged(cell.source, released[cell.grade_id].source)
    return cell.grade_id is None and bool(cell.source.strip()) and normal(cell.source) not in texts


def _different(which: list[Arrival]) -> list[Arrival]:
    """Of arrivals with the same content, the first."""
    return list({each.digest: each for each in reversed(which)}.values())[::-1]


def _answers_in(which: Arrival) -> set[str]:
    """The labs of which a notebook defines an exercise."""
    names = {name for cell in which.cells or () if cell.kind == "code" for name in defined(cell.source)}
    return {lab.assignment for lab in all_labs() if any(exercise.id in names for exercise in lab.exercises)}


def _is_file(path: Path) -> bool:
    return stat.S_ISREG(os.lstat(path).st_mode)


def _plain(name: str) -> str:
    """A lab folder's name as people type it: "Lab1_Attention", "lab1 attention", "lab 1" -> "lab1attention", "lab1"."""
    return re.sub(r"[\W_]+", "", name).lower()


def _looks(name: str) -> str:
    """Equal for names that look alike: composed in another way, or with other blanks."""
    return " ".join(unicodedata.normalize("NFKC", name).split())


def _bad_name(name: str, alike: Counter[str]) -> str:
    """Why nbgrader, or a reader, cannot tell whose a folder is; "" where all is well."""
    if alike[_looks(name)] > 1:
        return f"{alike[_looks(name)]} folders' names look like this one; rename one or put them together {AGAIN}"
    if any(sign in name for sign in "*?["):
        return f"nbgrader takes the folder's name for a pattern; rename it {AGAIN}"
    if name != name.strip() or not name.isprintable() or any(sign in name for sign in "+,"):
        signs = "a blank at its end, a comma, a plus or a control character"
        return f"nbgrader cannot take a folder's name with {signs}; rename it {AGAIN}"
    return ""


def _is_open(place: Path, right: Path) -> bool:
    """Whether a student's folder can be read, as far as it matters for this lab."""
    path = place / right
    places = [place, path.parent, path]
    there = [p for p in places if os.path.lexists(p) and not p.is_symlink()] if os.access(place, os.X_OK) else [place]
    return all(os.access(p, os.R_OK | (os.X_OK if p.is_dir() else 0), effective_ids=True) for p in there)


def _closed(folder: Path) -> str:
    return f"Permission denied: {folder} cannot be read; open it (chmod -R u+rX {folder}) {AGAIN}"
