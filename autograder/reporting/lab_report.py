"""The class report: what everybody got, and what the class misunderstood."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from autograder.errors import UserError
from autograder.judging.verdict import NOT_ANSWERED
from autograder.reporting import wording
from autograder.reporting.class_results import Cell, ClassResults, Submission
from autograder.sanitize import untrusted

TEMPLATES = Path(__file__).parent / "templates"


@dataclass
class CommonMisconception:
    """A wrong idea and who had it; `carried` counts where it came along into a later exercise."""

    name: str
    exercise: str
    idea: str
    question: str
    students: list[str] = field(default_factory=list)
    carried: int = 0


def write_report(results: ClassResults, assignment: str, out: Path) -> None:
    """Write the class report of one assignment as a single HTML page.

    Raises:
        UserError: nothing graded yet, or the file cannot be written.
    """
    functions = {
        "full": wording.full, "short": wording.short, "reason": wording.reason, "status_style": wording.status_style,
    }  # fmt: skip
    write_page("report.html.j2", facts(results.graded(assignment), results.course), functions, out)


def write_page(template: str, shown: dict[str, Any], functions: dict[str, Any], out: Path) -> None:
    """Write a report as a single HTML page.

    Args:
        shown: what it shows; functions: what the template calls, beside those that all reports call.

    Raises:
        UserError: the file cannot be written.
    """
    env = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    env.filters |= {"points": wording.points, "shown": untrusted.shown}
    env.filters["clean"] = lambda value, limit=400: untrusted.text(value, limit)
    env.globals |= {"label": label, "who": who} | functions
    page = env.get_template(template).render(**shown)
    try:
        out.write_text(page, "utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"cannot write the report to {out}: {error.strerror}") from None


def facts(submissions: list[Submission], course: str) -> dict[str, Any]:
    """Everything the report shows, as plain data."""
    graded = [s for s in submissions if s.submitted]
    columns = max((s.cells for s in graded), key=len)
    scores = [s.score for s in graded if s.score is not None]
    dates = [s.graded_at for s in graded if s.graded_at]
    return {
        "course": course,
        "assignment": submissions[0].assignment,
        "date": datetime.fromtimestamp(max(dates)).strftime("%d %B %Y, %H:%M") if dates else "unknown",
        "unsandboxed": sum(s.sandbox is False for s in graded),
        "submissions": submissions,
        "graded": graded,
        "columns": [_column(cell, graded) for cell in columns],
        "max_points": submissions[0].max_points,
        "mean": sum(scores) / len(scores) if scores else None,
        "waiting": sum(s.waiting for s in graded),
        "ungraded": sum(len(s.ungraded) for s in graded),
        "misconceptions": misconceptions(graded),
        "common": common(graded),
        "repaired": [s for s in graded if s.repairs],
        "stages": list(dict.fromkeys(stage for s in graded for stage in s.seconds)),
        "problems": [
            (untrusted.shown(s.student), message) for s in graded for message in (*filter(None, [s.lost]), *s.problems)
        ],
        "done": sum(s.score is not None for s in graded),
        "missing": [s for s in submissions if not s.submitted],
        "legend": wording.STATUS_STYLES,
    }


def _column(cell: Cell, graded: list[Submission]) -> dict[str, Any]:
    """An exercise's heading: its name, points, and how the class did."""
    same = [c for s in graded for c in s.cells if (c.notebook, c.grade_id) == (cell.notebook, cell.grade_id)]
    if cell.written:  # an empty answer was not marked, it only has no points
        same = [c for c in same if c.status != NOT_ANSWERED]
    decided = [c.points for c in same if c.points is not None]
    mean = sum(decided) / len(decided) if decided else None
    return {
        "name": cell.name, "written": cell.written, "max_points": cell.max_points, "mean": mean,
        "share": round(100 * mean / cell.max_points) if mean is not None and cell.max_points else None,
        "solved": sum(p >= cell.max_points for p in decided), "decided": len(decided), "answered": len(same),
    }  # fmt: skip


def misconceptions(graded: list[Submission]) -> list[CommonMisconception]:
    """The named misconceptions, the most frequent first; a carried one counts where it was marked.

    What explains some cases only does not count as what a student thinks.
    """
    found: dict[tuple[str, str], CommonMisconception] = {}
    diagnoses = [(s, v.exercise, d) for s in graded for c in s.cells if (v := c.verdict) for d in v.diagnoses]
    for submission, _, d in diagnoses:
        if not d.carried and d.whole:
            exercise = wording.exercise_name(d.exercise)
            idea = found.setdefault(
                (exercise, d.misconception), CommonMisconception(wording.named(d), exercise, d.idea, d.question)
            )
            idea.students += [submission.student] * (submission.student not in idea.students)
    for _, _, d in diagnoses:
        if d.carried and (known := found.get((wording.exercise_name(d.exercise), d.misconception))):
            known.carried += 1
    return sorted(found.values(), key=lambda idea: (-len(idea.students), idea.exercise, idea.name))


def common(graded: list[Submission]) -> list[dict[str, Any]]:
    """Wrong answers that nothing explains and that at least two students share, the most frequent first."""
    found: dict[tuple[str, str], list[tuple[str, Cell]]] = {}
    for submission in graded:
        for cell in submission.cells:
            v = cell.verdict
            if v and v.signature and not any(d.whole and not d.carried for d in v.diagnoses):
                found.setdefault((wording.exercise_name(v.exercise), v.signature), []).append(
                    (submission.student, cell)
                )
    groups = [
        {"exercise": exercise, "students": [student for student, _ in members], "what": wording.full(members[0][1])}
        for (exercise, _), members in found.items()
        if len(members) > 1
    ]
    return sorted(groups, key=lambda group: (-len(group["students"]), group["exercise"]))


def who(submission: Submission) -> str:
    """A student's name, or "" when only the id is known."""
    return untrusted.terminal(f"{submission.first_name} {submission.last_name}", 200)


def label(name: str) -> Markup:
    """A name that a line may break in, and that is still found as one word."""
    return Markup("<wbr>").join(wording.breakable(name))
