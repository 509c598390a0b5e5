"""Grade everything that was handed in for a lab: nbgrader's autograde and feedback, one submission at a time.

A submission that is graded already, with the same file, exams, code and secret, is not graded
again; one that was interrupted half-way is.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from nbgrader.api import Gradebook
from nbgrader.apps import NbGraderAPI
from sqlalchemy.exc import SQLAlchemyError
from tqdm import tqdm
from traitlets.config import Config

from . import export
from .course import configure
from .errors import UserError
from .folder import read_secret, read_verdicts, verdict_path, write_atomically
from .lab import ROOT, Lab, find_lab
from .report import report_path, text_table, write_report
from .untrusted import terminal
from .verdict import NOT_GRADED


def course_api(course: Path) -> NbGraderAPI:
    """nbgrader's own functions on a course folder, with our configuration."""
    config = Config()
    configure(config, course)
    config.NbGraderAPI.log_level = logging.ERROR  # kept in the results, from which why() takes one sentence
    return NbGraderAPI(config=config)


def why(result: dict[str, Any]) -> str:
    """Why one of nbgrader's functions failed: the last exception that its log or traceback names, in one line."""
    for lines in (result.get("log", "").split("\n"), result["error"].strip().split("\n")):
        named = [line for line in lines if re.match(r"\s*[\w.]*(Error|Exception)\b", line)]
        if named:
            return terminal(re.sub(r"^\s*[\w.]*(NbGraderException|UserError): ", "", named[-1]), 400)
    return terminal(lines[-1], 400)


def grade(course: Path, lab_name: str, students: list[str] | None = None, regrade: bool = False) -> int:
    """Grade, write feedback, scores.csv and the report; print the table.

    Returns:
        0, or 1 when a submission could not be graded.

    Raises:
        UserError: no such lab, no release, nothing handed in, an unknown student, or a folder that is read-only.
    """
    lab = find_lab(lab_name)
    released = course / "release" / lab.assignment / f"{lab.notebook}.ipynb"
    _check_folder(course, lab, released)
    submissions = _handed_in(course, lab, students)
    api = course_api(course)
    failed, done, code = [], 0, _code_hash(lab, released, read_secret(course))
    _check_gradebook(course, lab, api.coursedir.db_url)
    with tqdm(submissions.items(), desc=lab.assignment, unit="submission", file=sys.stderr) as bar:
        for student, path in bar:
            bar.set_postfix_str(terminal(student, 30))
            stamp = _stamp(path, code)
            if not regrade and _finished(course, lab, student, stamp):
                continue
            problem = _grade_one(api, course, lab, student, stamp)
            done += not problem
            if problem:
                failed.append(f"{terminal(student, 60)}: {problem}")
    api.coursedir.assignment_id = lab.assignment
    export.write_csv(export.scores_table(api.coursedir.db_url, course / "verdicts"), course / "scores.csv")
    write_report(course, lab.assignment, report_path(course, lab.assignment))
    print(text_table(course, lab.assignment))
    print(f"{done} graded, {len(submissions) - done - len(failed)} were graded already, {len(failed)} failed.")
    for line in failed:
        print(f"Not graded: {line}", file=sys.stderr)
    return 1 if failed else 0


def _check_folder(course: Path, lab: Lab, released: Path) -> None:
    if not released.exists():
        raise UserError(
            f"Expected the release at {released}, found none; "
            f"in {course} run: nbgrader generate_assignment {lab.assignment}"
        )
    try:
        tempfile.TemporaryFile(dir=course).close()
    except OSError as error:
        raise UserError(
            f"Expected to write the gradebook, feedback and scores into {course}, but nothing can be written there "
            f"({error.strerror}); mend that and run the command again."
        ) from None


def _check_gradebook(course: Path, lab: Lab, db_url: str) -> None:
    try:
        with Gradebook(db_url) as gradebook:
            known = [assignment.name for assignment in gradebook.assignments]
    except SQLAlchemyError as error:
        what = getattr(error, "orig", None) or type(error).__name__
        raise UserError(f"The gradebook of {course} cannot be read ({what}); restore it from a backup.") from None
    if lab.assignment not in known:
        raise UserError(
            f"The gradebook of {course} does not know {lab.assignment}, whose release was made elsewhere; "
            f"in {course} run: nbgrader generate_assignment {lab.assignment} --force"
        )


def _handed_in(course: Path, lab: Lab, students: list[str] | None) -> dict[str, Path]:
    found = {
        path.parent.parent.name: path
        for path in sorted(course.glob(f"submitted/*/{lab.assignment}/{lab.notebook}.ipynb"))
    }
    if not found:
        raise UserError(
            f"Nothing to grade: expected files submitted/STUDENT/{lab.assignment}/{lab.notebook}.ipynb "
            f"in {course}, found none."
        )
    unknown = [student for student in students or [] if student not in found]
    if unknown:
        raise UserError(
            f"{', '.join(unknown)} handed in nothing for {lab.assignment}; check the spelling of --student."
        )
    return {student: path for student, path in found.items() if not students or student in students}


def _grade_one(api: NbGraderAPI, course: Path, lab: Lab, student: str, stamp: str) -> str:
    """Grade one submission and write its feedback; "" or what went wrong, in one line."""
    for result in (
        api.autograde(lab.assignment, student, force=True),
        api.generate_feedback(lab.assignment, student, force=True),
    ):
        if not result["success"]:
            if "KeyboardInterrupt" in result["error"].strip().split("\n")[-1]:
                raise KeyboardInterrupt
            return why(result)
    path = verdict_path(course, student, lab.assignment, lab.notebook)
    record = read_verdicts(path)
    ours = [verdict["reason"] for verdict in record["exercises"] if verdict["status"] == NOT_GRADED]
    if ours:
        return terminal(ours[0], 400)
    write_atomically(path, json.dumps(record | {"stamp": stamp}, indent=1))  # last: only now is it finished
    return ""


def _finished(course: Path, lab: Lab, student: str, stamp: str) -> bool:
    made = [course / folder / student / lab.assignment for folder in ("autograded", "feedback")]
    record = read_verdicts(verdict_path(course, student, lab.assignment, lab.notebook))
    return all(folder.is_dir() for folder in made) and record.get("stamp") == stamp


def _stamp(submission: Path, code: str) -> str:
    content = submission.read_bytes() if submission.is_file() else b""
    return hashlib.sha256(code.encode() + content).hexdigest()


def _code_hash(lab: Lab, released: Path, secret: bytes) -> str:
    """Whatever else decides a score: the exams, this code, the release, the secret, torch."""
    files = [
        released,
        lab.source,
        *sorted((ROOT / "autograder").rglob("*.py")),
        *sorted((ROOT / "vitedu").rglob("*.py")),
    ]
    digest = hashlib.sha256(secret + torch.__version__.encode())
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()
