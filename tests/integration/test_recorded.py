"""What was recorded follows gradebook, students, due dates and timestamps, and nothing is run for it."""

import csv
import os
import sys
from datetime import datetime
from importlib import metadata
from pathlib import Path

import pytest

import autograder.execution.grade_one
from autograder.authoring.sample_class import wrong
from autograder.course import course_api
from autograder.execution import code_version
from autograder.execution.preload import _imported
from autograder.grading.grade_class import grade
from support.course_fixture import LAB, MAX, Course, solved
from support.inline import Here

DUE = datetime(2026, 11, 20, 12, 0)
LATE, EARLY = "2026-11-22 12:00:00 UTC", "2026-11-19 12:00:00 UTC"
PENALTY = """
from autograder.course import configure
from nbgrader.plugins import LateSubmissionPlugin


class OneADay(LateSubmissionPlugin):
    def late_submission_penalty(self, student_id, score, total_seconds_late):
        return {points} * total_seconds_late / 86400


c = get_config()
configure(c)
c.AssignLatePenalties.plugin_class = OneADay
"""


@pytest.fixture(scope="module")
def taught(released_course, tmp_path_factory) -> Course:
    """Two students, graded: one all right and marked by hand, one with a mistake."""
    course = released_course.copy(tmp_path_factory.mktemp("taught") / "course")
    (course.root / "nbgrader_config.py").write_text(PENALTY.format(points=1))
    course.hand_in("ada", solved())
    course.hand_in("carl", wrong(LAB, attention_weights="softmax-over-queries"))
    assert grade(course.root, LAB.assignment, workers=Here()) == 0
    course.mark("ada", "written-scale", 1.0, "well put")
    return course


@pytest.fixture
def course(taught, tmp_path, monkeypatch) -> Course:
    """A copy of it, in which nothing of a student's may run."""

    def examine(*_):
        raise AssertionError("a student's code would have been run")

    monkeypatch.setattr(autograder.execution.grade_one, "examine", examine)
    return taught.copy(tmp_path / "course")


def row(course: Course, student: str) -> dict[str, str]:
    with (course.root / "scores.csv").open() as file:
        return next(row for row in csv.DictReader(file) if row["student_id"] == student)


def again(course: Course, capsys) -> str:
    """Grade again; what was printed."""
    capsys.readouterr()
    assert grade(course.root, LAB.assignment, workers=Here()) == 0
    return capsys.readouterr().out


def due(course: Course, when: datetime | None) -> None:
    with course.gradebook() as gradebook:
        gradebook.update_or_create_assignment(LAB.assignment, duedate=when)


def stamped(course: Course, student: str, content: str | bytes | None) -> None:
    path = course.submission(student).with_name("timestamp.txt")
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def test_a_lost_gradebook_is_filled_from_what_is_stored(course, taught, capsys):
    (course.root / "gradebook.db").unlink()
    assert course_api(course.root).generate_assignment(LAB.assignment, force=True)["success"]
    assert "0 graded, 2 recorded anew, 0 were graded already, 0 failed." in again(course, capsys)
    assert course.points("ada") == MAX and course.points("carl") == taught.points("carl")
    assert row(course, "ada")["waiting"] == "2"  # marks by hand went with the gradebook
    assert "0 graded, 2 were graded already, 0 failed." in again(course, capsys)


def test_a_student_who_was_removed_and_came_back_is_recorded_anew(course, taught, capsys):
    assert course.nbgrader("db", "student", "remove", "carl", "--force").returncode == 0
    assert "0 graded, 1 recorded anew, 1 were graded already" in again(course, capsys)
    assert course.points("carl") == taught.points("carl")
    assert course.grade("ada", "written-scale")[1:] == (1.0, False, "well put")


def test_scores_of_an_older_backup_are_brought_up_to_date_and_marks_by_hand_stay(course, capsys):
    with course.gradebook() as gradebook:
        for student in ("ada", "carl"):
            for cell in gradebook.find_submission_notebook(LAB.notebook, LAB.assignment, student).grades:
                cell.auto_score = 0.5
        gradebook.db.commit()
    assert "2 recorded anew" in again(course, capsys)
    assert course.points("ada") == MAX
    assert course.grade("ada", "written-scale")[1:] == (1.0, False, "well put")


