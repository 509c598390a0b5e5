"""Who handed in what: the notebook that counts, wherever it lies, and why one cannot be graded. Nobody vanishes.

A notebook belongs at submitted/STUDENT/LAB/NOTEBOOK.ipynb. What lies elsewhere, under another name or in a zip is
found by its content, and graded where it is the only one that can be meant; otherwise a sentence says what to do.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from autograder.errors import UserError
from autograder.labs.lab import EXAMS, Lab, all_labs
from autograder.sanitize.untrusted import shown
from autograder.storage.course_folder import Course
from autograder.storage.folder_names import LONGEST, as_typed, bad_name, lookalike_key
from autograder.storage.folders import entries, folders_in, is_damaged, is_folder, is_open, permission_problem
from autograder.storage.submissions import Submission, SubmissionSet
from autograder.submission.archives import is_archive
from autograder.submission.arrivals import BESIDE, Arrival, arrivals, files, of_file, start_of
from autograder.submission.match_cells import normal
from autograder.submission.parse_notebook import SubmittedCell, Unreadable, read_content
from autograder.submission.pieces import is_unchanged
from autograder.submission.timestamps import FILE as TIMESTAMP

WORK = (".py", ".html", ".htm", ".pdf", ".md", ".doc", ".docx")  # what may hold somebody's work, beside archives


def find_submissions(course: Course, lab: Lab, students: list[str] | None) -> SubmissionSet:
    """Find the submissions to a lab.

    Raises:
        UserError: there are none, or none of a student who was named.
    """
    handed = search(course, lab)
    if not handed.found and not handed.unreadable:
        raise UserError(
            f"Nothing to grade: expected files submitted/STUDENT/{lab.assignment}/{lab.notebook}.ipynb "
            f"in {course.root}, found none."
        )
    known = {*handed.found, *handed.unreadable}
    if unknown := [student for student in students or [] if student not in known]:
        raise UserError(
            f"{', '.join(map(shown, unknown))} handed in nothing for {lab.assignment}; check the spelling of --student."
        )
    return handed.of(set(students)) if students else handed


def search(course: Course, lab: Lab) -> SubmissionSet:
    """The same, where there may be none."""
    return _Search(course, lab, None if course.db_url.startswith("sqlite") else LONGEST).everybody()


def students(course: Course, lab: Lab) -> set[str]:
    """Who has handed something in for a lab, by the same search; what it is, is not looked at where it lies right."""
    return _Search(course, lab).students()


def folder_of(course: Course, lab: Lab, student: str) -> Path:
    """The folder that holds a submission's timestamp, by the same search."""
    right = course.root / "submitted" / student / lab.assignment
    expected = (TIMESTAMP, f"{lab.notebook}.ipynb")
    if any(os.path.lexists(right / name) for name in expected) and not os.path.islink(right):
        return right
    search = _Search(course, lab)
    found = search.of_student(student)
    return search.folder_with_time(found or Submission(None), student)


