"""The gradebook beside other programs: a SQLite file in WAL mode; two graders at once on a real PostgreSQL server."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from nbgrader.api import Gradebook, Student
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from autograder.authoring.sample_class import model_codes
from autograder.cli import main
from autograder.course import course_api
from autograder.labs.lab import ROOT
from autograder.nbgrader_integration import patches
from autograder.nbgrader_integration.converters import StagedAutograde
from autograder.nbgrader_integration.instructor_config import FILE
from autograder.reporting.class_results import read
from autograder.reporting.score_export import scores_table, write_csv
from autograder.sandbox.bubblewrap import unavailable
from autograder.storage import course_folder
from autograder.storage.diagnose import gradebook_trouble
from autograder.storage.gradebook import make_engine, on_network
from support.browser import Server, jupyter_lab
from support.course_fixture import EXERCISES, LAB, MAX, Course
from support.postgres import Postgres, postgres
from support.skipping import missing

FIRST = EXERCISES[0]
MODEL = model_codes(LAB)
STUDENTS = {"ada": {id: MODEL[id] for id in EXERCISES[:3]}, "bob": {FIRST: MODEL[FIRST]}}
LONGER = 7.0  # seconds: longer than the 5 for which Python's sqlite3 waits by itself
PRAGMAS = ("journal_mode", "busy_timeout", "synchronous")
FULL = 2
SENTENCE = re.compile(r"autograder: [^\n]* and run the same command again\.\n")

patches.apply()


def config(course: Course, db_url: str = "") -> None:
    """The course's nbgrader_config.py: ours, and the address of the gradebook."""
    text = (ROOT / "autograder" / "nbgrader_config.py").read_text()
    address = f"c = get_config()\nc.CourseDirectory.db_url = {db_url!r}\n" if db_url else ""
    (course.root / FILE).write_text(text + address)


def sqlite_url(course: Course, options: str = "") -> str:
    return f"sqlite:///{course.root}/gradebook.db{options}"


@pytest.fixture(scope="module")
def released(released_course, tmp_path_factory) -> Course:
    course = released_course.copy(tmp_path_factory.mktemp("database") / "released")
    config(course)
    for student, codes in STUDENTS.items():
        course.hand_in(student, codes)
    return course


def start(*command: object, folder: Path) -> subprocess.Popen:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *map(str, command)], cwd=folder, env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def grading(course: Course, *students: str) -> subprocess.Popen:
    named = [word for student in students for word in ("--student", student)]
    return start("-m", "autograder.cli", "grade", LAB.assignment, "--course", course.root, *named, folder=course.root)


def ended(process: subprocess.Popen) -> str:
    """What a command said that ended well."""
    said, log = process.communicate()
    assert process.returncode == 0, said + log
    return said


def rows(db_url: str) -> dict[str, list[tuple]]:
    """What a gradebook holds, without its random keys and times."""
    with Gradebook(db_url) as gradebook:
        assignment = gradebook.find_assignment(LAB.assignment)
        (notebook,) = assignment.notebooks
        submissions = sorted(assignment.submissions, key=lambda submission: submission.student_id)
        found = {
            "students": [(s.id, s.first_name, s.last_name, s.email) for s in gradebook.students],
            "cells": [(c.name, getattr(c, "max_score", None), c.cell_type) for c in notebook.grade_cells],
            "sources": [(c.name, c.cell_type, c.locked, c.source, c.checksum) for c in notebook.source_cells],
            "notebooks": [
                (s.student_id, n.name, n.late_submission_penalty, n.score, n.max_score)
                for s in submissions for n in s.notebooks
            ],
            "grades": [
                (s.student_id, g.name, g.auto_score, g.manual_score, g.extra_credit, bool(g.needs_manual_grade))
                for s in submissions for n in s.notebooks for g in n.grades
            ],
            "comments": [
                (s.student_id, c.name, c.auto_comment, c.manual_comment)
                for s in submissions for n in s.notebooks for c in n.comments
            ],
        }  # fmt: skip
    return {name: sorted(values, key=str) for name, values in found.items()}


def formgrader(server: Server, path: str, change: dict | None = None) -> Any:
    """What formgrader's page gets from its server, or what comes back when it changes something."""
    request = urllib.request.Request(f"{server.url}/formgrader/{path}", method="PUT" if change else "GET")
    request.add_header("Authorization", f"token {server.token}")
    request.add_header("Content-Type", "application/json")
    data = json.dumps(change).encode() if change else None
    with urllib.request.urlopen(request, data, timeout=60) as answer:
        body = answer.read().decode()
        return json.loads(body) if path.startswith("api/") else body


# --- a SQLite file, and who else has it open


