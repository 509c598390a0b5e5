"""The three ways to grade one class: ours, stock nbgrader, otter-grader's pool without containers.

All three get the same notebook with the same answers in it. The opponents' hidden tests are in twin.py.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import nbformat
from bench_class import LAB, POINTS, Member, Scores
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_raw_cell
from nbgrader.api import Gradebook
from twin import as_function

from autograder.authoring.sample_class import hand_in
from autograder.course import course_api
from autograder.labs.lab import SOLUTIONS

OTTER = "otter-grader==7.0.0"
HERE = Path(__file__).resolve().parent


class CannotRun(Exception):
    """Why a system is not measured, in one sentence."""


def environment(home: Path) -> dict[str, str]:
    """The same for all systems: one thread for each process, no settings of the user's."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return os.environ | {"PATH": path, "OMP_NUM_THREADS": "1", "JUPYTER_CONFIG_DIR": str(home / "no-settings")}


def _run(command: list[str], folder: Path, what: str) -> None:
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").split("\n")[-1]
        raise CannotRun(f"{what} failed: {last}")


class Ours:
    """`autograder grade`: scores, feedback pages and report."""

    name = "autograder grade"

    def __init__(self, room: Path, workers: int) -> None:
        self.released, self.workers = room / "released", workers
        self.released.mkdir(parents=True)
        result = course_api(self.released).generate_assignment(LAB.assignment)
        if not result["success"]:
            raise CannotRun(f"our own release failed: {result['error'].strip().splitlines()[-1]}")
        self.notebook = nbformat.read(self._notebook(self.released / "release"), as_version=4)

    @staticmethod
    def _notebook(folder: Path) -> Path:
        return folder / LAB.assignment / f"{LAB.notebook}.ipynb"

    def hand_in(self, folder: Path, members: list[Member]) -> None:
        """A course folder of its own, with these submissions."""
        shutil.copytree(self.released, folder)
        for member in members:
            path = self._notebook(folder / "submitted" / member.student.id)
            path.parent.mkdir(parents=True)
            nbformat.write(hand_in(self.notebook, member.student), path)

    def command(self, folder: Path) -> list[str]:
        """What is measured."""
        command = [sys.executable, "-P", "-m", "autograder.cli", "grade", LAB.assignment]
        return [*command, "--course", str(folder), "--workers", str(self.workers)]

    def scores(self, folder: Path) -> Scores:
        """What the records tell."""
        records = [json.loads(path.read_text()) for path in folder.glob("verdicts/*/*/*.json")]
        return {r["student"]: {v["exercise"]: v["points"] for v in r["exercises"]} for r in records}


class Stock(Ours):
    """`nbgrader autograde` as it comes."""

    name = "nbgrader autograde"

    def __init__(self, room: Path) -> None:
        self.released = room / "released"
        source = self._notebook(self.released / "source")
        source.parent.mkdir(parents=True)
        nbformat.write(self._source(), source)
        _run([sys.executable, "-P", "-m", "nbgrader", "generate_assignment", LAB.assignment], self.released,
             "nbgrader generate_assignment")  # fmt: skip
        self.notebook = nbformat.read(self._notebook(self.released / "release"), as_version=4)

    @staticmethod
    def _source() -> NotebookNode:
        nb = _solutions()
        for cell in nb.cells:
            if cell.metadata.vitedu.role == "exam":
                exercise = cell.metadata.vitedu.exercise
                tests = f"{as_function(exercise)}\n\nexamine_it({exercise})"
                # Without the instant check, which is a thing of ours and would cost seconds.
                cell.source = f"# Examined here.\n### BEGIN HIDDEN TESTS\n{tests}\n### END HIDDEN TESTS"
        return nb

    def command(self, folder: Path) -> list[str]:
        return [sys.executable, "-P", "-m", "nbgrader", "autograde", LAB.assignment]

    def scores(self, folder: Path) -> Scores:
        """What the gradebook tells."""
        found: Scores = {}
        with Gradebook(f"sqlite:///{folder}/gradebook.db") as gradebook:
            for submission in gradebook.assignment_submissions(LAB.assignment):
                grades = {grade.name: grade.auto_score for nb in submission.notebooks for grade in nb.grades}
                found[submission.student.id] = {exercise: grades.get(f"exam-{exercise}") for exercise in POINTS}
        return found


