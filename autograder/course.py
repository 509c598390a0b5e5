"""nbgrader's configuration for a course: which of its stages are ours."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

from nbgrader.apps import api, autogradeapp, generatefeedbackapp
from nbgrader.converters import GenerateAssignment
from nbgrader.preprocessors import AssignLatePenalties
from sqlalchemy.exc import SAWarning
from traitlets import TraitError
from traitlets.config import Config, PyFileConfigLoader

from . import database, exchange, export, feedback, handed_in, staged, stages
from .errors import UserError
from .lab import SOLUTIONS
from .untrusted import terminal

STEPS = ("release", "submitted", "autograded", "feedback")
FILE = "nbgrader_config.py"
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
    c.ExchangeFactory.collect = exchange.Collect
    c.ExchangeFactory.release_feedback = exchange.ReleaseFeedback
    feedback.configure(c)
    handed_in.configure(c)
    database.open_patiently()
    warnings.filterwarnings("ignore", category=SAWarning)  # of nbgrader's own database code, at every submission
    # nbgrader names its converter classes in two modules each and offers no setting for them.
    autogradeapp.Autograde = api.Autograde = staged.StagedAutograde
    generatefeedbackapp.GenerateFeedback = api.GenerateFeedback = staged.StagedFeedback
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def read_config(root: Path) -> Config:
    """What the instructor set in the course folder's nbgrader_config.py; empty where there is none.

    Raises:
        UserError: the file is broken, or sets what cannot be meant.
    """
    path = root / FILE
    if not path.exists():
        return Config()
    try:
        config = PyFileConfigLoader(FILE, path=str(root)).load_config()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # any program may stand there, also one that calls exit()
        what = terminal(f"{type(error).__name__}: {error}", 200)
        raise UserError(f"{path} cannot be read ({what}); mend it and run the same command again.") from None
    check_config(path, config)
    return config


def check_config(path: Path, config: Config) -> None:
    """Refuse a misspelled limit, which would have no effect, a limit that is no number, and folders moved elsewhere."""
    known = stages.Examine.class_traits(config=True)
    for name in config.Examine:
        if name not in known:
            there = ", ".join(sorted(known))
            raise UserError(f"{path} sets c.Examine.{name}, which does not exist; mend the name (there are {there}).")
    try:
        stages.Examine(config=config)
    except TraitError as error:
        raise UserError(f"{path}: {terminal(str(error), 200)}") from None
    for name in (*(f"{step}_directory" for step in STEPS), "directory_structure"):
        if name in config.CourseDirectory:
            raise UserError(
                f"{path} sets c.CourseDirectory.{name}, but a vitedu course uses nbgrader's own folders; "
                "remove that line and run the same command again."
            )
