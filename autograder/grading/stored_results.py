"""Whether what was recorded of a submission still holds, and how to record it anew without running anything.

Scores are decided by the submission and the exam; what stands in the gradebook depends on the gradebook as
well: it can be lost or restored, students can be removed, due dates and timestamps moved.
"""

from __future__ import annotations

import hashlib
import inspect
import math
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import nbformat
from nbgrader.api import Assignment, BaseCell, Grade, SubmittedAssignment, SubmittedNotebook
from nbgrader.plugins import LateSubmissionPlugin
from nbgrader.preprocessors import AssignLatePenalties
from traitlets.config import Config

from autograder.execution.submission_task import Executed
from autograder.labs.lab import Lab
from autograder.nbgrader_integration.preprocessors import answers_of
from autograder.storage.course_folder import Course
from autograder.storage.verdict_files import VerdictRecord
from autograder.submission.timestamps import read_timestamp


@dataclass
class Entry:
    """What the gradebook holds of one submission.

    Attributes:
        time: when it came in; due: when it had to, with this student's extension. UTC.
        automatic, manual: points by grade_id; None where there are none.
    """

    time: datetime | None
    due: datetime | None
    automatic: dict[str, float | None] = field(default_factory=dict)
    manual: dict[str, float | None] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """Points before any penalty."""
        marks = ((self.manual[cell], points) for cell, points in self.automatic.items())
        return sum((points or 0.0) if mark is None else mark for mark, points in marks)


class Recorded:
    """The gradebook's entries of a lab, read in one query."""

    def __init__(self, course: Course, lab: Lab, config: Config) -> None:
        self._course, self._lab = course, lab
        self._penalty = _penalty(config, course.root)
        self._due: datetime | None = None
        self._entries = self._read()

    def _read(self, student: str = "") -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        with self._course.gradebook() as gradebook:
            self._due = gradebook.find_assignment(self._lab.assignment).duedate
            columns = (SubmittedAssignment.student_id, SubmittedAssignment.timestamp, SubmittedAssignment.extension,
                       BaseCell.name, Grade.auto_score, Grade.manual_score)  # fmt: skip
            rows = (
                gradebook.db.query(*columns)
                .select_from(Grade)
                .join(SubmittedNotebook, Grade.notebook_id == SubmittedNotebook.id)
                .join(SubmittedAssignment, SubmittedNotebook.assignment_id == SubmittedAssignment.id)
                .join(Assignment, SubmittedAssignment.assignment_id == Assignment.id)
                .join(BaseCell, Grade.cell_id == BaseCell.id)
                .filter(Assignment.name == self._lab.assignment)
            )
            for who, time, more, cell, automatic, manual in rows.filter(columns[0] == student) if student else rows:
                entry = found.setdefault(who, Entry(time, self._due + more if self._due and more else self._due))
                entry.automatic[cell], entry.manual[cell] = automatic, manual
        return found

    def refresh(self, student: str) -> None:
        """Read one student's entry again."""
        self._entries.pop(student, None)
        self._entries |= self._read(student)

    def key(self, student: str, folder: Path) -> str:
        """A digest of what decides a penalty, beside the answers: timestamp, due date, extension, and the plugin."""
        read, entry = read_timestamp(folder), self._entries.get(student)
        due = entry.due if entry else self._due
        late = read.time is not None and due is not None and read.time > due
        parts = (read, (due, self._penalty, round(entry.score, 6) if entry else None) if late else ())
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def holds(self, student: str, folder: Path, record: VerdictRecord) -> bool:
        """Whether the gradebook holds what a verdict file says, and nothing that decides a penalty has changed."""
        entry = self._entries.get(student)
        if entry is None or entry.time != read_timestamp(folder).time:
            return False
        wanted = {v.grade_id: v.points for v in record.exercises if v.grade_id in entry.automatic}
        wanted |= {w.grade_id: None if w.answered else 0.0 for w in record.written}
        same = entry.automatic.keys() == wanted.keys() and all(
            _equal(entry.automatic[cell], points) for cell, points in wanted.items()
        )
        return same and record.recording == self.key(student, folder)


def is_executed(course: Course, lab: Lab, student: str, cache_key: str) -> bool:
    """Whether a submission was run and judged with this key, and all that came of it is there."""
    record = course.record(lab, student)
    try:
        return record is not None and record.cache_key == cache_key and _ends(course.autograded(lab, student), b"}")
    except OSError:
        return False


def has_feedback(course: Course, lab: Lab, student: str) -> bool:
    """Whether the feedback page is there, whole."""
    try:
        return _ends(course.feedback(lab, student), b"</html>")
    except OSError:
        return False


def stored(course: Course, lab: Lab, student: str) -> Executed | None:
    """What grading made of a submission, from autograded/ and verdicts/; None where it is not there whole."""
    record = course.record(lab, student)
    if record is None:
        return None
    try:
        notebook = nbformat.read(course.autograded(lab, student), 4)
        if answers_of(notebook) != record.answers:  # a run was killed between the one and the other
            return None
    except Exception:  # damaged by whatever hand: then it is graded from the start
        return None
    return Executed(notebook, record.exercises, record.seconds, record.cpu, record.sandbox, record.trained, again=True)


def _ends(path: Path, mark: bytes) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 100))
        return file.read().rstrip().endswith(mark)


def _equal(found: float | None, wanted: float | None) -> bool:
    return found is wanted if found is None or wanted is None else math.isclose(found, wanted, abs_tol=1e-9)


def _penalty(config: Config, root: Path) -> str:
    """All that decides how many points a late submission loses: the plugin, its settings, its code."""
    plugin = AssignLatePenalties(config=config).plugin_class
    source = ""
    if plugin is not LateSubmissionPlugin:
        try:
            source = inspect.getsource(plugin)
        except (OSError, TypeError):  # defined in the course's own configuration, which Python read as no module
            source = (root / "nbgrader_config.py").read_text() if (root / "nbgrader_config.py").exists() else ""
    return f"{plugin.__module__}.{plugin.__qualname__} {config.get(plugin.__name__, {})!r} {source}"
