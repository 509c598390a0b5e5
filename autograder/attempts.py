"""The accuracy exam's trainings in the student's kernel."""

from __future__ import annotations

import hashlib
import json

from nbformat import NotebookNode

from vitedu.learn import request_logits, request_training

from .accuracy import next_seed
from .exams.lab4_accuracy import AccuracyDraw
from .kernel import OK, Limits, StudentKernel
from .trained import Attempt

ENTRY = "learn.answer_learn"


def notebook_hash(notebook: NotebookNode) -> str:
    """A digest of what a rebuilt notebook runs: its code cells, in order."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def hold(kernel: StudentKernel, draw: AccuracyDraw, limits: Limits) -> tuple[list[Attempt], str, str]:
    """Train once, and after a near miss with further seeds.

    Returns:
        The attempts, how the last request ended, and why.
    """
    attempts: list[Attempt] = []
    status, why = OK, ""
    while status == OK and (seed := next_seed(draw, attempts)) is not None:

        def train(nonce: str, seed: int = seed) -> bytes:
            return request_training(draw.train_images, draw.train_labels, seed, nonce)

        run = kernel.put(ENTRY, train, 1, limits.learn, limits.learn_cpu)
        trained, tested = run.answers.get(0), None
        if run.status == OK and trained is not None and trained.status == "ok":
            # Only now do the test images come into the kernel, and their labels never do.
            run = kernel.put(ENTRY, lambda nonce: request_logits(draw.test_images, nonce), 1, limits.probe)
            tested = run.answers.get(0)
        attempts.append(Attempt(seed, trained, tested))
        status, why = run.status, run.error
    return attempts, status, why
