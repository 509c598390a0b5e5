"""The zip for students: what is in it, the same bytes each time, and nothing of a solution or an exam."""

import json
import os
import shutil
from pathlib import Path
from zipfile import ZipFile

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_output

from autograder.authoring.build import RELEASE
from autograder.authoring.sample_class import Student, hand_in, model_codes
from autograder.cli import main
from autograder.labs.lab import all_labs, find_lab
from autograder.nbgrader_integration.release import fill_in
from autograder.teaching import handout as module
from autograder.teaching.answers_in import _answers, answer_in

LAB = find_lab("lab1")
NAME = "vitedu-1.0-py3-none-any.whl"
INSIDE = ("vitedu/__init__.py", "vitedu/training_exams/recipe.py", "vitedu-1.0.dist-info/METADATA")
EACH_LAB = pytest.mark.parametrize("lab", all_labs(), ids=lambda lab: lab.key)


@pytest.fixture(autouse=True)
def no_clone(monkeypatch):
    """Whatever lies in dist/ of the repository is not looked at."""
    monkeypatch.setattr(module, "is_installed", lambda: True)


@pytest.fixture
def course(tmp_path) -> Path:
    """A course folder with Lab 1 released, and nothing else."""
    path = tmp_path / "course" / "release" / LAB.assignment
    path.mkdir(parents=True)
    shutil.copy(student_notebook(LAB), path)
    return tmp_path / "course"


def student_notebook(lab) -> Path:
    return RELEASE / lab.assignment / f"{lab.notebook}.ipynb"


def released(course: Path) -> Path:
    return course / "release" / LAB.assignment / f"{LAB.notebook}.ipynb"


def wheel(folder: Path, name: str = NAME, inside: tuple[str, ...] = INSIDE) -> Path:
    folder.mkdir(exist_ok=True)
    with ZipFile(folder / name, "w") as archive:
        for each in inside:
            archive.writestr(each, "text")
    return folder / name


def refused(capsys, course: Path, *options: object) -> str:
    """The one sentence with which the command refuses; nothing is written."""
    before = sorted(course.parent.rglob("*"))
    assert main(["handout", "lab1", "--course", str(course), *map(str, options)]) == 2
    said = capsys.readouterr()
    (sentence,) = said.err.strip().split("\n")
    assert said.out == "" and sentence.startswith("autograder: Expected") and "found" in sentence
    assert sorted(course.parent.rglob("*")) == before
    return sentence


# --- what is in it


def test_three_files_and_nothing_else(course, capsys):
    wheel(course / "dist")
    assert main(["handout", "lab1", "--course", str(course)]) == 0
    path = course / f"handout-{LAB.assignment}.zip"
    assert capsys.readouterr().out == f"Handout: {path}\n"
    with ZipFile(path) as archive:
        assert archive.namelist() == [f"{LAB.assignment}/{name}" for name in ("README.md", "attention.ipynb", NAME)]
        manual, notebook, packed = (archive.read(name) for name in archive.namelist())
    assert notebook == released(course).read_bytes() and packed == (course / "dist" / NAME).read_bytes()
    text = manual.decode("ascii")
    assert text.startswith("# Lab 1 - Attention\n")
    for each in (
        "Colab",
        f"upload `{NAME}` there",
        "Run the first code cell",
        "python3 -m venv",
        "PowerShell",
        "py -m venv",
        "conda create",
    ):
        assert each in text
    assert text.count(f'"./{NAME}[lab,libraries]"') == 3 and "VERSION" not in text and "%pip" not in text


