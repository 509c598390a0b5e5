"""The exams in which a model is trained in the student's kernel: what the examiner asks of each.

Each draws its images for one submission, trains there, and has a judge that sees answers only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from autograder.exams.lab4 import accuracy_exam
from autograder.exams.lab7 import capstone_exam
from autograder.execution import capstone as capstone_clock
from autograder.execution import training_runs
from autograder.execution.limits import Limits
from autograder.execution.student_kernel import StudentKernel
from autograder.judging import capstone as capstone_judge
from autograder.judging.accuracy import AccuracyExam, Outcome
from autograder.judging.reference_answers import Reference
from autograder.judging.training_attempt import Attempt
from autograder.labs.training_draw import AccuracyDraw
from vitedu.training_exams.recipe import TIERS

Earlier = Mapping[str, str]  # exercise -> the idea that was found in it
Earned = Mapping[str, float | None]  # exercise -> points there


@dataclass(frozen=True)
class TrainedExam:
    """One such exam.

    Attributes:
        draw: (secret, variant, hash of the submission) -> its images, labels and seeds.
        version: a digest of all that decides what a training gives.
        hold: trains in the kernel; the attempts, how the last request ended, and why.
        judge: decides on the attempts.
        tiers: how many there are; each is worth the same.
    """

    draw: Callable[[bytes, int | str, str], AccuracyDraw]
    version: Callable[[], str]
    hold: Callable[[StudentKernel, AccuracyDraw, Limits], tuple[list[Attempt], str, str]]
    judge: Callable[[Reference, AccuracyDraw, Sequence[Attempt], Earlier, Earned], Outcome]
    tiers: int


def _accuracy_judge(
    reference: Reference, draw: AccuracyDraw, found: Sequence[Attempt], earlier: Earlier, earned: Earned
) -> Outcome:
    return AccuracyExam(reference).judge(draw, found, earlier, earned)


def _capstone_judge(
    reference: Reference, draw: AccuracyDraw, found: Sequence[Attempt], earlier: Earlier, earned: Earned
) -> Outcome:
    return capstone_judge.judge(draw, found)


EXAMS = {
    accuracy_exam.ID: TrainedExam(
        accuracy_exam.draw, accuracy_exam.version,
        lambda kernel, draw, limits: training_runs.hold(kernel, draw, limits), _accuracy_judge, len(TIERS),
    ),
    capstone_exam.ID: TrainedExam(
        capstone_exam.draw, capstone_exam.version,
        lambda kernel, draw, limits: training_runs.hold(kernel, draw, limits, capstone_clock.WAY), _capstone_judge,
        len(capstone_clock.TIERS),
    ),
}  # fmt: skip


def trained_exam(exercise: str) -> TrainedExam:
    """The exam of an exercise whose `trained` is set."""
    return EXAMS[exercise]
