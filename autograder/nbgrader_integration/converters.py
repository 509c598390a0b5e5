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
from nbgrader.converters import GenerateFeedback
from nbgrader.converters.base import BaseConverter

from autograder import interrupts
from autograder.execution.submission_task import Executed
from autograder.nbgrader_integration.preprocessors import Examine
from autograder.nbgrader_integration.submission_reader import WalledAutograde
from autograder.storage.submissions import Submission

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
    """Grades a submission."""

    @property
    def _input_directory(self) -> str:
        return self.coursedir.submitted_directory if self._sanitizing else self._output_directory


class RecordingAutograde(StagedAutograde):
    """Records a submission that is rebuilt, run, and judged already.

    Attributes:
        done: what came of it; for the one notebook of the one student that this converter is for.
        submission: where it lay.
        notebook: the notebook's name, without its ending.
    """

    done: Executed
    submission: Submission
    notebook: str

    def init_notebooks(self) -> None:
        """The one submission, wherever its file lies; nbgrader looks at the right place only."""
        self.notebooks = []
        self._take_up(self.coursedir.assignment_id, self.notebook, {self.coursedir.student_id: self.submission})

    def convert_single_notebook(self, notebook_filename: str) -> None:
        """nbgrader's two passes over a notebook in one: what is left of them is recording."""
        resources = self.exporter._init_resources(self.init_single_notebook_resources(notebook_filename))
        resources["vitedu"] = self.done.without_notebook()
        nb, stages = self.done.notebook, self.autograde_preprocessors
        for stage in stages[stages.index(Examine) + 1 :]:
            # Called here, not by the exporter, which would copy and check the notebook before and after each.
            nb, resources = stage(parent=self.exporter)(nb, resources)
        nbformat.validate(nb)
        self.write_single_notebook(nbformat.writes(nb) + "\n", resources)


class StagedFeedback(_Staged, GenerateFeedback):
    """Writes a feedback page."""

    def convert_single_notebook(self, notebook_filename: str) -> None:
        """The page of one notebook; raises TimeoutError when it takes far too long."""
        with interrupts.within(RECORD_SECONDS, "writing its feedback"):
            super().convert_single_notebook(notebook_filename)
