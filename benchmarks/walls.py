"""What the sandbox costs: one submission graded with and without it, in turn, and the medians by stage.

python benchmarks/walls.py [ROUNDS [LAB]]        (default: 8 rounds of lab1_attention)
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import nbformat
from tqdm import tqdm

from autograder.authoring.sample_class import Student, hand_in, model_codes
from autograder.course import course_api
from autograder.execution.examiner import examine
from autograder.execution.preload import PACKAGES
from autograder.execution.submission_task import Task
from autograder.judging.reference_answers import Reference
from autograder.labs.lab import find_lab
from autograder.reporting.terminal_table import format_table
from autograder.sandbox.bubblewrap import unavailable
from autograder.submission.parse_notebook import read_submission
from autograder.submission.rebuild import rebuild

SECRET = bytes(32)
STAGES = ("start", "cells", "probes", "judge")


def main(rounds: int, name: str) -> None:
    """Print the table, or one sentence where there is no sandbox."""
    if why := unavailable(PACKAGES):
        sys.exit(why)
    lab = find_lab(name)
    with TemporaryDirectory() as folder:
        course_api(Path(folder)).generate_assignment(lab.assignment)
        release = nbformat.read(Path(folder) / "release" / lab.assignment / f"{lab.notebook}.ipynb", as_version=4)
        path = Path(folder) / "submission.ipynb"
        nbformat.write(hand_in(release, Student("right", "", model_codes(lab))), path)
        points = {c.metadata.nbgrader.grade_id: 1.0 for c in release.cells if "points" in c.metadata.nbgrader}
        notebook, _ = rebuild(read_submission(path), release, points)
    reference = Reference(lab)
    task = Task(lab.assignment, "right", secret=SECRET)
    examine(task, notebook, reference)  # the reference answers are made once for a class
    seconds: dict[bool, list[dict[str, float]]] = {True: [], False: []}
    for i in tqdm(range(2 * rounds), unit="submission"):
        sandboxed = i % 2 == 0
        done = examine(replace(task, sandbox=sandboxed), notebook, reference)
        assert all(verdict.points == verdict.max_points for verdict in done.verdicts)
        seconds[sandboxed].append(done.seconds | {"all": sum(done.seconds.values())})
    print(f"{rounds} submissions to {name} each way, in turn; median seconds of wall time")
    rows = []
    for stage in (*STAGES, "all"):
        inside, outside = (median(found[stage] for found in seconds[sandboxed]) for sandboxed in (True, False))
        rows.append([stage, f"{inside:.2f}", f"{outside:.2f}", f"{inside / outside:.2f}"])
    print(format_table(["stage", "sandbox", "without", "ratio"], rows, rule=False))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8, sys.argv[2] if len(sys.argv) > 2 else "lab1_attention")
