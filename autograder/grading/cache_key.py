"""Whether a submission is graded already: a digest of everything that decides its score, kept in its verdict file."""

from __future__ import annotations

import hashlib
from pathlib import Path

from traitlets.config import Config

from autograder.errors import UserError
from autograder.execution.code_version import environment, sources
from autograder.labs.lab import Lab
from autograder.nbgrader_integration.preprocessors import Examine
from autograder.storage.course_folder import verdict_path
from autograder.storage.submissions import Submission
from autograder.storage.verdict_files import read_record, read_verdicts


def stamp_of(submission: Submission, code: str) -> str:
    """A digest of what was handed in and of `code`."""
    content, problem = submission.content()
    digest = hashlib.sha256(code.encode())
    for part in (problem.encode(), submission.note.encode(), content or b""):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def code_hash(lab: Lab, released: Path, secret: bytes, config: Config) -> str:
    """Whatever else decides a score: exams, code, release, secret, libraries, sandbox and limits."""
    examine = Examine(config=config)
    limits = [(name, getattr(examine, name)) for name in sorted(Examine.class_own_traits(config=True))]
    digest = hashlib.sha256(secret + repr(limits).encode() + "\n".join(environment(lab)).encode() + sources().encode())
    for content in (released.read_bytes(), lab.text.encode()):
        digest.update(content)
    return digest.hexdigest()


def executed(course: Path, lab: Lab, student: str, stamp: str) -> bool:
    """Whether a submission was run and judged with this stamp, and all that came of it is there."""
    path = verdict_path(course, student, lab.assignment, lab.notebook)
    notebook = course / "autograded" / student / lab.assignment / f"{lab.notebook}.ipynb"
    try:
        return read_verdicts(path).get("stamp") == stamp and bool(read_record(path)) and _ends(notebook, b"}")
    except (UserError, OSError):
        return False


def has_feedback(course: Path, lab: Lab, student: str) -> bool:
    """Whether the feedback page is there, whole."""
    try:
        return _ends(course / "feedback" / student / lab.assignment / f"{lab.notebook}.html", b"</html>")
    except OSError:
        return False


def _ends(path: Path, mark: bytes) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 100))
        return file.read().rstrip().endswith(mark)