class Otter:
    """A spawned pool of processes that call otter's own API."""

    name = "otter-grader, pool"

    def __init__(self, room: Path, workers: int, python: Path, ours: NotebookNode) -> None:
        self.python, self.workers = python, workers
        # What is unanswered reads as in our own release.
        unanswered = [cell for cell in ours.cells if cell.metadata.vitedu.role == "solution"]
        self.stubs = {cell.metadata.nbgrader.grade_id: cell.source for cell in unanswered}
        room.mkdir(parents=True)
        nbformat.write(self._source(), room / "attention.ipynb")
        command = [str(python), "-m", "otter", "assign", "attention.ipynb", "made", "--no-pdfs"]
        _run(command, room, "otter assign")  # it also proves that the model answers pass
        self.tests = next((room / "made" / "autograder").glob("*.zip"))
        self.notebook = nbformat.read(room / "made" / "student" / "attention.ipynb", as_version=4)

    @staticmethod
    def _source() -> NotebookNode:
        settings = "# ASSIGNMENT CONFIG\ntests:\n  ok_format: false\nexport_cell: false\ncheck_all_cell: false"
        nb, cells = _solutions(), [new_raw_cell(settings)]
        for cell in nb.cells:
            exercise = cell.metadata.vitedu.get("exercise", "")
            if cell.metadata.vitedu.role == "solution":
                exercise = cell.metadata.nbgrader.grade_id
                cell.source = cell.source.replace("### BEGIN SOLUTION", "# BEGIN SOLUTION")
                cell.source = cell.source.replace("### END SOLUTION", "# END SOLUTION")
                cells += [
                    new_raw_cell(f"# BEGIN QUESTION\nname: {exercise}\npoints: {POINTS[exercise]:g}"),
                    cell,
                    new_raw_cell("# BEGIN TESTS"),
                    new_code_cell(f"# HIDDEN\n{as_function(exercise)}"),
                    new_raw_cell("# END TESTS"),
                    new_raw_cell("# END QUESTION"),
                ]
                continue
            if cell.metadata.vitedu.role != "exam":
                cells.append(cell)
        nb.cells = cells
        return nb

    def hand_in(self, folder: Path, members: list[Member]) -> None:
        """A folder with the tests and these submissions."""
        (folder / "submissions").mkdir(parents=True)
        shutil.copy(self.tests, folder / "ag.zip")
        for member in members:
            codes = self.stubs | member.student.codes
            nb = copy.deepcopy(self.notebook)
            for cell in nb.cells:
                id = cell.metadata.get("nbgrader", {}).get("grade_id")
                if id in codes:
                    cell.source = codes[id]
            nbformat.write(nb, folder / "submissions" / f"{member.student.id}.ipynb")

    def command(self, folder: Path) -> list[str]:
        return [str(self.python), str(HERE / "otter_pool.py"), str(folder), str(self.workers)]

    def scores(self, folder: Path) -> Scores:
        """What the pool wrote."""
        return json.loads((folder / "scores.json").read_text())


def _solutions() -> NotebookNode:
    nb = nbformat.read(SOLUTIONS / LAB.assignment / f"{LAB.notebook}.ipynb", as_version=4)
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return nb


def otter_python(folder: Path) -> Path:
    """A Python that has otter-grader and, below it, everything of this one; made when it is missing.

    Raises:
        CannotRun: otter-grader cannot be installed.
    """
    python, ready = folder / "bin" / "python", folder / OTTER
    if ready.exists():
        return python
    venv.create(folder, clear=True, with_pip=False)
    packages = next((folder / "lib").glob("python*/site-packages"))
    ours = next(path for path in map(Path, sys.path) if (path / "nbgrader").is_dir())
    # Later on the path than its own packages, and with this environment's own .pth files.
    (packages / "below.pth").write_text(f"import site; site.addsitedir({str(ours)!r})\n")
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--retries", "1", OTTER]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise CannotRun(f"{OTTER} could not be installed with pip; connect to the network and run the command again")
    ready.touch()
    return python
