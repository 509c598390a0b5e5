"""What comes of examining one notebook."""

from __future__ import annotations

from dataclasses import dataclass, field

from nbformat import NotebookNode

from autograder.execution.student_kernel import DIED, OUT_OF_MEMORY, TIMED_OUT
from autograder.judging.verdict import NOT_GRADED, Verdict
from autograder.labs.lab import EXAMS

ENDINGS = {
    DIED: "the kernel died while this was examined",
    TIMED_OUT: "there was no answer in time",
    OUT_OF_MEMORY: "it took more memory than there is for a notebook",
}


@dataclass
class Examination:
    """What came of one notebook.

    Attributes:
        outputs: of each code cell that ran, by its place in the notebook.
        seconds: by stage: start, cells, probes, judge, replays, and again: all of a second look.
        cpu: CPU seconds of the student's code, in all kernels together; what a kernel takes to start is left out.
        trained: names of the files with trained answers that it used or wrote.
        fallback_reason: why a kernel was not forked from the template, though there is one.
        notes: sentences about cells that were stopped or left out, and exercises that were better further below.
    """

    verdicts: list[Verdict] = field(default_factory=list)
    outputs: dict[int, list[NotebookNode]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    cpu: float = 0.0
    trained: list[str] = field(default_factory=list)
    fallback_reason: str = ""
    notes: list[str] = field(default_factory=list)


def unexamined(notebook: NotebookNode, reason: str) -> Examination:
    """What comes of a notebook in which nothing can be graded: no score until a person has looked, and no kernel."""
    examination = Examination()
    for cell in notebook.cells:
        if cell.metadata.vitedu.role in EXAMS:
            examination.verdicts.append(new_verdict(cell, NOT_GRADED, None, reason))
    return examination


def new_verdict(cell: NotebookNode, status: str, points: float | None, reason: str) -> Verdict:
    """A verdict on an exam's cell."""
    return Verdict(
        exercise=cell.metadata.vitedu.exercise, grade_id=cell.metadata.nbgrader.grade_id, status=status,
        points=points, max_points=float(cell.metadata.nbgrader.get("points", 0)), reason=reason,
    )  # fmt: skip
