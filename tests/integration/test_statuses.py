"""Every status that there is, reached by a graded submission, in scores.csv, the feedback page and the class report."""

import csv
import os
import shutil
import subprocess
import sys

import pytest
from bs4 import BeautifulSoup

from autograder.authoring.sample_class import model_codes, wrong
from autograder.judging import verdict
from autograder.judging.verdict import (
    DIED,
    ERROR,
    FOR_REVIEW,
    GRADED,
    NOT_ANSWERED,
    NOT_GRADED,
    OUT_OF_MEMORY,
    TIMED_OUT,
)
from autograder.labs.lab import ROOT
from autograder.reporting.class_results import NOT_SUBMITTED, WAITING
from autograder.sandbox.bubblewrap import unavailable
from support.course_fixture import ATTENTION, EINSUM, EXERCISES, HEAD, HEADS, LAB, MAX, WEIGHTS, WRITTEN, Course
from support.killed import run, temporary_folder
from support.skipping import missing

MODEL = model_codes(LAB)
LIMITS = "c.Examine.probe_seconds = 4.0\nc.Examine.cell_seconds = 20.0\nc.Examine.memory_bytes = 1300 * 2**20\n"

BY_STUDENT = {
    "mixed": {
        WEIGHTS: GRADED, ATTENTION: NOT_ANSWERED, HEAD: ERROR, HEADS: DIED, EINSUM: TIMED_OUT,
        WRITTEN[0]: WAITING, WRITTEN[1]: NOT_ANSWERED,
    },
    "alone": {WEIGHTS: GRADED, ATTENTION: GRADED, HEAD: GRADED, HEADS: GRADED, EINSUM: OUT_OF_MEMORY},
    "lost": dict.fromkeys(EXERCISES, NOT_GRADED),
}  # fmt: skip
EACH = [(student, cell, status) for student, cells in BY_STUDENT.items() for cell, status in cells.items()]


def calling(exercise: str, does: str) -> str:
    """Code whose answer does something else when it is called."""
    return f"{MODEL[exercise]}\n\ndef {exercise}(*args, **kwargs):\n    {does}\n"


@pytest.fixture(scope="module")
def course(released_course, tmp_path_factory) -> Course:
    """A class that shows every status: one student's kernels did not start, and "zoe" handed nothing in."""
    if why := unavailable():
        missing(why)
    course = released_course.copy(tmp_path_factory.mktemp("statuses") / "course")
    settings = (ROOT / "autograder" / "nbgrader_config.py").read_text()
    (course.root / "nbgrader_config.py").write_text(f"{settings}\nc = get_config()\n{LIMITS}")
    course.hand_in("mixed", {
        WEIGHTS: MODEL[WEIGHTS],
        HEAD: calling(HEAD, "raise RuntimeError('of my own')"),
        HEADS: calling(HEADS, "import os; os._exit(1)"),
        EINSUM: calling(EINSUM, "while True: pass"),
        WRITTEN[0]: "Because the variance of a sum of K products is K.",
    })  # fmt: skip
    earlier = wrong(LAB, **{ATTENTION: "t-of-a-matrix-only"})
    course.hand_in("alone", earlier | {EINSUM: calling(EINSUM, "return torch.ones(2**30)")})
    course.hand_in("lost", MODEL)
    with course.gradebook() as gradebook:
        gradebook.update_or_create_student("zoe")
    with temporary_folder() as temporary, pytest.MonkeyPatch.context() as patch:
        assert run(course, temporary, "--student", "mixed", "--student", "alone")[0] == 0
        # A bubblewrap that works when it is tried out, and never again.
        bwrap, real = temporary / "bwrap", f'exec {shutil.which("bwrap")} "$@"'
        tried = f'case "$*" in *"raise ImportError"*) {real};; esac'
        bwrap.write_text(f'#!/bin/sh\n[ "$1" = --version ] && {real}\n{tried}\nexit 3\n')
        bwrap.chmod(0o755)
        temporary.chmod(0o777)
        patch.setenv("PATH", os.pathsep.join([str(temporary), os.environ["PATH"]]))
        status, said = run(course, temporary, "--student", "lost")
        assert status == 1 and "Not graded: lost: the kernel did not start" in said, said
    return course


