"""The accuracy exam in a student's kernel: trained once, kept, judged again; and cut off when it takes too long."""

from __future__ import annotations

import json

import pytest
from nbformat import NotebookNode

from autograder.authoring.build import source_notebook
from autograder.execution import training_runs
from autograder.execution.examiner import examine
from autograder.execution.limits import Limits
from autograder.execution.student_kernel import StudentKernel
from autograder.execution.submission_task import Task
from autograder.judging.reference_answers import Reference
from autograder.judging.verdict import DIED, GRADED, NOT_ANSWERED, TIMED_OUT, Verdict
from autograder.labs.lab import find_lab, without_marks

LAB = find_lab("lab4")
EXAM = "exam-exam_model"


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(LAB)


def notebook(**replaced: str) -> NotebookNode:
    """Lab 4 with its solutions, some of them replaced, and of its exams the accuracy exam alone."""
    nb = source_notebook(LAB)
    ids = {cell.grade_id for cell in LAB.cells if cell.role in ("setup", "solution")} | {EXAM}
    nb.cells = [cell for cell in nb.cells if cell.metadata.nbgrader.grade_id in ids]
    for cell in nb.cells:
        cell.source = replaced.get(cell.metadata.nbgrader.grade_id, without_marks(cell.source))
    return nb


def sit(reference, nb, kept=None, **limits) -> Verdict:
    """The verdict on the one exam of a notebook."""
    task = Task(LAB.assignment, "ada", secret=b"a secret", limits=Limits(**limits))
    (verdict,) = examine(task, nb, reference, kept).verdicts
    return verdict


@pytest.mark.long
def test_a_training_is_kept_and_judged_again_without_another_one(reference, tmp_path, monkeypatch):
    first = sit(reference, notebook(), tmp_path)
    assert (first.status, first.points, first.diagnoses) == (GRADED, 3.0, [])
    assert len(list(tmp_path.iterdir())) == 1
    json.dumps(first.as_json())

    def refuse(*_):
        raise AssertionError("it was trained again")

    monkeypatch.setattr(training_runs, "run", refuse)
    again = sit(reference, notebook(), tmp_path)
    assert (again.points, again.cases) == (first.points, first.cases)
    with pytest.raises(AssertionError, match="trained again"):  # another notebook has another draw
        sit(reference, notebook(exam_model="def exam_model():\n    return build_model(depth=1)"), tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("wrong", ["raise RuntimeError('of my own')", "return nn.Flatten()"])
def test_in_place_of_a_model_that_is_not_right_the_locked_one_is_trained(reference, wrong):
    nb = source_notebook(LAB)
    ids = {cell.grade_id for cell in LAB.cells if cell.role in ("setup", "solution")} | {EXAM, "check-build_model"}
    nb.cells = [cell for cell in nb.cells if cell.metadata.nbgrader.grade_id in ids]
    for cell in nb.cells:
        if (grade_id := cell.metadata.nbgrader.grade_id) == "build_model":
            cell.source = f"def build_model(*args, **kwargs):\n    {wrong}\n"
        elif grade_id in ids - {EXAM, "check-build_model"}:
            cell.source = without_marks(cell.source)
    task = Task(LAB.assignment, "ada", secret=b"a secret")
    model, exam = examine(task, nb, reference).verdicts
    assert not any(case.right for case in model.cases)
    assert (exam.points, exam.status, exam.stand_ins) == (3.0, GRADED, ["build_model"])
    assert "Right as far as this exercise goes: build_model is not right yet" in " ".join(exam.remarks)


def test_neither_labels_nor_entropy_enter_the_kernel(reference, monkeypatch):
    sent, draws = [], []
    monkeypatch.setattr(StudentKernel, "put", lambda self, entry, make, *_, **__: sent.append(make("nonce")) or stop())
    run = training_runs.run
    monkeypatch.setattr(
        training_runs, "run", lambda kernel, exam, draw, limits: draws.append(draw) or run(kernel, exam, draw, limits)
    )

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sit(reference, notebook())
    (data,), (draw,) = sent, draws
    assert draw.train_images.numpy().tobytes() in data  # the search finds what is there
    assert draw.test_labels.numpy().tobytes() not in data and draw.test_images.numpy().tobytes() not in data
    assert draw.id.encode() not in data and b"a secret" not in data


@pytest.mark.parametrize(
    ("code", "status", "limits"),
    [
        ("def exam_model():\n    return build_model(dim=256, depth=8)", TIMED_OUT, {"learn_cpu": 3.0}),
        ("def exam_model():\n    import os\n    os._exit(1)", DIED, {}),
        ('def exam_model():\n    raise NotImplementedError("TODO")', NOT_ANSWERED, {}),
    ],
)
def test_what_does_not_end_well_earns_nothing_and_says_why(reference, tmp_path, code, status, limits):
    verdict = sit(reference, notebook(exam_model=code), tmp_path, **limits)
    assert (verdict.status, verdict.points) == (status, 0.0)
    if status == TIMED_OUT:
        assert "3 s of CPU time" in verdict.reason
    assert bool(list(tmp_path.iterdir())) == (status == NOT_ANSWERED)  # only what came to an end is kept