def held(course: Course, begin: str) -> subprocess.Popen:
    """Another program that begins a transaction through nbgrader's Gradebook, and holds it until it gets a line."""
    code = f"""
from nbgrader.api import Gradebook, SubmittedAssignment
gradebook = Gradebook({sqlite_url(course, "?timeout=60")!r})
gradebook.db.connection().exec_driver_sql({begin!r})
count = gradebook.db.query(SubmittedAssignment).count
print(count(), flush=True)
input()
print(count(), flush=True)
gradebook.db.rollback()
"""
    return start("-c", code, folder=course.root)


def has_begun(other: subprocess.Popen) -> subprocess.Popen:
    assert other.stdout.readline() == "0\n", other.communicate()
    return other


def opens(process: subprocess.Popen, path: Path) -> bool:
    """Whether a program comes to have a file open, before it ends."""
    while process.poll() is None:
        if any(file.path == str(path) for file in psutil.Process(process.pid).open_files()):
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(scope="module")
def by_file(released, tmp_path_factory) -> SimpleNamespace:
    """The class graded into a SQLite file that formgrader, a reader and for a while a writer have open, too."""
    if why := unavailable():
        missing(why)
    course = released.copy(tmp_path_factory.mktemp("file") / "course")
    path = course.root / "gradebook.db"
    others = held(course, "BEGIN"), held(course, "BEGIN IMMEDIATE")
    with jupyter_lab(course.root, tmp_path_factory.mktemp("home")) as server:
        page = formgrader(server, f"manage_submissions/{LAB.assignment}")
        reader, writer = (has_begun(other) for other in others)
        grader = grading(course, "ada")
        waited = opens(grader, path)
        time.sleep(LONGER)
        waited &= grader.poll() is None
        writer.communicate("\n")
        said = ended(grader)
        result = course_api(course.root).autograde(LAB.assignment, "bob")  # as formgrader's button does
        assert result["success"], result
        seen = formgrader(server, f"api/submissions/{LAB.assignment}")
        before = reader.communicate("\n")[0]
    return SimpleNamespace(course=course, page=page, waited=waited, said=said, seen=seen, before=before)


def test_nobody_who_has_the_gradebook_open_stops_a_batch(by_file):
    assert LAB.assignment in by_file.page, "formgrader was open"
    assert by_file.waited, "the command waited for the writer"
    assert by_file.before == "0\n", "the reader had its transaction open all the time, and read in it"
    assert "1 graded, 0 were graded already, 0 failed" in by_file.said and by_file.course.feedback("ada")
    for student, codes in STUDENTS.items():
        assert by_file.course.points(student) == {id: MAX[id] if id in codes else 0.0 for id in EXERCISES}
    assert {entry["student"]: entry["autograded"] for entry in by_file.seen} == dict.fromkeys(STUDENTS, True)


def pragmas(db_url: str) -> list:
    engine = make_engine(db_url)
    with engine.connect() as connection:
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in PRAGMAS]
    engine.dispose()
    return found


def test_how_a_file_is_opened(released, tmp_path):
    """As the release left it, and as every program with our configuration opens it."""
    course = released.copy(tmp_path / "course")
    (path,) = course.root.glob("gradebook.db*")
    assert path.read_bytes()[18:20] == b"\2\2", "WAL mode, in SQLite's own header, and no log left beside the file"
    assert pragmas(sqlite_url(course)) == ["wal", 30_000, FULL]
    assert pragmas(sqlite_url(course, "?timeout=2")) == ["wal", 2_000, FULL]


def test_a_file_from_before_becomes_wal_as_soon_as_nobody_reads_it(tmp_path):
    path = tmp_path / "old.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.executescript("PRAGMA journal_mode = delete; CREATE TABLE t (x); BEGIN; SELECT * FROM t")
    assert pragmas(f"sqlite:///{path}") == ["delete", 30_000, FULL]
    other.close()
    assert pragmas(f"sqlite:///{path}")[0] == "wal"


def test_where_wal_does_not_work_the_old_mode_does(tmp_path):
    """SQLite's own way for file systems without locks cannot share memory, and so has no WAL."""
    db_url = f"sqlite:///file:{tmp_path}/gradebook.db?vfs=unix-dotfile&uri=true"
    assert pragmas(db_url) == ["delete", 30_000, FULL]


@pytest.mark.parametrize(
    ("mounts", "network"),
    [
        ({"/": "ext4"}, False),
        ({"/": "ext4", "/people": "nfs4"}, True),
        ({"/": "ext4", "/people": "nfs", "/people/ada": "ext4"}, False),
        ({"/": "nfs", "/hom": "ext4"}, True),
        ({"/": "ext4", "/people/ada/course": "fuse.sshfs"}, True),
        ({"/": "fuse.fuse-overlayfs"}, False),
        ({}, False),
    ],
    ids=str,
)
def test_a_network_drive_is_told_by_its_mount(mounts, network):
    places = [SimpleNamespace(mountpoint=place, fstype=kind) for place, kind in mounts.items()]
    assert on_network("/people/ada/course/gradebook.db", places) is network


