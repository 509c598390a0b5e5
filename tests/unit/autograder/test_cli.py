"""The command line: what a user does wrong is told in one sentence, with exit status 2 and no traceback."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import autograder.authoring.prove_exams
import autograder.grading.grade_class
from autograder import interrupts
from autograder.authoring.prove_exams import Proof
from autograder.cli import main
from autograder.labs.lab import ROOT, find_lab

LAB = find_lab("lab1")


@pytest.fixture
def course(tmp_path) -> Path:
    """A course folder with a release and one submission, ungraded."""
    notebook = ROOT / "notebooks" / LAB.assignment / f"{LAB.notebook}.ipynb"
    for place in ("release", "submitted/ada"):
        (tmp_path / "course" / place / LAB.assignment).mkdir(parents=True)
        shutil.copy(notebook, tmp_path / "course" / place / LAB.assignment)
    return tmp_path / "course"


def refused(capsys, *argv: object) -> str:
    """The one sentence with which a command is refused."""
    try:
        status = main([str(a) for a in argv])
    except SystemExit as stopped:  # argparse's own
        status = stopped.code
    said = capsys.readouterr()
    assert status == 2, said
    lines = [line for line in said.err.strip().split("\n") if not line.startswith(("usage:", " "))]
    assert len(lines) == 1 and lines[0].startswith("autograder"), said.err
    assert "Traceback" not in said.err and said.out == ""
    return lines[0]


def test_help_is_quick_and_names_the_commands():
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "autograder.cli", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and time.monotonic() - started < 3
    known = ("verify", "new-exercise", "build", "demo", "new-course", "handout", "grade", "train", "report")
    assert all(command in done.stdout for command in known)


@pytest.mark.parametrize(
    "argv, named",
    [((), "COMMAND"), (("greade", "lab1"), "greade"), (("grade",), "LAB"), (("verify", "--nonsense"), "--nonsense")],
)
def test_a_wrong_command_line(capsys, argv, named):
    assert named in refused(capsys, *argv)


@pytest.mark.parametrize("count", ["0", "-1", "two", "1.5", ""])
def test_a_wrong_number_of_workers(capsys, count):
    said = refused(capsys, "verify", f"--workers={count}")
    assert "whole number" in said and repr(count) in said


@pytest.mark.parametrize("command", ["verify", "handout", "grade", "report"])
def test_an_unknown_lab(capsys, command):
    said = refused(capsys, command, "lab99")
    assert "'lab99'" in said and "lab1_attention" in said


def test_no_course_folder(capsys, tmp_path):
    for command in ("grade", "report"):
        said = refused(capsys, command, "lab1", "--course", tmp_path / "nowhere")
        assert str(tmp_path / "nowhere") in said and "found none" in said
    assert not (tmp_path / "nowhere").exists()


def test_no_release(capsys, course):
    shutil.rmtree(course / "release")
    assert "nbgrader generate_assignment lab1_attention" in refused(capsys, "grade", "lab1", "--course", course)


def test_nothing_handed_in(capsys, course):
    shutil.rmtree(course / "submitted")
    assert "submitted/STUDENT/lab1_attention/attention.ipynb" in refused(capsys, "grade", "lab1", "--course", course)


def test_an_unknown_student(capsys, course):
    said = refused(capsys, "grade", "lab1", "--course", course, "--student", "ada", "--student", "nobody")
    assert "nobody" in said and "--student" in said and "ada" not in said


@pytest.mark.parametrize("content", ["", "not hexadecimal", "abcd", "\x00" * 64, b"\xff\xfe" * 40])
def test_a_damaged_course_secret(capsys, course, content):
    (course / "course_secret").write_bytes(content if isinstance(content, bytes) else content.encode())
    said = refused(capsys, "grade", "lab1", "--course", course)
    assert "course_secret" in said and "backup" in said


def test_a_report_before_anything_is_graded(capsys, course):
    assert "gradebook" in refused(capsys, "report", "lab1", "--course", course)


@pytest.fixture
def read_only(course) -> Iterator[Path]:
    """The course in a folder that nobody may write to, and this process without root's rights."""
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to other users
        place = Path(shutil.copytree(course, Path(folder) / "course"))
        (place / "course_secret").write_text("ab" * 32)
        Path(folder).chmod(0o755)
        place.chmod(0o555)
        before = os.geteuid()
        if before == 0:
            os.seteuid(65534)
        try:
            yield place
        finally:
            os.seteuid(before)
            place.chmod(0o755)


