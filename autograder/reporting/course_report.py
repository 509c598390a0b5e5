"""The course report: every student's points in every lab that was graded, and what the class misunderstood most."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from autograder.judging.verdict import FOR_REVIEW
from autograder.reporting import wording
from autograder.reporting.class_results import WAITING, ClassResults, Submission
from autograder.reporting.lab_report import CommonMisconception, misconceptions, write_page
from autograder.reporting.terminal_table import format_table
from autograder.sanitize import untrusted
from autograder.storage.course_folder import report_path

MOST = 5  # misconceptions of a lab that are shown; the others stand in the lab's own report


@dataclass
class Total:
    """A student's way through the course.

    Attributes:
        submissions: one for each lab, in order.
        score: the sum of the decided points, what was not handed in counting as 0; None when a lab was not graded.
    """

    submissions: list[Submission]

    @property
    def score(self) -> float | None:
        if any(s.submitted and s.score is None for s in self.submissions):
            return None
        return sum(s.score or 0.0 for s in self.submissions)

    @property
    def waiting(self) -> int:
        return sum(s.waiting + len(s.reviews) for s in self.submissions)


def write_overview(results: ClassResults, out: Path) -> None:
    """Write the report of a whole course as a single HTML page.

    Raises:
        UserError: nothing graded yet, or the file cannot be written.
    """
    write_page("course.html.j2", facts(results.all_graded(), results.course), {"short": short}, out)


def totals(labs: dict[str, list[Submission]]) -> dict[str, Total]:
    """Everybody's way through the course, by student."""
    by_lab = [{s.student: s for s in submissions} for submissions in labs.values()]
    absent = [Submission("", "", "", "", name, submissions[0].max_points) for name, submissions in labs.items()]
    names = dict.fromkeys(student for lab in by_lab for student in lab)
    return {
        name: Total([lab.get(name) or replace(none, student=name) for lab, none in zip(by_lab, absent, strict=True)])
        for name in sorted(names)
    }


def facts(labs: dict[str, list[Submission]], course: str) -> dict[str, Any]:
    """Everything the report shows, as plain data."""
    students = totals(labs)
    scores = [t.score for t in students.values() if t.score is not None and any(s.submitted for s in t.submissions)]
    dates = [s.graded_at for submissions in labs.values() for s in submissions if s.graded_at]
    return {
        "course": course,
        "date": datetime.fromtimestamp(max(dates)).strftime("%d %B %Y, %H:%M") if dates else "unknown",
        "labs": [_lab(name, submissions) for name, submissions in labs.items()],
        "students": students,
        "max_points": sum(submissions[0].max_points for submissions in labs.values()),
        "mean": sum(scores) / len(scores) if scores else None,
        "waiting": sum(t.waiting for t in students.values()),
        "ungraded": sum(len(s.ungraded) for t in students.values() for s in t.submissions),
        "lost": _lost(students),
        "unsandboxed": any(s.sandbox is False for t in students.values() for s in t.submissions),
    }


def _lost(students: dict[str, Total]) -> list[tuple[str, str, str]]:
    """Student, lab and reason, of each submission that has no score at all."""
    everything = [(student, submission) for student, total in students.items() for submission in total.submissions]
    return [(untrusted.shown(student), each.assignment, each.lost) for student, each in everything if each.lost]


def _lab(name: str, submissions: list[Submission]) -> dict[str, Any]:
    handed = [s for s in submissions if s.submitted]
    scores, most = [s.score for s in handed if s.score is not None], submissions[0].max_points
    mean = sum(scores) / len(scores) if scores else None
    named: list[CommonMisconception] = misconceptions(handed)
    return {
        "name": name, "max_points": most, "mean": mean, "handed": len(handed), "report": report_path(Path(), name).name,
        "share": round(100 * mean / most) if mean is not None and most else 0,
        "misconceptions": named[:MOST], "more": len(named[MOST:]),
    }  # fmt: skip


def short(submission: Submission) -> tuple[str, str]:
    """A CSS class and what stands beside the points of one lab."""
    if not submission.submitted:
        return "blank", "not submitted"
    if submission.score is None:
        return "lost", f"not graded: {untrusted.terminal(submission.lost, 120)}" if submission.lost else "not graded"
    waiting = [f"+ {submission.waiting} waiting"] * bool(submission.waiting)
    waiting += [f"{len(submission.reviews)} for review"] * bool(submission.reviews)
    open_ = sum(cell.max_points for cell in submission.cells if cell.status in (WAITING, FOR_REVIEW))
    decided = submission.max_points - open_  # a colour for what is known so far
    share = submission.score / decided if decided else 1.0
    return "full" if share >= 0.9 else "part" if share >= 0.5 else "zero", ", ".join(waiting)


def text_overview(results: ClassResults) -> str:
    """The same table for a terminal: student by lab.

    Raises:
        UserError: nothing graded yet.
    """
    labs = results.all_graded()
    most = [submissions[0].max_points for submissions in labs.values()]
    heads = [
        f"{name}\n/{wording.points(points)}"
        for name, points in zip(
            [*(untrusted.terminal(name, 40).partition("_")[0] for name in labs), "total"],
            [*most, sum(most)],
            strict=True,
        )
    ]
    students = totals(labs)
    names = wording.labels(students)
    rows = []
    for student, total in students.items():
        cells = [_number(s.score, s.waiting + len(s.reviews)) if s.submitted else "-" for s in total.submissions]
        rows.append([names[student], *cells, _number(total.score, total.waiting)])
    lines = [format_table(["student\n", *heads], rows)]
    lines += ["", "- not submitted, which counts as 0; + something waits for grading; ? not graded"]
    lost = [f"Not graded: {name}, {lab}: {untrusted.terminal(reason, 600)}" for name, lab, reason in _lost(students)]
    return "\n".join([*lines, *lost])


def _number(score: float | None, waiting: int) -> str:
    return wording.points(score) + "+" * bool(waiting and score is not None)
