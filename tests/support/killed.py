"""The grading command as a process of its own, to be killed; and everything that a class came out with.

Run as a program, `-m support.killed MOMENT STUDENT ARGUMENT...`, it is `autograder`, except that it kills itself
(signal 9) at a moment of a student's, and that it takes the code to be the same all the time, also while somebody edits
it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from hostile.supervise import PR_SET_CHILD_SUBREAPER, described, end, survivors
from support.course_fixture import LAB, Course
from support.places import ROOT, TESTS

MOMENTS = ("never", "recording", "recorded", "moving", "showing")


def grading(moment: str = "never", student: str = "") -> tuple[str, ...]:
    """The grading command, but for the course folder."""
    order = () if moment == "never" else ("--workers", "1")  # one after the other, by their names
    return sys.executable, "-m", "support.killed", moment, student, "grade", LAB.assignment, *order, "--course"


def environment(temporary: Path) -> dict[str, str]:
    """Of a grading command, whose scratch folders are to be counted in `temporary`."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return os.environ | {
        "TMPDIR": str(temporary),
        "PATH": path,
        "PYTHONPATH": f"{TESTS}{os.pathsep}{ROOT}",
        "OMP_NUM_THREADS": "1",
    }


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """An empty folder with a short path (that of a socket may have 107 characters) for one test's scratch folders."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="k") as folder:
        Path(folder).chmod(0o755)  # a grader that is root starts its sandboxes as somebody else
        yield Path(folder)


@contextmanager
def orphans() -> Iterator[Callable[[], list[str]]]:
    """Adopt what loses its parent meanwhile; the call tells what still runs 10 seconds later, and ends it."""
    prctl = ctypes.CDLL(None).prctl
    before = {process.pid for process in psutil.Process().children(recursive=True)}  # such as a pool's tracker

    def left() -> list[str]:
        processes = survivors(10.0, before)
        told = [described(process) for process in processes]
        end(processes)
        return told

    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield left
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def start(course: Course, temporary: Path, *options: str) -> subprocess.Popen:
    """Begin to grade a class."""
    command = [*grading(), str(course.root), *options]
    return subprocess.Popen(command, env=environment(temporary), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def run(course: Course, temporary: Path, *options: str, command: tuple[str, ...] = grading()) -> tuple[int, str]:
    """Grade a class to the end: exit status, and what was said (the progress bar left out)."""
    done = subprocess.run([*command, str(course.root), *options], env=environment(temporary), capture_output=True)
    bar = f"{LAB.assignment}:".encode()
    lines = [line for line in done.stderr.replace(b"\r", b"\n").split(b"\n") if line and not line.startswith(bar)]
    return done.returncode, (done.stdout + b"\n".join(lines)).decode()


def run_until(moment: str, student: str, course: Course, temporary: Path) -> int:
    """Grade a class until a moment of a student's, at which the command is killed; its exit status."""
    return run(course, temporary, command=grading(moment, student))[0]


def scores(course: Course) -> tuple[str, dict[str, Any]]:
    """scores.csv, and of each student the gradebook's points and the verdicts without their times."""
    students = sorted(path.name for path in (course.root / "submitted").iterdir())
    verdicts = {student: course.verdicts(student) for student in students}
    for found in verdicts.values():
        for verdict in found.values():
            del verdict["seconds"]
    return (course.root / "scores.csv").read_text(), {s: (course.points(s), verdicts[s]) for s in students}


def unfinished(course: Course) -> list[str]:
    """What lies in a course folder only while something is written."""
    return [str(path.relative_to(course.root)) for path in course.root.rglob("*unfinished*")]


def main(moment: str, student: str, *argv: str) -> int:
    """Be killed at a moment: the step of ours or of the database that comes next does not happen any more."""
    from sqlalchemy import event
    from sqlalchemy.orm import Session

    from autograder import course
    from autograder.cli import main
    from autograder.nbgrader_integration import converters, grading_setup, preprocessors

    def die(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    class Record(preprocessors.Record):
        def preprocess(self, nb: Any, resources: Any) -> Any:
            if resources["nbgrader"]["student"] == student:
                if moment == "recording":  # the statements are with the database, which is not told to keep them
                    event.listen(Session, "after_flush_postexec", die)
                elif moment == "moving":
                    converters.os = type("os", (), {**vars(os), "replace": die})
            done = super().preprocess(nb, resources)
            if moment == "recorded" and resources["nbgrader"]["student"] == student:
                die()
            return done

    class Feedback(converters.StagedFeedback):
        def convert_single_notebook(self, name: str) -> None:
            if moment == "showing" and self.coursedir.student_id == student:
                die()
            super().convert_single_notebook(name)

    converters.StagedFeedback = Feedback
    assert moment in MOMENTS and course.preprocessors is preprocessors
    preprocessors.Record, grading_setup.code_hash = Record, lambda *_: "the same all the time"
    return main(list(argv))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
