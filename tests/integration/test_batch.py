"""A class graded in parallel: the same as nbgrader's own command, and no worse when workers die."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import Executor, Future
from pathlib import Path

import nbformat
import psutil
import pytest
from sqlalchemy import inspect

from autograder import interrupts
from autograder.authoring.sample_class import sample_class
from autograder.execution.submission_task import Task
from autograder.grading import worker_pool
from autograder.labs.lab import ROOT
from support.course_fixture import LAB, Course
from support.inline import Here, Inline
from support.killed import environment, temporary_folder

RANDOM = {"id", "cell_id", "notebook_id", "assignment_id"}  # what nbgrader draws anew for each row
CLASS = ("ada", "blaise", "carl", "emmy", "grace", "karl", "lena", "nora")


@pytest.fixture(scope="module")
def handed_in(released_course, tmp_path_factory) -> Course:
    """A part of the sample class; one is late, of one only a torn file came in."""
    course = released_course.copy(tmp_path_factory.mktemp("batch") / "handed_in")
    text = (ROOT / "autograder" / "nbgrader_config.py").read_text()
    (course.root / "nbgrader_config.py").write_text(f"{text}\nc.AssignLatePenalties.penalty_method = 'zero'\n")
    with course.gradebook() as gradebook:
        gradebook.update_or_create_assignment(LAB.assignment, duedate="2026-02-01 12:00:00 UTC")
    for student in sample_class(LAB):
        if student.id in CLASS:
            course.hand_in(student.id, student.codes, student.mend)
    for student, when in (("ada", "2026-01-31 10:00:00 UTC"), ("blaise", "2026-02-03 10:00:00 UTC")):
        (course.submission(student).parent / "timestamp.txt").write_text(when)
    course.hand_in("torn", {}).write_bytes(b'{"cells": [')
    return course


def command(course: Course, *options: str) -> list[str]:
    return [sys.executable, "-m", "autograder.cli", "grade", LAB.assignment, "--course", str(course.root), *options]


@pytest.fixture(scope="module")
def batch(handed_in, tmp_path_factory) -> tuple[Course, subprocess.CompletedProcess]:
    """The class graded by two workers."""
    course = handed_in.copy(tmp_path_factory.mktemp("ours") / "course")
    with temporary_folder() as temporary:
        done = subprocess.run(
            command(course, "--workers", "2", "--profile"), env=environment(temporary), capture_output=True, text=True
        )
        assert done.returncode == 1 and "torn: Nothing could be graded" in done.stderr, done.stderr
        assert list(temporary.iterdir()) == [], "nothing is left behind"
    return course, done


@pytest.fixture(scope="module")
def nbgraders(handed_in, tmp_path_factory) -> Course:
    """The class graded by `nbgrader autograde` and `nbgrader generate_feedback`, with our configuration."""
    course = handed_in.copy(tmp_path_factory.mktemp("nbgrader") / "course")
    for step in ("autograde", "generate_feedback"):
        subprocess.run(
            [sys.executable, "-m", "nbgrader", step, LAB.assignment],
            cwd=course.root, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    return course


def columns(row: object) -> dict[str, object]:
    return {c.key: getattr(row, c.key) for c in inspect(row).mapper.column_attrs if c.key not in RANDOM}


def everything(course: Course) -> dict[str, object]:
    """Every row of the gradebook about a submission, in the order of names."""
    with course.gradebook() as gradebook:
        return {
            submission.student_id: (
                columns(submission), columns(submission.student),
                [
                    (columns(nb), sorted(repr(columns(row)) for row in (*nb.grades, *nb.comments)))
                    for nb in submission.notebooks
                ],
            )
            for submission in gradebook.assignment_submissions(LAB.assignment)
        }  # fmt: skip


def timeless(text: str) -> str:
    return re.sub(r"Examined in [\d.]+ s", "Examined", text)


def test_the_gradebook_is_what_nbgraders_own_command_makes(batch, nbgraders):
    ours, theirs = everything(batch[0]), everything(nbgraders)
    assert ours.keys() == {*CLASS, "torn"}
    for student, rows in ours.items():
        assert rows == theirs[student]


@pytest.mark.parametrize("student", [*CLASS, "torn"])
def test_notebooks_and_pages_are_the_same(batch, nbgraders, student):
    for folder, name in (("autograded", "attention.ipynb"), ("feedback", "attention.html")):
        ours, theirs = (
            timeless((course.root / folder / student / LAB.assignment / name).read_text())
            for course in (batch[0], nbgraders)
        )
        # Numbers of objects in memory, in what students printed, are no promise.
        assert re.sub(r"0x[0-9a-f]+", "0x", ours) == re.sub(r"0x[0-9a-f]+", "0x", theirs)


def test_verdicts_are_the_same(batch, nbgraders):
    for student in (*CLASS, "torn"):
        ours, theirs = batch[0].verdicts(student), nbgraders.verdicts(student)
        for verdict in (*ours.values(), *theirs.values()):
            del verdict["seconds"]
        assert ours == theirs


def test_progress_and_a_summary_are_shown(batch):
    done = batch[1]
    assert re.search(r"100%.*9/9 \[\d\d:\d\d<00:00", done.stderr)
    assert "8 graded, 0 were graded already, 1 failed" in done.stdout


def test_the_profile_shows_each_stage(batch):
    table = batch[1].stdout.split("seconds of wall time")[1]
    assert all(re.search(rf"^{stage} +\d", table, re.M) for stage in ("start", "cells", "probes", "judge", "CPU"))
    records = [json.loads(path.read_text()) for path in batch[0].root.glob("verdicts/*/*/*.json")]
    assert all(record["cpu"] > 0 for record in records if record["student"] in ("ada", "grace"))


def test_a_worker_that_is_killed_costs_a_retry_and_no_result(handed_in, batch, tmp_path):
    course = handed_in.copy(tmp_path / "course")
    with temporary_folder() as temporary:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        running = subprocess.Popen(command(course, "--workers", "2"), env=environment(temporary), **streams)
        workers: list[psutil.Process] = []
        while running.poll() is None and not workers:  # a worker is a fork of the command
            time.sleep(0.05)
            children = psutil.Process(running.pid).children() if any(course.root.glob("verdicts/*")) else []
            workers = [child for child in children if "autograder.cli" in " ".join(child.cmdline())]
        workers[0].kill()
        out, err = running.communicate(timeout=300)
        assert running.returncode == 1, err.decode()
        assert b"8 graded, 0 were graded already, 1 failed" in out and b"Traceback" not in err
        assert list(temporary.iterdir()) == []
    assert everything(course) == everything(batch[0])


KILLER = """
import os, signal, sys
from autograder.grading import worker_pool
from autograder.execution.submission_task import Executed, Task
from multiprocessing.connection import Connection