def test_a_course_folder_that_is_read_only(capsys, read_only):
    said = refused(capsys, "grade", "lab1", "--course", read_only)
    assert f"into {read_only}" in said and "Permission denied" in said


def test_a_gradebook_that_does_not_know_the_lab(capsys, course):
    said = refused(capsys, "grade", "lab1", "--course", course)
    assert "does not know lab1_attention" in said and "nbgrader generate_assignment lab1_attention --force" in said


def test_a_damaged_gradebook(capsys, course):
    (course / "gradebook.db").write_bytes(b"this is no database" * 100)
    said = refused(capsys, "grade", "lab1", "--course", course)
    assert "file is not a database" in said and "backup" in said


def test_a_course_folder_in_which_nothing_can_be_written(capsys, course):
    (course / "course_secret").symlink_to("/proc/nothing/course_secret")  # fails for root, too
    said = refused(capsys, "grade", "lab1", "--course", course)
    assert "course_secret" in said


def test_a_file_where_the_demo_wants_a_folder(capsys, tmp_path):
    (tmp_path / "demo").write_text("")
    assert str(tmp_path / "demo") in refused(capsys, "demo", "--folder", tmp_path / "demo")


def proofs(*problems: str):
    made = Proof("lab1/attention_weights", 20, 20, 20, 8, 8, draws=48, problems=list(problems))
    return lambda labs, workers, secrets, variants, paired: [made]


def test_verify_prints_a_table_writes_json_and_says_how_it_ended(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(autograder.authoring.prove_exams, "verify", proofs())
    path = tmp_path / "new" / "table.json"
    assert main(["verify", "lab1", "--json", str(path)]) == 0
    said = capsys.readouterr().out
    assert "lab1/attention_weights" in said and "Every exam holds." in said
    assert '"misconceptions": 20' in path.read_text()
    monkeypatch.setattr(autograder.authoring.prove_exams, "verify", proofs("no-scale gets full marks"))
    assert main(["verify"]) == 1
    assert "no-scale gets full marks" in capsys.readouterr().out


def test_a_table_that_cannot_be_written_is_told_before_the_proof(capsys, tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr(autograder.authoring.prove_exams, "verify", lambda *_: begun.append(1) or proofs()(None, 1))
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "table.json", tmp_path):
        assert str(tmp_path) in refused(capsys, "verify", "--json", path)
    assert begun == [], "the proof takes minutes"


def program(main: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """The installed command with another `main`."""
    code = f"import atexit, autograder.cli as c; atexit.register(print, 'left'); c.main = lambda: {main}; c.program()"
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run([sys.executable, "-c", code], env=buffered, stderr=subprocess.PIPE, text=True, **options)


def test_the_program_ends_with_the_commands_status_and_with_all_that_it_said():
    done = program("print('said') or 2", stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout, done.stderr) == (2, "said\nleft\n", "")
    done = program("1 / 0", stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout) == (1, "left\n") and "ZeroDivisionError" in done.stderr
    assert program("c.sys.exit(3)", stdout=subprocess.PIPE).returncode == 3
    with open("/dev/full", "w") as full:
        assert program("0", stdout=full).returncode == 120


def test_ctrl_c_counts_though_somebody_swallows_it():
    before = signal.getsignal(signal.SIGINT)
    with interrupts.heard():
        interrupts.check()
        try:
            signal.raise_signal(signal.SIGINT)
        except:  # noqa: E722 as libraries have it
            pass
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
    assert signal.getsignal(signal.SIGINT) is before
    with interrupts.heard():
        interrupts.check()
