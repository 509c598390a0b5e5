"""How nbgrader takes a submission in: its notebook read without trust, everything beside it left alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nbconvert.exporters import NotebookExporter
from nbformat.v4 import new_notebook
from nbgrader.api import Gradebook, InvalidEntry
from nbgrader.converters import Autograde

from . import interrupt
from .rebuild import Unreadable, take_in
from .stages import Examine
from .timestamps import FILE, read_timestamp
from .work import most_seconds

SECRET = "submission_secret.txt"  # nbgrader's exchange gives feedback to whoever has it
MOST = 1000  # bytes


class SubmissionExporter(NotebookExporter):
    """Reads a submission without trusting it, and everything else as nbgrader does."""

    def from_filename(self, filename: str, resources: Any = None, **kwargs: Any) -> tuple[str, Any]:
        if not self.parent._sanitizing:
            return super().from_filename(filename, resources, **kwargs)
        try:
            resources["vitedu"] = {"content": take_in(Path(filename)), "problem": ""}
        except Unreadable as problem:
            resources["vitedu"] = {"content": None, "problem": str(problem)}
        return self.from_notebook_node(new_notebook(), resources, **kwargs)


class WalledAutograde(Autograde):
    """nbgrader's converter, except that files beside a submitted notebook have no effect.

    Links are not followed, a timestamp that cannot be read is no timestamp, and nothing is copied but the exchange's
    secret, without which no feedback could be released.
    """

    def init_destination(self, assignment_id: str, student_id: str) -> bool:
        with self._files_left_alone():
            return super().init_destination(assignment_id, student_id)

    def init_assignment(self, assignment_id: str, student_id: str) -> None:
        with self._files_left_alone():
            try:
                super().init_assignment(assignment_id, student_id)
            except InvalidEntry:  # another grader made the same student or submission just now: it is there
                super().init_assignment(assignment_id, student_id)
        source, folder = (Path(place(assignment_id, student_id)) for place in (self._format_source, self._format_dest))
        submitted_at = read_timestamp(source).time
        with Gradebook(self.coursedir.db_url) as gradebook:  # nbgrader keeps an earlier time where there is none now
            gradebook.update_or_create_submission(assignment_id, student_id, timestamp=submitted_at)
        folder.mkdir(parents=True, exist_ok=True)
        if submitted_at is not None:  # nbgrader tells a newer submission by this file
            (folder / FILE).write_text(f"{submitted_at.isoformat(' ')} UTC\n")
        if (secret := _secret(source)) is not None:
            (folder / SECRET).write_bytes(secret)

    def convert_single_notebook(self, notebook_filename: str) -> None:
        """One of nbgrader's two passes over a notebook, within the time after which it is stuck.

        Raises:
            TimeoutError: it took longer; nbgrader tells it, and goes on with the next submission.
        """
        most = most_seconds(self.coursedir.assignment_id, Examine(parent=self).limits)
        with interrupt.within(most, "its grading"):
            super().convert_single_notebook(notebook_filename)

    @contextmanager
    def _files_left_alone(self) -> Iterator[None]:
        ignored = self.coursedir.ignore
        self.coursedir.ignore = ["*", ".*"]
        self.coursedir.get_existing_timestamp = lambda folder: read_timestamp(Path(folder)).time
        try:
            yield
        finally:
            self.coursedir.ignore = ignored
            del self.coursedir.get_existing_timestamp


def _secret(folder: Path) -> bytes | None:
    """The secret that nbgrader's exchange put beside a submission; None without one."""
    path = folder / SECRET
    try:
        info = os.lstat(path)
        return path.read_bytes() if stat.S_ISREG(info.st_mode) and info.st_size <= MOST else None
    except OSError:
        return None
