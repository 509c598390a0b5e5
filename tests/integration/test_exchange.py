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
from nbgrader.exchange import ExchangeError

from autograder.authoring.sample_class import Student, hand_in, wrong
from autograder.course import course_api
from autograder.nbgrader_integration.exchange import Collect
from autograder.submission.timestamps import read_timestamp
from support.course_fixture import LAB, MAX, solved
from support.places import ROOT

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
        bin_, repo = str(Path(sys.executable).parent), str(ROOT)
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


@pytest.mark.long
def test_from_the_release_to_the_feedback_and_once_more(place, released_course):
    (place / "exchange").mkdir()
    (place / "exchange").chmod(0o777)
    course = released_course.copy(place / "course")
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
    (course.submission(two.name).with_name("timestamp.txt")).write_text("some day")
    inbound = place / "exchange" / "vit" / "inbound"
    newest = max(inbound.glob(f"{two.name}+*"), key=lambda path: path.name)
    (newest / "timestamp.txt").unlink()
    (newest / "secret.ipynb").symlink_to(course.root / "course_secret")
    (inbound / f"..+{LAB.assignment}+{newest.name.split('+')[2]}").mkdir()
    taught("collect", LAB.assignment, "--update")
    assert not (course.root / LAB.assignment).exists()
    assert {path.name for path in course.submission(two.name).parent.iterdir()} == {
        f"{LAB.notebook}.ipynb", "submission_secret.txt", "timestamp.txt"
    }  # fmt: skip
    (course.submission(one.name).with_name("timestamp.txt")).write_text("some day")
    assert "1 graded, 1 recorded anew, 1 were graded already" in graded()
    assert course.points(two.name) == MAX
    taught("release_feedback", LAB.assignment)
    assert one.feedback() == [course.feedback(one.name)]  # also without a time that could be read
    first, second = two.feedback()
    assert "softmax runs over the queries" in first and second == course.feedback(two.name)

    # nbgrader's own commands: the same road.
    taught("autograde", LAB.assignment, "--student", one.name, "--force")
    taught("generate_feedback", LAB.assignment, "--student", one.name, "--force")
    taught("release_feedback", LAB.assignment, "--student", one.name)
    assert course.points(one.name) == MAX and one.feedback()[-1] == course.feedback(one.name)


def test_one_submission_in_the_exchange_costs_no_other(tmp_path):
    """What cannot be collected is named; an earlier one stays; nothing outside of a submission is copied."""
    inbound, submitted = tmp_path / "exchange" / "vit" / "inbound", tmp_path / "course" / "submitted"
    times = [f"2026-11-{day} 12:00:00.000000 UTC" for day in (20, 21, 22)]

    def put(student: str, time: str, content: str, stamp: str | None = None) -> Path:
        folder = inbound / f"{student}+{LAB.assignment}+{time}"
        folder.mkdir(parents=True)
        (folder / "attention.ipynb").write_text(content)
        (folder / "timestamp.txt").write_text(time if stamp is None else stamp)
        return folder

    def collected() -> dict[str, str]:
        return {path.parts[-3]: path.read_text() for path in sorted(submitted.glob(f"*/{LAB.assignment}/*.ipynb"))}

    def collect(update: bool) -> Collect:
        api = course_api(tmp_path / "course")
        api.coursedir.course_id, api.coursedir.assignment_id, api.coursedir.max_dir_size = "vit", LAB.assignment, 1
        collect = Collect(coursedir=api.coursedir, authenticator=api.authenticator, parent=api)
        collect.root, collect.update, collect.check_owner = str(tmp_path / "exchange"), update, False
        return collect

    (tmp_path / "course").mkdir()
    for student in ("ada", "bob", "cem", "dan"):
        put(student, times[0], "1", "03.04.2026" if student == "cem" else None)
    (tmp_path / "course" / "secret").write_text("secret")
    collect(False).start()
    assert collected() == dict.fromkeys(["ada", "bob", "cem", "dan"], "1")
    assert read_timestamp(submitted / "cem" / LAB.assignment).time.day == 20  # as the folder's name says

    for name in (f"..+{LAB.assignment}+{times[1]}", f"+{LAB.assignment}+{times[1]}", f"ada+{LAB.assignment}+some day",
                 f"ada+{LAB.assignment}+", f"a+b+c+{LAB.assignment}+x+y"):  # fmt: skip
        (inbound / name).mkdir()
    (inbound / f"ada+{LAB.assignment}+{times[2]}").symlink_to(submitted.parent)
    put("ada", times[1], "2", "")
    put("bob", times[1], "x" * 2000)
    (submitted / "cem" / LAB.assignment / "timestamp.txt").write_text("some day")
    put("cem", times[1], "2", "some day")
    folder = put("dan", times[1], "2")
    (folder / "link.ipynb").symlink_to(tmp_path / "course" / "secret")
    (folder / "up").symlink_to(tmp_path / "course")
    os.mkfifo(folder / "pipe.ipynb")
    (folder / "attention.py").write_text("1")  # no notebook, which grading must be able to say
    put("eve", times[1], "x" * 2000)
    with pytest.raises(ExchangeError, match="bob, eve"):
        collect(True).start()
    assert collected() == {"ada": "2", "bob": "1", "cem": "2", "dan": "2"}
    assert (submitted / "eve" / LAB.assignment).is_dir()  # so that grading names who handed in
    dan = submitted / "dan" / LAB.assignment
    assert sorted(os.listdir(dan)) == ["attention.ipynb", "attention.py", "timestamp.txt"]
    assert os.listdir(submitted / "dan") == [LAB.assignment] and (tmp_path / "course" / "secret").exists()
    assert [read_timestamp(submitted / name / LAB.assignment).time.day for name in ("ada", "cem")] == [21, 21]
