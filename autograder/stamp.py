"""Whether a submission is graded already: a digest of everything that decides its score, kept in its verdict file."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

from traitlets.config import Config

from .errors import UserError
from .folder import read_verdicts, verdict_path
from .lab import ROOT, Lab
from .rebuild import MAX_FILE
from .records import read_record


def stamp_of(submission: Path, code: str) -> str:
    """A digest of a handed-in file and of `code`; of what is no file, or too large to be read, only the size."""
    digest = hashlib.sha256(code.encode())
    info = os.lstat(submission)
    if stat.S_ISREG(info.st_mode) and info.st_size <= MAX_FILE:
        digest.update(submission.read_bytes())
    else:
        digest.update(f"{stat.S_IFMT(info.st_mode)} {info.st_size}".encode())
    return digest.hexdigest()


def code_hash(lab: Lab, released: Path, secret: bytes, config: Config) -> str:
    """Whatever else decides a score: exams, code, release, secret, the environment, sandbox and limits."""
    from .stages import Examine

    examine = Examine(config=config)
    limits = [(name, getattr(examine, name)) for name in sorted(Examine.class_own_traits(config=True))]
    digest = hashlib.sha256(secret + repr(limits).encode() + "\n".join(environment()).encode() + sources().encode())
    for path in (released, lab.source):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def sources() -> str:
    """A digest of our own code, the exams included."""
    digest = hashlib.sha256()
    for path in (*sorted((ROOT / "autograder").rglob("*.py")), *sorted((ROOT / "vitedu").rglob("*.py"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def environment() -> tuple[str, ...]:
    """Python and every installed package, with their versions."""
    found = {f"{d.metadata['Name']} {d.version}".lower() for d in metadata.distributions() if d.metadata["Name"]}
    return (sys.version, *sorted(found))


def finished(course: Path, lab: Lab, student: str, stamp: str) -> bool:
    """Whether everything that grading makes is there, whole, and of this stamp."""
    path = verdict_path(course, student, lab.assignment, lab.notebook)
    autograded, feedback = (course / folder / student / lab.assignment for folder in ("autograded", "feedback"))
    try:
        return (
            read_verdicts(path).get("stamp") == stamp
            and bool(read_record(path))
            and _ends(autograded / f"{lab.notebook}.ipynb", b"}")
            and _ends(feedback / f"{lab.notebook}.html", b"</html>")
        )
    except (UserError, OSError):
        return False


def _ends(path: Path, mark: bytes) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 100))
        return file.read().rstrip().endswith(mark)
