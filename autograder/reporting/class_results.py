"""What the gradebook and the verdicts say together: the one reader behind export, report and feedback.

Points come from nbgrader's gradebook, because an instructor may have changed them there; status
and words come from verdicts/STUDENT/ASSIGNMENT/NOTEBOOK.json. Points that nobody has decided yet
are None, where nbgrader itself would say 0.0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbgrader.api import Assignment, Comment, Grade, Gradebook, SubmittedAssignment, SubmittedNotebook
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import selectinload, undefer

from autograder.errors import UserError
from autograder.judging.verdict import FOR_REVIEW, GRADED, NOT_ANSWERED, NOT_GRADED, Verdict
from autograder.storage.course_folder import Course, database
from autograder.storage.diagnose import database_message
from autograder.storage.refused import NOT_YET, read_refused
from autograder.storage.verdict_files import VerdictRecord, read_cleaned

WAITING = "waiting"  # a written answer that nobody has read yet
NOT_SUBMITTED = "not submitted"


@dataclass
class Cell:
    """One graded cell of one submission.

    Attributes:
        name: the exercise's or the written question's name.
        points: None while nobody has decided.
        verdict: None for written answers, and where no verdict was found.
        by_hand: an instructor set the points.
        missing: why there are no points: a sentence, or "".
    """

    notebook: str
    grade_id: str
    written: bool
    max_points: float
    points: float | None
    status: str
    verdict: Verdict | None = None
    by_hand: bool = False
    missing: str = ""

    @property
    def name(self) -> str:
        return self.grade_id.removeprefix("exam-")


@dataclass
class Submission:
    """One student's work on one assignment.

    Attributes:
        penalty: points taken off for lateness.
        refused: why it stands in no gradebook though something was handed in; "" where it does.
        unread: why nothing in it could be graded; "" where something could.
        comments: by notebook, and by grade_id.
        repairs: a sentence for each thing that was put right before grading.
    """

    student: str
    first_name: str
    last_name: str
    email: str
    assignment: str
    max_points: float
    submitted: bool = False
    penalty: float = 0.0
    cells: list[Cell] = field(default_factory=list)
    comments: dict[str, dict[str, str]] = field(default_factory=dict)
    repairs: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    sandbox: bool | None = None
    graded_at: float | None = None
    problems: list[str] = field(default_factory=list)
    refused: str = ""
    unread: str = ""

    @property
    def lost(self) -> str:
        """Why there is nothing to show but this: a sentence, or "" once a person has decided on a part of it."""
        return self.refused or (self.unread if len(self.ungraded) == len(self.cells) else "")

    @property
    def ungraded(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.status == NOT_GRADED]

    @property
    def waiting(self) -> int:
        return sum(cell.status == WAITING for cell in self.cells)

    @property
    def reviews(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.status == FOR_REVIEW]

    @property
    def score(self) -> float | None:
        """Decided points less the penalty, at least 0; 0 for nothing handed in; None when something was not graded."""
        if not self.submitted:
            return 0.0
        if self.ungraded or self.refused:
            return None
        return max(0.0, sum(cell.points or 0.0 for cell in self.cells) - self.penalty)

    @property
    def status(self) -> str:
        if not self.submitted:
            return NOT_SUBMITTED
        return NOT_GRADED if self.ungraded or self.refused else WAITING if self.waiting or self.reviews else GRADED

    @property
    def note(self) -> str:
        """Why the score is missing or not final, in words."""
        if self.lost:
            return "; ".join([self.lost, *self.problems])
        reasons = [f"{cell.name} was not graded ({cell.missing})" for cell in self.ungraded]
        if self.waiting:
            reasons.append(written_waiting(self.waiting))
        reasons += [f"{cell.name} is for review" for cell in self.reviews]
        return "; ".join([*reasons, *self.problems]) if self.submitted else NOT_SUBMITTED


def written_waiting(count: int) -> str:
    """ "2 written answers wait for grading"."""
    return f"{count} written answer{'s wait' if count > 1 else ' waits'} for grading"


@dataclass
class ClassResults:
    """What gradebook and verdicts say of a class: read once a run, and handed to all that report on it.

    Attributes:
        course: the course's name in the gradebook, or else the folder's.
        assignments: the submissions to each assignment that was read, of every student, sorted by student.
    """

    course: str
    assignments: dict[str, list[Submission]]

    def graded(self, assignment: str) -> list[Submission]:
        """The submissions to one assignment.

        Raises:
            UserError: nothing of it is graded yet.
        """
        submissions = self.assignments[assignment]
        if not any(submission.submitted for submission in submissions):
            raise UserError(f"nothing of {assignment} is graded yet; run `nbgrader autograde {assignment}` first")
        return submissions

    def all_graded(self) -> dict[str, list[Submission]]:
        """The submissions to every assignment of which something was handed in.

        Raises:
            UserError: nothing is graded yet.
        """
        found = {name: each for name, each in self.assignments.items() if any(s.submitted for s in each)}
        if not found:
            raise UserError("nothing is graded yet; run `autograder grade LAB` first")
        return found


def read_course(root: Path, assignments: Iterable[str] = (), db_url: str | None = None) -> ClassResults:
    """The results of a course folder.

    Args:
        root: the folder.
        assignments: read only these; empty for all.
        db_url: the gradebook's address; None: gradebook.db in the course folder.

    Raises:
        UserError: there is no gradebook, it cannot be read, or it has no such assignment.
    """
    return read(Course(root, db_url or database(root)), assignments)


def read(course: Course, assignments: Iterable[str] = (), students: Iterable[str] = ()) -> ClassResults:
    """Every student's submission to every assignment.

    Args:
        assignments, students: read only these; empty for all.

    Raises:
        UserError: the gradebook cannot be read, or has no such assignment or student.
    """
    only, chosen = list(assignments), {str(student) for student in students}
    try:
        with course.gradebook() as gradebook:
            people = sorted((p for p in gradebook.students if not chosen or p.id in chosen), key=lambda p: p.id)
            ids = {assignment.name: assignment.course_id for assignment in gradebook.assignments}
            refused = {student for name in only or ids for student in read_refused(course.root, name)}
            if missing := sorted(chosen - {p.id for p in people} - refused):
                raise UserError(f"the gradebook has no student {', '.join(missing)}")
            if unknown := [name for name in only if name not in ids]:
                known = ", ".join(sorted(ids)) or "none at all"
                raise UserError(f"the gradebook has no assignment {unknown[0]}; it has {known}")
            found = {name: _assignment(gradebook, name, people, course, chosen) for name in only or sorted(ids)}
    except (SQLAlchemyError, ImportError) as error:
        raise UserError(f"{database_message(error, course.root)}.") from None
    named = [id for id in ids.values() if id and id != "default_course"]
    return ClassResults(named[0] if named else course.root.resolve().name, found)


def _assignment(gradebook: Gradebook, name: str, people: list[Any], course: Course, only: set[str]) -> list[Submission]:
    total = gradebook.find_assignment(name).max_score
    stored = _stored(gradebook, name, [person.id for person in people])
    submissions: dict[str, Submission] = {}
    for person in people:
        names = (person.first_name or "", person.last_name or "", person.email or "")
        submission = Submission(person.id, *names, name, total)
        if person.id in stored:
            _fill(submission, stored[person.id], course)
        submissions[person.id] = submission
    _sort_cells(list(submissions.values()))
    for student, reason in read_refused(course.root, name).items():
        if only and student not in only:
            continue
        there = submissions.setdefault(student, Submission(student, "", "", "", name, total))
        if not there.submitted:
            there.submitted, there.refused = True, reason
        elif reason != NOT_YET:  # what was recorded of an earlier file stays, with a word
            there.problems.append(reason)
    return [submissions[student] for student in sorted(submissions)]


def _stored(gradebook: Gradebook, name: str, students: list[str]) -> dict[str, SubmittedAssignment]:
    """The gradebook's submissions by student, read in a few queries, not in a few for each cell."""
    found = gradebook.db.query(SubmittedAssignment).join(Assignment).filter(Assignment.name == name)
    if len(students) == 1:
        found = found.filter(SubmittedAssignment.student_id == students[0])
    notebooks = selectinload(SubmittedAssignment.notebooks)
    grades = notebooks.selectinload(SubmittedNotebook.grades)
    found = found.options(
        notebooks.selectinload(SubmittedNotebook.notebook),
        notebooks.selectinload(SubmittedNotebook.comments).selectinload(Comment.cell),
        grades.options(undefer(Grade.max_score), undefer(Grade.cell_type), selectinload(Grade.cell)),
    )
    return {submission.student_id: submission for submission in found}


