"""What arrived and stands in no gradebook: it cannot be taken in at all, or is not graded yet.

Kept by lab, so that every report lists it, and nobody who handed in counts as somebody who did not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from nbgrader.api import InvalidEntry

from autograder.labs.lab import Lab
from autograder.sanitize.untrusted import terminal
from autograder.storage.atomic_files import write_atomically
from autograder.storage.course_folder import Course
from autograder.storage.submissions import SubmissionSet

NOT_YET = "handed in, and not graded yet"


def write_refused(root: Path, assignment: str, refused: Mapping[str, str]) -> None:
    """Keep name -> reason for an assignment."""
    path = _path(root, assignment)
    if refused:
        write_atomically(path, json.dumps(dict(refused), indent=1))
    else:
        path.unlink(missing_ok=True)


def read_refused(root: Path, assignment: str) -> dict[str, str]:
    """Name -> reason; empty where there is nothing, or nothing readable: the next grading writes it anew."""
    try:
        found = json.loads(_path(root, assignment).read_text(encoding="utf-8"))
        return {name: terminal(reason, 600) for name, reason in sorted(found.items())}
    except (OSError, ValueError, AttributeError):
        return {}


def enter(course: Course, lab: Lab, handed: SubmissionSet, some: bool) -> None:
    """Enter everybody whom the reports must list: who handed nothing in, and what cannot be taken in.

    Args:
        some: only some students were looked for; what is kept of the others stays.
    """
    with course.gradebook() as gradebook:
        for student in {*handed.absent} - {known.id for known in gradebook.students}:
            with suppress(InvalidEntry):  # another grader did just now
                gradebook.add_student(student)
    before = read_refused(course.root, lab.assignment) if some else {}
    not_yet = dict.fromkeys([*handed.found, *handed.others], NOT_YET)
    write_refused(course.root, lab.assignment, before | not_yet | handed.unreadable)


def _path(root: Path, assignment: str) -> Path:
    return root / "refused" / f"{assignment}.json"
