"""One submission recorded by nbgrader's own functions, and their errors as sentences."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from nbgrader.apps import NbGraderAPI
from nbgrader.utils import capture_log, temp_attrs

from autograder.execution.submission_task import Executed
from autograder.labs.lab import find_lab
from autograder.nbgrader_integration.converters import RecordingAutograde
from autograder.sanitize.untrusted import terminal
from autograder.storage.diagnose import AGAIN
from autograder.storage.submissions import Submission


def record(api: NbGraderAPI, assignment: str, student: str, done: Executed, folder: Path) -> dict[str, Any]:
    """Record a submission as `nbgrader autograde --force` does; returns what nbgrader's own functions return.

    Args:
        folder: where its timestamp lies, if there is one.
    """
    with temp_attrs(api.coursedir, assignment_id=assignment, student_id=student):
        converter = RecordingAutograde(coursedir=api.coursedir, parent=api)
        converter.force, converter.done, converter.notebook = True, done, find_lab(assignment).notebook
        converter.submission = Submission(None, folder=folder)
        return capture_log(converter)


def why(result: dict[str, Any]) -> str:
    """Why one of nbgrader's functions failed: the last exception that its log or traceback names, in one line."""
    for lines in (result.get("log", "").split("\n"), result["error"].strip().split("\n")):
        named = [line for line in lines if re.match(r"\s*[\w.]*(Error|Exception)\b", line)]
        if named:
            return in_words(named[-1])
    return terminal(lines[-1], 400)


def in_words(line: str) -> str:
    """An exception's line for a person: the system's own errors without their numbers and class names."""
    line = re.sub(r"^\s*[\w.]*(NbGraderException|UserError): ", "", line)
    system = re.match(r"\s*[\w.]*Error: \[Errno \d+\] (?P<what>[^:]+)(?:: '(?P<where>[^']+)')?", line)
    if system:
        where = f": {system['where']}" if system["where"] else ""
        return terminal(f"the system said {system['what']!r}{where}; mend that {AGAIN}", 400)
    if "database is locked" in line:
        return f"the gradebook was locked by another program; close that {AGAIN}"
    return terminal(line, 400)
