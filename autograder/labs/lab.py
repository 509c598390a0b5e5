"""A lab as its author wrote it: the cells of solutions/labN_name/name.py and the exams in autograder/exams/labN/."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jupytext

from autograder.errors import UserError
from autograder.labs import course_files
from autograder.labs.exam import Exercise
from autograder.labs.source_text import lab_text, without_marks

STUB = '# TODO: your code here\nraise NotImplementedError("TODO")'
ROOT = course_files.ROOT
SOLUTIONS = course_files.solutions()
INSTALL = "install"  # the first code cell of every lab, which makes sure that `vitedu` is there
EXAMS = ("exam", "check")  # a check is an extra's: it is examined like the rest, and earns no points
ROLES = ("prose", "setup", "display", "solution", "exam", "check", "written", "playground")


@dataclass(frozen=True)
class Cell:
    """One cell of the author's text; see CONTRIBUTING.md for the roles."""

    grade_id: str
    role: str
    kind: str  # "code" or "markdown"
    source: str
    exercise: str = ""
    points: float = 0.0


@dataclass(frozen=True)
class Lab:
    """A lab by its assignment name, such as "lab1_attention"."""

    assignment: str

    @property
    def key(self) -> str:
        """Short name, such as "lab1": prefix of its exam ids, name of its package of exams."""
        return self.assignment.split("_")[0]

    @property
    def notebook(self) -> str:
        """Name of the notebook without its ending."""
        return self.assignment.split("_", 1)[1]

    @property
    def source(self) -> Path:
        """The text that the author writes."""
        return SOLUTIONS / self.assignment / f"{self.notebook}.py"

    @property
    def text(self) -> str:
        """That text, with the parts of earlier labs that it carries written out."""
        return lab_text(self.source)

    @property
    def metadata(self) -> dict[str, Any]:
        """What the text's header says of the notebook, such as `accelerator: GPU` for Colab."""
        return dict(jupytext.reads(self.text, fmt="py:percent").metadata)

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """All cells in order."""
        return tuple(read_cells(self.source))

    @cached_property
    def exercises(self) -> tuple[Exercise, ...]:
        """The exercises in notebook order."""
        return tuple(sorted(self._exams(), key=lambda exercise: self._place(exercise.id)))

    def _exams(self) -> Iterator[Exercise]:
        """The EXERCISE of each module in the lab's package of exams."""
        package = importlib.import_module(f"autograder.exams.{self.key}")
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            if isinstance(exercise := getattr(importlib.import_module(module.name), "EXERCISE", None), Exercise):
                yield exercise

    def _place(self, exercise: str) -> int:
        examined = [cell.exercise for cell in self.cells if cell.role in EXAMS]
        if exercise not in examined:
            raise UserError(
                f"{self.source.name} has no exam cell with exercise={exercise!r}, which an exam of {self.key} is for: "
                "add the cell, or remove the exam."
            )
        return examined.index(exercise)

    def exercise(self, id: str) -> Exercise:
        """The exercise with this id.

        Raises:
            UserError: the lab has no such exercise.
        """
        for exercise in self.exercises:
            if exercise.id == id:
                return exercise
        known = ", ".join(e.id for e in self.exercises)
        raise UserError(f"{self.assignment} has no exam for the exercise {id!r}; its exams are {known}.")

    def stand_in(self, exercise: str) -> str:
        """A cell that stands in for an exercise's answer, see vitedu.stand_ins; "" where no other exercise calls it."""
        if given := self.exercise(exercise).stand_in:
            return given
        names = self._stand_ins.get(exercise, ())
        return f"from vitedu.stand_ins.{self.key} import {', '.join(names)}" if names else ""

    def stand_in_names(self, exercise: str) -> tuple[str, ...]:
        """What a stand-in defines."""
        return self._stand_ins.get(exercise) or ((exercise,) if self.exercise(exercise).stand_in else ())

    @cached_property
    def _stand_ins(self) -> dict[str, tuple[str, ...]]:
        name = f"vitedu.stand_ins.{self.key}"
        if importlib.util.find_spec(name) is None:
            return {}
        found: dict[str, tuple[str, ...]] = importlib.import_module(name).STAND_INS
        return found

    def points(self, exercise: str) -> float:
        """Points of an exercise, as its exam cell says; 0 for an extra, which is checked and not graded."""
        return next(cell.points for cell in self.cells if cell.role in EXAMS and cell.exercise == exercise)


def all_labs() -> list[Lab]:
    """Every lab that there is, in order."""
    return [
        Lab(path.parent.name) for path in sorted(SOLUTIONS.glob("lab*_*/*.py")) if Lab(path.parent.name).source == path
    ]


def find_lab(name: str) -> Lab:
    """A lab by assignment name or key.

    Raises:
        UserError: there is none of that name.
    """
    labs = all_labs()
    for lab in labs:
        if name in (lab.assignment, lab.key):
            return lab
    known = ", ".join(lab.assignment for lab in labs) or f"none (no lab was found in {SOLUTIONS})"
    raise UserError(f"There is no lab {name!r}; the labs are: {known}.")


def read_cells(path: Path) -> list[Cell]:
    """The cells of a jupytext py:percent file.

    Raises:
        UserError: a cell has no grade_id, an unknown role, or an id that is taken.
    """
    cells: list[Cell] = []
    for cell in jupytext.reads(lab_text(path), fmt="py:percent").cells:
        meta = cell.metadata
        role = meta.get("role", "prose" if cell.cell_type == "markdown" else "setup")
        start = cell.source.strip().split("\n")[0][:60]
        if not meta.get("grade_id"):
            raise UserError(
                f"{path.name}: the cell that starts with {start!r} has no grade_id in its header; give it one."
            )
        if role not in ROLES:
            raise UserError(
                f"{path.name}: cell {meta['grade_id']} has the role {role!r}; expected one of {', '.join(ROLES)}."
            )
        if any(meta["grade_id"] == other.grade_id for other in cells):
            raise UserError(f"{path.name}: the grade_id {meta['grade_id']} stands twice; every cell needs its own.")
        points = float(meta.get("points", 0))
        cells.append(Cell(meta["grade_id"], role, cell.cell_type, cell.source, meta.get("exercise", ""), points))
    return cells


def setup_cell(assignment: str, grade_id: str) -> str:
    """Source of a cell that students are given."""
    return next(cell.source for cell in Lab(assignment).cells if cell.grade_id == grade_id and cell.role == "setup")


def solution_cells(assignment: str) -> dict[str, str]:
    """Source of each solution cell by grade_id, without the marks around the solution."""
    cells = Lab(assignment).cells
    return {cell.grade_id: without_marks(cell.source) for cell in cells if cell.role == "solution"}