def test_without_a_wheel_one_sentence_says_so(course, capsys):
    assert main(["handout", "lab1", "--course", str(course), "--to", str(course / "new" / "to.zip")]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"Handout: {course}/new/to.zip" and "no students' wheel" in second and "--wheel FILE" in second
    with ZipFile(course / "new" / "to.zip") as archive:
        assert len(archive.namelist()) == 2
        assert "that your instructor gives you" in archive.read(f"{LAB.assignment}/README.md").decode()


@pytest.mark.parametrize(
    ("address", "package"),
    [
        ("vitedu==0.1.0", "vitedu[lab,libraries]==0.1.0"),
        ("https://example.org/vitedu-0.1.0-py3-none-any.whl",
         "vitedu[lab,libraries] @ https://example.org/vitedu-0.1.0-py3-none-any.whl"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("packed", [False, True])
def test_with_an_address_the_notebook_alone_is_enough(course, capsys, address, package, packed):
    nb = nbformat.read(released(course), as_version=4)
    fill_in(nb, LAB, address, "")
    nbformat.write(nb, released(course))
    if packed:
        wheel(course / "dist")
    assert main(["handout", "lab1", "--course", str(course)]) == 0
    assert capsys.readouterr().out == f"Handout: {course}/handout-{LAB.assignment}.zip\n"
    with ZipFile(course / f"handout-{LAB.assignment}.zip") as archive:
        text = archive.read(f"{LAB.assignment}/README.md").decode()
    assert "2. Run the first code cell" in text and "upload `" not in text and "VERSION" not in text
    assert text.count(f'"./{NAME}[lab,libraries]"' if packed else f'"{package}"') == 3


def test_a_folder_of_a_server_is_no_address_for_a_students_computer(course, capsys):
    nb = nbformat.read(released(course), as_version=4)
    fill_in(nb, LAB, "/srv/course", "")
    nbformat.write(nb, released(course))
    wheel(course / "dist")
    assert main(["handout", "lab1", "--course", str(course)]) == 0
    with ZipFile(course / f"handout-{LAB.assignment}.zip") as archive:
        text = archive.read(f"{LAB.assignment}/README.md").decode()
    assert f"upload `{NAME}` there" in text and "/srv/course" not in text


def test_a_wheel_that_is_named_is_taken(course, tmp_path, capsys):
    wheel(course / "dist")
    other = wheel(
        tmp_path / "elsewhere", "vitedu-2.0-py3-none-any.whl", ("vitedu/a.py", "vitedu-2.0.dist-info/METADATA")
    )
    assert main(["handout", "lab1", "--course", str(course), "--wheel", str(other)]) == 0
    with ZipFile(course / f"handout-{LAB.assignment}.zip") as archive:
        assert f"{LAB.assignment}/{other.name}" in archive.namelist() and len(archive.namelist()) == 3


def test_the_same_content_is_the_same_zip(course, tmp_path):
    wheel(course / "dist")
    zips = [tmp_path / "a.zip", tmp_path / "b.zip"]
    for path, time in zip(zips, (1_000_000_000, 1_700_000_000), strict=True):
        os.utime(released(course), (time, time))
        assert main(["handout", "lab1", "--course", str(course), "--to", str(path)]) == 0
    assert zips[0].read_bytes() == zips[1].read_bytes()
    with ZipFile(zips[0]) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert all(entry.filename.isascii() for entry in archive.infolist())


# --- notebooks that are not for students


@EACH_LAB
def test_a_released_notebook_is_for_students_and_a_solution_is_not(lab):
    assert answer_in(student_notebook(lab).read_bytes(), lab) == ""
    assert "is answered" in answer_in(lab.source.with_suffix(".ipynb").read_bytes(), lab)


@EACH_LAB
def test_every_answer_alone_is_seen(lab):
    """Also where the TODO is still there, as a comment or in another cell."""
    nb = nbformat.read(student_notebook(lab), as_version=4)
    for cell in lab.cells:
        if cell.role in ("solution", "written"):
            source = cell.source + '\n# raise NotImplementedError("TODO")'
            source = "\n".join(line for line in source.split("\n") if not line.strip().startswith("###"))
            answered = hand_in(nb, Student("", "", {cell.grade_id: source}))
            assert "a line of a solution" in answer_in(nbformat.writes(answered).encode(), lab), cell.grade_id


@EACH_LAB
def test_only_what_students_are_not_given_counts(lab):
    lines = {line.strip() for cell in nbformat.read(student_notebook(lab), 4).cells for line in cell.source.split("\n")}
    assert len(_answers(lab)) > 10 and not lines & _answers(lab)


def answer_in_one_cell(nb):
    nb.cells = hand_in(nb, Student("", "", {"AttentionHead": "class AttentionHead:\n    mine = 1"})).cells


def answer_in_an_output(nb):
    cell = next(cell for cell in nb.cells if cell.cell_type == "code")
    cell.outputs = [new_output("stream", text=model_codes(LAB)["AttentionHead"])]


def hidden_test(nb):
    nb.cells.append(new_code_cell('examine("lab1/AttentionHead")'))


def hidden_test_with_marks(nb):
    nb.cells.append(new_code_cell("### BEGIN HIDDEN TESTS\nassert True\n### END HIDDEN TESTS"))


def an_exam(nb):
    nb.cells.append(new_code_cell("from autograder.exams.lab1.attention_head import EXERCISE"))


def a_cell_is_missing(nb):
    nb.cells = [cell for cell in nb.cells if cell.metadata.nbgrader.grade_id != "AttentionHead"]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (answer_in_one_cell, "one whose cell AttentionHead is answered"),
        (answer_in_an_output, "one with a line of a solution ("),
        (hidden_test, "one with a hidden test or a solution mark ('examine("),
        (hidden_test_with_marks, "one with a hidden test or a solution mark ('### BEGIN HIDDEN TESTS')"),
        (an_exam, "one with a hidden test or a solution mark ('from autograder.exams"),
        (a_cell_is_missing, "one without the lab's cell AttentionHead"),
    ],
)
def test_what_gives_something_away_is_refused(course, capsys, change, found):
    nb = nbformat.read(released(course), as_version=4)
    change(nb)
    nbformat.write(nb, released(course))
    said = refused(capsys, course)
    assert f"found {found}" in said and said.endswith("nbgrader generate_assignment lab1_attention --force")


def test_the_solution_notebook_is_refused(course, capsys):
    shutil.copy(LAB.source.with_suffix(".ipynb"), released(course))
    assert "found one whose cell attention_weights is answered" in refused(capsys, course)


@pytest.mark.parametrize(
    "content", ["", "{}", "[1]", '{"cells": 3}', "\x00\x01", json.dumps({"nbformat": 4, "cells": [1]})]
)
def test_what_is_no_notebook_is_refused(course, capsys, content):
    released(course).write_text(content)
    assert released(course).name in refused(capsys, course)


def test_a_lab_that_is_not_released_is_refused(course, capsys):
    released(course).unlink()
    assert "found none" in (said := refused(capsys, course)) and "nbgrader generate_assignment lab1_attention" in said


# --- wheels that are not for students


@pytest.mark.parametrize(
    ("name", "inside", "found"),
    [
        (NAME, (*INSIDE, "autograder/exams/lab1/shared.py"), "'autograder/exams/lab1/shared.py'"),
        (NAME, (*INSIDE, "vitedu/autograder.py"), "'vitedu/autograder.py'"),
        (NAME, (*INSIDE, "solutions/lab1_attention/attention.py"), "'solutions/lab1_attention/attention.py'"),
        (NAME, (*INSIDE, "vitedu_autograder-1.0.dist-info/METADATA"), "'vitedu_autograder-1.0.dist-info/METADATA'"),
        ("vitedu_autograder-1.0-py3-none-any.whl", INSIDE, "vitedu_autograder-1.0-py3-none-any.whl"),
        ("vitedu-1.0-py3-none-\u00e4ny.whl", INSIDE, "ny.whl"),
    ],
)
def test_the_graders_wheel_is_refused(course, tmp_path, capsys, name, inside, found):
    path = wheel(tmp_path / "given", name, inside)
    assert found in refused(capsys, course, "--wheel", path)


def test_a_damaged_wheel_is_refused(course, tmp_path, capsys):
    (tmp_path / NAME).write_bytes(b"no zip")
    assert "damaged" in refused(capsys, course, "--wheel", tmp_path / NAME)
    assert "no file" in refused(capsys, course, "--wheel", tmp_path / "vitedu-3.0-py3-none-any.whl")


def test_of_two_wheels_none_is_taken(course, capsys):
    wheel(course / "dist")
    wheel(course / "dist", "vitedu-1.1-py3-none-any.whl")
    assert "name one with --wheel FILE" in refused(capsys, course)


def test_a_handout_is_a_zip(course, capsys):
    assert "ends in .zip" in refused(capsys, course, "--to", course / "notes.txt")
    (course / "folder.zip").mkdir()
    assert "ends in .zip" in refused(capsys, course, "--to", course / "folder.zip")
