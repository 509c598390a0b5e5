"""A student in JupyterLab, and an instructor in formgrader, in a real browser on real servers.

The pictures go into a temporary folder; with VITEDU_PICTURES=1 those of the README are made anew
in docs/pictures (and the whole sample class is graded for the report).
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook
from nbgrader.apps import NbGraderAPI
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect
from traitlets.config import Config

from autograder.authoring.build import RELEASE
from autograder.authoring.sample_class import Student, hand_in, model_codes, sample_class
from autograder.course import configure
from autograder.labs.lab import ROOT, find_lab
from autograder.storage.course_folder import Course
from support.browser import PATIENCE, NotebookPage, Server, jupyter_lab, picture_of

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.usefixtures("chromium")]

LAB = find_lab("lab1_attention")
FILE = f"{LAB.notebook}.ipynb"
EXERCISES = [exercise.id for exercise in LAB.exercises]
FIRST, SECOND = EXERCISES[:2]
FOR_README = os.environ.get("VITEDU_PICTURES") == "1"
WRITTEN = {cell.grade_id: "Because the scores would grow with K." for cell in LAB.cells if cell.role == "written"}


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1200, "height": 1700})
    page.set_default_timeout(PATIENCE)
    yield page
    page.close()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    if not FOR_README:
        return tmp_path_factory.mktemp("pictures")
    folder = ROOT / "docs" / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def keep(picture: bytes, path: Path) -> None:
    """Write a picture, in 256 colours when it is too large for a README otherwise."""
    path.write_bytes(picture)
    if len(picture) > 150_000:
        Image.open(path).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    assert 5_000 < path.stat().st_size < 200_000


# --- the student ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def student(tmp_path_factory) -> Iterator[Server]:
    """JupyterLab in a student's folder, which holds the released notebook four times."""
    home = tmp_path_factory.mktemp("student")
    release = nbformat.read(RELEASE / LAB.assignment / FILE, as_version=4)
    model = model_codes(LAB)
    work = {
        "untouched": {},
        "wrong": {},
        "half": {FIRST: model[FIRST], SECOND: model[SECOND]},
        "solved": model | WRITTEN,
    }
    for name, codes in work.items():
        (home / "work" / name).mkdir(parents=True)
        nbformat.write(hand_in(release, Student(name, "", codes)), home / "work" / name / FILE)
    with jupyter_lab(home / "work", home) as server:
        yield server


def says_undone(dialog: Locator, undone: list[str]) -> None:
    """The Validate dialog names these exercises, and does not say "Success"."""
    expect(dialog).not_to_contain_text("Success")
    for exercise in undone:
        expect(dialog).to_contain_text(f"{exercise}: not answered yet")


def test_untouched_notebook_runs_says_not_answered_yet_and_does_not_validate(page, student):
    notebook = NotebookPage(page, student, f"untouched/{FILE}")
    notebook.run_all()
    for exercise in EXERCISES:
        shown = notebook.cell(f"exam-{exercise}").locator(".jp-OutputArea-output")
        expect(shown).to_contain_text("not answered yet")
    cells = notebook.saved().cells
    assert {cell.execution_count is not None for cell in cells if cell.cell_type == "code"} == {True}
    outputs = [(cell, output) for cell in cells for output in cell.get("outputs", [])]
    errors = [cell.id for cell, output in outputs if output.output_type == "error"]
    assert [cell for cell in errors if cell not in model_codes(LAB)] == []
    assert [output.text for _, output in outputs if output.get("name") == "stderr"] == []
    says_undone(notebook.validate(), EXERCISES)


def test_a_wrong_answer_is_typed_in_and_the_diagnosis_read(page, student, pictures):
    notebook = NotebookPage(page, student, f"wrong/{FILE}")
    notebook.run("imports")
    notebook.answer(FIRST, ["scores = q @ k.mT / math.sqrt(q.shape[-1])", "return scores.softmax(dim=-2)"])
    notebook.run(FIRST)
    shown = notebook.run(f"exam-{FIRST}")
    expect(shown).to_contain_text("This equals what comes out when the softmax runs over the queries")
    expect(shown).to_contain_text("Ask yourself:")
    expect(shown).to_contain_text("not right yet")
    picture = shown.get_by_role("img", name=re.compile("^Heat maps of"))
    assert picture.evaluate("image => image.complete && image.naturalWidth") > 300
    assert shown.evaluate("output => output.scrollWidth - output.clientWidth") <= 1, "the check is wider than its cell"
    keep(picture_of(page, notebook.cell(FIRST), notebook.cell(f"exam-{FIRST}")), pictures / "diagnosis.png")

    # Mended, the same cell says right.
    notebook.answer(FIRST, ["return scores.softmax(dim=-1)"])
    notebook.run(FIRST)
    expect(notebook.run(f"exam-{FIRST}")).to_contain_text(re.compile(rf"{FIRST}\s+right"))


def test_validate_on_a_half_done_notebook_names_what_is_not(page, student, pictures):
    dialog = NotebookPage(page, student, f"half/{FILE}").validate()
    says_undone(dialog, EXERCISES[2:])
    for exercise in EXERCISES[:2]:
        expect(dialog).not_to_contain_text(f"{exercise}: ")
    keep(dialog.screenshot(), pictures / "validate.png")


