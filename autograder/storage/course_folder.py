"""Where verdicts, reports and, unless it is elsewhere, the gradebook lie in a course folder."""

from __future__ import annotations

from pathlib import Path

from autograder.errors import UserError


def verdict_path(root: Path, student: str, assignment: str, notebook: str) -> Path:
    """Where the verdicts on a notebook are kept."""
    return Path(root) / "verdicts" / student / assignment / f"{notebook}.json"


def overview_path(course: Path) -> Path:
    """Where a course's report lies."""
    return course / "report.html"


def report_path(course: Path, assignment: str) -> Path:
    """Where a course folder keeps the report of an assignment."""
    return course / f"report-{assignment}.html"


def references_path(course: Path) -> Path:
    """Where a course folder keeps what the labs' own code gives under its secret."""
    return course / ".references"


def database(course: Path) -> str:
    """The address of a course folder's gradebook.

    Raises:
        UserError: there is no course folder or no gradebook.
    """
    if not course.is_dir():
        raise UserError(f"expected a course folder at {course}, found none; give the folder that holds gradebook.db")
    path = course / "gradebook.db"
    if not path.is_file():  # nbgrader would make an empty one
        raise UserError(f"expected a gradebook at {path}, found none; grade an assignment first")
    return f"sqlite:///{path.resolve()}"
