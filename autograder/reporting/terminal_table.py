"""The class table for a terminal."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence

from tabulate import SEPARATING_LINE, tabulate

from autograder.judging.verdict import NOT_ANSWERED, NOT_GRADED
from autograder.reporting import wording
from autograder.reporting.class_results import NOT_SUBMITTED, WAITING, Cell, ClassResults, Submission
from autograder.sanitize import untrusted


def format_table(
    heads: Sequence[str], rows: Sequence[Sequence[object]], align: Sequence[str] = (), rule: bool = True
) -> str:
    """A table as plain text.

    Args:
        heads: of the columns; heads and fields may have several lines, and heads stand at the bottom.
        align: "left" or "right", for each column; else the first one stands to the left, and the others to the right.
        rule: put a line under the heads.
    """
    align = align or ["left", *["right"] * (len(heads) - 1)]
    height = max(head.count("\n") for head in heads)
    first = ["\n" * (height - head.count("\n")) + head for head in heads]
    # As a row: tabulate makes columns wider than their heads.
    table = tabulate(
        [first, *([SEPARATING_LINE] if rule else []), *rows], tablefmt="simple" if rule else "plain", colalign=align,
        disable_numparse=True, preserve_whitespace=True,
    )  # fmt: skip
    lines = [line.rstrip() for line in table.splitlines()]
    return "\n".join(lines[1:-1] if rule else lines)  # "simple" draws a line above and below, too


def text_table(results: ClassResults, assignment: str, width: int = 0) -> str:
    """The report's first table for a terminal: student by exercise, points, diagnosis in words.

    Args:
        width: characters a line; 0: the terminal's, 120 where there is none.

    Raises:
        UserError: nothing graded yet.
    """
    submissions = results.graded(assignment)
    width = width or shutil.get_terminal_size((120, 24)).columns
    columns = [cell for cell in max((s.cells for s in submissions), key=len) if not cell.written]
    written = sum(cell.max_points for cell in max((s.cells for s in submissions), key=len) if cell.written)
    heads = ["\n".join([*_stacked(cell.name), f"/{wording.points(cell.max_points)}"]) for cell in columns]
    heads += [f"written\n/{wording.points(written)}"] * bool(written)
    heads = ["student", *heads, f"total\n/{wording.points(submissions[0].max_points)}"]
    names = wording.labels(s.student for s in submissions)
    rows = [[names[s.student], *_points(s, columns), *_written(s)[: bool(written)], _total(s)] for s in submissions]
    lines = format_table(heads, rows).splitlines()
    left = max(map(len, lines)) + 2
    if left + 50 <= width:
        rows = [[*row, "\n".join(_wrapped(s, width - left))] for row, s in zip(rows, submissions, strict=True)]
        lines = [format_table([*heads, "diagnosis"], rows, ["left", *["right"] * (len(heads) - 1), "left"])]
    else:  # too little room beside the points: the words go below, indented
        above, points = lines[: -len(rows)], lines[-len(rows) :]
        under = [[f"    {part}" for part in _wrapped(submission, max(width - 4, 24))] for submission in submissions]
        lines = [*above, *(part for line, words in zip(points, under, strict=True) for part in (line, *words))]
    return "\n".join([*lines, "", *textwrap.wrap(_key(submissions), width)]).rstrip() + "\n"


def _wrapped(submission: Submission, width: int) -> list[str]:
    """What there is to say about a submission, on lines of this width."""
    return [part for s in _sentences(submission) for part in textwrap.wrap(s, width, subsequent_indent="  ")]


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
    """What a terminal reader reads about a student: diagnoses, then whatever else went wrong."""
    if not submission.submitted:
        return [NOT_SUBMITTED]
    if submission.lost:
        return [untrusted.terminal(message, 600) for message in (submission.lost, *submission.problems)]
    found = {cell.name: wording.full(cell) for cell in submission.cells if not cell.written}
    blank = [name for name, sentences in found.items() if sentences == [NOT_ANSWERED]]
    sentences = [f"{name}: {'; '.join(each)}" for name, each in found.items() if each and name not in blank]
    sentences += [f"not answered: {', '.join(blank)}"] if blank else []
    if submission.repairs:
        sentences.append(f"mended: {'; '.join(untrusted.terminal(m, 200) for m in submission.repairs)}")
    return sentences + [untrusted.terminal(problem) for problem in submission.problems]


def _key(submissions: list[Submission]) -> str:
    statuses = {cell.status for s in submissions for cell in s.cells} | {s.status for s in submissions}
    signs = {NOT_ANSWERED: "- not answered", WAITING: "wait: a written answer waits for grading, + the total grows",
             NOT_GRADED: "? not graded, so no total"}  # fmt: skip
    return "; ".join(text for status, text in signs.items() if status in statuses)
