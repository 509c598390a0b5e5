"""How the capstone's exam is put to a kernel: its budget of computing, measured from outside."""

from __future__ import annotations

from functools import partial

from autograder.execution.limits import Limits
from autograder.execution.student_kernel import StudentKernel
from autograder.execution.training_runs import Way
from autograder.judging.accuracy import next_seed
from vitedu.training_exams.capstone import BUDGET, TIERS

GRACE = 1.25  # the cut-off, in budgets: a batch and a look at the clock may come too late
FREE = 15.0  # CPU seconds that a notebook may have computed before; see `seconds_for`
TEST_SECONDS = 10.0  # of CPU, to look at the test images: no time to train on them


def seconds_for(kernel: StudentKernel, limits: Limits) -> float:
    """CPU seconds after which a training is cut off.

    What the kernel has computed since it was ready counts, too, beyond `FREE`: a model that was trained in another
    cell, on images that one can draw by oneself, has had its computing already. Imports, the locked cells and the
    other exercise's exam take a part of `FREE`.
    """
    before = kernel.cpu_time() - kernel.cpu_of_start
    return min(limits.learn_cpu, max(1.0, GRACE * BUDGET - max(0.0, before - FREE)))


WAY = Way(
    "training_exams.capstone_kernel_entry.answer_capstone", partial(next_seed, tiers=TIERS), seconds_for, TEST_SECONDS
)
