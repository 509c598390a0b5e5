"""One submission as a task for whoever grades it, and what comes of it: bytes and plain values, which travel.

grade_one.py does it, in any process of any machine that has this package and a sandbox.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nbformat import NotebookNode

from autograder.execution.limits import Limits
from autograder.judging.verdict import Verdict
from autograder.labs.lab import find_lab

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
