"""The class table for a terminal."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path

from autograder.judging.verdict import NOT_ANSWERED, NOT_GRADED
from autograder.reporting import wording
from autograder.reporting.class_results import NOT_SUBMITTED, WAITING, Cell, Submission, read_assignment
from autograder.sanitize import untrusted


def text_table(course_dir: Path | str, assignment: str, width: int = 0, db_url: str | None = None) -> str:
    """The report's first table for a terminal: student by exercise, points, diagnosis in words.

    Args:
        width: characters a line; 0: the terminal's, 120 where there is none.
        db_url: the gradebook's address; None: gradebook.db in the course folder.

    Raises:
        UserError: no gradebook, no such assignment, or nothing graded yet.
    """
    submissions = read_assignment(Path(course_dir), assignment, db_url)
    width = width or shutil.get_terminal_size((120, 24)).columns
    columns = [cell for cell in max((s.cells for s in submissions), key=len) if not cell.written]
    written = sum(cell.max_points for cell in max((s.cells for s in submissions), key=len) if cell.written)
    heads = [[*_stacked(cell.name), f"/{wording.points(cell.max_points)}"] for cell in columns]
    heads += [["written", f"/{wording.points(written)}"]] * bool(written)
    heads = [["student"], *heads, ["total", f"/{wording.points(submissions[0].max_points)}"]]
    names = wording.labels(s.student for s in submissions)
    lines = [[names[s.student], *_points(s, columns), *_written(s)[: bool(written)], _total(s)] for s in submissions]
    widths = [max(map(len, [*head, *(line[i] for line in lines)])) for i, head in enumerate(heads)]
    left = sum(widths) + 2 * len(widths)
    # Too little room beside the points: the words go below, indented.
    beside, room = left + 50 <= width, max(width - left if left + 50 <= width else width - 4, 24)

    def line(fields: list[str]) -> str:
        rest = [field.rjust(width) for field, width in zip(fields[1:], widths[1:], strict=True)]
        return "  ".join([fields[0].ljust(widths[0]), *rest])

    height = max(map(len, heads))
    padded = [[""] * (height - len(head)) + head for head in heads]
    table = [line([head[row] for head in padded]) for row in range(height)]
    table[-1] += "  diagnosis" * beside
    table.append("-" * (min(width, left + room) if beside else left - 2))
    for submission, fields in zip(submissions, lines, strict=True):
        said = [part for s in _sentences(submission) for part in textwrap.wrap(s, room, subsequent_indent="  ")]
        first = line(fields) + ("  " + said.pop(0) if beside and said else "")
        table += [first, *((" " * left if beside else "    ") + part for part in said)]
    return "\n".join([*(row.rstrip() for row in table), "", *textwrap.wrap(_key(submissions), width)]).rstrip() + "\n"


def _stacked(name: str) -> list[str]:
    """A name's parts on as few lines of at most 10 characters as they need."""
    lines = [""]
    for part in wording.breakable(name):
        lines = [*lines[:-1], lines[-1] + part] if len(lines[-1] + part) <= 10 else [*lines, part]
    return [line for line in lines if line]


def _points(submission: Submission, columns: list[Cell]) -> list[str]:
    if submission.refused:
        return ["?"] * len(columns)
    signs = {NOT_ANSWERED: "-", WAITING: "wait", NOT_GRADED: "?"}
    cells = {(cell.notebook, cell.grade_id): cell for cell in submission.cells}
    found = [cells.get((column.notebook, column.grade_id)) for column in columns]
    return [signs.get(cell.status, wording.points(cell.points)) if cell else "" for cell in found]


def _written(submission: Submission) -> list[str]:
    cells = [cell for cell in submission.cells if cell.written]
    if any(cell.status == WAITING for cell in cells):
        return ["wait"]
    if submission.refused or any(cell.status == NOT_GRADED for cell in cells):
        return ["?"]
    return [wording.points(sum(cell.points or 0.0 for cell in cells)) if submission.submitted else ""]


def _total(submission: Submission) -> str:
    return wording.points(submission.score) + ("+" if submission.waiting and submission.score is not None else "")


def _sentences(submission: Submission) -> list[str]:
    """What a terminal reader is told about a student: diagnoses, then whatever else went wrong."""
    if not submission.submitted:
        return [NOT_SUBMITTED]
    if submission.lost:
        return [untrusted.terminal(said, 600) for said in (submission.lost, *submission.problems)]
    said = {cell.name: wording.full(cell) for cell in submission.cells if not cell.written}
    blank = [name for name, sentences in said.items() if sentences == [NOT_ANSWERED]]
    sentences = [f"{name}: {'; '.join(found)}" for name, found in said.items() if found and name not in blank]
    sentences += [f"not answered: {', '.join(blank)}"] if blank else []
    if submission.mended:
        sentences.append(f"mended: {'; '.join(untrusted.terminal(m, 200) for m in submission.mended)}")
    return sentences + [untrusted.terminal(problem) for problem in submission.problems]


def _key(submissions: list[Submission]) -> str:
    statuses = {cell.status for s in submissions for cell in s.cells} | {s.status for s in submissions}
    signs = {NOT_ANSWERED: "- not answered", WAITING: "wait: a written answer waits for grading, + the total grows",
             NOT_GRADED: "? not graded, so no total"}  # fmt: skip
    return "; ".join(text for status, text in signs.items() if status in statuses)
