"""Grading by the workers of a Dask cluster: real processes, some of which die, know nothing, or lack something."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

import nbformat
import psutil
import pytest

from autograder.authoring.sample_class import model_codes
from autograder.errors import UserError
from autograder.execution.code_version import sources
from autograder.execution.grade_one import grade_one
from autograder.execution.limits import Limits
from autograder.execution.submission_task import OWN, Task
from autograder.grading import dask_workers as cluster_module
from autograder.grading import worker_pool
from autograder.grading.dask_workers import _refusal
from autograder.labs.lab import ROOT
from support.course_fixture import EXERCISES, LAB, SECRET, WRITTEN, Course, solved
from support.dask_parts import Workplace, processes_of, until
from support.killed import environment, scores

pytest.importorskip("distributed")
MODEL = model_codes(LAB)
STUDENTS = {"ada": solved()} | {
    name: {exercise: MODEL[exercise] for exercise in EXERCISES[:count]}
    for count, name in enumerate(("bob", "carl", "dora", "emmy", "fay"))
}
WORKERS = ("north", "east", "west")
COLUMNS = "auto_score, manual_score, extra_credit, needs_manual_grade"


pytestmark = [pytest.mark.usefixtures("walls"), pytest.mark.xdist_group("cluster")]


@pytest.fixture(scope="module")
def released(released_course, tmp_path_factory) -> Course:
    """Six students, who get from one exercise to the next."""
    course = released_course.copy(tmp_path_factory.mktemp("cluster") / "released")
    for student, codes in STUDENTS.items():
        course.hand_in(student, codes)
    return course


def workplace():
    folder = Path(tempfile.mkdtemp(prefix="d", dir="/tmp"))  # a short path, for sockets
    folder.chmod(0o755)
    place = Workplace(folder)
    try:
        yield place
    finally:
        place.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster():
    """A scheduler and three workers, each of which has done nothing yet."""
    for place in workplace():
        for name in WORKERS:
            place.worker(name)
        place.wait(len(WORKERS))
        place.spy.get_task_stream()  # from now on it is written down
        yield place


@pytest.fixture(scope="module")
def odd():
    """A scheduler, whose workers are to come."""
    yield from workplace()


def start(course: Course, *options: str, **more: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "autograder.cli", "grade", LAB.assignment, "--course", str(course.root), *options]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment(Path("/tmp")) | more, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def end(process: subprocess.Popen) -> tuple[int, str, list[str]]:
    """Exit status, what was printed, and the lines on stderr (the progress bar left out)."""
    out, err = process.communicate(timeout=120)
    lines = err.decode().replace("\r", "\n").split("\n")
    return process.returncode, out.decode(), [x for x in lines if x.strip() and not x.startswith(LAB.assignment)]


def grade(course: Course, *options: str, **more: str) -> tuple[int, str, list[str]]:
    return end(start(course, *options, **more))


def gradebook_rows(course: Course) -> list[tuple]:
    """Every grade and comment of the class, by student and cell."""
    query = """
        select s.student_id, c.name, {} from {} as g join submitted_notebook n on g.notebook_id = n.id
        join submitted_assignment s on n.assignment_id = s.id join base_cell c on g.cell_id = c.id order by 1, 2
    """
    with closing(sqlite3.connect(course.root / "gradebook.db")) as database:
        return [
            *database.execute(query.format(COLUMNS, "grade")),
            *database.execute(query.format("g.auto_comment, g.manual_comment", "comment")),
        ]


def ended(cluster: Workplace) -> int:
    """How many submissions the workers have done so far."""
    return len(cluster.spy.get_task_stream())


def finished(cluster: Workplace, since: int) -> dict[str, str]:
    """Submission's key -> the worker that did it, after the first `since` ones (clocks differ)."""
    return {str(told["key"]): told["worker"] for told in cluster.spy.get_task_stream()[since:]}


