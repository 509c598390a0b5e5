"""The trainings of an exam that trains a model, in the student's kernel."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nbformat import NotebookNode

from autograder.execution.limits import Limits
from autograder.execution.student_kernel import GONE, OK, TIMED_OUT, StudentKernel
from autograder.judging.accuracy import next_seed
from autograder.judging.training_attempt import Attempt
from autograder.labs.training_draw import AccuracyDraw
from vitedu.training_exams.kernel_entry import request_logits, request_training

ENTRY = "training_exams.kernel_entry.answer_learn"


def notebook_hash(notebook: NotebookNode) -> str:
    """A digest of what a rebuilt notebook runs: its code cells, in order."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


@dataclass(frozen=True)
class Way:
    """How one kind of exam is put to a kernel; the defaults are Lab 4's.

    Attributes:
        entry: the function of vitedu that answers.
        next_seed: (draw, attempts so far) -> the seed of the next training; None: no further one.
        cpu: (kernel, limits) -> CPU seconds that each training may take, asked before the first one.
    """

    entry: str = ENTRY
    next_seed: Callable[[AccuracyDraw, Sequence[Attempt]], int | None] = next_seed
    cpu: Callable[[StudentKernel, Limits], float] = lambda kernel, limits: limits.learn_cpu
    test_cpu: float = math.inf


LAB4 = Way()


def hold(kernel: StudentKernel, draw: AccuracyDraw, limits: Limits, way: Way = LAB4) -> tuple[list[Attempt], str, str]:
    """Train once, and after a near miss with further seeds.

    Returns:
        The attempts, how the last request ended, and why. Where a further training does not come to its end, the
        first one counts.
    """
    attempts: list[Attempt] = []
    status, why, cpu = OK, "", way.cpu(kernel, limits)
    while status == OK and (seed := way.next_seed(draw, attempts)) is not None:

        def train(nonce: str, seed: int = seed) -> bytes:
            return request_training(draw.train_images, draw.train_labels, seed, nonce)

        run = kernel.put(way.entry, train, 1, limits.learn, cpu)
        trained, tested = run.answers.get(0), None
        if run.status == OK and trained is not None and trained.status == "ok":
            # Only now do the test images come into the kernel, and their labels never do.
            run = kernel.put(
                way.entry, lambda nonce: request_logits(draw.test_images, nonce), 1, limits.probe, way.test_cpu
            )
            tested = run.answers.get(0)
        if attempts and run.status in (TIMED_OUT, *GONE):
            break
        attempts.append(Attempt(seed, trained, tested))
        status, why = run.status, run.error
    return attempts, status, why
