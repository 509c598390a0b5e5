"""The exams in which a model is trained in the student's kernel: what the examiner asks of each.

Each draws its images for one submission, trains there, and has a judge that sees answers only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vitedu.learn import TIERS

from . import attempts, capstone
from .accuracy import AccuracyExam, Outcome
from .exams import lab4_accuracy, lab7_capstone
from .exams.lab4_accuracy import AccuracyDraw
from .kernel import Limits, StudentKernel
from .reference import Reference
from .trained import Attempt

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
    return capstone.judge(draw, found)


EXAMS = {
    lab4_accuracy.EXERCISE: TrainedExam(
        lab4_accuracy.draw, lab4_accuracy.version,
        lambda kernel, draw, limits: attempts.hold(kernel, draw, limits), _accuracy_judge, len(TIERS),
    ),
    lab7_capstone.EXERCISE: TrainedExam(
        lab7_capstone.draw, lab7_capstone.version,
        lambda kernel, draw, limits: attempts.hold(kernel, draw, limits, capstone.WAY), _capstone_judge,
        len(capstone.TIERS),
    ),
}  # fmt: skip


def trained_exam(exercise: str) -> TrainedExam:
    """The exam of an exercise whose `trained` is set."""
    return EXAMS[exercise]