def test_validate_says_success_to_a_solved_notebook(page, student):
    dialog = NotebookPage(page, student, f"solved/{FILE}").validate()
    expect(dialog).to_contain_text("Success")
    expect(dialog).not_to_contain_text("failed")


# --- the instructor -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Courses:
    """Two copies of one course with the same submissions: for formgrader, and for the command line."""

    formgrader: Path
    command: Path


@pytest.fixture(scope="module")
def courses(tmp_path_factory) -> Courses:
    folder = tmp_path_factory.mktemp("formgrader") / "vit-course"
    folder.mkdir()
    config = Config()
    configure(config, folder)
    # Whether the exams hold under a new secret is not the question here; test_notebooks.py asks it.
    config.GenerateAssignment.preprocessors = config.GenerateAssignment.preprocessors[1:]
    config.NbGraderAPI.log_level = logging.CRITICAL
    result = NbGraderAPI(config=config).generate_assignment(LAB.assignment)
    assert result["success"], result.get("log")
    (folder / "course_secret").write_text("0badcafe" * 8 + "\n")
    release = nbformat.read(folder / "release" / LAB.assignment / FILE, as_version=4)
    for member in sample_class(LAB):
        if member.id in ("emmy", "jonas") or FOR_README:
            path = folder / "submitted" / member.id / LAB.assignment / FILE
            path.parent.mkdir(parents=True)
            nbformat.write(hand_in(release, member), path)
    copy = shutil.copytree(folder, tmp_path_factory.mktemp("command") / folder.name)
    text = (ROOT / "autograder" / "nbgrader_config.py").read_text()
    (folder / "nbgrader_config.py").write_text(f"{text}\nget_config().CourseDirectory.root = {str(folder)!r}\n")
    return Courses(folder, copy)


@pytest.fixture(scope="module")
def graded(courses) -> str:
    """What `autograder grade` prints about the course."""
    command = [sys.executable, "-m", "autograder.cli", "grade", LAB.assignment, "--course", courses.command]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def instructor(courses, tmp_path_factory) -> Iterator[Server]:
    with jupyter_lab(courses.formgrader, tmp_path_factory.mktemp("home")) as server:
        yield server


def scores(course: Path, student: str) -> dict[str, float | None]:
    """Automatic scores in the gradebook, by graded cell."""
    with Gradebook(f"sqlite:///{course}/gradebook.db") as gradebook:
        notebook = gradebook.find_submission_notebook(LAB.notebook, LAB.assignment, student)
        return {grade.name: grade.auto_score for grade in notebook.grades}


def verdicts(course: Path, student: str) -> list[dict]:
    """The stored verdicts, without how long they took."""
    record = json.loads(Course(course).record_path(LAB, student).read_text())
    return [{name: value for name, value in v.items() if name != "seconds"} for v in record["exercises"]]


def test_formgraders_button_grades_as_the_command_line_does(page, instructor, courses, graded, tmp_path):
    page.goto(instructor.page("lab"))
    page.get_by_role("menuitem", name="Nbgrader", exact=True).click()
    page.get_by_role("menuitem", name="Formgrader", exact=True).click()
    formgrader = page.frame_locator("iframe")
    formgrader.locator("tr", has_text=LAB.assignment).locator(".num-submissions a").click()
    row = formgrader.locator("tr", has=page.locator(".student-id", has_text="emmy"))
    expect(row.locator(".status")).to_have_text("needs autograding")
    row.locator(".autograde a").click()
    dialog = formgrader.locator(".modal-dialog")
    expect(dialog).to_be_visible()
    expect(dialog).to_contain_text("Successfully autograded")
    dialog.get_by_role("button", name="OK").click()
    expect(dialog).to_have_count(0)

    found = scores(courses.formgrader, "emmy")
    assert found == scores(courses.command, "emmy")
    assert found[f"exam-{FIRST}"] == 0 and found[f"exam-{SECOND}"] == LAB.points(SECOND)
    judged = verdicts(courses.formgrader, "emmy")
    assert judged == verdicts(courses.command, "emmy")
    assert [d["misconception"] for d in judged[0]["diagnoses"]] == ["softmax-over-queries"]
    expect(row.locator(".score")).to_contain_text(f"{sum(found.values()):g} / ")

    # What the instructor reads about it: Manual Grading, the lab, the notebook, the submission.
    formgrader.get_by_role("link", name="Manual Grading").click()
    for name in (LAB.assignment, LAB.notebook, "Submission #1"):
        formgrader.get_by_role("link", name=name, exact=True).click()
    body = formgrader.locator("body")
    expect(body).to_contain_text("0 of 2 points")
    for verdict in judged:
        for diagnosis in verdict["diagnoses"]:
            expect(body).to_contain_text(diagnosis["idea"])
    expect(body).not_to_contain_text("examine(")
    cell = formgrader.locator(".nbgrader_cell", has_text=f"exam-{FIRST}")
    expect(cell.locator("input.score")).to_have_attribute("placeholder", "0")
    page.screenshot(path=tmp_path / "formgrader.png")


def test_class_report_reads_well_in_the_browser(page, courses, graded, pictures):
    page.set_viewport_size({"width": 1240, "height": 1760 if FOR_README else 900})
    page.goto((courses.command / "report-lab1_attention.html").as_uri())
    body = page.locator("body")
    expect(body).to_contain_text("emmy")
    expect(body).to_contain_text("the softmax runs over the queries instead of the keys")
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0, "the report is too wide"
    keep(page.screenshot(), pictures / "report.png")
