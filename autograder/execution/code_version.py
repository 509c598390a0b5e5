"""What decides a score, as digests: our own sources, the versions of packages, the release, and the submission."""

from __future__ import annotations

import hashlib
import sys
from functools import cache
from importlib import metadata

from autograder.execution.limits import Limits
from autograder.execution.preload import LIBRARY, modules_of
from autograder.labs.course_files import PACKAGE, code_files
from autograder.labs.lab import Lab
from autograder.storage.submissions import Submission

# What autograder imports and scores may depend on; distributed only carries submissions to other machines.
GRADER = (
    "beautifulsoup4", "bleach", "ipykernel", "ipython", "jinja2", "jupyter-client", "jupytext", "markupsafe", "msgspec",
    "nbclient", "nbconvert", "nbformat", "nbgrader", "numpy", "pillow", "psutil", "pyseccomp", "python-dateutil",
    "pyzmq", "safetensors", "sqlalchemy", "torch", "tqdm", "traitlets",
)  # fmt: skip
# Modules whose distributions have another name.
DISTRIBUTIONS = {"IPython": "ipython", "PIL": "pillow", "sklearn": "scikit-learn", "zmq": "pyzmq"}


@cache
def sources() -> str:
    """A digest of our own code, the exams included."""
    digest = hashlib.sha256()
    for path in (*code_files(PACKAGE), *code_files(LIBRARY)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def code_hash(lab: Lab, release: bytes, secret: bytes, limits: Limits, sandbox: bool) -> str:
    """Whatever decides a score beside the submission: exams, code, release, secret, libraries, limits and sandbox."""
    settings = repr((limits, sandbox)).encode()
    digest = hashlib.sha256(secret + settings + "\n".join(environment(lab)).encode() + sources().encode())
    digest.update(release)
    digest.update(lab.text.encode())
    return digest.hexdigest()


def cache_key(submission: Submission, code: str) -> str:
    """A digest of what was handed in and of `code`: a submission whose key is unchanged need not be graded again."""
    content, problem = submission.content()
    digest = hashlib.sha256(code.encode())
    for part in (problem.encode(), submission.note.encode(), content or b""):
        digest.update(hashlib.sha256(part).digest())
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
