"""Killed, a full disk, a locked gradebook: one sentence, nothing lost, and the same command finishes the rest."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import textwrap
import time
from contextlib import closing
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import MissingEntry

from autograder.authoring.sample_class import model_codes
from autograder.cli import main
from autograder.labs.lab import ROOT
from autograder.sandbox.bubblewrap import unavailable
from autograder.sandbox.scratch import scratch_folder, sweep
from autograder.storage import course_folder
from autograder.storage.atomic_files import write_atomically
from support.course_fixture import EXERCISES, LAB, MAX, Course, solved
from support.killed import environment, grading, orphans, run, run_until, scores, start, temporary_folder, unfinished
from support.places import TESTS
from support.skipping import missing

MODEL = model_codes(LAB)
FIRST, SECOND = EXERCISES[:2]
PART = {FIRST: MODEL[FIRST], SECOND: MODEL[SECOND]}
pytestmark = pytest.mark.xdist_group("crash")  # `make proofs` makes the module's fixtures once
AUTOGRADED, FEEDBACK, VERDICT = "autograded", "feedback", f"{LAB.assignment}/{LAB.notebook}"


@pytest.fixture(scope="module", autouse=True)
def sandbox():
    if why := unavailable():
        missing(why)


@pytest.fixture
def temporary():
    with temporary_folder() as folder:
        yield folder


@pytest.fixture
def small_disk(tmp_path):
    """Run Python code that finds `disk`, a folder with room for 6 MB, and the Path `outside`; what it printed."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = [sys.executable, str(TESTS / "support" / "small_disk.py"), str(disk), str(6 * 2**20)]
    if subprocess.run([*mount, "true"], capture_output=True).returncode:
        missing("no disk can be mounted here: allow user namespaces, or run the tests as root")

    def run_there(code: str) -> str:
        head = f"from pathlib import Path\ndisk, outside = Path({str(disk)!r}), Path({str(tmp_path)!r})\n"
        path = os.pathsep.join([str(TESTS), str(ROOT)])
        command = [*mount, sys.executable, "-c", head + textwrap.dedent(code)]
        done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run_there


@pytest.fixture(scope="module")
def released(released_course, tmp_path_factory) -> Course:
    """Two students: one did everything, the other a part."""
    course = released_course.copy(tmp_path_factory.mktemp("crash") / "released")
    shutil.copy(ROOT / "autograder" / "nbgrader_config.py", course.root)
    course.hand_in("ada", solved())
    course.hand_in("bob", PART)
    return course


@pytest.fixture(scope="module")
def undisturbed(released, tmp_path_factory) -> Course:
    course = released.copy(tmp_path_factory.mktemp("undisturbed") / "course")
    with temporary_folder() as temporary:
        status, said = run(course, temporary)
        assert status == 0, said
        assert list(temporary.iterdir()) == []
    return course


def refused(capsys, course: Course, *options: str) -> str:
    """The one sentence with which grading is refused."""
    assert main(["grade", LAB.assignment, "--course", str(course.root), *options]) == 2
    said = capsys.readouterr().err.strip()
    lines = [line for line in said.replace("\r", "\n").split("\n") if not line.startswith(LAB.assignment)]
    assert len(lines) == 1 and lines[0].startswith("autograder: ") and "Traceback" not in said, said
    return lines[0]


def test_killed_at_telling_moments(released, undisturbed, tmp_path, temporary):
    course = released.copy(tmp_path / "course")
    with orphans() as left:  # with one worker they are done in the order of their names
        assert run_until("recording", "ada", course, temporary) == -9
        assert left() == []
        assert not (course.root / AUTOGRADED / "ada").exists(), "only what is complete stands there"
        assert course.points("ada") == dict.fromkeys(EXERCISES), "half a record is none"
        assert run_until("recorded", "bob", course, temporary) == -9
        assert left() == []
    assert course.points("ada") == MAX and course.points("bob")[FIRST] == MAX[FIRST]
    assert not (course.root / "verdicts" / "bob").exists() and not (course.root / AUTOGRADED / "bob").exists()
    assert "1 graded, 1 were graded already, 0 failed" in run(course, temporary)[1]
    assert scores(course) == scores(undisturbed)
    assert unfinished(course) == [] and list(temporary.iterdir()) == []


@pytest.mark.long
def test_killed_while_a_regrade_replaces_the_old_result(undisturbed, tmp_path, temporary):
    course = undisturbed.copy(tmp_path / "course")
    course.hand_in("ada", solved() | {"playground": "1 + 1"})  # the same score, another file
    assert run_until("moving", "ada", course, temporary) == -9
    assert "1 graded, 1 were graded already, 0 failed" in run(course, temporary)[1]
    assert scores(course) == scores(undisturbed)
    assert unfinished(course) == [] and list(temporary.iterdir()) == []


