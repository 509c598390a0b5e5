"""A course folder with Lab 1 released by real nbgrader, and submissions made from the release."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader.api import Gradebook

from autograder.authoring.sample_class import Codes, Student, hand_in, model_codes
from autograder.course import course_api
from autograder.labs.lab import find_lab
from autograder.storage.atomic_files import write_atomically
from support.places import ROOT

LAB = find_lab("lab1_attention")
SECRET = "7e57" * 16
EXERCISES = [exercise.id for exercise in LAB.exercises]
WRITTEN = [cell.grade_id for cell in LAB.cells if cell.role == "written"]
MAX = {exercise: LAB.points(exercise) for exercise in EXERCISES}
# Those that tests are about. The lab may have others, between them and after them.
WEIGHTS, ATTENTION, HEAD, HEADS, EINSUM = (
    "attention_weights",
    "scaled_dot_product_attention",
    "AttentionHead",
    "MultiHeadAttention",
    "multi_head_attention_einsum",
)


@dataclass
class Course:
    """A course folder and what the tests do with it."""

    root: Path

    def release(self) -> Course:
        """Make the folder and release Lab 1 in it, as an instructor would."""
        self.root.mkdir(parents=True)
        write_atomically(self.root / "course_secret", SECRET + "\n")
        result = course_api(self.root).generate_assignment(LAB.assignment)
        assert result["success"], result
        return self

    def copy(self, root: Path, *students: str) -> Course:
        """The same course elsewhere, with only some of the submissions when any are named."""
        shutil.copytree(self.root, root, symlinks=True)
        for folder in root.glob("submitted/*"):
            if students and folder.name not in students:
                shutil.rmtree(folder)
        return Course(root)

    @property
    def released(self) -> NotebookNode:
        return nbformat.read(self.root / "release" / LAB.assignment / f"{LAB.notebook}.ipynb", as_version=4)

    def submission(self, student: str) -> Path:
        return self.root / "submitted" / student / LAB.assignment / f"{LAB.notebook}.ipynb"

    def hand_in(self, student: str, codes: Codes, mend=lambda nb: None) -> Path:
        """Hand in the release with these codes in its cells."""
        path = self.submission(student)
        write_atomically(path, nbformat.writes(hand_in(self.released, Student(student, "", codes, mend))))
        return path

    def record(self, student: str) -> dict:
        return json.loads((self.root / "verdicts" / student / LAB.assignment / f"{LAB.notebook}.json").read_text())

    def verdicts(self, student: str) -> dict[str, dict]:
        return {verdict["exercise"]: verdict for verdict in self.record(student)["exercises"]}

    def points(self, student: str) -> dict[str, float | None]:
        """The automatic points of each exercise, as they stand in the gradebook."""
        return {id: self.grade(student, f"exam-{id}")[0] for id in EXERCISES}

    def grade(self, student: str, cell: str) -> tuple[float | None, float | None, bool, str | None]:
        """auto_score, manual_score, needs_manual_grade and the comment written by hand, of one cell."""
        place = (cell, LAB.notebook, LAB.assignment, student)
        with self.gradebook() as gradebook:
            grade = gradebook.find_grade(*place)
            notes = [c.manual_comment for c in grade.notebook.comments if c.name in (cell, cell.removeprefix("exam-"))]
            return grade.auto_score, grade.manual_score, bool(grade.needs_manual_grade), next(iter(notes), None)

    def mark(self, student: str, cell: str, points: float, comment: str = "") -> None:
        """Mark a cell by hand, as formgrader does."""
        with self.gradebook() as gradebook:
            place = (LAB.notebook, LAB.assignment, student)
            grade = gradebook.find_grade(cell, *place)
            grade.manual_score, grade.needs_manual_grade = points, False
            gradebook.find_comment(cell.removeprefix("exam-"), *place).manual_comment = comment
            gradebook.db.commit()

    def gradebook(self) -> Gradebook:
        return Gradebook(f"sqlite:///{self.root}/gradebook.db")

    def feedback(self, student: str) -> str:
        return (self.root / "feedback" / student / LAB.assignment / f"{LAB.notebook}.html").read_text()

    def nbgrader(self, *argv: str) -> subprocess.CompletedProcess:
        """Run nbgrader's own command in this folder."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": path}
        command = [sys.executable, "-m", "nbgrader", *argv]
        return subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True)


def solved() -> Codes:
    """Every exercise and every written question answered."""
    return model_codes(LAB) | dict.fromkeys(WRITTEN, "Because the variance of a sum of K products is K.")
