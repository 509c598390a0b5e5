"""One submission as a task for whoever grades it, what comes of examining its notebook, and of all: what travels.

grade_one.py does it, in any process of any machine that has this package and a sandbox.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nbformat import NotebookNode

from autograder.execution.limits import Limits
from autograder.execution.student_kernel import DIED, OUT_OF_MEMORY, TIMED_OUT
from autograder.judging.verdict import NOT_GRADED, Verdict
from autograder.labs.lab import EXAMS, find_lab

OWN = "own"  # instead of an address: a template of the worker's own


class Refused(RuntimeError):
    """This worker cannot do the work as it must be done."""


@dataclass(frozen=True)
class Task:
    """One submission, and all that decides about it.

    Attributes:
        student: decides the variants, with the course secret.
        content: the handed-in file; None where it could not be taken in, and `problem` says why.
        release: the notebook as students got it; points: of each graded cell, from the gradebook.
        sandbox: without, the student's code runs as the user who grades.
        trainings: trained answers of an earlier grading, by file name.
        template: address of a preloaded process that kernels are forked from (see sandbox/forked_kernel.py), OWN, or
            "" for kernels that start by themselves.
        sources: digest of the code that is to do it; "" for whatever code there is.
        reference_cache: a folder of the worker's machine for reference answers, see Reference; "" without one.
        note: what was done about an odd name or place.
    """

    lab: str
    student: str
    content: bytes | None = None
    problem: str = ""
    release: bytes = b""
    points: Mapping[str, float] = field(default_factory=dict)
    secret: bytes = b""
    limits: Limits = field(default_factory=Limits)
    sandbox: bool = True
    trainings: Mapping[str, bytes] = field(default_factory=dict)
    template: str = ""
    sources: str = ""
    reference_cache: str = ""
    note: str = ""

    @property
    def most(self) -> float:
        """Seconds after which whoever does it is stuck."""
        return self.limits.whole(sum(3 for exercise in find_lab(self.lab).exercises if exercise.trained))


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


@dataclass
class Executed:
    """A notebook with the judge's outputs in it, and what the judge decided.

    Attributes:
        seconds: wall time by stage; cpu: CPU time of the student's code.
        trained: names of the files with trained answers; files: those that are new.
        fallback_reason: why a kernel was not forked from the template, though there is one; "" where it was.
        again: this is what an earlier grading has stored, to be recorded anew.
    """

    notebook: NotebookNode
    verdicts: list[Verdict]
    seconds: dict[str, float]
    cpu: float
    sandbox: bool
    trained: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    fallback_reason: str = ""
    again: bool = False