@pytest.mark.long
def test_a_class_is_graded_though_a_worker_is_killed(cluster, released, tmp_path):
    local, course = released.copy(tmp_path / "local"), released.copy(tmp_path / "course")
    assert grade(local)[0] == 0
    pids, since = cluster.pids(), ended(cluster)
    grading = start(course, "--scheduler", cluster.address)
    busy = until(lambda: len(found := cluster.busy()) == 3 and found)
    victim = sorted(busy)[0]
    assert until(lambda: any("fork_server" in p.cmdline()[-2] for p in _below(pids[victim]))), "it has begun"
    os.kill(pids[victim], signal.SIGSTOP)  # it says nothing more
    time.sleep(0.2)
    held = cluster.busy()[victim]
    name = cluster.names()[victim]
    below = _below(pids[victim])
    os.kill(pids[victim], signal.SIGKILL)
    status, out, err = end(grading)
    assert status == 0 and "6 graded, 0 were graded already, 0 failed" in out, out
    assert err == [], "neither tracebacks nor Dask's notes, nor a kernel that was started cold"
    assert scores(course) == scores(local) and gradebook_rows(course) == gradebook_rows(local)
    did = finished(cluster, since)
    assert len(did) == len(STUDENTS) and held and set(held) <= did.keys()
    assert victim not in {did[key] for key in held} and len(set(did.values())) >= 2, did
    assert not [process for process in below if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    assert until(lambda: name in cluster.names().values()), "the nanny started it again"


@pytest.mark.long
def test_workers_open_nothing_of_the_course(cluster, released):
    for name in WORKERS:
        opened = cluster.opened(name)
        assert any("vitedu-" in path for path in opened), "it is written down"
        assert not [path for path in opened if "course" in path.split(os.sep) or str(released.root.parent) in path]


def _below(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


@pytest.mark.long
def test_after_ctrl_c_a_worker_ends_the_submission_it_has_and_begins_no_other(cluster, released, tmp_path):
    cluster.wait(3)
    course, since = released.copy(tmp_path / "course"), ended(cluster)
    grading = start(course, "--scheduler", cluster.address)
    assert until(cluster.busy)
    grading.send_signal(signal.SIGINT)
    status, _, err = end(grading)
    assert status == 130 and len(err) == 1 and err[0].startswith("autograder: stopped; what was finished is kept")
    assert cluster.spy.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)) == 0, "none waits"
    assert len(finished(cluster, since)) <= len(WORKERS)


@pytest.mark.long
def test_where_the_scheduler_ends_the_same_command_goes_on_here(cluster, released, tmp_path):
    """The last of this cluster: its workers end, too, and leave nothing."""
    cluster.wait(3)
    course = released.copy(tmp_path / "course", "ada", "bob", "carl", "dora")
    grading = start(course, "--scheduler", cluster.address)
    verdicts = course.root / "verdicts"
    assert until(lambda: list(verdicts.glob("*/*/*.json")))
    cluster.scheduler.kill()
    status, _, err = end(grading)
    lost = f"autograder: The connection to the scheduler at {cluster.address} is lost; what is graded so far is kept."
    assert (status, err) == (2, [lost])
    status, out, _ = grade(course)
    kept = int(out.split(" were graded already")[0].split()[-1])
    assert status == 0 and kept >= 1 and f"{4 - kept} graded" in out
    cluster.close()
    for name in WORKERS:
        assert not list(processes_of(cluster.home(name)))
        assert not [path.name for path in (cluster.home(name) / "tmp").glob("vitedu-*")]


@pytest.mark.long
def test_a_worker_that_cannot_grade_takes_no_part(odd, released, tmp_path):
    copy = tmp_path / "changed"
    for package in ("autograder", "vitedu", "solutions"):
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    with (copy / "autograder" / "judging" / "judge.py").open("a") as file:
        file.write("# another version\n")
    odd.worker("bare", PATH="/nowhere")
    odd.worker("changed", PYTHONPATH=str(copy))
    odd.wait(2)
    address = {name: address for address, name in odd.names().items()}
    odd.spy.get_task_stream()
    course = released.copy(tmp_path / "course", "ada")

    status, _, err = grade(course, "--scheduler", odd.address)
    refused = {line.split()[2]: line for line in err[:-1]}
    assert refused.keys() == {"bare", "changed"} and "takes no part" in refused["bare"]
    assert "no 'bwrap' was found" in refused["bare"] and "has another version of vitedu" in refused["changed"]
    assert status == 2 and err[-1] == f"autograder: None of the 2 workers of {odd.address} can grade: see above."
    assert not (course.root / "verdicts").exists()

    since = ended(odd)
    status, out, err = grade(course, "--scheduler", odd.address, "--no-sandbox")
    assert status == 0 and "1 graded" in out and not course.record("ada")["sandbox"]
    assert {line.split()[2] for line in err} == {"changed"}
    assert set(finished(odd, since).values()) == {address["bare"]}

    odd.worker("good")
    odd.wait(3)
    since = ended(odd)
    status, out, err = grade(course, "--scheduler", odd.address, "--regrade")
    assert status == 0 and "1 graded" in out and course.record("ada")["sandbox"]
    assert {line.split()[2] for line in err} == {"bare", "changed"}
    assert {odd.names()[worker] for worker in finished(odd, since).values()} == {"good"}