def test_a_later_mount_lies_over_an_earlier_one():
    places = [SimpleNamespace(mountpoint="/", fstype=kind) for kind in ("ext4", "nfs")]
    assert on_network("/gradebook.db", places) and not on_network("/gradebook.db", places[::-1])
    assert not on_network(tempfile.gettempdir())


def test_a_lock_that_lasts_stops_the_class_with_its_sentence(released, tmp_path):
    course = released.copy(tmp_path / "course")
    db_url = sqlite_url(course, "?timeout=0.2")
    writer = sqlite3.connect(course.root / "gradebook.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    assert "is locked by another program: close that" in gradebook_trouble(course_folder.Course(course.root, db_url))
    writer.close()
    assert gradebook_trouble(course_folder.Course(course.root, db_url)) == ""


@pytest.mark.parametrize("closed", ["gradebook.db", "."])
def test_a_gradebook_that_is_read_only(released, closed):
    """Also when only its folder is: WAL mode needs to make files there."""
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to other users
        course = released.copy(Path(folder) / "course")
        for path in (Path(folder), course.root, *course.root.iterdir()):
            path.chmod(0o777)
        if closed == ".":
            course.root.chmod(0o555)
        else:
            (course.root / closed).chmod(0o444)
        before = os.geteuid()
        try:
            os.seteuid(before or 65534)
            said = gradebook_trouble(course_folder.Course(course.root, sqlite_url(course)))
        finally:
            os.seteuid(before)
            course.root.chmod(0o755)
    assert "cannot be written" in said and "see to its permissions and run the same command again" in said


# --- a PostgreSQL server


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture(scope="module")
def empty(released, server, tmp_path_factory) -> Course:
    """The class with a release, and nothing graded, on the server."""
    course = released.copy(tmp_path_factory.mktemp("server") / "course")
    (course.root / "gradebook.db").unlink()
    shutil.rmtree(course.root / "release")
    config(course, server.new("empty"))
    result = course_api(course.root).generate_assignment(LAB.assignment)
    assert result["success"], result
    return course


def on_server(course: Course, server: Postgres, root: Path, name: str) -> tuple[Course, str]:
    """The same class with a database of its own."""
    engine = create_engine(server.url("postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE empty")
    engine.dispose()
    copy, db_url = course.copy(root), server.url(name)
    config(copy, db_url)
    return copy, db_url


@pytest.fixture(scope="module")
def by_server(empty, server, tmp_path_factory) -> SimpleNamespace:
    """The class graded by two commands at once, on machines with a course folder each and one gradebook."""
    if why := unavailable():
        missing(why)
    folder = tmp_path_factory.mktemp("two")
    one, db_url = on_server(empty, server, folder / "one", "two")
    two = one.copy(folder / "two")
    graders = grading(one, "ada"), grading(two, "bob")
    said = [ended(grader) for grader in graders]
    for step in ("autograded", "feedback", "verdicts"):  # together again
        shutil.copytree(two.root / step, one.root / step, dirs_exist_ok=True)
    return SimpleNamespace(course=one, db_url=db_url, said=said)


def test_two_graders_at_once_record_what_one_does_in_a_file(by_server, by_file):
    assert all("1 graded, 0 were graded already, 0 failed" in said for said in by_server.said)
    assert not list(by_server.course.root.glob("gradebook.db*"))
    found, wanted = rows(by_server.db_url), rows(sqlite_url(by_file.course))
    assert all(wanted.values()) and found == wanted
    assert all(by_server.course.feedback(student) for student in STUDENTS)


def test_the_scores_are_the_same_file(by_server, by_file):
    """As nbgrader's own command exports them."""
    words = ("export", "--exporter=autograder.export.ScoresExporter", "--to=exported.csv")
    ended(start("-m", "nbgrader", *words, folder=by_server.course.root))
    wanted = by_file.course.root / "exported.csv"
    write_csv(scores_table(read(course_folder.Course(by_file.course.root, sqlite_url(by_file.course)))), wanted)
    table = (by_server.course.root / "exported.csv").read_text()
    assert table == wanted.read_text()
    assert [row["student_id"] for row in csv.DictReader(table.splitlines())] == list(STUDENTS)


def test_the_report_reads_the_server(by_server, by_file, capsys):
    tables = []
    for course in (by_server.course, by_file.course):
        assert main(["report", LAB.assignment, "--course", str(course.root)]) == 0
        tables.append(re.sub(r"Report: .*", "", capsys.readouterr().out))
    assert tables[0] == tables[1] and "ada" in tables[0]


def test_formgraders_functions_read_and_mark(by_server):
    """Those of its pages: what they show, and points given by hand."""
    api = course_api(by_server.course.root)
    seen = api.get_submissions(LAB.assignment)
    assert {entry["student"]: entry["autograded"] for entry in seen} == dict.fromkeys(STUDENTS, True)
    for points in (0.5, None):
        with Gradebook(by_server.db_url) as gradebook:
            grade = gradebook.find_grade(f"exam-{FIRST}", LAB.notebook, LAB.assignment, "bob")
            grade.manual_score = points
            gradebook.db.commit()
        shown = {entry["student"]: entry["score"] for entry in api.get_submissions(LAB.assignment)}
        assert shown["bob"] == (MAX[FIRST] if points is None else points)


def test_two_graders_make_the_same_student_at_the_same_moment(empty, server, tmp_path):
    """Such as on two labs: what the other has just made is there, and no submission fails for it."""
    course, db_url = on_server(empty, server, tmp_path / "course", "met")
    api, place = course_api(course.root), (LAB.assignment, "bob")
    converter = StagedAutograde(coursedir=api.coursedir, parent=api)
    converter.notebooks = [str(course.submission("bob"))]
    watched = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    with Gradebook(db_url) as other, ThreadPoolExecutor() as threads:
        other.db.add(Student(id="bob", lms_user_id=None))
        other.db.flush()  # the grader does not see it yet, and has to wait when it makes the same
        grader = threads.submit(converter.init_assignment, *place)
        while waits := not grader.done():
            other.db.execute(text("SELECT pg_stat_clear_snapshot()"))
            if other.db.execute(watched).scalar():
                break
            time.sleep(0.02)
        other.db.commit()
        grader.result()
        assert waits and other.find_submission(*place).student.id == "bob"


def refused(capsys, course: Course, command: str = "grade") -> str:
    """The one sentence with which a command ends, and no traceback."""
    assert main([command, LAB.assignment, "--course", str(course.root)]) == 2
    said = capsys.readouterr()
    assert SENTENCE.fullmatch(said.err) and not said.out, said
    return said.err


@pytest.mark.parametrize("command", ["grade", "report"])
@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("{right}", "No such file or directory"),
        ("{wrong}", "password authentication failed"),
        ("{right}_nowhere", "does not exist"),
        ("postgresql+psycopg://grader@127.0.0.1:1/gradebook", "Connection refused"),
        ("postgresql+psycop://grader@localhost/gradebook", "such as postgresql+psycopg://"),
        ("gradebook", "such as postgresql+psycopg://"),
    ],
)
def test_a_server_that_cannot_be_used(capsys, empty, server, tmp_path, command, address, expected):
    course = empty.copy(tmp_path / "course")
    right = make_url(server.url("empty"))
    wrong = right.set(password="wrong")
    if "No such" in expected:
        right = right.update_query_dict({"host": str(tmp_path)})
    elif "does not exist" in expected:
        address, right = "{right}", right.set(database="nowhere")
    addresses = {name: url.render_as_string(hide_password=False) for name, url in (("right", right), ("wrong", wrong))}
    config(course, address.format(**addresses))
    said = refused(capsys, course, command)
    assert expected in said and "c.CourseDirectory.db_url" in said and "backup" not in said
    assert addresses["right"] not in said and right.password not in said


@pytest.mark.long
def test_a_server_that_goes_away_in_the_middle(capsys, empty, server, tmp_path):
    """One sentence, and the same command finishes the rest."""
    course, _ = on_server(empty, server, tmp_path / "course", "away")
    course.hand_in("bob", STUDENTS["bob"] | {"playground": "import time; time.sleep(4)"})
    grader, said = grading(course, "bob"), b""
    while f"{LAB.assignment}:".encode() not in said and (part := os.read(grader.stderr.fileno(), 4096)):
        said += part  # until the progress bar: then the class is begun
    server.stop()
    try:
        said = grader.communicate()[1]
    finally:
        server.start()
    assert grader.returncode == 2 and "what is graded so far is kept" in said and "Traceback" not in said, said
    assert "The gradebook's database server cannot be used" in said and "backup" not in said
    assert main(["grade", LAB.assignment, "--course", str(course.root), "--student", "bob"]) == 0
    assert "1 graded, 0 were graded already, 0 failed" in capsys.readouterr().out


def test_psycopg_is_missing(capsys, empty, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for command in ("grade", "report"):
        assert "pip install 'psycopg[binary]'" in refused(capsys, empty, command)
