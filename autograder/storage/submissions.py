"""What the search for submissions gives: one student's `Submission`, and the `SubmissionSet` of a class."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from autograder.submission.arrivals import Arrival
from autograder.submission.parse_notebook import Unreadable


@dataclass(frozen=True)
class Submission:
    """What one student handed in.

    Attributes:
        file: what counts; None where nothing can be graded.
        problem: why nothing can, and what to do: a sentence without its full stop; "" where something can.
        note: what was done about an odd name or place: a sentence; "" where all is as it should be.
        folder: where the timestamp and nbgrader's secret lie that belong to it, if there are any.
    """

    file: Arrival | None
    problem: str = ""
    note: str = ""
    folder: Path = Path()

    def content(self) -> tuple[bytes | None, str]:
        """The notebook's bytes and "", or None and why there are none."""
        if self.file is None or self.problem:
            return None, self.problem
        try:
            return self.file.read(), ""
        except Unreadable as problem:
            return None, f"{problem}: hand in the notebook again"
        except OSError as error:  # taken away meanwhile, a disk that fails
            return None, f"{self.file.path.name} cannot be read ({error.strerror})"


@dataclass
class SubmissionSet:
    """What was handed in for a lab, by student, in order.

    Attributes:
        found: what there is of each student, to be graded or named.
        unreadable: what nbgrader cannot even take the name of, or nobody may read: by name, and why.
        absent: students whose folder holds nothing for this lab.
        others: students who handed in, but were not asked for.
    """

    found: dict[str, Submission] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    def of(self, students: set[str]) -> SubmissionSet:
        """The part of some students."""
        return SubmissionSet(
            {student: each for student, each in self.found.items() if student in students},
            {student: problem for student, problem in self.unreadable.items() if student in students},
            [student for student in self.absent if student in students],
            [student for student in self.found if student not in students],
        )