class _Search:
    """The search for the submissions to one lab in one course."""

    def __init__(self, course: Course, lab: Lab, longest: int | None = None) -> None:
        self.root, self.lab, self.longest = course.root / "submitted", lab, longest
        self.course = course
        self.right = Path(lab.assignment) / f"{lab.notebook}.ipynb"
        self.labs = {name: each.assignment for each in all_labs() for name in (as_typed(each.assignment), each.key)}
        self.notebooks = {as_typed(each.notebook): each.assignment for each in all_labs()}

    @cached_property
    def released(self) -> dict[str, NotebookNode]:
        """The cells of the release by grade_id."""
        try:
            path = self.course.release(self.lab)
            cells = nbformat.read(path, as_version=4).cells  # type: ignore[no-untyped-call]
            return {cell.metadata.nbgrader.grade_id: cell for cell in cells}
        except Exception:  # there is none, or it is damaged, which grading tells
            return {}

    @cached_property
    def marks(self) -> list[bytes]:
        """Texts one of which stands in nearly every notebook of this lab, and in no other lab's."""
        exams = [id for id, cell in self.released.items() if cell.metadata.vitedu.role in EXAMS]
        return [f'"{id}"'.encode() for id in exams]

    @cached_property
    def turned(self) -> dict[str, list[Path]]:
        """Folders by student that lie in submitted/LAB/STUDENT instead of submitted/STUDENT/LAB."""
        found: dict[str, list[Path]] = {}
        for place in self._lab_folders():
            for path in folders_in(place):
                found.setdefault(path.name, []).append(path)
        return found

    def _lab_folders(self) -> list[Path]:
        """Folders of submitted/ that bear this lab's name, where a student's is expected."""
        return [path for path in folders_in(self.root) if self.labs.get(as_typed(path.name)) == self.lab.assignment]

    def everybody(self) -> SubmissionSet:
        """Go through submitted/."""
        handed = SubmissionSet()
        for path in entries(self.root):
            if is_folder(path):
                continue
            if problem := self._astray(path):
                handed.unreadable[path.name] = problem
        for place in self._lab_folders():
            if not os.access(place, os.R_OK | os.X_OK, effective_ids=True):
                handed.unreadable[place.name] = permission_problem(place)
            for path in entries(place):
                if not is_folder(path) and (problem := self._astray(path)):
                    handed.unreadable[f"{place.name}/{path.name}"] = problem
        alike = Counter(map(lookalike_key, self.names))
        for name in self.names:
            self._add(name, alike, handed)
        return handed

    def students(self) -> set[str]:
        """The names of those that handed in, and can be taken in."""
        alike = Counter(map(lookalike_key, self.names))
        able = [name for name in self.names if not bad_name(name, alike, self.longest)]
        return {name for name in able if os.path.lexists(self.root / name / self.right) or self._has_handed_in(name)}

    def _has_handed_in(self, name: str) -> bool:
        """Whether there is something for this lab, though not at the right place."""
        home = self.root / name
        if name not in self.turned and self._holds_only_others(home):
            return False  # as most: to open their notebooks would take long, and formgrader asks at every page
        return not self._section(home) and self.of_student(name) is not None

    def _holds_only_others(self, home: Path) -> bool:
        """Whether a student's folder holds other labs' notebooks at their right places, and nothing else."""
        places = {each.assignment: {f"{each.notebook}.ipynb", *BESIDE} for each in self.others}
        here = [path for path in entries(home) if path.name not in BESIDE]
        return all(path.name in places and {p.name for p in entries(path)} <= places[path.name] for path in here)

    @cached_property
    def others(self) -> list[Lab]:
        """All labs but this one."""
        return [lab for lab in all_labs() if lab != self.lab]

    @cached_property
    def names(self) -> list[str]:
        """Of all that seem to be students, in order."""
        names = {path.name for path in folders_in(self.root) if as_typed(path.name) not in self.labs}
        return sorted(names | self.turned.keys())

    def _add(self, name: str, alike: Counter[str], handed: SubmissionSet) -> None:
        """Look at one student's folders."""
        home = self.root / name
        if problem := bad_name(name, alike, self.longest):
            if any(files(place) for place in self._places(name)):
                handed.unreadable[name] = problem
        elif closed := [place for place in self._places(name) if not is_open(place, self.right)]:
            handed.unreadable[name] = permission_problem(closed[0])
        elif inner := self._section(home):
            handed.unreadable |= dict.fromkeys([name, *inner], self._between(name, inner))
        elif (found := self.of_student(name)) is not None:
            handed.found[name] = replace(found, folder=self.folder_with_time(found, name))
        elif is_folder(home):
            handed.absent.append(name)

    def _section(self, home: Path) -> list[str]:
        """The folders that seem to be students', where somebody has put a folder for a section between; else none."""
        mine = [path for path in entries(home) if self._folder_of(path) == self.lab.assignment]
        if mine or not is_folder(home):
            return []
        inner = [path for path in folders_in(home) if self._named(path) is None]
        own = {path.name: [p for p in entries(path) if self._folder_of(p) == self.lab.assignment] for path in inner}
        found = [name for name, folders in own.items() if any(files(folder) for folder in folders)]
        return found if len(found) > 1 else []

    def _between(self, name: str, inner: list[str]) -> str:
        names = ", ".join(map(shown, inner[:5])) + (f" and {len(inner) - 5} more" if len(inner) > 5 else "")
        return (
            f"the folder {shown(name)} holds several folders with work for {self.lab.assignment} ({names}), so nobody "
            f"knows whose it is; move each to submitted/STUDENT/{self.lab.assignment}, or keep the one that counts"
        )

    def folder_with_time(self, found: Submission, name: str) -> Path:
        """The folder whose timestamp counts: the right one, or else the nearest to the file that counts."""
        home, places = self.root / name, self._places(name)
        right = home / self.right.parent
        above = found.file.path.parents if found.file is not None else ()
        inside = [path for path in above if any(place in (path, *path.parents) for place in places)]
        places = [path for path in (right, *inside) if not os.path.islink(path)]
        return next((path for path in places if os.path.lexists(path / TIMESTAMP)), places[0] if places else home)

    def _places(self, name: str) -> list[Path]:
        """The folders that are a student's."""
        return [path for path in (self.root / name, *self.turned.get(name, ())) if is_folder(path)]

    def _astray(self, path: Path) -> str:
        """Why a file that lies in submitted/ itself belongs to nobody; "" for one that says nothing of this lab."""
        if os.path.islink(path):
            return "it is a link, which is not followed; put the student's folder there itself"
        here = [each for each, _ in of_file(path)]
        labs = {each.lab for each in here} | {self._named(path)}
        unknown = labs == {None} and (".ipynb" in path.name.lower() or is_archive(start_of(path)))
        if self.lab.assignment not in labs and not unknown:
            return ""
        return f"it lies in no student's folder, so nobody knows whose it is; move it to submitted/STUDENT/{self.right}"

    def _named(self, path: Path) -> str | None:
        """The assignment that the name of a file or folder speaks of."""
        stem = re.sub(r"\.ipynb.*|\.[^.]*$", "", path.name.lower())
        plain, parts = as_typed(stem), re.split(r"[\W_]+", stem)
        if exact := self.labs.get(plain) or self.notebooks.get(plain):
            return exact
        number = re.match(r"lab0*(\d+)", plain) if not plain.isalpha() else None
        named = [self.notebooks[part] for part in parts if part in self.notebooks]
        return next(iter(named), self.labs.get(f"lab{number[1]}") if number else None)

    def of_student(self, name: str) -> Submission | None:
        """What a student handed in; None: nothing."""
        home = self.root / name
        right = home / self.right
        if os.path.islink(right.parent) or not os.path.lexists(right):
            return self._anywhere(name)
        mine = Arrival(right)
        if not self.turned.get(name) and self._is_tidy(home) and self._is_whole(right):
            return Submission(mine)  # as nearly everybody's
        here = [each for each in self._arrivals(name) if each != mine]
        others = self._answered([each for each in here if each.lab == self.lab.assignment])
        usable = mine.cells is not None and mine.lab in (None, self.lab.assignment)
        others = [each for each in others if not usable or each.digest != mine.digest]
        if usable and (self._is_answered(mine) or not others):
            return Submission(mine, note=self._left_out(mine, others, name))
        if len(others) == 1:
            what = "is as it was released" if usable else "cannot be graded"
            return Submission(others[0], note=self._note(others[0], name, f"{self.right.name} {what}"))
        if others:
            return Submission(None, self._several(others, name))
        return Submission(mine)

    def _left_out(self, mine: Arrival, others: list[Arrival], name: str) -> str:
        """A sentence on files beside the one that was graded which may be work, too; "" without any."""
        left, what = others, ("which differs", "which differ")
        if not left:
            left = [each for each in self._damaged(name) if each != mine]
            what = ("which is no notebook that can be read", "which are no notebooks that can be read")
        if not left and not self._is_answered(mine):  # then the work may be in a file of another kind
            left = [Arrival(path) for path in self._beside(name) if path != mine.path]
            what = ("which is no notebook", "which are no notebooks")
        if not left:
            return ""
        names = ", ".join(self._name(each, name) for each in left[:3]) + _more(left)
        rest = f"{what[0]}, was" if len(left) == 1 else f"{what[1]}, were"
        return f"{self.right.name} was graded; {names}, {rest} not looked at."

    def _damaged(self, name: str) -> list[Arrival]:
        """Files whose names say that they are notebooks of this lab, and which are not."""
        there = [Arrival(path) for place in self._places(name) for path in files(place) if self._is_about(path)]
        return [each for each in there if each.is_named and is_damaged(each.path)]

    def _is_about(self, path: Path) -> bool:
        """Whether a file lies where this lab's work is expected, and not in another lab's folder."""
        inside = [self._named(folder) for folder in path.parents if self.root in folder.parents]
        return all(lab in (None, self.lab.assignment) for lab in (self._named(path), *inside[:-1]))

    def _beside(self, name: str) -> list[Path]:
        """Files of a student that may be work of this lab, but are no notebooks: archives, scripts, pages."""
        there = [path for place in self._places(name) for path in files(place) if self._is_about(path)]
        return [path for path in there if path.suffix.lower() in WORK or is_archive(start_of(path))]

    def _is_tidy(self, folder: Path) -> bool:
        """Whether a student's folder holds only labs' folders, and this lab's only the notebook."""
        here = {path.name for path in entries(folder)}
        mine = {path.name for path in entries(folder / self.right.parent)}
        return here <= {*self.labs.values(), *BESIDE} and mine <= {self.right.name, *BESIDE}

    def _is_whole(self, path: Path) -> bool:
        """Whether a file looks like a notebook of this lab to its end. It costs little, as most are asked no more."""
        try:
            content = read_content(path)
        except (Unreadable, OSError):
            return False
        return content.rstrip().endswith(b"}") and any(mark in content for mark in self.marks or [b""])

    def _arrivals(self, name: str) -> list[Arrival]:
        return [each for place in self._places(name) for each in arrivals(place)]

    def _anywhere(self, name: str) -> Submission | None:
        """What a student handed in at none of the right places."""
        here = self._arrivals(name)
        mine = [each for each in here if each.lab == self.lab.assignment]
        chosen = self._answered(mine) or _different(mine)[:1]
        if len(chosen) == 1:
            return Submission(chosen[0], note=self._note(chosen[0], name))
        if chosen:
            return Submission(None, self._several(chosen, name))
        return self._nothing(name, here)

    def _nothing(self, name: str, here: list[Arrival]) -> Submission | None:
        """Where no notebook of this lab was found: what there is instead, if it was meant for this lab."""
        meant = [*self.turned.get(name, ())]
        meant += [path for path in entries(self.root / name) if self._folder_of(path) == self.lab.assignment]
        there = [path for one in meant for path in ([one] if os.path.islink(one) else files(one))]
        there += [path for path in self._loose(name, here) if path not in there]
        if not meant and not there:
            return None  # nothing handed in
        expected = f"expected {self.lab.notebook}.ipynb"
        named = [each for each in here if each.path in there and (each.cells is not None or each.is_named)]
        named += [each for each in map(Arrival, there) if each.is_named and is_damaged(each.path)]
        if lost := next((each for each in named if each.lab is not None), next(iter(named), None)):
            return Submission(lost, note=self._note(lost, name))
        if not there:
            return Submission(None, f"{expected}, found an empty folder {shown(meant[0].name)}: hand in the notebook")
        names = ", ".join(self._name(Arrival(path), name) for path in there[:3]) + _more(there)
        return Submission(None, f"{expected}, found {names}: {_instead(there)}")

    def _folder_of(self, path: Path) -> str | None:
        """The assignment that a student's folder is for, by its name; a link to one counts, too."""
        return self._named(path) if os.path.isdir(path) else None

    def _loose(self, name: str, here: list[Arrival]) -> list[Path]:
        """Files that may have been meant for this lab, though they lie in no folder of its name."""
        home = self.root / name
        by_lab = [path for path in entries(home) if self._folder_of(path)]
        notebooks = {each.path: each.lab for each in here}
        found = []
        for path in files(home) if is_folder(home) else ():
            says = notebooks.get(path) or self._named(path)
            elsewhere = any(folder in path.parents for folder in by_lab)
            unknown = path in notebooks or ".ipynb" in path.name.lower() or is_archive(start_of(path))
            if says == self.lab.assignment or (says is None and not elsewhere and (unknown or not by_lab)):
                found.append(path)
        return found

    def _several(self, which: list[Arrival], name: str) -> str:
        names = " and ".join(self._name(each, name) for each in which[:3]) + _more(which)
        message = f"found {names}, which differ: keep the one that counts, as {self.right}"
        below = [each.path.relative_to(self.root).parts[1:-1] for each in which]
        apart = len({parts[0] for parts in below if parts}) > 1 and not any(map(self._named, map(Path, sum(below, ()))))
        return message + "; or, where each is another student's, move it to submitted/STUDENT" * apart

    def _note(self, which: Arrival, name: str, because: str = "") -> str:
        start = f"{because}, so the file" if because else "The file"
        return f"{start} {self._name(which, name)} was graded; it belongs at {self.right}."

    def _name(self, which: Arrival, name: str) -> str:
        """Where a file lies, from the student's folder."""
        home = self.root / name
        return shown(which.name(home if home in which.path.parents else self.root))

    def _answered(self, which: list[Arrival]) -> list[Arrival]:
        """Those that differ from the release, of equal ones the first."""
        return _different([each for each in which if self._is_answered(each)])

    def _is_answered(self, which: Arrival) -> bool:
        """Whether anything in a notebook is the student's."""
        texts = {normal(cell.source) for cell in self.released.values()}
        return any(_is_own(cell, self.released, texts) for cell in which.cells or ())


def _more(which: list[Any]) -> str:
    return f" and {len(which) - 3} more" if len(which) > 3 else ""


def _instead(there: list[Path]) -> str:
    """What to do about files that are no notebook."""
    if any(os.path.islink(path) for path in there):
        return "links are not followed, hand in the notebook itself"
    if any(is_archive(start_of(path)) for path in there):
        return "hand in the notebook itself, not packed"
    return "hand in the notebook itself, the .ipynb file"


def _is_own(cell: SubmittedCell, released: dict[str, NotebookNode], texts: set[str]) -> bool:
    if cell.grade_id in released:
        return not is_unchanged(cell.source, released[cell.grade_id].source, cell.attachments)
    return not cell.is_empty and normal(cell.source) not in texts


def _different(which: list[Arrival]) -> list[Arrival]:
    """Of arrivals with the same content, the first."""
    return list({each.digest: each for each in reversed(which)}.values())[::-1]
