"""The main job on a sample class, lab by lab: release, submissions, grading, feedback, class report."""

from __future__ import annotations

from pathlib import Path

import nbformat

from autograder.authoring.build import exam_hash, source_hash
from autograder.authoring.sample_class import hand_in, sample_class
from autograder.course import course_api
from autograder.errors import UserError
from autograder.execution.preload import PACKAGES
from autograder.grading.grade_class import grade
from autograder.labs.lab import Lab
from autograder.nbgrader_integration.api import reason_of
from autograder.sandbox.bubblewrap import unavailable
from autograder.storage.atomic_files import write_atomically
from autograder.storage.course_folder import Course
from autograder.storage.course_secret import SECRET
from autograder.teaching.handout import handout
from autograder.teaching.new_course import FILES, add_course_files

# A fixed secret, so that the demo shows everybody the same; a course draws its own.
DEMO_SECRET = "64656d6f" * 8


def demo(folder: Path, labs: list[Lab], sandbox: bool = True) -> int:
    """Run the whole cycle in a folder for some labs; what is there already is not done again.

    Where no sandbox can be had the demo goes on without one, and says so.
    """
    if sandbox and (why := unavailable(PACKAGES)):
        print(f"{why}\nThe demo's submissions are our own: it goes on without a sandbox, and its reports say so.")
        sandbox = False
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / SECRET).exists():
        write_atomically(folder / SECRET, DEMO_SECRET + "\n")
        (folder / SECRET).chmod(0o600)
    if not any((folder / name).exists() for name in FILES):
        print("Make the course folder, as `autograder new-course` does", flush=True)
        add_course_files(folder)
    status = max(_cycle(folder, lab, sandbox) for lab in labs)
    course = Course(folder)
    handouts = [handout(course, lab) for lab in labs]
    print("\nLook at:")
    for lab, made in zip(labs, handouts, strict=True):
        print(f"  {made.path}   what students get of {lab.assignment} (autograder handout)")
        print(f"  {course.report(lab)}   the class report of {lab.assignment}")
        print(f"  {folder}/feedback/STUDENT/{lab.assignment}/{lab.notebook}.html   what each student reads")
    if course.overview.exists():
        print(f"  {course.overview}   the report of the whole course")
    print(f"  {folder}/scores.csv     one row a student")
    print(f"  {folder}/gradebook.db   nbgrader's gradebook (nbgrader's formgrader opens it)")
    print(f"  {folder}/README.md      how to run a course")
    if handouts[0].without_wheel:
        print(f"{handouts[0].path.name}: {handouts[0].without_wheel}")
    return status


def _cycle(folder: Path, lab: Lab, sandbox: bool) -> int:
    print(f"Release {lab.assignment} with nbgrader (every exam is first proven under the course's secret)", flush=True)
    released = _release(folder, lab)
    print("A sample class hands in:", flush=True)
    for student in sample_class(lab):
        print(f"   {student.id:8} {student.about}", flush=True)
        path = folder / "submitted" / student.id / lab.assignment / f"{lab.notebook}.ipynb"
        content = nbformat.writes(hand_in(released, student)) + "\n"
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            write_atomically(path, content)
    print("Grade, feedback, report", flush=True)
    return grade(folder, lab.assignment, sandbox=sandbox)


def _release(folder: Path, lab: Lab) -> nbformat.NotebookNode:
    path = folder / "release" / lab.assignment / f"{lab.notebook}.ipynb"
    mark = folder / f".released-{lab.assignment}"
    built = lab.source.with_suffix(".ipynb")
    if not built.exists() or nbformat.read(built, as_version=4).metadata.vitedu.source != source_hash(lab):
        raise UserError(f"Expected {built} to be built from the {lab.source.name} beside it; run: make notebooks")
    digest = exam_hash(lab)
    if not (path.exists() and mark.exists() and mark.read_text() == digest):
        result = course_api(folder).generate_assignment(lab.assignment, force=True)
        if not result["success"]:
            raise UserError(f"nbgrader could not make the release: {reason_of(result)}")
        write_atomically(mark, digest)
    return nbformat.read(path, as_version=4)
