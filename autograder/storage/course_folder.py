"""A course: its folder and where everything lies in it, its gradebook's address, its secret, its lock."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from nbgrader.api import Gradebook

from autograder.errors import UserError
from autograder.labs.lab import Lab
from autograder.storage.course_lock import grading_alone
from autograder.storage.course_secret import read_secret
from autograder.storage.verdict_files import VerdictRecord, read_record


@dataclass(frozen=True)
class Course:
    """A course folder, and the database that goes with it.

    Attributes:
        db_url: the gradebook's address; where none is given, that of gradebook.db in the folder.
    """

    root: Path
    db_url: str = ""

    def __post_init__(self) -> None:
        if not self.db_url:
            object.__setattr__(self, "db_url", f"sqlite:///{self.root.resolve() / 'gradebook.db'}")

    @cached_property
    def secret(self) -> bytes:
        """The secret that all exams are drawn from, made on first use; UserError where its file is damaged."""
        return read_secret(self.root)

    def gradebook(self) -> Gradebook:
        """The gradebook, opened; use it in a `with`, and for all that one step needs of it."""
        return Gradebook(self.db_url)

    def alone(self) -> AbstractContextManager[None]:
        """The lock of the folder: UserError while another command grades there."""
        return grading_alone(self.root)

    def release(self, lab: Lab) -> Path:
        """The notebook as students get it."""
        return self.root / "release" / lab.assignment / f"{lab.notebook}.ipynb"

    def autograded(self, lab: Lab, student: str) -> Path:
        """The notebook with the judge's outputs."""
        return self.root / "autograded" / student / lab.assignment / f"{lab.notebook}.ipynb"

    def feedback(self, lab: Lab, student: str) -> Path:
        """The page that a student gets."""
        return self.root / "feedback" / student / lab.assignment / f"{lab.notebook}.html"

    @property
    def verdicts(self) -> Path:
        """The folder of the verdict records."""
        return self.root / "verdicts"

    def record_path(self, lab: Lab, student: str) -> Path:
        """The verdict record of a submission."""
        return self.verdicts / student / lab.assignment / f"{lab.notebook}.json"

    def record(self, lab: Lab, student: str) -> VerdictRecord | None:
        """The same, read; None where there is none, or where it is damaged."""
        return read_record(self.record_path(lab, student))

    def trainings_dir(self, lab: Lab) -> Path:
        """The folder of trained answers."""
        return self.root / "trained" / lab.assignment

    @property
    def references(self) -> Path:
        """The folder of what the labs' own code gives under the secret."""
        return self.root / ".references"

    @property
    def scores(self) -> Path:
        """The table of everybody's points."""
        return self.root / "scores.csv"

    def report(self, lab: Lab) -> Path:
        """The report of a lab."""
        return report_path(self.root, lab.assignment)

    @property
    def overview(self) -> Path:
        """The report of the whole course."""
        return self.root / "report.html"


def report_path(root: Path, assignment: str) -> Path:
    """Where a course folder keeps the report of an assignment."""
    return root / f"report-{assignment}.html"


def database(root: Path) -> str:
    """The address of a course folder's gradebook.

    Raises:
        UserError: there is no course folder or no gradebook.
    """
    if not root.is_dir():
        raise UserError(f"expected a course folder at {root}, found none; give the folder that holds gradebook.db")
    path = root / "gradebook.db"
    if not path.is_file():  # nbgrader would make an empty one
        raise UserError(f"expected a gradebook at {path}, found none; grade an assignment first")
    return f"sqlite:///{path.resolve()}"
