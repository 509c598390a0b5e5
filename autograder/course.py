"""nbgrader's configuration for a course: which of its stages are ours."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

from nbgrader.apps import api, autogradeapp
from nbgrader.converters import GenerateAssignment
from nbgrader.preprocessors import AssignLatePenalties
from sqlalchemy.exc import SAWarning
from traitlets.config import Config

from . import export, feedback, handed_in, stages
from .lab import SOLUTIONS

STUB = '# TODO: your code here\nraise NotImplementedError("TODO")'


def configure(c: Config, root: Path | None = None) -> None:
    """Make nbgrader grade with probes and judges: the whole of our configuration.

    Args:
        root: the course folder; None leaves nbgrader's own choice, the current folder.
    """
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
    c.Autograde.exporter_class = handed_in.SubmissionExporter
    c.Autograde.sanitize_preprocessors = [stages.Rebuild]
    c.Autograde.autograde_preprocessors = [stages.Examine, stages.Record, AssignLatePenalties]
    c.ExportApp.plugin_class = export.ScoresExporter
    feedback.configure(c)
    warnings.filterwarnings("ignore", category=SAWarning)  # of nbgrader's own database code, at every submission
    # nbgrader names its converter class in two modules and offers no setting for it.
    autogradeapp.Autograde = api.Autograde = handed_in.WalledAutograde
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
