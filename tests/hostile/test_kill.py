"""The grading command is killed at 25 random moments over a class; the same command comes to the same scores."""

import random
import sqlite3
import subprocess
import time
from contextlib import closing

import nbformat
import pytest

from autograder.authoring.sample_class import model_codes
from autograder.grading.stored_results import has_feedback
from autograder.sandbox.bubblewrap import unavailable
from autograder.storage import course_folder
from support.course_fixture import EXERCISES, LAB, Course, solved
from support.killed import orphans, run, scores, start, temporary_folder, unfinished
from support.skipping import missing

KILLS = 25
SEED = 20240725
MODEL = model_codes(LAB)

pytestmark = [pytest.mark.hostile, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def undisturbed(released_course, tmp_path_factory) -> tuple[Course, Course, float]:
    """A class of four, handed in and graded without a disturbance, and the seconds that it took."""
    if why := unavailable():
        missing(why)
    course = released_course.copy(tmp_path_factory.mktemp("kill") / "handed-in")
    course.hand_in("ada", solved())
    course.hand_in("bob", dict(list(MODEL.items())[:2]))
    course.hand_in("carl", {})
    course.hand_in("dora", {EXERCISES[0]: MODEL[EXERCISES[0]] + "\nimport os; os._exit(1)"})
    graded = course.copy(course.root.parent / "graded")
    with temporary_folder() as temporary:
        began = time.monotonic()
        status, said = run(graded, temporary)
        assert status == 0, said
        return course, graded, time.monotonic() - began


def finished(course: Course) -> set[str]:
    """Students with a verdict record that has its key, and a feedback page: with these, everything is done."""
    there = course_folder.Course(course.root)
    students = [path.name for path in (course.root / "submitted").iterdir()]
    records = {student: there.record(LAB, student) for student in students}
    return {s for s, record in records.items() if record and record.cache_key and has_feedback(there, LAB, s)}


def check(course: Course, wanted: Course) -> None:
    """What stands after a kill is whole and right, as far as it is said to be finished."""
    # `with` alone leaves it open until the garbage is collected, and the command is not the last to close its files.
    with closing(sqlite3.connect(course.root / "gradebook.db")) as database:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)
    for folder in course.root.glob("autograded/*/*"):
        nbformat.read(folder / f"{LAB.notebook}.ipynb", as_version=4)
    for page in course.root.glob("feedback/*/*/*.html"):
        assert page.read_text().rstrip().endswith("</html>")
    for student in finished(course):
        assert course.points(student) == wanted.points(student)
        assert course.feedback(student) and course.record(student)["exercises"]


def test_killed_at_random_moments(undisturbed, tmp_path):
    handed_in, wanted, seconds = undisturbed
    expected, draw = scores(wanted), random.Random(SEED)
    before = sorted(path.name for path in wanted.root.iterdir())
    shares = [draw.random() for _ in range(KILLS)]
    with temporary_folder() as temporary, orphans() as left:
        course, done, ended = None, set(), 0
        for i, share in enumerate(shares):
            where = f"kill {i + 1} of {KILLS}, after {share:.3f} of {seconds:.1f} s, seed {SEED}"
            if course is None or done == {"ada", "bob", "carl", "dora"}:
                course, done = handed_in.copy(tmp_path / f"course{i}"), set()
            process = start(course, temporary, *(["--regrade"] if i % 5 == 4 else []))
            try:
                process.communicate(timeout=share * seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
            ended += process.returncode == 0
            assert process.returncode in (0, -9), where
            assert left() == [], where
            check(course, wanted)
            if i % 5 != 4:  # a regrade takes results back while it goes over them
                assert done <= finished(course), f"{where}: a finished result was lost"
            done = finished(course)
            # What one command leaves is swept by the next: never do those of two add up.
            marks = {path.name.split("-")[1] for path in temporary.iterdir()}
            assert len(marks) <= 1, (where, list(temporary.iterdir()))
        status, said = run(course, temporary)
        assert (status, scores(course)) == (0, expected), said
        assert unfinished(course) == [] and list(temporary.iterdir()) == []
        assert sorted(path.name for path in course.root.iterdir()) == before
        assert ended < KILLS / 2, "most runs came to an end before they were killed"