def test_a_lost_feedback_page_is_written_again(course, taught, capsys):
    page = course.root / "feedback" / "carl" / LAB.assignment / f"{LAB.notebook}.html"
    page.unlink()
    assert "1 recorded anew" in again(course, capsys)
    assert course.feedback("carl") == taught.feedback("carl")


def test_due_date_timestamp_and_plugin_decide_the_penalty_at_any_time(course, capsys):
    column = f"{LAB.assignment} late_penalty"
    due(course, DUE)
    stamped(course, "carl", LATE)
    assert "1 recorded anew" in again(course, capsys)  # ada was never late
    assert (row(course, "carl")[column], row(course, "ada")[column]) == ("2.0", "0.0")
    assert "2 points taken off" in course.feedback("carl")
    due(course, datetime(2026, 11, 21, 12, 0))
    again(course, capsys)
    assert row(course, "carl")[column] == "1.0" and "1 point taken off" in course.feedback("carl")
    with course.gradebook() as gradebook:
        gradebook.grant_extension(LAB.assignment, "carl", hours=12)
    assert "1 recorded anew" in again(course, capsys)
    assert row(course, "carl")[column] == "0.5" and "0.5 points taken off" in course.feedback("carl")
    with course.gradebook() as gradebook:
        gradebook.grant_extension(LAB.assignment, "carl", hours=0)
    again(course, capsys)
    assert row(course, "carl")[column] == "1.0"
    stamped(course, "carl", EARLY)
    again(course, capsys)
    assert row(course, "carl")[column] == "0.0" and "taken off" not in course.feedback("carl")
    stamped(course, "carl", b"\xef\xbb\xbf" + LATE.encode())
    again(course, capsys)
    assert row(course, "carl")[column] == "1.0"
    (course.root / "nbgrader_config.py").write_text(PENALTY.format(points=3))
    again(course, capsys)
    assert row(course, "carl")[column] == "3.0"
    stamped(course, "carl", None)
    again(course, capsys)
    assert row(course, "carl")[column] == "0.0"
    assert "0 graded, 2 were graded already" in again(course, capsys)


def test_a_timestamp_that_says_nothing_is_named_everywhere(course, capsys):
    due(course, DUE)
    stamped(course, "carl", "the day after tomorrow")
    said = again(course, capsys)
    assert "timestamp.txt says 'the day after tomorrow'" in " ".join(said.split())
    for text in (row(course, "carl")["note"], (course.root / f"report-{LAB.assignment}.html").read_text()):
        assert "the day after tomorrow" in text and "counts as handed in on time" in text
    stamped(course, "carl", LATE)
    assert "tomorrow" not in again(course, capsys) and row(course, "carl")[f"{LAB.assignment} late_penalty"] == "2.0"


def distribution(place: Path, name: str, version: str) -> None:
    folder = place / f"{name}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_only_what_the_lab_and_the_grader_import_makes_a_submission_stale(tmp_path, monkeypatch):
    def code() -> tuple[str, ...]:
        code_version.environment.cache_clear()
        code_version._grader.cache_clear()
        return code_version.environment(LAB)

    before = code()
    monkeypatch.syspath_prepend(str(tmp_path))
    distribution(tmp_path, "some_package", "1.0")
    assert code() == before
    for name in ("torch", "nbgrader", "pillow"):
        distribution(tmp_path, name, "99.0")
        assert set(code()) - set(before) == {f"{name} 99.0"}, name
        (tmp_path / f"{name}-99.0.dist-info" / "METADATA").unlink()
        os.rmdir(tmp_path / f"{name}-99.0.dist-info")
    monkeypatch.undo()
    assert code() == before


def test_what_the_grader_imports_is_listed():
    known = metadata.packages_distributions()
    files = Path(autograder.execution.grade_one.__file__).parent.glob("*.py")
    texts = [path.read_text(encoding="utf-8") for path in files]
    imported = {name.partition(".")[0] for text in texts for name in _imported(text)} - set(sys.stdlib_module_names)
    wanted = {known[name][0].lower().replace("_", "-") for name in imported & known.keys()} - {"vitedu", "distributed"}
    assert wanted <= set(code_version.GRADER)