def _fill(submission: Submission, stored: SubmittedAssignment, course: Course) -> None:
    submission.submitted = True
    submission.penalty = sum(notebook.late_submission_penalty or 0.0 for notebook in stored.notebooks)
    for notebook in stored.notebooks:
        path = course.verdicts / submission.student / submission.assignment / f"{notebook.name}.json"
        try:
            record = read_cleaned(path)
        except UserError as error:
            submission.problems.append(str(error))
            record = None
        if record is not None:
            submission.unread = record.unread
            submission.repairs += [sentence for sentence in record.repairs if sentence != record.unread]
            submission.problems += record.problems
            for stage, seconds in record.seconds.items():
                submission.seconds[stage] = submission.seconds.get(stage, 0.0) + seconds
            submission.sandbox = record.sandbox and submission.sandbox is not False
            submission.graded_at = max(path.stat().st_mtime, submission.graded_at or 0.0)
        submission.cells += _cells(notebook, record)
        submission.comments[notebook.name] = {c.cell.name: c.comment for c in notebook.comments if c.comment}


def _cells(notebook: SubmittedNotebook, record: VerdictRecord | None) -> list[Cell]:
    found = {verdict.grade_id: verdict for verdict in record.exercises} if record else {}
    answered = {entry.grade_id: entry.answered for entry in record.written} if record else {}
    unread = record.unread if record else ""
    order = [*found, *answered]
    cells = []
    for grade in notebook.grades:
        name = grade.name
        written = name in answered or (name not in found and grade.cell_type != "code")
        decided = grade.manual_score is not None or grade.auto_score is not None
        if written and grade.manual_score is not None and grade.needs_manual_grade:
            decided = False  # marked once, but the answer has changed since
        cell = Cell(notebook.name, name, written, grade.max_score, grade.score if decided else None, GRADED)
        cell.verdict, cell.by_hand = found.get(name), grade.manual_score is not None
        if not decided:
            cell.status = WAITING if written and not unread else NOT_GRADED
        elif not cell.by_hand:
            unanswered = written and not answered.get(name, bool(cell.points))
            cell.status = cell.verdict.status if cell.verdict else NOT_ANSWERED if unanswered else GRADED
        if cell.status == FOR_REVIEW:
            cell.points = None
        if cell.status == NOT_GRADED:
            cell.points = None
            reason = cell.verdict.reason if cell.verdict else unread.rstrip(".")
            cell.missing = reason or "no verdict was recorded"
        cells.append(cell)
    return sorted(cells, key=lambda c: (order.index(c.grade_id) if c.grade_id in order else len(order), c.grade_id))


def _sort_cells(submissions: list[Submission]) -> None:
    """One order of cells for the class: the longest record knows best, the gradebook knows none."""
    longest = max((s.cells for s in submissions), key=lambda cells: sum(bool(c.verdict) for c in cells), default=[])
    order = {(cell.notebook, cell.grade_id): place for place, cell in enumerate(longest)}
    for submission in submissions:
        submission.cells.sort(key=lambda c: (c.written, order.get((c.notebook, c.grade_id), 999), c.grade_id))
