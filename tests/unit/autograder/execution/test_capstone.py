"""Lab 7's capstone: its images and draw, its clock, its budget in a kernel, its judge, and the rehearsal."""

from __future__ import annotations

import base64
import json
import math
import time
from dataclasses import replace

import pytest
import torch
from nbformat import NotebookNode
from torch import Tensor, nn

from autograder.authoring.build import source_notebook
from autograder.exams.lab4 import accuracy_exam
from autograder.exams.lab7 import capstone_exam
from autograder.execution import training_runs
from autograder.execution.examiner import examine
from autograder.execution.limits import Limits
from autograder.execution.student_kernel import TIMED_OUT, Run, StudentKernel
from autograder.execution.submission_task import Task
from autograder.execution.training_store import key
from autograder.judging import capstone as capstone_judge
from autograder.judging.reference_answers import Reference
from autograder.judging.trained_exercise import Attempt
from autograder.judging.verdict import ERROR, GRADED, NOT_ANSWERED, Verdict
from autograder.labs.lab import find_lab, without_marks
from autograder.labs.training_draw import AccuracyDraw
from vitedu.checks.validate import CheckFailed
from vitedu.probe import serialization
from vitedu.probe.case import Answer
from vitedu.training_exams import capstone as inside
from vitedu.training_exams import capstone_rehearsal
from vitedu.training_exams.capstone import BUDGET, CLASSES, TEST, TIERS, Clock
from vitedu.training_exams.capstone_kernel_entry import answer_capstone
from vitedu.training_exams.kernel_entry import request_logits, request_training

LEAST = list(TIERS.values())
LAB = find_lab("lab7")


