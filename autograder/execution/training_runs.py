"""The trainings of an exam that trains a model, in the student's kernel."""

from __future__ import annotations

import hashlib
import json

from nbformat import NotebookNode

from autograder.execution.limits import Limits
from autograder.execution.student_kernel import GONE, OK, TIMED_OUT, StudentKernel
from autograder.judging.trained_exercise import Attempt, TrainedExercise
from autograder.labs.training_draw import AccuracyDraw
from vitedu.training_exams.kernel_entry import request_logits, request_training


def notebook_hash(notebook: NotebookNode) -> str:
    """A digest of what a rebuilt notebook runs: its code cells, in order."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def run(
    kernel: StudentKernel, exercise: TrainedExercise, draw: AccuracyDraw, limits: Limits
) -> tuple[list[Attempt], str, str]:
    """Train once, and after a near miss with further seeds.

    Returns:
        The attempts, how the last request ended, and the reason. Where a further training does not come to its end, the
        first one counts.
    """
    attempts: list[Attempt] = []
    status, reason = OK, ""
    cpu = exercise.cpu_seconds(limits.learn_cpu, kernel.cpu_time() - kernel.cpu_of_start)
    while status == OK and (seed := exercise.next_seed(draw, attempts)) is not None:

        def train(nonce: str, seed: int = seed) -> bytes:
            return request_training(draw.train_images, draw.train_labels, seed, nonce)

        request = kernel.put(exercise.entry, train, 1, limits.learn, cpu)
        trained, tested = request.answers.get(0), None
        if request.status == OK and trained is not None and trained.status == "ok":
            # Only now do the test images come into the kernel, and their labels never do.
            request = kernel.put(
                exercise.entry,
                lambda nonce: request_logits(draw.test_images, nonce),
                1,
                limits.probe,
                exercise.test_cpu_seconds,
            )
            tested = request.answers.get(0)
        if attempts and request.status in (TIMED_OUT, *GONE):
            break
        attempts.append(Attempt(seed, trained, tested))
        status, reason = request.status, request.error
    return attempts, status, reason
