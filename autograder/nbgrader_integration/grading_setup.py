"""What decides about all submissions to a lab: read once for a class, or for a command of nbgrader's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbgrader.converters.base import NbGraderException

from autograder.execution.code_version import cache_key, code_hash, sources
from autograder.execution.limits import Limits
from autograder.execution.submission_task import Task
from autograder.labs.lab import Lab
from autograder.storage.course_folder import Course
from autograder.storage.gradebook import points_of
from autograder.storage.submissions import Submission


@dataclass(frozen=True)
class GradingSetup:
    """A lab in a course, and how it is graded there.

    Attributes:
        release: the notebook as students got it; points: of each graded cell, from the gradebook.
        code: a digest of whatever decides a score beside the submission.
    """

    course: Course
    lab: Lab
    release: bytes
    points: dict[str, float]
    limits: Limits
    sandbox: bool
    code: str

    @classmethod
    def read(cls, course: Course, lab: Lab, released: Path, limits: Limits, sandbox: bool) -> GradingSetup:
        """Read release, points and secret.

        Raises:
            NbGraderException: there is no release, or the gradebook has points for another one.
        """
        if not released.exists():
            raise NbGraderException(
                f"expected the released notebook at {released}, found none; "
                f"run: nbgrader generate_assignment {lab.assignment}"
            )
        release = released.read_bytes()
        points = points_of(course, lab, nbformat.reads(release.decode(), as_version=4))
        code = code_hash(lab, release, course.secret, limits, sandbox)
        return cls(course, lab, release, points, limits, sandbox, code)

    def cache_key(self, submission: Submission) -> str:
        """The digest of all that decides a submission's score."""
        return cache_key(submission, self.code)

    def task(self, student: str, submission: Submission, template: str = "", reference_cache: str = "") -> Task:
        """A submission with all that decides about it.

        Args:
            template, reference_cache: see Task.
        """
        content, problem = submission.content()
        record, folder = self.course.record(self.lab, student), self.course.trainings_dir(self.lab)
        names = [Path(name).name for name in record.trained] if record else []
        return Task(
            lab=self.lab.assignment,
            student=student,
            content=content,
            problem=problem,
            release=self.release,
            points=self.points,
            secret=self.course.secret,
            limits=self.limits,
            sandbox=self.sandbox,
            trainings={name: (folder / name).read_bytes() for name in names if (folder / name).is_file()},
            template=template,
            sources=sources(),
            reference_cache=reference_cache,
            note=submission.note,
        )
