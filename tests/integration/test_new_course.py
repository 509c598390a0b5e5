"""A course that `autograder new-course` made: released, handed out, graded and shown by the commands of its manual."""

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from autograder.cli import main
from support.course_fixture import LAB, MAX, Course, solved
from support.places import ROOT


def autograder(course: Course, *words: str) -> str:
    """What the command says in the course folder, where it must succeed."""
    command = [sys.executable, "-m", "autograder.cli", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=course.root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def git(folder: Path, *words: str) -> list[str]:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout.split()


@pytest.mark.slow
@pytest.mark.usefixtures("walls")
def test_a_new_course_goes_from_release_to_feedback(tmp_path):
    course = Course(tmp_path / "our course")
    assert main(["new-course", str(course.root)]) == 0
    written = {str(path.relative_to(course.root)) for path in course.root.rglob("*") if path.is_file()}
    done = course.nbgrader("generate_assignment", LAB.assignment)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert f"handout-{LAB.assignment}.zip" in autograder(course, "handout", LAB.assignment)
    with ZipFile(course.root / f"handout-{LAB.assignment}.zip") as archive:
        notebook = archive.read(f"{LAB.assignment}/{LAB.notebook}.ipynb")
    released = course.root / "release" / LAB.assignment / f"{LAB.notebook}.ipynb"
    assert notebook == released.read_bytes()
    course.hand_in("ada", solved())
    assert "ada" in autograder(course, "grade", LAB.assignment, "--workers", "1")
    assert course.points("ada") == MAX and "ada" in course.feedback("ada")
    git(course.root, "init", "-q")
    git(course.root, "add", "-A")
    kept = set(git(course.root, "-c", "core.quotePath=off", "ls-files"))
    assert kept == {*written, str(released.relative_to(course.root))}, "nothing of a student, and no secret"
