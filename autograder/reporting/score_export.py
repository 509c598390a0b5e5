"""Scores for a spreadsheet: `nbgrader export --exporter=autograder.export.ScoresExporter --to scores.csv`."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from nbgrader.api import Gradebook
from nbgrader.coursedir import CourseDirectory
from nbgrader.plugins import ExportPlugin

from autograder.errors import UserError
from autograder.judging.verdict import GRADED
from autograder.reporting.class_results import Cell, ClassResults, Submission, read
from autograder.sanitize import untrusted
from autograder.storage.course_folder import Course

FIRST = ("student_id", "last_name", "first_name", "email", "score", "max_score", "complete", "waiting", "note")


class ScoresExporter(ExportPlugin):
    """One row a student; points that nobody has decided are empty, with the reason in `note`."""

    def export(self, gradebook: Gradebook) -> None:
        """Write the table to `--to` (scores.csv), of `--student` and `--assignment` when given."""
        root = Path(CourseDirectory(parent=self.parent).root)
        # SQLAlchemy hides the password of a str(url), so it is asked for.
        db_url = gradebook.engine.url.render_as_string(hide_password=False)
        try:
            rows = scores_table(read(Course(root, db_url), self.assignment, self.student))
            write_csv(rows, Path(self.to or "scores.csv"))
        except UserError as error:
            raise SystemExit(str(error)) from None


def scores_table(results: ClassResults) -> list[dict[str, Any]]:
    """One row a student: the sums over the assignments, then for each assignment its parts.

    Columns: FIRST, then "ASSIGNMENT score", "... max_score", "... late_penalty", "... status", "... cells" (how
    each cell ended that was not simply graded), and "ASSIGNMENT: CELL" for each graded cell. `score` counts
    what is decided, and what was not handed in as 0; it is empty when a part of it was not graded. `complete` is
    "yes" when everything was handed in and nothing waits. A lab that nobody has handed in yet has no scores at all.
    """
    rows: dict[str, dict[str, Any]] = {}
    for name, submissions in results.assignments.items():
        several = len({cell.notebook for s in submissions for cell in s.cells}) > 1
        columns = {_column(name, cell, several): None for s in submissions for cell in s.cells}
        begun = any(submission.submitted for submission in submissions)
        for submission in submissions:
            row = rows.setdefault(submission.student, _empty(submission))
            _add(row, submission, begun)
            row |= {
                f"{name} score": submission.score if begun else None,
                f"{name} max_score": submission.max_points,
                f"{name} late_penalty": submission.penalty if submission.submitted else None,
                f"{name} status": submission.status,
                f"{name} cells": "; ".join(f"{c.name}: {c.status}" for c in submission.cells if c.status != GRADED),
            } | columns | {_column(name, cell, several): cell.points for cell in submission.cells}  # fmt: skip
    for row in rows.values():
        del row["_blocked"]
        row["note"] = "; ".join(row["note"])
        row["complete"] = "yes" if row["complete"] else "no"
    return list(rows.values())


def _column(assignment: str, cell: Cell, several: bool) -> str:
    return f"{assignment}: {cell.notebook}/{cell.name}" if several else f"{assignment}: {cell.name}"


def _empty(submission: Submission) -> dict[str, Any]:
    who = (untrusted.shown(submission.student), submission.last_name, submission.first_name, submission.email)
    return dict(zip(FIRST, (*who, None, 0.0, True, 0, []), strict=True)) | {"_blocked": False}


def _add(row: dict[str, Any], submission: Submission, begun: bool) -> None:
    """Add one assignment to a student's sums."""
    row["max_score"] += submission.max_points
    row["waiting"] += submission.waiting
    row["complete"] &= submission.status == GRADED
    row["_blocked"] |= submission.score is None
    if row["_blocked"]:
        row["score"] = None
    elif begun:
        row["score"] = (row["score"] or 0.0) + (submission.score or 0.0)
    if submission.note:
        row["note"].append(f"{submission.assignment}: {submission.note}")


def write_csv(rows: list[dict[str, Any]], path: Path) -> None:
    """The table as CSV (UTF-8, quoted where needed, no field a spreadsheet would compute).

    Raises:
        UserError: the file cannot be written.
    """
    columns = list(dict.fromkeys([*FIRST, *(column for row in rows for column in row)]))
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([untrusted.csv_field(column) for column in columns])
            for row in rows:
                fields = (row.get(column) for column in columns)
                writer.writerow([untrusted.csv_field(round(f, 4) if isinstance(f, float) else f) for f in fields])
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; choose another file with --to") from None
