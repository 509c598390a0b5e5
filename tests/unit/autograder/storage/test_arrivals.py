"""Nobody who hands in vanishes: notebooks in odd places and under odd names are graded where it can be, else named."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import shutil
import stat
import tarfile
import tempfile
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from autograder.authoring.sample_class import Student, hand_in, model_codes
from autograder.course import course_api
from autograder.execution.submission_task import Task
from autograder.grading.grade_class import grade
from autograder.labs.lab import find_lab
from autograder.storage import course_folder
from autograder.storage.find_submissions import find_submissions, folder_of, students
from autograder.storage.folders import folders_in, is_damaged, is_folder
from autograder.storage.refused import read_refused
from autograder.submission.arrivals import arrivals, files
from support.course_fixture import LAB, MAX, Course, solved
from support.places import ROOT

OTHER = find_lab("lab2")
TIDY = f"{LAB.assignment}/{LAB.notebook}.ipynb"


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def tarred(**members: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


@pytest.fixture(scope="module")
def texts(released) -> dict[str, bytes]:
    """What students may hand in."""
    nb = released.released
    answered = nbformat.writes(hand_in(nb, Student("", "", solved()))).encode()
    partly = nbformat.writes(hand_in(nb, Student("", "", dict(list(solved().items())[:1])))).encode()
    bare = nbformat.reads(answered.decode(), as_version=4)
    for cell in bare.cells:
        cell.metadata = {}
    other = (ROOT / "notebooks" / OTHER.assignment / f"{OTHER.notebook}.ipynb").read_bytes()
    return {
        "answered": answered, "partly": partly, "blank": nbformat.writes(nb).encode(), "other": other,
        "bare": nbformat.writes(bare).encode(), "torn": answered[:20_000], "pdf": b"%PDF-1.7 attention",
        "html": b"<!DOCTYPE html><p>attention", "py": b"def attention_weights(q, k): ...",
        "utf16": answered.decode().encode("utf-16"), "empty": b"", "7z": b"7z\xbc\xaf'\x1c",
        "fresh": nbformat.writes(new_notebook(cells=[new_code_cell(c) for c in model_codes(LAB).values()])).encode(),
        "tar.gz": gzip.compress(tarred(**{"attention.ipynb": answered})),
        "zip with json": zipped(**{"attention.json": answered}),
        "zip of both": zipped(**{"attention.ipynb": nbformat.writes(nb).encode(), "attention (1).ipynb": answered}),
        "zip": zipped(**{"work/attention.ipynb": answered, "__MACOSX/work/._attention.ipynb": b"\0",
                         "work/.ipynb_checkpoints/attention-checkpoint.ipynb": partly}),
        "zip of two": zipped(**{"a.ipynb": answered, "b.ipynb": partly}), "zip of none": zipped(**{"a.txt": b""}),
        "broken zip": zipped(**{"a.ipynb": answered})[:500], "strange": b'{"cells": [{"cell_type": "code", "source": "1"}]}',
    }  # fmt: skip


@pytest.fixture(scope="module")
def released(released_course, tmp_path_factory) -> Course:
    return released_course.copy(tmp_path_factory.mktemp("arrivals") / "course")


# Files below submitted/ada -> what is graded (or what the sentence must say).
# ruff: noqa: E501
GRADED = {
    "as it should be": ({TIDY: "answered"}, "answered", ""),
    "one folder up": ({"attention.ipynb": "answered"}, "answered", "belongs at"),
    "a folder further down": ({f"{LAB.assignment}/work/attention.ipynb": "answered"}, "answered", "belongs at"),
    "far down": ({f"{LAB.assignment}/a/b/c/attention.ipynb": "answered"}, "answered", "belongs at"),
    "another case of the folder": ({"Lab1_Attention/attention.ipynb": "answered"}, "answered", "belongs at"),
    "another name of the folder": ({"lab 1/attention.ipynb": "answered"}, "answered", "belongs at"),
    "another lab's folder": ({f"{OTHER.assignment}/attention.ipynb": "answered"}, "answered", "belongs at"),
    "json": ({f"{TIDY}.json": "answered"}, "answered", "attention.ipynb.json was graded;"),
    "txt": ({f"{TIDY}.txt": "answered"}, "answered", "attention.ipynb.txt was graded"),
    "no ending": ({f"{LAB.assignment}/attention": "answered"}, "answered", "belongs at"),
    "capitals": ({f"{LAB.assignment}/ATTENTION.IPYNB": "answered"}, "answered", "belongs at"),
    "a copy's name": ({f"{LAB.assignment}/attention (1).ipynb": "answered"}, "answered", "attention (1).ipynb was gra"),
    "without ids": ({f"{LAB.assignment}/my work.ipynb": "bare"}, "bare", "belongs at"),
    "a zip": ({f"{LAB.assignment}/work.zip": "zip"}, "answered", "work/attention.ipynb in lab1_attention/work.zip"),
    "a zip with the notebook's name": ({TIDY: "zip"}, "answered", "was graded"),
    "the same twice": ({"a.ipynb": "answered", f"{LAB.assignment}/b.ipynb": "answered"}, "answered", "belongs at"),
    "only a blank copy": ({f"{LAB.assignment}/attention (1).ipynb": "blank"}, "blank", "belongs at"),
    "blank beside the work": ({TIDY: "blank", f"{LAB.assignment}/attention (1).ipynb": "answered"}, "answered", "as it was released, so"),
    "blank beside the work, one folder up": ({TIDY: "blank", "attention.ipynb": "answered"}, "answered", "as it was released, so"),
    "torn beside the work": ({TIDY: "torn", f"{LAB.assignment}/attention-Copy1.ipynb": "answered"}, "answered", "cannot be graded, so"),
    "another lab's beside the work": ({TIDY: "other", f"{LAB.assignment}/a.ipynb": "answered"}, "answered", "cannot be graded, so"),
    "work beside a blank copy": ({TIDY: "answered", f"{LAB.assignment}/attention (1).ipynb": "blank"}, "answered", ""),
    "work beside other work": ({TIDY: "answered", f"{LAB.assignment}/attention (1).ipynb": "partly"}, "answered", "was not looked at"),
    "beside figures and notes": ({TIDY: "answered", f"{LAB.assignment}/a.pdf": "pdf", "notes.txt": "html"}, "answered", ""),
    "beside checkpoints": ({TIDY: "blank", f"{LAB.assignment}/.ipynb_checkpoints/x.ipynb": "answered"}, "blank", ""),
    "far, far down": ({"a/b/c/d/e/f/g/attention.ipynb": "answered"}, "answered", "belongs at"),
    "a folder with its name": ({f"{TIDY}/attention.ipynb": "answered"}, "answered", "belongs at"),
    "behind 400 pictures": ({**{f"{LAB.assignment}/{n}.png": "pdf" for n in range(400)}, f"{LAB.assignment}/work.ipynb": "answered"}, "answered", "belongs at"),
    "behind a folder of data": ({**{f"data/{n}.bin": "pdf" for n in range(400)}, f"{LAB.assignment}/work.ipynb": "answered"}, "answered", "belongs at"),
    "utf-16": ({TIDY: "utf16"}, "utf16", ""),
    "utf-16, misnamed": ({f"{LAB.assignment}/a.ipynb": "utf16"}, "utf16", "belongs at"),
    "a zip with json": ({f"{LAB.assignment}/a.zip": "zip with json"}, "answered", "belongs at"),
    "a zip with a blank one beside the work": ({f"{LAB.assignment}/a.zip": "zip of both"}, "answered", "attention (1).ipynb in"),
    "blank beside a notebook of one's own": ({TIDY: "blank", f"{LAB.assignment}/mine.ipynb": "fresh"}, "fresh", "as it was released, so"),
    "blank beside a script": ({TIDY: "blank", f"{LAB.assignment}/attention.py": "py"}, "blank", "attention.py, which is no notebook"),
    "blank beside two pages": ({TIDY: "blank", f"{LAB.assignment}/a.html": "html", "b.pdf": "pdf"}, "blank", "b.pdf, lab1_attention/a.html, which are no notebooks, were not looked at"),
    "blank beside another lab's script": ({TIDY: "blank", f"{OTHER.assignment}/tokens.py": "py", "lab2.py": "py"}, "blank", ""),
    "blank beside an archive": ({TIDY: "blank", "work.7z": "7z"}, "blank", "work.7z, which is no notebook"),
    "work beside a torn second attempt": ({TIDY: "answered", f"{LAB.assignment}/attention-v2.ipynb": "torn"}, "answered", "was not looked at"),
    "beside the other lab": ({TIDY: "answered", f"{OTHER.assignment}/tokens.ipynb": "other"}, "answered", ""),
}  # fmt: skip
NAMED = {
    "torn": ({TIDY: "torn"}, "not JSON"),
    "torn, misnamed": ({f"{LAB.assignment}/attention (1).ipynb": "torn"}, "not JSON"),
    "another lab's notebook": ({TIDY: "other"}, "this is Lab 2's notebook (tokens.ipynb), expected Lab 1's notebook (attention"),
    "another lab's, by its own name": ({f"{LAB.assignment}/tokens.ipynb": "other"}, "this is Lab 2's notebook"),
    "no lab's notebook": ({f"{LAB.assignment}/Untitled.ipynb": "strange"}, "nothing in the notebook belongs to this lab"),
    "an empty file": ({"attention.ipynb": "empty"}, "not JSON"),
    "an empty folder": ({f"{LAB.assignment}/": ""}, "found an empty folder"),
    "a pdf": ({f"{LAB.assignment}/attention.pdf": "pdf"}, "found lab1_attention/attention.pdf: hand in the notebook itself"),
    "a pdf, one folder up": ({"attention.pdf": "pdf"}, "found attention.pdf: hand in the notebook itself"),
    "html and py": ({f"{LAB.assignment}/attention.html": "html", f"{LAB.assignment}/attention.py": "py"}, "attention.html"),
    "a broken zip": ({f"{LAB.assignment}/work.zip": "broken zip"}, "found lab1_attention/work.zip"),
    "a zip without a notebook": ({f"{LAB.assignment}/work.zip": "zip of none"}, "not packed"),
    "a zip of two": ({f"{LAB.assignment}/work.zip": "zip of two"}, "which differ: keep the one that counts"),
    "two that differ": ({f"{LAB.assignment}/a.ipynb": "answered", f"{LAB.assignment}/b.ipynb": "partly"}, "which differ"),
    "blank beside two that differ": ({TIDY: "blank", f"{LAB.assignment}/a.ipynb": "answered", f"{LAB.assignment}/b.ipynb": "partly"}, "which differ"),
}  # fmt: skip


@pytest.fixture
def place(released, tmp_path, texts) -> Callable[..., Path]:
    """A course to which files are handed in."""
    root = tmp_path / "course"
    shutil.copytree(released.root / "release", root / "release")

    def make(files: dict[str, str], folder: str = "ada") -> Path:
        for name, content in files.items():
            path = root / "submitted" / folder / name
            (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
            if not name.endswith("/"):
                path.write_bytes(texts[content])
        return root

    return make


@pytest.mark.parametrize("files, content, note", GRADED.values(), ids=GRADED)
def test_the_one_that_can_be_meant_is_graded(place, texts, files, content, note):
    root = place(files)
    found = find_submissions(course_folder.Course(root), LAB, None)
    assert (
        found.found.keys() == students(course_folder.Course(root), LAB) == {"ada"}
        and not found.unreadable
        and not found.absent
    )
    submission = found.found["ada"]
    assert submission.content() == (texts[content], "")
    assert note in submission.note and bool(note) == bool(submission.note)


@pytest.mark.parametrize("files, said", NAMED.values(), ids=NAMED)
def test_what_cannot_be_graded_has_no_score_and_a_sentence(place, released, files, said):
    from autograder.execution.grade_one import rebuilt

    root = place(files)
    submission = find_submissions(course_folder.Course(root), LAB, None).found["ada"]
    assert students(course_folder.Course(root), LAB) == {"ada"}
    content, problem = submission.content()
    release, points = nbformat.writes(released.released).encode(), dict.fromkeys(MAX, 1.0) | released_points(released)
    nb = rebuilt(Task(LAB.assignment, "ada", content, problem, release, points))
    assert said in nb.metadata.vitedu["unread"]


def released_points(course: Course) -> dict[str, float]:
    return {c.metadata.nbgrader.grade_id: 1.0 for c in course.released.cells if c.metadata.nbgrader.get("grade")}


def test_nothing_handed_in_is_absent(place):
    root = place({f"{OTHER.assignment}/tokens.ipynb": "other"}, "only-lab-2")
    place({TIDY: "answered"})
    (root / "submitted" / "nothing-at-all").mkdir()
    place({"tokens.ipynb": "other"}, "one-folder-up")
    found = find_submissions(course_folder.Course(root), LAB, None)
    assert found.absent == ["nothing-at-all", "one-folder-up", "only-lab-2"] and found.found.keys() == {"ada"}
    place({"mine.ipynb": "fresh"}, "without-ids")
    assert "without-ids" in find_submissions(course_folder.Course(root), OTHER, None).absent
    assert students(course_folder.Course(root), LAB) == {"ada", "without-ids"} and students(
        course_folder.Course(root), OTHER
    ) == {"only-lab-2", "one-folder-up"}


def test_what_may_not_be_looked_at_stops_nobody():
    """A folder that can be listed and not entered; a root who asks becomes somebody else for a moment."""
    folder, user = Path(tempfile.mkdtemp()), os.geteuid()
    folder.chmod(0o755)
    (folder / "old" / "deeper").mkdir(parents=True)
    (folder / "old" / "notes.ipynb").write_text("{}")
    (folder / "old").chmod(0o644)
    try:
        if user == 0:
            os.seteuid(65534)
        assert not is_folder(folder / "old" / "deeper") and is_damaged(folder / "old" / "notes.ipynb")
        assert is_folder(folder / "old") and not folders_in(folder / "old")
    finally:
        os.seteuid(user)
        (folder / "old").chmod(0o755)
        shutil.rmtree(folder)


def test_folders_in_the_wrong_order_are_turned_round(place, texts):
    root = place({"attention.ipynb": "answered"}, f"{LAB.assignment}/eva")
    place({"report.pdf": "pdf"}, "Lab1/finn")
    place({"tokens.ipynb": "other"}, f"{OTHER.assignment}/gil")
    found = find_submissions(course_folder.Course(root), LAB, None).found
    assert found["eva"].content() == (texts["answered"], "") and "report.pdf" in found["finn"].problem
    assert found.keys() == {"eva", "finn"}


def test_a_folder_for_a_section_is_named_and_so_is_everybody_in_it(place):
    root = place({TIDY: "answered"}, "section A/carl")
    place({TIDY: "blank"}, "section A/dora")
    place({f"{OTHER.assignment}/tokens.ipynb": "other"}, "section A/emil")
    place({"carl/attention.ipynb": "answered", "dora/attention.ipynb": "partly"}, "section B")
    place({"old/attention.ipynb": "answered", "new/attention.ipynb": "answered"}, "ada")
    found = find_submissions(course_folder.Course(root), LAB, None)
    assert found.found.keys() == {"ada", "section B"} and found.found["ada"].file is not None
    assert "another student's, move it to submitted/STUDENT" in found.found["section B"].problem
    assert found.unreadable.keys() == {"section A", "carl", "dora"} and len(set(found.unreadable.values())) == 1
    assert (
        "the folder section A holds several" in found.unreadable["carl"] and "(carl, dora)" in found.unreadable["dora"]
    )


def test_the_timestamp_that_belongs_to_a_misplaced_notebook(place, texts):
    root = place({"work/attention.ipynb": "answered"}) / "submitted"
    place({f"{TIDY}.txt": "answered"}, "bob")
    place({"attention.ipynb": "answered"}, f"{LAB.assignment}/eva")
    for folder in (".", LAB.assignment, "ada", "bob", f"bob/{LAB.assignment}", f"{LAB.assignment}/eva"):
        (root / folder / "timestamp.txt").write_text("2026-11-20 12:00:00 UTC")
    (root / "fay").mkdir()
    (root / "fay" / LAB.assignment).symlink_to(root / "bob" / LAB.assignment)
    found = find_submissions(course_folder.Course(root.parent), LAB, None).found
    wanted = {"ada": "ada", "bob": f"bob/{LAB.assignment}", "eva": f"{LAB.assignment}/eva", "fay": "fay"}
    assert {
        name: str(folder_of(course_folder.Course(root.parent), LAB, name).relative_to(root)) for name in found
    } == wanted
    assert {name: str(each.folder.relative_to(root)) for name, each in found.items()} == wanted


def test_names_that_cannot_be_are_named(place, texts):
    names = ["trailing ", " leading", "a*b", "new\nline", "with, comma", "a+b", "double  blank", "double blank",
             "\u00e9va", unicodedata.normalize("NFD", "\u00e9va")]  # fmt: skip
    for name in names:
        place({TIDY: "answered"}, name)
    root = place({"notes.txt": "html"}, "fine")
    (root / "submitted" / "attention.ipynb").write_bytes((root / "submitted" / "trailing " / TIDY).read_bytes())
    (root / "submitted" / "read me.txt").write_text("hello")
    astray = {"zoe.zip": "zip", "yan.7z": "7z", "xia.ipynb": "fresh", "wu.ipynb": "torn", "va.tar.gz": "tar.gz"}
    for name, content in astray.items():
        (root / "submitted" / name).write_bytes(texts[content])
    (root / "submitted" / "vic.ipynb").write_bytes(texts["other"])
    place({TIDY: "answered"}, "a" * 129)
    found = find_submissions(course_folder.Course(root), LAB, None)
    assert found.unreadable.keys() == {*names, *astray, "attention.ipynb"}
    assert all("rename" in found.unreadable[name] for name in names)
    assert all("nobody knows whose it is" in found.unreadable[name] for name in (*astray, "attention.ipynb"))
    assert (
        "129 characters, the gradebook takes 128"
        in find_submissions(course_folder.Course(root, "postgresql://"), LAB, None).unreadable["a" * 129]
    )


def test_links_and_bombs_are_not_followed(place, texts, tmp_path):
    root = place({TIDY: "answered"})
    for name, target in {"up": "..", "passwd": "/etc/passwd", "work.ipynb": root / "submitted" / "ada" / TIDY}.items():
        folder = root / "submitted" / "linked" / LAB.assignment
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(target)
    os.mkfifo(folder / "pipe.ipynb")
    big = zipped(**{"a.ipynb": b"{" + b" " * 2**27})
    (root / "submitted" / "bomb" / LAB.assignment).mkdir(parents=True)
    (root / "submitted" / "bomb" / LAB.assignment / "a.zip").write_bytes(big)
    (root / "submitted" / "link-to-ada").symlink_to("ada")
    found = find_submissions(course_folder.Course(root), LAB, None)
    assert found.found["linked"].file is None and "hand in the notebook itself" in found.found["linked"].problem
    content, problem = found.found["bomb"].content()
    assert content is None and "bytes that a notebook may have" in problem
    assert found.found.keys() == {"ada", "linked", "bomb"}
    assert "a link, which is not followed" in found.unreadable["link-to-ada"]


def test_what_is_read_of_one_student_has_bounds(place, monkeypatch):
    root = place({f"{n:03}.ipynb": "blank" for n in range(3)}, "ada")
    (root / "submitted" / "ada" / "000.zip").write_bytes(zipped(**{f"{n}.ipynb": b"{" for n in range(9)}))
    place({f"z/{n}.bin": "pdf" for n in range(9)})
    size = (root / "submitted" / "ada" / "000.ipynb").stat().st_size
    for name, limit, count in (("NOTEBOOKS", 5, 5), ("BYTES", size + 5, 6), ("PACKED", 0, 3), ("FILES", 2, 10)):
        with monkeypatch.context() as patch:
            patch.setattr(f"autograder.submission.arrivals.{name}", limit)
            assert len(list(arrivals(root / "submitted" / "ada"))) == count, name
    monkeypatch.setattr("autograder.submission.arrivals.ENTRIES", 4)
    assert len(files(root / "submitted" / "ada")) <= 4  # in no order


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_closed_folder_is_named(place):
    root = place({TIDY: "answered"})
    (root / "submitted" / "ada").chmod(0)
    assert "Permission denied" in find_submissions(course_folder.Course(root), LAB, None).unreadable["ada"]
    (root / "submitted" / "ada").chmod(stat.S_IRWXU)


def test_a_class_of_odd_arrivals(released, texts, tmp_path, capsys):
    """From the folder to terminal, CSV, report and feedback; a second run does nothing and says the same."""
    course = released.copy(tmp_path / "course")

    def put(student: str, name: str, content: str) -> None:
        path = course.root / "submitted" / student / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(texts[content])

    long = "a-student-whose-name-is-much-longer-than-a-column-"
    put("ada", f"{TIDY}.txt", "answered")
    put("bob", TIDY, "torn")
    put("cem", f"{LAB.assignment}/attention.pdf", "pdf")
    put("dan", TIDY, "other")
    put("eve ", TIDY, "answered")
    put("fay", f"{OTHER.assignment}/tokens.ipynb", "other")
    put("section A/gia", TIDY, "answered")
    put("section A/hal", TIDY, "blank")
    put(f"{long}1", TIDY, "blank")
    put(f"{long}2", TIDY, "blank")
    for expected in ("3 graded, 0 were graded already, 7 failed.", "0 graded, 3 were graded already, 7 failed."):
        assert grade(course.root, LAB.assignment) == 1
        said = capsys.readouterr()
        assert expected in said.out
        cut = [line.split()[0] for line in said.out.splitlines() if line.startswith("a-student")]
        assert [name[-1] for name in cut] == ["1", "2"] and max(map(len, cut)) < len(long)
        assert "Not graded: 'eve ': nbgrader cannot take" in said.err and "Traceback" not in said.err
        assert "found lab1_attention/attention.pdf: hand in the notebook itself" in said.err
    with (course.root / "scores.csv").open() as file:
        rows = {row["student_id"].strip("' "): row for row in csv.DictReader(file)}
    report = (course.root / f"report-{LAB.assignment}.html").read_text()
    assert course.points("ada") == MAX and "belongs at" in course.feedback("ada")
    reasons = {"bob": "not JSON", "cem": "attention.pdf", "dan": "Lab 2"}
    nowhere = {"eve": "nbgrader cannot take"} | dict.fromkeys(["section A", "gia", "hal"], "holds several folders")
    for student, why in (reasons | nowhere).items():
        row = rows[student]
        assert (row["score"], row["complete"]) == ("", "no") and why in row["note"], row
        assert why in report and row[f"{LAB.assignment} status"] == "not graded"
        if student not in nowhere:
            assert set(course.points(student).values()) == {None} and why in course.feedback(student)
    assert (rows["fay"]["score"], rows["fay"][f"{LAB.assignment} status"]) == ("0.0", "not submitted")
    assert "not submitted" in report and rows[f"{long}1"]["score"] == "0.0"

    # A person can settle it, or a file that can be graded.
    for cell in (f"exam-{exercise}" for exercise in MAX):
        course.mark("bob", cell, 1.0)
    for cell in ("written-scale", "written-heads"):
        course.mark("bob", cell, 0.5)
    put("cem", TIDY, "answered")
    assert grade(course.root, LAB.assignment) == 1 and "1 graded" in capsys.readouterr().out
    with (course.root / "scores.csv").open() as file:
        rows = {row["student_id"]: row for row in csv.DictReader(file)}
    assert (rows["bob"]["score"], rows["bob"]["complete"]) == ("6.0", "yes")
    assert course.points("cem") == MAX
    json.loads((course.root / "refused" / f"{LAB.assignment}.json").read_text())


def test_nbgraders_own_commands_find_the_same(released, texts, tmp_path):
    """`nbgrader autograde`, formgrader's button and its list of who handed in."""
    course = released.copy(tmp_path / "course")
    first, second = "2026-11-20 12:00:00 UTC", "\ufeff2026-11-21 12:00:00 +0200"
    places = {
        "ada/attention.ipynb": "answered", f"bob/{TIDY}": "blank", f"bob/{LAB.assignment}/attention (1).ipynb": "partly",
        f"cem/{LAB.assignment}/attention.pdf": "pdf", f"eve /{TIDY}": "answered", f"fay/{OTHER.assignment}/tokens.ipynb": "other",
    }  # fmt: skip
    for name, content in places.items():
        path = course.root / "submitted" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(texts[content])
    (course.root / "submitted" / "ada" / "timestamp.txt").write_text(second, encoding="utf-8")
    (course.root / "submitted" / "bob" / LAB.assignment / "timestamp.txt").write_text(first)
    (course.root / "submitted" / "cem" / LAB.assignment / "timestamp.txt").write_text("some day")
    api = course_api(course.root)
    assert api.get_submitted_students(LAB.assignment) - {"eve "} == {"ada", "bob", "cem"}
    assert {s["student"] for s in api.get_submissions(LAB.assignment)} - {"eve "} == {"ada", "bob", "cem"}
    result = api.autograde(LAB.assignment, "*")
    assert not result["success"] and "Not graded: 'eve ': nbgrader cannot take" in result["log"]
    assert "found lab1_attention/attention.pdf: hand in the notebook itself" in result["log"]
    assert course.points("ada") == MAX and "belongs at" in course.record("ada")["mended"][0]
    assert "as it was released, so" in course.record("bob")["mended"][0]
    assert sum(course.points("bob").values()) > 0 and set(course.points("cem").values()) == {None}
    assert read_refused(course.root, LAB.assignment)["eve "].startswith("nbgrader cannot take")
    times = {s["student"]: (s["autograded"], s["timestamp"]) for s in api.get_submissions(LAB.assignment)}
    assert times["ada"] == (True, "2026-11-21T10:00:00") and times["bob"] == (True, "2026-11-20T12:00:00")
    assert times["cem"] == (True, None)
    assert api.get_submitted_students("*") >= {"ada", "bob", "cem", "fay"}

    # A notebook alone goes beside what is there, which is read-only: it takes its place, and is not written into.
    elsewhere, stamp = tmp_path / "elsewhere", course.root / "autograded" / "cem" / LAB.assignment / "timestamp.txt"
    elsewhere.write_text("kept")
    os.link(elsewhere, stamp)
    (course.root / "submitted" / "cem" / LAB.assignment / "timestamp.txt").write_text(first)
    (course.root / "submitted" / "cem" / LAB.assignment / "submission_secret.txt").write_bytes(b" \n")
    api.coursedir.notebook_id = LAB.notebook
    assert api.autograde(LAB.assignment, "cem")["success"]
    assert (elsewhere.read_text(), stamp.read_text()) == ("kept", "2026-11-20 12:00:00 UTC\n")
    assert not stamp.with_name("submission_secret.txt").exists()