@pytest.mark.parametrize("case", ["no scheduler", "no address", "no workers", "no Dask"])
def test_what_is_missing_is_said_in_a_sentence(case, released, tmp_path, request):
    course, more = released.copy(tmp_path / "course", "bob"), {}
    address, said = "tcp://127.0.0.1:9", "Expected a Dask scheduler at tcp://127.0.0.1:9, found none"
    if case == "no address":
        address, said = "here!", "Expected a Dask scheduler at here!, found none"
    elif case == "no workers":
        place = request.getfixturevalue("empty")
        address, said = place.address, f"The scheduler at {place.address} has no workers; start some"
    elif case == "no Dask":
        said = "--scheduler needs Dask, which is not installed: pip install distributed."
        (tmp_path / "distributed.py").write_text("raise ModuleNotFoundError('distributed', name='distributed')")
        more["PYTHONPATH"] = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    status, _, err = grade(course, "--scheduler", address, **more)
    assert status == 2 and len(err) == 1 and err[0].startswith(f"autograder: {said}"), err


@pytest.fixture(scope="module")
def empty():
    yield from workplace()


def test_a_worker_of_several_threads_or_without_vitedu_is_told_what_to_do():
    assert _refusal("", 1, "tcp://here:1") == ""
    assert "start it with dask worker tcp://here:1 --nworkers 8 --nthreads 1" in _refusal("", 8, "tcp://here:1")
    assert "is not installed there" in _refusal(ModuleNotFoundError("No module named 'autograder'"), 1, "tcp://here:1")


def test_where_all_workers_are_gone_for_good_the_command_ends(empty, released, monkeypatch):
    monkeypatch.setattr(cluster_module, "AGAIN", 1.0)
    monkeypatch.setattr(worker_pool, "LOOK", 0.2)
    empty.worker("last", "--no-nanny")
    empty.wait(1)
    workers, (pid,) = cluster_module.Cluster(empty.address), empty.pids().values()
    try:
        coming = worker_pool.run(workers, iter([task_of(released, "ada")]))
        stop = threading.Thread(target=lambda: until(empty.busy) and os.kill(pid, signal.SIGKILL))
        stop.start()
        with pytest.raises(UserError, match="has no workers any more that can grade; what is graded so far is kept"):
            list(coming)
        stop.join()
    finally:
        workers.close()


def task_of(course: Course, student: str, kept: dict[str, bytes] | None = None) -> Task:
    path = course.root / "release" / LAB.assignment / f"{LAB.notebook}.ipynb"
    points = {f"exam-{exercise}": 1.0 for exercise in EXERCISES} | dict.fromkeys(WRITTEN, 1.0)
    return Task(
        LAB.assignment, student, course.submission(student).read_bytes(), "", path.read_bytes(), points,
        bytes.fromhex(SECRET), Limits(), True, kept or {}, OWN, sources(),
    )  # fmt: skip


def test_trained_answers_travel_along_and_new_ones_come_back(released, monkeypatch, tmp_path):
    """An exam that trains finds what it has been sent, and what it adds comes back."""
    from autograder.execution import grade_one as module

    real, seen = module.examine, {}

    def examine(task, notebook, reference, trainings_dir):
        seen.update({path.name: path.read_bytes() for path in trainings_dir.iterdir()})
        (trainings_dir / "new.safetensors").write_bytes(b"new")
        return real(task, notebook, reference, trainings_dir)

    monkeypatch.setattr(module, "examine", examine)
    done = grade_one(task_of(released, "bob", {"old.safetensors": b"old"}))
    assert seen == {"old.safetensors": b"old"} and done.files == {"new.safetensors": b"new"}
    assert done.fallback_reason == "" and nbformat.validator.isvalid(done.notebook)