@pytest.mark.long
def test_killed_between_grading_and_feedback(undisturbed, tmp_path, temporary):
    """What is graded is not taken for finished: the page is missing, and comes with the next command."""
    course = undisturbed.copy(tmp_path / "course")
    course.hand_in("ada", solved() | {"playground": "1 + 1"})
    assert run_until("showing", "ada", course, temporary) == -9
    assert course.record("ada")["stamp"] != undisturbed.record("ada")["stamp"]
    assert not list((course.root / FEEDBACK / "ada").rglob("*.html")), "no page of an earlier file stays"
    assert "0 graded, 1 recorded anew, 1 were graded already, 0 failed" in run(course, temporary)[1]
    assert scores(course) == scores(undisturbed) and course.feedback("ada")
    assert unfinished(course) == [] and list(temporary.iterdir()) == []


def test_nbgraders_own_command_takes_no_half_written_folder_for_finished(released, undisturbed, tmp_path, temporary):
    course = released.copy(tmp_path / "course", "bob")
    begun = course.root / f"{AUTOGRADED}-unfinished" / "bob"
    command = [sys.executable, "-m", "nbgrader", "autograde", LAB.assignment]
    process = subprocess.Popen(command, cwd=course.root, env=environment(temporary), stderr=subprocess.DEVNULL)
    while process.poll() is None and not begun.exists():
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert begun.exists() and not (course.root / AUTOGRADED).exists()
    subprocess.run(command, cwd=course.root, env=environment(temporary), check=True, stderr=subprocess.DEVNULL)
    assert course.points("bob") == undisturbed.points("bob")
    nbformat.read(course.root / AUTOGRADED / "bob" / f"{VERDICT}.ipynb", as_version=4)
    assert unfinished(course) == []


