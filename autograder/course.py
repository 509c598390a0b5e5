"""nbgrader's configuration for a course: which of its stages are ours."""

from __future__ import annotations

import logging
from pathlib import Path

from nbgrader.apps import NbGraderAPI
from nbgrader.converters import GenerateAssignment
from nbgrader.preprocessors import AssignLatePenalties
from traitlets.config import Config

from autograder.labs.lab import SOLUTIONS, STUB
from autograder.nbgrader_integration import exchange, formgrader, patches, preprocessors, submission_reader
from autograder.nbgrader_integration.instructor_config import read_config
from autograder.nbgrader_integration.release import Release
from autograder.reporting import feedback_page, score_export


def course_api(course: Path, sandbox: bool = True) -> NbGraderAPI:
    """nbgrader's own functions on a course folder, with the instructor's configuration and ours.

    Args:
        sandbox: the command's choice; c.Examine.sandbox of the configuration is for nbgrader's own commands.

    Raises:
        UserError: the course's nbgrader_config.py is broken.
    """
    config = read_config(course)
    configure(config, course)  # after the instructor's: what is set here is what grading stands on
    config.Examine.sandbox = sandbox
    config.NbGraderAPI.log_level = logging.ERROR  # kept in the results, from which reason_of() takes one sentence
    return NbGraderAPI(config=config)


def configure(c: Config, root: Path | None = None) -> None:
    """Make nbgrader grade with probes and judges: the whole of our configuration.

    Args:
        root: the course folder; None leaves nbgrader's own choice, the current folder.

    Raises:
        UserError: this nbgrader is not the one that the autograder is written against, see patches.py.
    """
    if root is not None:
        c.CourseDirectory.root = str(root)
    c.CourseDirectory.source_directory = str(SOLUTIONS)
    # nbgrader copies every other file of a lab's folder into the release and each submission.
    c.CourseDirectory.ignore = [".ipynb_checkpoints", "*.pyc", "__pycache__", ".pytest_cache", "*.py"]
    c.ClearSolutions.code_stub = {"python": STUB}
    c.GenerateAssignment.preprocessors = [
        preprocessors.CheckSecret,
        Release,  # before nbgrader locks cells and notes their checksums
        *GenerateAssignment.class_traits()["preprocessors"].default_args[0],
    ]
    c.Autograde.autograde_preprocessors = [preprocessors.Examine, preprocessors.Record, AssignLatePenalties]
    c.ExportApp.plugin_class = score_export.ScoresExporter
    c.ExchangeFactory.collect = exchange.Collect
    c.ExchangeFactory.release_feedback = exchange.ReleaseFeedback
    feedback_page.configure(c)
    formgrader.configure(c)
    submission_reader.configure(c)
    patches.apply()
