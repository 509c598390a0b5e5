"""A course folder: nbgrader's own folders, and what we add to them."""

from __future__ import annotations

import json
import os
import secrets
import sys
import warnings
from pathlib import Path
from typing import Any

from nbgrader.apps import api, autogradeapp
from nbgrader.converters import GenerateAssignment
from nbgrader.preprocessors import AssignLatePenalties
from sqlalchemy.exc import SAWarning
from traitlets.config import Config

from . import feedback
from .errors import UserError
from .lab import SOLUTIONS

SECRET = "course_secret"
STUB = '# TODO: your code here\nraise NotImplementedError("TODO")'


def configure(c: Config, root: Path | None = None) -> None:
    """Make nbgrader grade with probes and judges: the whole of our configuration.

    Args:
        root: the course folder; None leaves nbgrader's own choice, the current folder.
    """
    # Imported here: these modules import nbgrader's preprocessors, which is slow.
    from . import export, stages

    if root is not None:
        c.CourseDirectory.root = str(root)
    c.CourseDirectory.source_directory = str(SOLUTIONS)
    # nbgrader copies every other file of a lab's folder into the release and each submission.
    c.CourseDirectory.ignore = [".ipynb_checkpoints", "*.pyc", "__pycache__", ".pytest_cache", "*.py"]
    c.ClearSolutions.code_stub = {"python": STUB}
    c.GenerateAssignment.preprocessors = [
        stages.CheckSecret,
        *GenerateAssignment.class_traits()["preprocessors"].default_args[0],
    ]
    c.Autograde.exporter_class = stages.SubmissionExporter
    c.Autograde.sanitize_preprocessors = [stages.Rebuild]
    c.Autograde.autograde_preprocessors = [stages.Examine, stages.Record, AssignLatePenalties]
    c.ExportApp.plugin_class = export.ScoresExporter
    feedback.configure(c)
    warnings.filterwarnings("ignore", category=SAWarning)  # of nbgrader's own database code, at every submission
    # nbgrader names its converter class in two modules and offers no setting for it.
    autogradeapp.Autograde = api.Autograde = stages.WalledAutograde
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def read_secret(root: Path) -> bytes:
    """The course secret, from which all variants are drawn; made on first use, readable by its owner only.

    Raises:
        UserError: the file holds something else.
    """
    path = Path(root) / SECRET
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
    try:
        secret = bytes.fromhex(path.read_text().strip())
    except ValueError:
        secret = b""
    if len(secret) < 16:
        raise UserError(
            f"{path} should hold at least 32 hexadecimal digits, the course secret; restore it from a backup."
        )
    return secret


def verdict_path(root: Path, student: str, assignment: str, notebook: str) -> Path:
    """Where the verdicts on a notebook are kept."""
    return Path(root) / "verdicts" / student / assignment / f"{notebook}.json"


def read_verdicts(path: Path) -> dict[str, Any]:
    """The stored verdicts of a notebook; empty when there are none or the file is damaged."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def write_atomically(path: Path, content: str) -> None:
    """Write a file so that a reader, or a crash, sees the old one or the new one whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(content, encoding="utf-8")
    os.replace(temporary, path)