def linear(images: Tensor, labels: Tensor, clock: Clock) -> nn.Module:
    """A capstone that learns nothing and takes no time."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, CLASSES))


# --- the draw ---


def test_its_version_changes_with_the_budget_and_not_with_a_threshold(monkeypatch):
    before = capstone_exam.version()
    assert before != accuracy_exam.version()
    capstone_exam.version.cache_clear()
    monkeypatch.setitem(inside.TIERS, "gold", 0.999)
    assert capstone_exam.version() == before
    capstone_exam.version.cache_clear()
    monkeypatch.setattr(inside, "BUDGET", 99.0)
    assert capstone_exam.version() != before
    monkeypatch.undo()
    capstone_exam.version.cache_clear()


def test_stored_answers_of_the_two_exams_have_different_names():
    draw = AccuracyDraw("id", *(torch.zeros(1),) * 4, (1,))
    exams = [accuracy_exam.EXERCISE, capstone_exam.EXERCISE]
    assert len({key("hash", draw, 3, exam.version()) for exam in exams}) == 2
    assert [exam.tiers for exam in exams] == [3, 4]


# --- the clock ---


def test_the_clock_counts_work_and_not_waiting():
    clock = Clock(0.2)
    time.sleep(0.3)
    assert clock.share < 0.5  # asleep
    while clock.left > 0:
        pass
    assert clock.share == 1.0 and clock.spent >= 0.2


# --- the judge ---


def attempt(logits: Tensor | None) -> Attempt:
    tested = None if logits is None else Answer("ok", "logits", tensors={"logits": logits})
    return Attempt(5, Answer("ok", "seconds"), tested)


def draw_with(logits: Tensor, accuracy: float) -> AccuracyDraw:
    """A draw under whose labels these logits have this accuracy."""
    labels = logits.argmax(1)
    wrong = TEST - round(accuracy * TEST)
    labels[:wrong] = (labels[:wrong] + 1) % CLASSES
    return AccuracyDraw("draw", torch.zeros(0), labels, torch.zeros(0), labels, (5, 6, 7))


LOGITS = torch.randn(TEST, CLASSES, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("accuracy", "points"),
    [(1.0, 4), *((least + 0.001, i) for i, least in enumerate(LEAST, 1)), (LEAST[0] - 0.01, 0), (LEAST[3] - 0.01, 3)],
)
def test_points_by_tier(accuracy, points):
    outcome = capstone_judge.judge(draw_with(LOGITS, accuracy), [attempt(LOGITS)])
    assert (outcome.points, outcome.status, outcome.diagnoses) == (points, GRADED, [])
    assert f"{round(accuracy * TEST)} of {TEST} hidden images right" in outcome.notes[0]


def test_the_best_training_counts():
    draw, bad = draw_with(LOGITS, 1.0), attempt(-LOGITS)
    outcome = capstone_judge.judge(draw, [bad, attempt(LOGITS)])
    assert outcome.points == 4 and "best of 2" in outcome.notes[1]
    assert capstone_judge.judge(draw, [bad, bad, bad, attempt(LOGITS)]).points == 0, "three trainings at most"


@pytest.mark.parametrize(
    ("answers", "status", "note"),
    [
        ((Answer("undone"), None), NOT_ANSWERED, "capstone, or what it needs, is still a TODO"),
        ((Answer("missing"), None), NOT_ANSWERED, "capstone"),
        ((None, None), ERROR, "No trained model came back."),
        ((Answer("ok"), Answer("ok", tensors={"logits": torch.full((TEST, 6), torch.nan)})), ERROR, "no finite logits"),
        ((Answer("ok"), Answer("ok", tensors={"logits": torch.zeros(TEST, 5)})), ERROR, "no finite logits"),
    ],
)
def test_without_logits(answers, status, note):
    outcome = capstone_judge.judge(draw_with(LOGITS, 1.0), [Attempt(5, *answers)])
    assert (outcome.points, outcome.status) == (0, status) and note in outcome.notes[0]


def test_further_seeds_are_for_near_misses():
    near = draw_with(LOGITS, LEAST[2] - 0.01)
    next_seed = capstone_exam.EXERCISE.next_seed
    assert next_seed(near, []) == 5 and next_seed(near, [attempt(LOGITS)]) == 6
    assert next_seed(draw_with(LOGITS, LEAST[3]), [attempt(LOGITS)]) is None
    assert next_seed(draw_with(LOGITS, LEAST[0] - 0.1), [attempt(LOGITS)]) is None


# --- the budget ---


class FakeKernel:
    """A kernel that has computed for so many seconds, and notes how many more a request gets."""

    def __init__(self, seconds: float) -> None:
        self.cpu_of_start, self.seconds, self.given = 3.0, seconds, math.nan

    def cpu_time(self) -> float:
        return self.cpu_of_start + self.seconds

    def put(self, entry, make, messages, seconds, cpu_seconds) -> Run:
        self.given = cpu_seconds
        return Run(TIMED_OUT)


def cut_off(seconds: float, **limits) -> float:
    """CPU seconds that a training gets in a kernel that has computed for `seconds`."""
    kernel, draw = FakeKernel(seconds), draw_with(LOGITS.clone(), 0.5)
    training_runs.run(kernel, capstone_exam.EXERCISE, draw, Limits(**limits))
    return kernel.given


def test_what_was_computed_before_counts_beyond_what_is_free():
    whole = capstone_exam.GRACE * BUDGET
    assert cut_off(0.0) == whole and cut_off(capstone_exam.FREE) == whole
    assert cut_off(capstone_exam.FREE + 6) == pytest.approx(whole - 6)
    assert cut_off(1000.0) == 1.0
    assert cut_off(0.0, learn_cpu=4.0) == 4.0


def notebook(**replaced: str) -> NotebookNode:
    """Lab 7 with its solutions, some of them replaced, and of its exams the capstone alone."""
    nb = source_notebook(LAB)
    ids = {cell.grade_id for cell in LAB.cells if cell.role in ("setup", "solution")} | {"exam-capstone"}
    nb.cells = [cell for cell in nb.cells if cell.metadata.nbgrader.grade_id in ids]
    for cell in nb.cells:
        cell.source = replaced.get(cell.metadata.nbgrader.grade_id, without_marks(cell.source))
    return nb


def sit(nb: NotebookNode, kept=None, **limits) -> Verdict:
    task = Task(LAB.assignment, "ada", secret=b"a secret", limits=Limits(**limits))
    (verdict,) = examine(task, nb, Reference(LAB), kept).verdicts
    return verdict


ENDLESS = "def capstone(images, labels, clock):\n    while True:\n        pass"
LINEAR = "def capstone(images, labels, clock):\n    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 6))"
LYING = LINEAR.replace("    return", "    clock.seconds = 1e9\n    while clock.left > 0:\n        pass\n    return")


@pytest.mark.parametrize("code", [ENDLESS, LYING], ids=["endless", "sets its clock back"])
def test_who_goes_on_is_cut_off_from_outside(code, tmp_path, monkeypatch):
    monkeypatch.setattr(capstone_exam, "BUDGET", 2.0)  # outside; in the kernel the clock still says 20
    verdict = sit(notebook(capstone=code), tmp_path)
    assert (verdict.status, verdict.points) == (TIMED_OUT, 0.0)
    assert "s of CPU time" in verdict.reason and not list(tmp_path.iterdir())


def test_training_while_it_is_tested_is_cut_off(monkeypatch):
    hurried = (replace(e, test_cpu_seconds=1.0) if e.trained else e for e in LAB.exercises)
    monkeypatch.setitem(vars(LAB), "exercises", tuple(hurried))
    late = (
        "class Late(nn.Module):\n    def forward(self, images):\n        while True:\n            pass\n\n\n"
        "def capstone(images, labels, clock):\n    return Late()"
    )
    assert sit(notebook(capstone=late)).status == TIMED_OUT


def test_a_training_is_kept_and_judged_again_without_another_one(tmp_path, monkeypatch):
    first = sit(notebook(capstone=LINEAR), tmp_path)
    assert (first.status, first.points, first.max_points) == (GRADED, 0.0, 4.0)
    assert len(list(tmp_path.iterdir())) == 1 and "hidden images right" in first.cases[0].note
    json.dumps(first.as_json())

    def refuse(*_):
        raise AssertionError("it was trained again")

    monkeypatch.setattr(training_runs, "run", refuse)
    monkeypatch.setattr(capstone_judge, "points_of", lambda accuracy, tiers: 4)
    assert sit(notebook(capstone=LINEAR), tmp_path).points == 4.0, "by today's thresholds"
    with pytest.raises(AssertionError, match="trained again"):  # another notebook has another draw
        sit(notebook(capstone=LINEAR + "\n"), tmp_path)


def test_neither_labels_nor_entropy_enter_the_kernel(monkeypatch):
    sent, draws, run = [], [], training_runs.run
    monkeypatch.setattr(
        training_runs, "run", lambda kernel, exam, draw, limits: draws.append(draw) or run(kernel, exam, draw, limits)
    )
    put = StudentKernel.put

    def listen(self, entry, make, *rest, **named):
        if entry == "training_exams.capstone_kernel_entry.answer_capstone":
            sent.append(make("nonce"))
        return put(self, entry, make, *rest, **named)

    monkeypatch.setattr(StudentKernel, "put", listen)
    sit(notebook(capstone=LINEAR))
    (training, testing), (draw,) = sent, draws
    assert draw.train_images.numpy().tobytes() in training and draw.test_images.numpy().tobytes() in testing
    for data in sent:
        assert draw.test_labels.numpy().tobytes() not in data
        assert draw.id.encode() not in data and b"a secret" not in data
    assert draw.test_images.numpy().tobytes() not in training


# --- inside the kernel ---


def asked(monkeypatch, request: bytes, space: dict) -> Answer:
    shown = []
    monkeypatch.setattr("IPython.display.publish_display_data", lambda data: shown.append(data[serialization.MIME]))
    answer_capstone(base64.b64encode(request).decode(), space)
    (data,) = shown
    header, tensors = serialization.unpack(base64.b64decode(data))
    return Answer.read(header, tensors)


def test_the_two_requests(monkeypatch):
    (images, labels), _ = inside.public_images()
    seen = {}

    def own(images, labels, clock):
        seen.update(images=images, labels=labels, left=clock.left, threads=torch.get_num_threads())
        return linear(images, labels, clock)

    trained = asked(monkeypatch, request_training(images[:30], labels[:30], 4, "n"), {"capstone": own})
    assert trained.status == "ok" and trained.tensors["seconds"] < 5
    assert seen["images"].shape == (30, 3, 32, 32) and seen["images"].dtype == torch.float32
    assert seen["images"].abs().max() <= 2.01 and torch.equal(seen["labels"], labels[:30])
    assert seen["threads"] == 1 and 0 < seen["left"] <= BUDGET
    tested = asked(monkeypatch, request_logits(images[30:50], "n"), {})
    assert tested.tensors["logits"].shape == (20, CLASSES) and set(tested.tensors) == {"logits"}


def test_what_is_no_model_is_told(monkeypatch):
    (images, labels), _ = inside.public_images()
    request = request_training(images[:4], labels[:4], 4, "n")
    found = asked(monkeypatch, request, {"capstone": lambda *_: 3})
    assert (found.status, found.error["type"]) == ("error", "TypeError") and "nn.Module" in found.error["message"]
    assert asked(monkeypatch, request, {}).status == "missing"
    assert asked(monkeypatch, request_logits(images[:4], "n"), {}).status == "missing", "nothing is left of before"


# --- the rehearsal ---


def test_a_rehearsal_says_what_it_took_and_what_it_would_be_worth():
    found = capstone_rehearsal.rehearse(linear, seconds=1)
    assert found.passed is False and 0 < found.accuracy < 0.4
    assert "below iron" in repr(found) and "you gave 1 s" in repr(found)
    html = found._repr_html_()
    assert all(name in html for name in TIERS) and "data:image/png" in html


def test_a_rehearsal_of_something_that_does_not_look_at_the_clock_warns():
    def late(images, labels, clock):
        started = time.process_time()
        while time.process_time() - started < 0.5:
            pass
        return linear(images, labels, clock)

    assert "may be cut off" in repr(capstone_rehearsal.rehearse(late, seconds=0.2))


def test_a_rehearsal_of_a_todo(monkeypatch):
    space: dict = {}  # a function of the notebook's own, as a cell defines it
    exec('def capstone(images, labels, clock):\n    raise NotImplementedError("TODO")', space)
    assert "capstone is still a TODO." in repr(capstone_rehearsal.rehearse(space["capstone"]))
    monkeypatch.setenv("NBGRADER_EXECUTION", "validate")
    with pytest.raises(CheckFailed, match="not answered yet"):
        capstone_rehearsal.rehearse(space["capstone"])
    assert "ready to be trained" in repr(capstone_rehearsal.rehearse(linear))


def test_the_tiers_rise():
    assert list(TIERS) == ["iron", "bronze", "silver", "gold"]
    assert LEAST == sorted(set(LEAST)) and 1 / CLASSES < LEAST[0] and LEAST[-1] <= 1
    assert all((least * TEST) == pytest.approx(round(least * TEST)) for least in LEAST), "whole images"