def half(line, content):
    os.write(line.fileno(), bytes(content)[:len(content) // 2])
    os.kill(os.getpid(), signal.SIGKILL)

def grade_in_worker(task):
    if task.student == "killer":
        os.kill(os.getpid(), signal.SIGKILL)
    if task.student == "half":
        Connection._send = half
    return Executed(None, [], {}, 0.0, True)

worker_pool.grade_in_worker = grade_in_worker
names = ["a", "b", "killer", "c", "d", "half", "e", "f"]
tasks = (Task("", name, b"", "", b"", {}, b"", None, True) for name in names)
workers = worker_pool.Processes(2)
for task, outcome in worker_pool.run(workers, tasks):
    print(task.student, outcome if isinstance(outcome, str) else "done", sep=": ")
workers.close()
"""


def test_one_that_kills_its_worker_again_and_again_takes_no_other_with_it():
    one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # else the process has threads and is not forked
    command = [sys.executable, "-c", KILLER]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | one, timeout=120)
    told = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    for name in ("killer", "half"):  # at its work, and while it sends what came of it
        assert told.pop(name).startswith("the process that graded it died 3 times")
    assert told == dict.fromkeys("abcdef", "done") and done.returncode == 0 and not done.stderr


class CancelsFirst(Here):
    """Its first pool is closed before it comes to its second task, as when a process has died."""

    count = 2

    def __init__(self) -> None:
        self.cancelled = 0

    def executor(self) -> Executor:
        return self if self.cancelled < 2 else Inline()

    def submit(self, fn, task) -> Future:
        self.cancelled += 1
        found = Future()
        found.cancel()
        return found

    def check(self) -> None:
        pytest.fail("it waits for what was cancelled")


def test_what_a_closed_pool_has_cancelled_is_done_by_the_next(monkeypatch):
    monkeypatch.setattr(worker_pool, "grade_in_worker", lambda task: task.student)
    monkeypatch.setattr(worker_pool, "LOOK", 0.01)
    tasks = [Task("", name, b"", "", b"", {}, b"", None, True) for name in "abc"]
    found = {task.student: outcome for task, outcome in worker_pool.run(CancelsFirst(), tasks)}
    assert found == {name: name for name in "abc"}


STUCK = (
    KILLER.split("def half")[0]
    + """
import threading, time, types

def grade_in_worker(task):
    if task.student == "stuck":
        # Threads and handlers would not help it: the interpreter itself is held.
        import ctypes
        ctypes.PyDLL(None).sleep(3600)
    if task.student == "halting":
        Connection._send = halting
    return Executed(None, [], {}, 0.0, True)

def halting(line, content):
    os.write(line.fileno(), bytes(content)[:len(content) // 2])
    os.kill(os.getpid(), signal.SIGSTOP)

worker_pool.grade_in_worker = grade_in_worker
class Limits:  # noqa: E501
    def whole(self, trainings):
        return 3.0
names = ("a", "stuck", "b", "c", "halting")
tasks = (Task("lab1_attention", name, b"", "", b"", {}, b"", Limits(), True) for name in names)
if __name__ == "__main__":
    workers = worker_pool.Processes(2)
    pool = workers.executor()
    for task, outcome in worker_pool.run(workers, tasks):
        print(task.student, outcome if isinstance(outcome, str) else "done", sep=": ")
    assert workers.executor() is pool
    workers.close()
"""
)


def test_one_that_no_limit_ends_is_named_and_the_others_go_on(tmp_path):
    one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    program = tmp_path / "program.py"  # the process that comes instead reads it, too
    program.write_text(STUCK)
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, env=os.environ | one, timeout=120)
    told = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    for name in ("stuck", "halting"):  # at its work, and while it sends what came of it
        assert told.pop(name) == "its grading took more than 3 s, beyond every limit, and was ended", done.stderr
    assert told == dict.fromkeys("abc", "done") and done.returncode == 0


@pytest.mark.parametrize("swallows", [False, True])
def test_what_takes_too_long_in_the_grader_itself_is_ended(swallows):
    heard = []
    with pytest.raises(TimeoutError, match=r"colouring took more than 0\.1 s"), interrupts.within(0.1, "colouring"):
        while True:
            try:
                re.match(r"(a+)+$", "a" * 60 + "b")
            except TimeoutError:
                heard.append(1)
                if not swallows or len(heard) == 2:
                    raise


def test_work_that_hangs_in_a_worker_elsewhere_ends_the_worker():
    code = (
        "import ctypes\nfrom autograder.execution.grade_one import _alive_until\n"
        "with _alive_until(1): ctypes.PyDLL(None).sleep(3600)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 1


def test_a_class_of_which_nothing_changed_is_not_graded_again(batch, tmp_path):
    course = batch[0].copy(tmp_path / "course")
    done = subprocess.run(command(course), capture_output=True, text=True)
    assert done.returncode == 1 and "0 graded, 8 were graded already, 1 failed" in done.stdout
    path = course.submission("carl")
    nb = nbformat.read(path, as_version=4)
    nb.cells[-1].source += "\n"
    nbformat.write(nb, path)
    done = subprocess.run(command(course), capture_output=True, text=True)
    assert done.returncode == 1 and "1 graded, 7 were graded already, 1 failed" in done.stdout, done.stdout


@pytest.mark.parametrize("count", ["0", "-1", "many"])
def test_a_wrong_number_of_workers_is_told(count):
    done = subprocess.run(
        [sys.executable, "-m", "autograder.cli", "grade", LAB.assignment, f"--workers={count}"],
        capture_output=True, text=True, cwd=Path("/"),
    )  # fmt: skip
    assert done.returncode == 2 and "expected a whole number from 1" in done.stderr and "Traceback" not in done.stderr
