"""Notebooks with split, copied, merged and moved cells: graded is what their own run from top to bottom defines."""

import json
import os

import nbformat
import pytest
from bs4 import BeautifulSoup

from autograder.course import course_api
from autograder.grading.grade_class import grade
from autograder.sandbox import bubblewrap
from autograder.storage.atomic_files import write_atomically
from support import odd_notebooks
from support.course_fixture import Course
from support.inline import Here
from support.odd_notebooks import CLASS, LAB1, LAB2, WORDS, made

pytestmark = pytest.mark.timeout(1800)  # the first test grades both classes


@pytest.fixture(scope="module")
def graded(released_course, tmp_path_factory) -> Course:
    course = released_course.copy(tmp_path_factory.mktemp("odd") / "course")
    result = course_api(course.root).generate_assignment(LAB2.assignment)
    assert result["success"], result
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", open(os.devnull, "w"))
        for lab in (LAB1, LAB2):
            release = nbformat.read(course.root / "release" / lab.assignment / f"{lab.notebook}.ipynb", as_version=4)
            for odd in CLASS:
                if odd.lab == lab:
                    write_atomically(path_of(course, "submitted", odd), nbformat.writes(made(odd, release)))
            assert grade(course.root, lab.assignment, workers=Here(), sandbox=not bubblewrap.unavailable()) == 0
    return course


def path_of(course: Course, top: str, odd: odd_notebooks.Odd, ending: str = "ipynb"):
    return course.root / top / odd.name / odd.lab.assignment / f"{odd.lab.notebook}.{ending}"


@pytest.mark.parametrize("odd", CLASS, ids=str)
def test_it_earns_what_its_own_run_defines(graded, odd):
    record = json.loads(path_of(graded, "verdicts", odd, "json").read_text())
    for verdict in record["exercises"]:
        said = (record["mended"], verdict)
        if verdict["exercise"] in odd.less:
            assert odd.less[verdict["exercise"]] in verdict["status"], said
            assert verdict["points"] < verdict["max_points"], said
        else:
            assert verdict["points"] == verdict["max_points"] and verdict["status"] == "graded", said
            assert all(case["right"] for case in verdict["cases"]), said


@pytest.mark.parametrize("odd", CLASS, ids=str)
def test_the_feedback_shows_all_code(graded, odd):
    page = BeautifulSoup(path_of(graded, "feedback", odd, "html").read_text(), "html.parser").get_text()
    page = " ".join(page.split())
    release = nbformat.read(graded.root / "release" / odd.lab.assignment / f"{odd.lab.notebook}.ipynb", as_version=4)
    theirs = {line.strip() for cell in release.cells for line in cell.source.split("\n")}
    for cell in nbformat.read(path_of(graded, "submitted", odd), as_version=4).cells:
        for line in cell.source.split("\n"):
            if line.strip() and line.strip() not in theirs and cell.cell_type == "code":
                assert " ".join(line.split()) in page, line
    for words in odd.told:
        assert words in page


def test_all_words_reach_who_marks_them(graded):
    for odd in CLASS:
        nb = nbformat.read(path_of(graded, "autograded", odd), as_version=4)
        (cell,) = [c for c in nb.cells if c.metadata.get("nbgrader", {}).get("grade_id") == "written-scale"] or [None]
        if odd.name in WORDS:
            assert cell.source == WORDS[odd.name]
