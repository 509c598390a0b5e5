"""Grade everything that was handed in for a lab: nbgrader's autograde and feedback, one submission at a time.

A submission that is graded already, with the same file, exams, code, limits and secret, is not
graded again; one that was interrupted half-way is. The stamp in its verdict file says so: it is
removed first, and written last.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nbgrader.api import Gradebook
from nbgrader.apps import NbGraderAPI
from tqdm import tqdm

from . import export
from .course import configure, read_config
from .errors import UserError
from .folder import read_secret, read_verdicts, sweep, verdict_path, write_atomically
from .lab import Lab, find_lab
from .report import report_path, text_table, write_report
from .stamp import code_hash as _code_hash
from .stamp import finished, stamp_of
from .submitted import Handed, handed_in
from .trouble import folder_trouble, gradebook_trouble, in_words, why
from .untrusted import terminal
from .verdict import NOT_GRADED


def course_api(course: Path, sandbox: bool = True) -> NbGraderAPI:
    """nbgrader's own functions on a course folder, with the instructor's configuration and ours.

    Args:
        sandbox: the command's choice; c.Examine.sandbox of the configuration is for nbgrader's own commands.

    Raises:
        UserError: the course's nbgrader_config.py is broken.
    """
    config = read_config(course)
    configure(config, course)  # after the instructor's: what is set here is what grading stands on
    config.Examine.sandbox = sandbox
    config.NbGraderAPI.log_level = logging.ERROR  # kept in the results, from which why() takes one sentence
    return NbGraderAPI(config=config)


def grade(
    course: Path, lab_name: str, students: list[str] | None = None, regrade: bool = False, sandbox: bool = True
) -> int:
    """Grade, write feedback, scores.csv and the report; print the table.

    Returns:
        0, or 1 when a submission could not be graded.

    Raises:
        UserError: no sandbox, no such lab, no release, nothing handed in, an unknown student, a broken
            configuration, or a folder or gradebook that cannot be used, at the beginning or later.
    """
    sweep()
    if sandbox:
        _check_sandbox()
    lab = find_lab(lab_name)
    released = course / "release" / lab.assignment / f"{lab.notebook}.ipynb"
    if not released.exists():
        raise UserError(
            f"Expected the release at {released}, found none; "
            f"in {course} run: nbgrader generate_assignment {lab.assignment}"
        )
    if trouble := folder_trouble(course):
        raise UserError(f"{trouble}.")
    handed = handed_in(course, lab, students)
    with _alone(course):
        return _grade_all(course, lab, released, handed, regrade, course_api(course, sandbox))


def _grade_all(course: Path, lab: Lab, released: Path, handed: Handed, regrade: bool, api: NbGraderAPI) -> int:
    db_url = api.coursedir.db_url
    code = _code_hash(lab, released, read_secret(course), api.config)
    _check_gradebook(course, lab, db_url)
    failed, done = [f"{terminal(student, 60)}: {problem}" for student, problem in handed.unreadable.items()], 0
    with tqdm(handed.paths.items(), desc=lab.assignment, unit="submission", file=sys.stderr) as bar:
        for student, path in bar:
            bar.set_postfix_str(terminal(student, 30))
            stamp = stamp_of(path, code)
            if not regrade and finished(course, lab, student, stamp):
                continue
            problem = _grade_one(api, course, lab, student, stamp)
            done += not problem
            if not problem:
                continue
            failed.append(f"{terminal(student, 60)}: {problem}")
            if trouble := folder_trouble(course, problem) or gradebook_trouble(course, db_url):
                raise UserError(f"{trouble}; what is graded so far is kept.")
    try:
        with _whole(course / "scores.csv") as path:
            export.write_csv(export.scores_table(db_url, course / "verdicts"), path)
        with _whole(report_path(course, lab.assignment)) as path:
            write_report(course, lab.assignment, path, db_url)
        print(text_table(course, lab.assignment, db_url=db_url))
    except (UserError, OSError) as error:
        if trouble := folder_trouble(course, str(error)) or gradebook_trouble(course, db_url):
            raise UserError(f"{trouble}; what is graded so far is kept.") from None
        raise
    before = len(handed.paths) + len(handed.unreadable) - done - len(failed)
    print(f"{done} graded, {before} were graded already, {len(failed)} failed.")
    for line in failed:
        print(f"Not graded: {line}", file=sys.stderr)
    return 1 if failed else 0


def _check_sandbox() -> None:
    from .sandbox import unavailable

    if sentence := unavailable():
        raise UserError(sentence)


def _check_gradebook(course: Path, lab: Lab, db_url: str) -> None:
    if trouble := gradebook_trouble(course, db_url):
        raise UserError(f"{trouble}.")
    with Gradebook(db_url) as gradebook:
        known = [assignment.name for assignment in gradebook.assignments]
    if lab.assignment not in known:
        raise UserError(
            f"The gradebook of {course} does not know {lab.assignment}, whose release was made elsewhere; "
            f"in {course} run: nbgrader generate_assignment {lab.assignment} --force"
        )


@contextmanager
def _alone(course: Path) -> Iterator[None]:
    """One grading command at a time in a course; the system takes the lock from a command that was killed."""
    with (course / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"Another command is grading in {course} right now; wait until it has ended and run this one again."
            ) from None
        except OSError:  # a network drive without locks: there it is up to the user
            pass
        yield


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A place to write a file in; it takes the place of the old one when it is complete."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _grade_one(api: NbGraderAPI, course: Path, lab: Lab, student: str, stamp: str) -> str:
    """Grade one submission and write its feedback; "" or what went wrong, in one line."""
    path = verdict_path(course, student, lab.assignment, lab.notebook)
    try:
        before = read_verdicts(path)
        if before.pop("stamp", None):  # from here on it is unfinished
            write_atomically(path, json.dumps(before, indent=1))
        for step in (api.autograde, api.generate_feedback):
            result = step(lab.assignment, student, force=True)
            if not result["success"]:
                if "KeyboardInterrupt" in result["error"].strip().split("\n")[-1]:
                    raise KeyboardInterrupt
                return why(result)
        record = read_verdicts(path)
        ours = [verdict["reason"] for verdict in record["exercises"] if verdict["status"] == NOT_GRADED]
        if ours:
            return terminal(ours[0], 400)
        write_atomically(path, json.dumps(record | {"stamp": stamp}, indent=1))  # last: only now is it finished
    except OSError as error:
        return in_words(f"OSError: {error}")
    return ""
