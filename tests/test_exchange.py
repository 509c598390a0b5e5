"""nbgrader's own exchange with two students: from the release to the feedback, a second attempt, and one by mail."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from course_fixture import LAB, MAX, Course, solved

from autograder.sample import Student, hand_in, wrong

CONFIG = """
from autograder.course import configure

c = get_config()
configure(c)
c.CourseDirectory.course_id = "vit"
"""
NAMES = ("nobody", "daemon")  # on every Linux


def reachable() -> bool:
    """Whether other users may run this Python: not one in the home folder of root."""
    places = {Path(os.path.realpath(place)) for place in (sys.executable, sys.prefix, __file__)}
    return all(part.stat().st_mode & 0o001 for place in places for part in place.parents)


@dataclass
class Person:
    """Somebody with a home, who runs nbgrader: as a user of the system where a test may choose one (as root)."""

    name: str
    home: Path
    exchange: Path

    def nbgrader(self, *argv: str, cwd: Path | None = None) -> str:
        """Run a command; what it logged."""
        bin_, repo = str(Path(sys.executable).parent), str(Path(__file__).parents[1])
        environment = {
            "HOME": str(self.home), "LOGNAME": self.name, "USER": self.name, "TZ": "UTC",
            "PATH": os.pathsep.join([bin_, os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join([repo, os.environ.get("PYTHONPATH", repo)]),
            "JUPYTER_DATA_DIR": f"{self.home}/data", "JUPYTER_CONFIG_DIR": f"{self.home}/config",
            "IPYTHONDIR": f"{self.home}/ipython",
        }  # fmt: skip
        command = [sys.executable, "-m", "nbgrader", *argv, f"--Exchange.root={self.exchange}"]
        user = self._user()
        if not user and self.name in NAMES:  # nbgrader takes the user of the process, or who is named here
            command.append(f"--student={self.name}")
        done = subprocess.run(command, cwd=cwd or self.home, env=environment, capture_output=True, text=True, **user)
        assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
        return done.stderr

    def _user(self) -> Mapping[str, object]:
        if os.geteuid() != 0 or not reachable() or self.name not in NAMES:
            return {}
        user = pwd.getpwnam(self.name)
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def write(self, answers: Mapping[str, str]) -> None:
        """Fill in the notebook that was fetched."""
        path = self.home / LAB.assignment / f"{LAB.notebook}.ipynb"
        path.chmod(0o666)
        nbformat.write(hand_in(nbformat.read(path, as_version=4), Student(self.name, "", answers)), path)

    def feedback(self) -> list[str]:
        """Fetch it; the pages that there are now, the oldest first."""
        self.nbgrader("fetch_feedback", LAB.assignment, "--course", "vit")
        pages = sorted((self.home / LAB.assignment / "feedback").glob("*/*.html"))
        return [page.read_text() for page in pages]


@pytest.fixture
def place(tmp_path) -> Path:
    """A folder that everybody can reach, unlike pytest's own."""
    folder = Path("/var/tmp" if reachable() else tmp_path) / f"vitedu-exchange-{os.getpid()}"
    folder.mkdir()
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def person(place: Path, name: str) -> Person:
    home = place / name
    home.mkdir(mode=0o777)
    home.chmod(0o777)
    return Person(name, home, place / "exchange")


def test_from_the_release_to_the_feedback_and_once_more(place):
    (place / "exchange").mkdir()
    (place / "exchange").chmod(0o777)
    course = Course(place / "course").release()
    (course.root / "nbgrader_config.py").write_text(CONFIG)
    teacher, students = person(place, "teacher"), [person(place, name) for name in NAMES]
    one, two = students

    def taught(*argv: str) -> str:
        return teacher.nbgrader(*argv, cwd=course.root)

    def graded() -> str:
        command = [sys.executable, "-m", "autograder.cli", "grade", LAB.assignment]
        done = subprocess.run(command, cwd=course.root, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    taught("release_assignment", LAB.assignment)
    for student in students:
        student.nbgrader("fetch_assignment", LAB.assignment, "--course", "vit")
    one.write(solved())
    two.write(wrong(LAB, attention_weights="softmax-over-queries"))
    for student in students:
        student.nbgrader("submit", LAB.assignment, "--course", "vit")
    course.hand_in("mail", {})  # another way in
    taught("collect", LAB.assignment)
    assert "3 graded" in graded()
    assert course.points(one.name) == MAX and course.points(two.name)["attention_weights"] == 0.0

    said = taught("release_feedback", LAB.assignment)
    assert "The feedback of mail was not released" in said
    for student, other in (students, students[::-1]):
        (page,) = student.feedback()
        assert page == course.feedback(student.name) != course.feedback(other.name)

    two.write(solved())
    two.nbgrader("submit", LAB.assignment, "--course", "vit")
    taught("collect", LAB.assignment, "--update")
    assert "1 graded, 2 were graded already" in graded()
    assert course.points(two.name) == MAX
    taught("release_feedback", LAB.assignment)
    first, second = two.feedback()
    assert "softmax runs over the queries" in first and second == course.feedback(two.name)

    # nbgrader's own commands: the same road.
    taught("autograde", LAB.assignment, "--student", one.name, "--force")
    taught("generate_feedback", LAB.assignment, "--student", one.name, "--force")
    taught("release_feedback", LAB.assignment, "--student", one.name)
    assert course.points(one.name) == MAX and one.feedback()[-1] == course.feedback(one.name)
