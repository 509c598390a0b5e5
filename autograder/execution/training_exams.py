"""The exams in which a model is trained in the student's kernel: what the examiner asks of each.

Each draws its images for one submission, trains there, and has a judge that sees answers only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from autograder.exams.lab4 import accuracy_exam
from autograder.exams.lab7 import capstone_exam
from autograder.execution import training_runs
from autograder.execution.limits import Limits
from autograder.execution.student_kernel import StudentKernel
from autograder.judging import capstone as capstone_judge
from autograder.judging.accuracy import AccuracyExam, Outcome, next_seed
from autograder.judging.reference_answers import Reference
from autograder.judging.training_attempt import Attempt
from autograder.labs.training_draw import AccuracyDraw
from vitedu.training_exams.capstone import BUDGET
from vitedu.training_exams.capstone import TIERS as CAPSTONE_TIERS
from vitedu.training_exams.recipe import TIERS

GRACE = 1.25  # the cut-off, in budgets: a batch and a look at the clock may come too late
FREE = 15.0  # CPU seconds that a notebook may have computed before; see `capstone_seconds`
TEST_SECONDS = 10.0  # of CPU, to look at the test images: no time to train on them


def capstone_seconds(kernel: StudentKernel, limits: Limits) -> float:
    """CPU seconds after which a training is cut off.

    What the kernel has computed since it was ready counts, too, beyond `FREE`: a model that was trained in another
    cell, on images that one can draw by oneself, has had its computing already. Imports, the locked cells and the
    other exercise's exam take a part of `FREE`.
    """
    before = kernel.cpu_time() - kernel.cpu_of_start
    return min(limits.learn_cpu, max(1.0, GRACE * BUDGET - max(0.0, before - FREE)))


# How the capstone's exam is put to a kernel: its budget of computing is measured from outside.
CAPSTONE = training_runs.Way(
    "training_exams.capstone_kernel_entry.answer_capstone",
    partial(next_seed, tiers=CAPSTONE_TIERS),
    capstone_seconds,
    TEST_SECONDS,
)

Earlier = Mapping[str, str]  # exercise -> the idea that was found in it
Earned = Mapping[str, float | None]  # exercise -> points there


@dataclass(frozen=True)
class TrainedExam:
    """One such exam.

    Attributes:
        draw: (secret, variant, hash of the submission) -> its images, labels and seeds.
        version: a digest of all that decides what a training gives.
        run: trains in the kernel; the attempts, how the last request ended, and the reason.
        judge: decides on the attempts.
        tiers: how many there are; each is worth the same.
    """

    draw: Callable[[bytes, int | str, str], AccuracyDraw]
    version: Callable[[], str]
    run: Callable[[StudentKernel, AccuracyDraw, Limits], tuple[list[Attempt], str, str]]
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
        lambda kernel, draw, limits: training_runs.run(kernel, draw, limits), _accuracy_judge, len(TIERS),
    ),
    capstone_exam.ID: TrainedExam(
        capstone_exam.draw, capstone_exam.version,
        lambda kernel, draw, limits: training_runs.run(kernel, draw, limits, CAPSTONE), _capstone_judge,
        len(CAPSTONE_TIERS),
    ),
}  # fmt: skip


def trained_exam(exercise: str) -> TrainedExam:
    """The exam of an exercise whose `trained` is set."""
    return EXAMS[exercise]
