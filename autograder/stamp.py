"""Whether a submission is graded already: a digest of everything that decides its score, kept in its verdict file."""

from __future__ import annotations

import hashlib
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

from traitlets.config import Config

from .errors import UserError
from .folder import read_verdicts, verdict_path
from .lab import ROOT, Lab
from .records import read_record
from .submitted import Submission
from .warm import modules_of

# What autograder imports and scores may depend on; distributed only carries submissions to other machines.
GRADER = (
    "beautifulsoup4", "bleach", "ipykernel", "ipython", "jinja2", "jupyter-client", "jupytext", "markupsafe",
    "nbclient", "nbconvert", "nbformat", "nbgrader", "numpy", "pillow", "psutil", "pyseccomp", "python-dateutil",
    "pyzmq", "safetensors", "sqlalchemy", "torch", "tqdm", "traitlets",
)  # fmt: skip
# Modules whose distributions have another name.
DISTRIBUTIONS = {"IPython": "ipython", "PIL": "pillow", "sklearn": "scikit-learn", "zmq": "pyzmq"}


def stamp_of(submission: Submission, code: str) -> str:
    """A digest of what was handed in and of `code`."""
    content, problem = submission.content()
    digest = hashlib.sha256(code.encode())
    for part in (problem.encode(), submission.note.encode(), content or b""):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def code_hash(lab: Lab, released: Path, secret: bytes, config: Config) -> str:
    """Whatever else decides a score: exams, code, release, secret, libraries, sandbox and limits."""
    from .stages import Examine

    examine = Examine(config=config)
    limits = [(name, getattr(examine, name)) for name in sorted(Examine.class_own_traits(config=True))]
    digest = hashlib.sha256(secret + repr(limits).encode() + "\n".join(environment(lab)).encode() + sources().encode())
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
def environment(lab: Lab) -> tuple[str, ...]:
    """Python and the packages that the lab's cells and the grader import, with their versions."""
    imported = {name.partition(".")[0] for name in modules_of(lab.source)} - sys.stdlib_module_names - {"vitedu"}
    return (sys.version, *sorted({_version(DISTRIBUTIONS.get(name, name)) for name in imported} | _grader()))


@cache
def _grader() -> set[str]:
    return {_version(name) for name in GRADER}


def _version(distribution: str) -> str:
    try:
        return f"{distribution} {metadata.version(distribution)}"
    except metadata.PackageNotFoundError:
        return f"{distribution} is not installed"


def executed(course: Path, lab: Lab, student: str, stamp: str) -> bool:
    """Whether a submission was run and judged with this stamp, and all that came of it is there."""
    path = verdict_path(course, student, lab.assignment, lab.notebook)
    notebook = course / "autograded" / student / lab.assignment / f"{lab.notebook}.ipynb"
    try:
        return (
            read_verdicts(path).get("stamp") == stamp
            and bool(read_record(path))
            and _ends(notebook, b"}")
        )
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
