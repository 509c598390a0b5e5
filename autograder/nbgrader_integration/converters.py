"""nbgrader's converters, except that a folder appears in autograded/ or feedback/ only when it is complete.

nbgrader writes into the final folder from the beginning, and takes a folder that is there for a
finished one: what a killed run left half written is then never graded again. Here the work is
done in `autograded-unfinished/STUDENT/ASSIGNMENT` and moved when it is done; an earlier result
stays until then.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_notebook
from nbgrader.converters import GenerateFeedback
from nbgrader.converters.base import BaseConverter

from autograder import interrupts
from autograder.labs.lab import find_lab
from autograder.nbgrader_integration.grading_setup import GradingSetup
from autograder.nbgrader_integration.preprocessors import RESOURCE, Conversion, Examine
from autograder.nbgrader_integration.submission_reader import WalledAutograde, is_ours
from autograder.storage.course_folder import Course
from autograder.storage.submissions import Submission
from autograder.storage.verdict_files import write_record

RECORD_SECONDS = 300.0  # for one submission; a page of a thousand cells takes a few


class _Staged(BaseConverter):
    _direct = False  # whether paths mean the final folder

    @property
    def _whole(self) -> bool:
        """Whether all notebooks of an assignment are converted; one alone goes beside the others, as nbgrader does."""
        return self.coursedir.notebook_id == "*"

    @property
    def _output_directory(self) -> str:
        final = super()._output_directory
        place, name = os.path.split(final)
        return final if self._direct or not self._whole else os.path.join(place, f"{name}-unfinished")

    def init_destination(self, assignment_id: str, student_id: str) -> bool:
        if self.force and self._whole:  # nbgrader would remove the earlier result now
            wanted = student_id not in self.coursedir.student_id_exclude.split(",")
        else:
            wanted = self._in_place(super().init_destination, assignment_id, student_id)
        unfinished = self._format_dest(assignment_id, student_id)
        if wanted and self._whole and os.path.lexists(unfinished):  # of a run that was killed
            shutil.rmtree(unfinished)
        return wanted

    def set_permissions(self, assignment_id: str, student_id: str) -> None:
        """nbgrader's last step with a submission: now its folder moves to where it belongs."""
        if self._whole:
            unfinished = Path(self._format_dest(assignment_id, student_id))
            final = Path(self._in_place(self._format_dest, assignment_id, student_id))
            if final.exists():
                shutil.rmtree(final)
            final.parent.mkdir(parents=True, exist_ok=True)
            os.replace(unfinished, final)
            for empty in (unfinished.parent, unfinished.parent.parent):
                with suppress(OSError):
                    empty.rmdir()
        self._in_place(super().set_permissions, assignment_id, student_id)

    def _in_place(self, step: Callable[..., Any], *args: str) -> Any:
        """Take one of nbgrader's steps on the final folder."""
        self._direct = True
        try:
            return step(*args)
        finally:
            self._direct = False


class StagedAutograde(_Staged, WalledAutograde):
    """Grades a submission: rebuilt, run and judged by `grade_one`, and recorded."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._setups: dict[str, GradingSetup] = {}
        self._finished: list[Conversion] = []

    @property
    def _input_directory(self) -> str:
        return self.coursedir.submitted_directory if self._sanitizing else self._output_directory

    def convert_single_notebook(self, notebook_filename: str) -> None:
        """The way of one notebook, within the time after which it is stuck.

        Raises:
            TimeoutError: it took longer; nbgrader tells it, and goes on with the next submission.
        """
        if not is_ours(self.config):  # formgrader was led to another course
            return super().convert_single_notebook(notebook_filename)
        place = self.init_single_notebook_resources(notebook_filename)["nbgrader"]
        setup, submission = self._setup(place["assignment"]), self.submission(place["student"], notebook_filename)
        task = setup.task(place["student"], submission)
        with interrupts.within(task.most, "its grading"):
            key = setup.cache_key(submission)
            self._convert(
                notebook_filename, Conversion(setup.course, setup.lab, setup.release, submission.folder, key, task)
            )

    def _setup(self, assignment: str) -> GradingSetup:
        """How an assignment is graded here."""
        if assignment not in self._setups:
            lab, examine = find_lab(assignment), Examine(parent=self)
            course = Course(Path(self.coursedir.root), self.coursedir.db_url)
            folder = self.coursedir.format_path(self.coursedir.release_directory, ".", assignment)
            released = Path(folder) / f"{lab.notebook}.ipynb"
            self._setups[assignment] = GradingSetup.read(course, lab, released, examine.limits, examine.sandbox)
        return self._setups[assignment]

    def _convert(self, notebook_filename: str, conversion: Conversion) -> None:
        """Take a notebook through all stages. nbgrader would take it through two halves of them, by way of a file."""
        resources = self.exporter._init_resources(self.init_single_notebook_resources(notebook_filename))
        resources[RESOURCE] = conversion
        nb = new_notebook()
        for stage in self.autograde_preprocessors:
            # Called here, not by the exporter, which would copy and check the notebook before and after each.
            nb, resources = stage(parent=self.exporter)(nb, resources)
        nbformat.validate(nb)
        self.write_single_notebook(nbformat.writes(nb) + "\n", resources)
        self._finished.append(conversion)

    def init_assignment(self, assignment_id: str, student_id: str) -> None:
        self._finished.clear()  # of a submission that failed
        super().init_assignment(assignment_id, student_id)

    def set_permissions(self, assignment_id: str, student_id: str) -> None:
        """nbgrader's last step: all is done, which the folder says that moves to its place now; nobody looks again."""
        for conversion in self._finished:
            self._keep(conversion)
        super().set_permissions(assignment_id, student_id)

    def _keep(self, conversion: Conversion) -> None:
        """Write the verdict record."""
        if conversion.record is not None:
            write_record(conversion.course.record_path(conversion.lab, conversion.record.student), conversion.record)


class RecordingAutograde(StagedAutograde):
    """Records a submission that is rebuilt, run, and judged already; whoever calls it writes the record.

    Attributes:
        conversion: what came of it; for the one notebook of the one student that this converter is for.
        handed_in: where it lay.
    """

    conversion: Conversion
    handed_in: Submission

    def init_notebooks(self) -> None:
        """The one submission, wherever its file lies; nbgrader looks at the right place only."""
        self.notebooks = []
        lab = self.conversion.lab
        self._take_up(lab.assignment, lab.notebook, {self.coursedir.student_id: self.handed_in})

    def convert_single_notebook(self, notebook_filename: str) -> None:
        """Record the one notebook."""
        self._convert(notebook_filename, self.conversion)

    def _keep(self, conversion: Conversion) -> None:
        """Leave it to the caller, who writes it when the notebook is at its place."""


class StagedFeedback(_Staged, GenerateFeedback):
    """Writes a feedback page."""

    def convert_single_notebook(self, notebook_filename: str) -> None:
        """The page of one notebook; raises TimeoutError when it takes far too long."""
        with interrupts.within(RECORD_SECONDS, "writing its feedback"):
            super().convert_single_notebook(notebook_filename)