def row(course: Course, student: str) -> dict[str, str]:
    with (course.root / "scores.csv").open(newline="") as file:
        return next(row for row in csv.DictReader(file) if row["student_id"] == student)


@pytest.fixture(scope="module")
def report(course) -> BeautifulSoup:
    return BeautifulSoup((course.root / f"report-{LAB.assignment}.html").read_text(), "html.parser")


def words(tag) -> str:
    return " ".join(tag.get_text(" ").split())


def shown_points(course: Course, student: str, cell: str) -> float | None:
    points = row(course, student)[f"{LAB.assignment}: {cell}"]
    return float(points) if points else None


def test_no_status_is_left_out():
    names = {value for name, value in vars(verdict).items() if name.isupper() and isinstance(value, str)}
    # "for review" is reached by a training only: test_trained_exam.py has it.
    assert {status for _, _, status in EACH} == (names - {FOR_REVIEW}) | {WAITING}


@pytest.mark.parametrize(("student", "cell", "status"), EACH)
def test_a_status_is_in_scores_feedback_and_report(course, report, student, cell, status):
    ended = dict(part.rsplit(": ", 1) for part in row(course, student)[f"{LAB.assignment} cells"].split("; "))
    assert ended.get(cell, GRADED) == status

    page = BeautifulSoup(course.feedback(student), "html.parser")
    (line,) = [tr for tr in page.select(".summary tbody tr") if tr.th.get_text() == cell]
    expected = {GRADED: "right", WAITING: "waits for grading"}.get(status, status)
    assert expected in words(line.select_one(".badge"))

    columns = [th.contents for th in report.select("table.class thead th")]
    at = next(i for i, parts in enumerate(columns) if "".join(map(str, parts)).replace("<wbr/>", "").startswith(cell))
    (head,) = [th for th in report.select("table.class tbody th") if th.contents[0] == student]
    shown = head.find_next_siblings("td")[at - 1]
    assert status == GRADED or status in words(shown.select_one(".badge"))

    points = shown_points(course, student, cell)
    if status in (WAITING, FOR_REVIEW, NOT_GRADED):  # nobody has decided: no number anywhere, and no zero
        assert points is None and words(line.select("td")[0]).startswith("?")
        assert words(shown.select_one(".points")) == ""
    else:
        assert points > 0.0 if status == GRADED else points == 0.0


def test_a_total_is_missing_where_something_was_not_graded(course, report):
    lost, zoe = row(course, "lost"), row(course, "zoe")
    assert (lost["score"], lost[f"{LAB.assignment} score"], lost["complete"]) == ("", "", "no")
    assert "was not graded (the kernel did not start" in lost["note"]
    assert (zoe["score"], zoe[f"{LAB.assignment} status"], zoe["complete"]) == ("0.0", NOT_SUBMITTED, "no")
    totals = {th.contents[0]: words(th.find_next_siblings("td")[-1]) for th in report.select("table.class tbody th")}
    assert totals["lost"].startswith("? no total: not graded") and totals["zoe"] == "0"
    assert f"? / {sum(MAX.values()) + len(WRITTEN):g}" in words(
        BeautifulSoup(course.feedback("lost"), "html.parser").select_one(".summary tfoot")
    )


def test_nbgraders_own_export_leaves_it_empty_too(course, tmp_path):
    out = tmp_path / "scores.csv"
    done = course.nbgrader("export", "--to", str(out))
    assert done.returncode == 0, done.stderr
    with out.open(newline="") as file:
        rows = {row["student_id"]: row for row in csv.DictReader(file)}
    assert rows["lost"]["score"] == "" and float(rows["mixed"]["score"]) == MAX[WEIGHTS]
    assert all(rows["lost"][f"{LAB.assignment}: {exercise}"] == "" for exercise in EXERCISES)


def test_the_terminal_says_which(course):
    done = subprocess.run(
        [sys.executable, "-m", "autograder.cli", "report", LAB.assignment, "--course", course.root],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    said = " ".join(done.stdout.split())
    for status in (ERROR, DIED, TIMED_OUT, OUT_OF_MEMORY, NOT_GRADED, NOT_SUBMITTED):
        assert status in said, status
    lines = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line.strip()}
    assert lines["lost"][1:6] == ["?"] * 5 and lines["lost"][-1] == "?"
