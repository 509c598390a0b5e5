"""One submission recorded by nbgrader's own functions, and their errors as sentences."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nbgrader.apps import NbGraderAPI
from nbgrader.utils import capture_log, temp_attrs

from autograder.nbgrader_integration.converters import RecordingAutograde
from autograder.nbgrader_integration.preprocessors import Conversion
from autograder.sanitize.untrusted import terminal
from autograder.storage.diagnose import AGAIN
from autograder.storage.submissions import Submission


def record(api: NbGraderAPI, student: str, submission: Submission, conversion: Conversion) -> dict[str, Any]:
    """Record a submission as `nbgrader autograde --force` does; returns what nbgrader's own functions return.

    The verdict record is left in `conversion`.
    """
    with temp_attrs(api.coursedir, assignment_id=conversion.lab.assignment, student_id=student):
        converter = RecordingAutograde(coursedir=api.coursedir, parent=api)
        converter.force, converter.conversion, converter.handed_in = True, conversion, submission
        return capture_log(converter)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep nbgrader's gradebook from writing tracebacks to the terminal: what matters is told in a sentence."""
    log = logging.getLogger("tornado.application")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


def reason_of(result: dict[str, Any]) -> str:
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