def test_scratch_folders_of_the_living_stay(temporary, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    mine, code = (
        scratch_folder(),
        "from autograder.sandbox.scratch import scratch_folder; print(scratch_folder(), flush=True)",
    )
    other = subprocess.Popen(
        [sys.executable, "-c", f"{code}; input()"], env=environment(temporary), stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    theirs = Path(other.stdout.readline().strip())
    (theirs / "kept").write_text("")
    sweep()
    assert mine.exists() and (theirs / "kept").exists()
    kernel = subprocess.Popen(["sleep", "60"], env={"HOME": str(theirs / "scratch")})  # one without a sandbox
    other.kill()
    other.communicate()
    sweep()
    assert mine.exists() and not theirs.exists() and len(list(temporary.iterdir())) == 2
    assert kernel.wait(timeout=10) == -9


def test_a_file_that_cannot_be_written_keeps_its_old_content(tmp_path, small_disk):
    done = small_disk("""
        from autograder.storage.atomic_files import write_atomically
        path = disk / "verdict.json"
        write_atomically(path, "old")
        try:
            write_atomically(path, "new" * 2**22)
        except OSError as error:
            print(error.strerror, path.read_text(), [p.name for p in disk.iterdir()])
    """)
    assert done == "No space left on device old ['verdict.json']"


@pytest.mark.long
def test_a_full_disk_before_and_in_the_middle(released, undisturbed, tmp_path, temporary, small_disk):
    course = released.copy(tmp_path / "course")
    course.hand_in("bob", {cell: f"print('x' * 1_000_000)\n{MODEL[cell]}" for cell in (FIRST, SECOND)})
    told = small_disk(f"""
        import json, os, shutil, sys
        from support.killed import run
        from support.course_fixture import Course
        course, temporary = Course(disk), Path({str(temporary)!r})
        shutil.copytree(outside / "course", disk, dirs_exist_ok=True)
        runs = []
        for free in (2**19, 1_800_000, None):
            (disk / "filler").unlink(missing_ok=True)
            if free:
                (disk / "filler").write_bytes(bytes(shutil.disk_usage(disk).free - free))
            said = run(course, temporary, "--workers", "1")  # ada first
            runs.append([*said, sorted(path.parent.parent.name for path in disk.glob("autograded/*/*/*.ipynb"))])
        shutil.copytree(disk, outside / "after")
        print(json.dumps(runs))
    """)
    before, middle, after = json.loads(told)
    for status, said, _ in (before, middle):
        assert status == 2 and re.fullmatch(r"autograder: The disk of \S+ is full .*", said.strip()), said
        assert "make room and run the same command again" in said
    assert "what is graded so far is kept" in middle[1]
    assert (before[2], middle[2]) == ([], ["ada"])
    assert after[0] == 0 and "1 graded, 1 were graded already, 0 failed" in after[1], after
    graded = Course(tmp_path / "after")
    assert {s: graded.points(s) for s in ("ada", "bob")} == {s: undisturbed.points(s) for s in ("ada", "bob")}
    assert unfinished(graded) == []


def set_patience(course: Course) -> Path:
    """Let the commands wait a second for a lock; the gradebook's path."""
    path = course.root / "gradebook.db"
    address = f"sqlite:///{path}?timeout=1"
    (course.root / "nbgrader_config.py").write_text(f"c = get_config()\nc.CourseDirectory.db_url = {address!r}\n")
    return path


def locked(gradebook: Path) -> subprocess.Popen:
    """Another program that has the gradebook locked until it is ended."""
    code = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], 60); c.execute('begin exclusive'); print(1); input()"
    command = [sys.executable, "-u", "-c", code, str(gradebook)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "1\n"
    return process


def test_a_gradebook_that_is_locked_before(undisturbed, tmp_path, capsys):
    course, before = undisturbed.copy(tmp_path / "course"), scores(undisturbed)
    other = locked(set_patience(course))
    said = refused(capsys, course, "--regrade")
    assert "is locked by another program" in said and "formgrader" in said and "run the same command again" in said
    assert "backup" not in said
    assert main(["report", LAB.assignment, "--course", str(course.root)]) == 0, "in WAL mode a reader needs no lock"
    other.communicate("\n")
    assert scores(course) == before


@pytest.mark.long
def test_a_gradebook_that_is_locked_in_the_middle(released, undisturbed, tmp_path, temporary):
    course = released.copy(tmp_path / "course")
    address = set_patience(course)
    process = start(course, temporary, "--workers", "1")
    while process.poll() is None and not (course.root / AUTOGRADED / "ada").exists():
        time.sleep(0.01)
    other = locked(address)
    said = process.communicate()[0].decode()
    other.communicate("\n")
    assert process.returncode == 2 and "is locked by another program" in said and "Traceback" not in said, said
    assert "what is graded so far is kept" in said and "backup" not in said.lower(), said
    assert course.points("ada") == MAX and not (course.root / AUTOGRADED / "bob").exists()
    with pytest.raises(MissingEntry):
        course.points("bob")
    assert "1 graded, 1 were graded already, 0 failed" in run(course, temporary)[1]
    assert scores(course) == scores(undisturbed) and unfinished(course) == []


def test_one_command_at_a_time(undisturbed, tmp_path, temporary, capsys):
    course = undisturbed.copy(tmp_path / "course")
    code = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(1); input()"
    other = subprocess.Popen(
        [sys.executable, "-u", "-c", code, course.root / ".lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    other.stdout.readline()
    assert "Another command is grading" in refused(capsys, course)
    other.communicate(b"\n")
    assert "0 graded, 2 were graded already, 0 failed" in run(course, temporary)[1]


@pytest.mark.parametrize("content", ["", '{"exercises": ', "[" * 100_000, '{"stamp": "STAMP"}', b"\xff\xfe\x00"])
def test_a_damaged_verdict_file_is_graded_again(undisturbed, tmp_path, temporary, content):
    from autograder.grading.stored_results import is_executed

    course = undisturbed.copy(tmp_path / "course")
    path, stamp = course.root / "verdicts" / "bob" / f"{VERDICT}.json", course.record("bob")["stamp"]
    assert is_executed(course_folder.Course(course.root), LAB, "bob", stamp)
    write_atomically(path, content if isinstance(content, bytes) else content.replace("STAMP", stamp))
    assert not is_executed(course_folder.Course(course.root), LAB, "bob", stamp)


def bound(*command: object) -> tuple[str, ...]:
    """A command for which permissions count even when root runs it."""
    if os.geteuid():
        return tuple(map(str, command))
    without = "-dac_override,-dac_read_search"
    return ("setpriv", f"--bounding-set={without}", f"--inh-caps={without}", *map(str, command))


@pytest.mark.long
def test_what_cannot_be_read_or_written_costs_nobody_else(undisturbed, tmp_path, temporary):
    course = undisturbed.copy(tmp_path / "course")
    course.hand_in("carl", {})
    course.hand_in("dora", {}).chmod(0)
    folders = [course.submission("carl").parent.parent, course.root / FEEDBACK / "bob"]
    course.hand_in("bob", PART | {"playground": "1"})
    folders[0].chmod(0)
    folders[1].chmod(0o555)
    try:
        status, said = run(course, temporary, command=bound(*grading()))
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert status == 1 and "0 graded, 1 were graded already, 3 failed" in said and "Traceback" not in said, said
    told = {line.split(": ")[1]: line for line in said.split("\n") if line.startswith("Not graded: ")}
    assert told.keys() == {"bob", "carl", "dora"} and all("run the same command again" in t for t in told.values())
    assert "Permission denied" in told["bob"] and "/feedback/bob" in told["bob"]
    for student in ("carl", "dora"):
        assert f"submitted/{student} cannot be read; open it (chmod -R u+rX" in told[student]
        assert not (course.root / "verdicts" / student).exists(), "neither graded nor a zero"
    course.submission("dora").chmod(0o644)
    # Of bob only the page could not be written: nothing of it is run again.
    assert "2 graded, 1 recorded anew, 1 were graded already, 0 failed" in run(course, temporary)[1]
    assert course.feedback("bob") and course.points("bob") == undisturbed.points("bob")
    with closing(sqlite3.connect(course.root / "gradebook.db")) as database:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)
