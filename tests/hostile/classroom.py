"""A course folder for hostile submissions: released, handed in, watched, and read after grading."""

from __future__ import annotations

import copy
import csv
import hashlib
import html
import json
import os
import stat
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader.api import Gradebook, MissingEntry
from sqlalchemy.exc import SQLAlchemyError

from autograder.authoring.sample_class import model_codes
from autograder.labs.lab import Lab
from autograder.storage.atomic_files import write_atomically
from hostile.attack import COURSE_SECRET, GRADEBOOK_MARK, NEIGHBOUR_MARK, Attack, cell_of

MOST = 2**25  # bytes that are read of one file
LAST_YEAR = "last-year"  # a student of whom the gradebook knows, and who hands in nothing
GRADING_WRITES = (
    "autograded", "feedback", "verdicts", "trained", "gradebook.db", "scores.csv", "report-", "refused",
    ".references", ".lock",
)  # fmt: skip

# nbgrader calls `alembic` by its name whenever it makes a gradebook.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])

Points = dict[str, float | None]


class Classroom:
    """One lab's class in a course folder that is released already."""

    def __init__(self, root: Path, lab: Lab) -> None:
        self.root, self.lab = root, lab
        points = {exercise.id: lab.points(exercise.id) for exercise in lab.exercises}
        self.maximum = {exercise: most for exercise, most in points.items() if most}  # extras have none

    def write_secret(self) -> None:
        """The course secret, before the release."""
        write_atomically(self.root / "course_secret", COURSE_SECRET + "\n")

    def add_last_year(self) -> None:
        """Marks of somebody who hands in nothing, after the release."""
        with self._gradebook() as gradebook:
            gradebook.update_or_create_student(LAST_YEAR)
            gradebook.update_or_create_submission(self.lab.assignment, LAST_YEAR)
            place = (self.lab.notebook, self.lab.assignment, LAST_YEAR)
            first = next(iter(self.maximum))
            gradebook.find_grade(f"exam-{first}", *place).manual_score = 1.25
            gradebook.find_comment(first, *place).manual_comment = GRADEBOOK_MARK
            gradebook.db.commit()

    def released(self) -> NotebookNode:
        """The notebook that students get."""
        path = self.root / "release" / self.lab.assignment / f"{self.lab.notebook}.ipynb"
        return nbformat.read(path, as_version=4)

    def submission(self, student: str) -> Path:
        """Where a student's notebook lies."""
        return self.root / "submitted" / student / self.lab.assignment / f"{self.lab.notebook}.ipynb"

    def hand_in(self, student: str, attack: Attack) -> None:
        """Hand in an attack."""
        nb = copy.deepcopy(self.released())
        for exercise, code in attack.codes.items():
            cell_of(nb, exercise).source = code
        attack.mend(nb)
        content = json.dumps(nb, indent=1).encode()  # not nbformat's own writer, which refuses what is not valid
        path = self.submission(student)
        path.parent.mkdir(parents=True)
        path.write_bytes(attack.rewrite(content) if attack.rewrite else content)
        if attack.beside:
            attack.beside(path.parent)

    def hand_in_honest(self, student: str, everything: bool = False) -> Points:
        """Hand in a neighbour's work: the first exercise is right, or everything is; the points that it is worth."""
        model = model_codes(self.lab)
        right = list(self.maximum) if everything else list(self.maximum)[:1]
        nb = copy.deepcopy(self.released())
        for exercise in right:
            cell_of(nb, exercise).source = f"# {NEIGHBOUR_MARK}\n{model[exercise]}"
        write_atomically(self.submission(student), nbformat.writes(nb))
        return {exercise: most if exercise in right else 0.0 for exercise, most in self.maximum.items()}

    def points(self, student: str) -> Points:
        """The automatic points of each exercise, as they stand in the gradebook; None: there are none."""
        found: Points = dict.fromkeys(self.maximum)
        place = (self.lab.notebook, self.lab.assignment, student)
        with suppress(SQLAlchemyError), self._gradebook() as gradebook:  # without walls it may be in ruins
            for exercise in found:
                with suppress(MissingEntry):
                    found[exercise] = gradebook.find_grade(f"exam-{exercise}", *place).auto_score
        return found

    def total(self, student: str) -> float | None:
        """The score as nbgrader adds it up."""
        with suppress(MissingEntry, SQLAlchemyError), self._gradebook() as gradebook:
            return gradebook.find_submission(self.lab.assignment, student).score
        return None

    def foreign_rows(self) -> str:
        """What no grading of this class may change: last year's marks, and the points to be had."""
        place = (self.lab.notebook, self.lab.assignment)
        with suppress(MissingEntry, SQLAlchemyError), self._gradebook() as gradebook:
            cells = gradebook.find_notebook(*place).grade_cells
            rows = sorted((cell.name, cell.max_score, cell.cell_type) for cell in cells)
            last_year = gradebook.find_submission_notebook(*place, LAST_YEAR)
            marks = sorted((g.name, g.auto_score, g.manual_score, g.needs_manual_grade) for g in last_year.grades)
            comments = sorted((c.name, c.auto_comment, c.manual_comment) for c in last_year.comments)
            return repr((rows, marks, comments))
        return "unreadable"

    def record(self, student: str) -> dict:
        """Our verdict record; empty when there is none."""
        path = self.root / "verdicts" / student / self.lab.assignment / f"{self.lab.notebook}.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def feedback(self, student: str) -> str:
        """The feedback page; "" when there is none."""
        path = self.root / "feedback" / student / self.lab.assignment / f"{self.lab.notebook}.html"
        return _start(path) if path.exists() else ""

    def shown(self, student: str, printed: str) -> str:
        """Everything that came out about one student, as text; `printed` is what the command said."""
        path = self.root / "autograded" / student / self.lab.assignment / f"{self.lab.notebook}.ipynb"
        texts = [self.feedback(student), html.unescape(self.feedback(student))]
        if path.is_file() and path.stat().st_size < MOST:
            cells = json.loads(path.read_text(errors="replace"))["cells"]
            texts += [json.dumps(cell.get("outputs", []), ensure_ascii=False) for cell in cells]
        texts.append(json.dumps(self.record(student), ensure_ascii=False))
        texts += [line for line in printed.splitlines() if student in line]
        if (scores := self.root / "scores.csv").exists():
            with scores.open(errors="replace", newline="") as file:
                texts += [",".join(row) for row in csv.reader(file) if student in row]
        return "\n".join(texts)

    def public(self) -> str:
        """What the whole class is told in: the table of scores and the report."""
        files = [self.root / "scores.csv", *self.root.glob("report-*.html")]
        return "\n".join(path.read_text(errors="replace") for path in files if path.exists())

    def snapshot(self) -> dict[str, str]:
        """Each file that is not grading's to write: what it is, and a digest of it."""
        found = {}
        for folder, folders, names in os.walk(self.root):
            for name in (*folders, *names):
                path = Path(folder) / name
                relative = str(path.relative_to(self.root))
                if not relative.startswith(GRADING_WRITES):
                    found[relative] = _digest(path)
        return found

    def _gradebook(self) -> Gradebook:
        return Gradebook(f"sqlite:///{self.root}/gradebook.db")


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> frozenset[str]:
    """Files that differ between two snapshots."""
    return frozenset(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


def _start(path: Path) -> str:
    """The text of a file, as far as it is no bomb."""
    with path.open("rb") as file:
        return file.read(MOST).decode(errors="replace")


def _digest(path: Path) -> str:
    info = path.lstat()
    kind = stat.filemode(info.st_mode)
    if stat.S_ISLNK(info.st_mode):
        return f"{kind} -> {os.readlink(path)}"
    if not stat.S_ISREG(info.st_mode) or info.st_size > 2**24:
        return f"{kind} {info.st_size if stat.S_ISREG(info.st_mode) else ''}"
    return f"{kind} {hashlib.sha256(path.read_bytes()).hexdigest()}"
