"""How nbgrader takes a submission in: found wherever it lies, read without trust, all beside it left alone."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path

from nbgrader.api import Gradebook, InvalidEntry, MissingEntry
from nbgrader.converters import Autograde
from nbgrader.converters.base import NbGraderException
from nbgrader.coursedir import CourseDirectory
from sqlalchemy.exc import SAWarning
from traitlets.config import Config

from autograder.errors import UserError
from autograder.labs.lab import Lab, all_labs, find_lab
from autograder.sanitize.untrusted import shown, terminal
from autograder.storage.course_folder import Course
from autograder.storage.find_submissions import folder_of, search, students
from autograder.storage.refused import enter
from autograder.storage.submissions import Submission
from autograder.submission.arrivals import Arrival
from autograder.submission.timestamps import FILE, read_timestamp

SECRET = "submission_secret.txt"  # nbgrader's exchange gives feedback to whoever has it
MOST = 1000  # bytes
SECTION = "ViteduSubmissions"


class WalledAutograde(Autograde):
    """nbgrader's converter, except that submissions are searched for, and files beside them have no effect.

    Links are not followed, a timestamp that cannot be read is no timestamp, and nothing is copied but the exchange's
    secret, without which no feedback could be released.

    Attributes:
        found: what there is to grade, by student; refused: what cannot even be taken in, by name, and why.
    """

    notebooks: list[str]
    found: Mapping[str, Submission] = {}
    refused: Mapping[str, str] = {}

    def init_notebooks(self) -> None:
        """Find the submissions as `autograder grade` does."""
        lab, only = _lab(self.coursedir, self.coursedir.assignment_id), self.coursedir.student_id
        if lab is None or not fnmatchcase(lab.notebook, self.coursedir.notebook_id):
            return super().init_notebooks()
        course = Course(Path(self.coursedir.root), self.coursedir.db_url)
        handed = search(course, lab)
        excluded = self.coursedir.student_id_exclude.split(",")
        names = {*handed.found, *handed.unreadable, *handed.absent}
        names = {name for name in names if name == only or fnmatchcase(name, only)}
        handed = handed.of(names.difference(excluded))
        if not handed.found and not handed.unreadable:
            return super().init_notebooks()  # which says so
        enter(course, lab, handed, some=only != "*")
        self.refused = handed.unreadable
        for name, problem in self.refused.items():
            self.log.error("Not graded: %s: %s", shown(name), terminal(problem, 600))
        self._take_up(lab.assignment, lab.notebook, handed.found)

    def _take_up(self, assignment: str, notebook: str, found: Mapping[str, Submission]) -> None:
        """Set what is to be converted; nbgrader knows a submission by the right place, wherever it lies."""
        sources = {self._format_source(assignment, student) for student in found}
        self.assignments = {source: [os.path.join(source, f"{notebook}.ipynb")] for source in sources}
        self.found = found

    def convert_notebooks(self) -> None:
        """Convert what was found.

        Raises:
            NbGraderException: something could not be taken in, or not be converted.
        """
        super().convert_notebooks()
        if self.refused:
            names = ", ".join(map(shown, self.refused))
            raise NbGraderException(f"not graded, for the reasons above: {terminal(names, 600)}")

    def submission(self, student_id: str, path: str) -> Submission:
        """What a student handed in; at `path`, where the search was not for this course."""
        return self.found.get(student_id) or Submission(Arrival(Path(path)), folder=Path(path).parent)

    def submitted(self, assignment_id: str, student_id: str) -> Path:
        """The folder that holds a submission's timestamp and secret."""
        submission = self.found.get(student_id)
        return submission.folder if submission else Path(self._in_submitted(assignment_id, student_id))

    def _in_submitted(self, assignment_id: str, student_id: str) -> str:
        return self.coursedir.format_path(self.coursedir.submitted_directory, student_id, assignment_id)

    def init_destination(self, assignment_id: str, student_id: str) -> bool:
        with self._timestamps_read(assignment_id, student_id):
            return super().init_destination(assignment_id, student_id)

    def init_assignment(self, assignment_id: str, student_id: str) -> None:
        """Enter student and submission into the gradebook; no score before there is one.

        Raises:
            NbGraderException: the gradebook does not know the assignment, or not the student, who may not be added.
        """
        source = self.submitted(assignment_id, student_id)
        submitted_at = read_timestamp(source).time
        try:
            self._enter(assignment_id, student_id, submitted_at)
        except InvalidEntry:  # another grader made the same student or submission just now: it is there
            self._enter(assignment_id, student_id, submitted_at)
        folder = Path(self._format_dest(assignment_id, student_id))
        folder.mkdir(parents=True, exist_ok=True)
        # nbgrader tells a newer submission by the first of these
        _put(folder / FILE, f"{submitted_at.isoformat(' ')} UTC\n".encode() if submitted_at is not None else None)
        _put(folder / SECRET, usable_secret(source))

    def _enter(self, assignment_id: str, student_id: str, submitted_at: datetime | None) -> None:
        with Gradebook(self.coursedir.db_url, self.coursedir.course_id) as gradebook:
            try:
                known = {notebook.name for notebook in gradebook.find_assignment(assignment_id).notebooks}
                if self.create_student:
                    gradebook.update_or_create_student(student_id)
                else:
                    gradebook.find_student(student_id)
            except MissingEntry as error:
                raise NbGraderException(f"the gradebook does not know it: {error}") from None
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SAWarning)  # about nbgrader's own way to make a submission
                # A time that is None, too: nbgrader would keep an earlier one.
                submission = gradebook.update_or_create_submission(assignment_id, student_id, timestamp=submitted_at)
            if submission.total_seconds_late > 0:
                self.log.warning("%s handed in %.0f s late", shown(student_id), submission.total_seconds_late)
        self.notebooks = [path for path in self.notebooks if Path(path).stem in known]
        if not self.notebooks:
            raise NbGraderException(f"no notebook that is known; run: nbgrader generate_assignment {assignment_id}")

    @contextmanager
    def _timestamps_read(self, assignment_id: str, student_id: str) -> Iterator[None]:
        """Have nbgrader read timestamps our way."""
        right, folder = self._in_submitted(assignment_id, student_id), self.submitted(assignment_id, student_id)
        self.coursedir.get_existing_timestamp = lambda place: (
            read_timestamp(folder if place == right else Path(place)).time
        )
        try:
            yield
        finally:
            del self.coursedir.get_existing_timestamp


def usable_secret(folder: Path) -> bytes | None:
    """The secret that nbgrader's exchange put beside a submission; None without one that nbgrader can use."""
    path = folder / SECRET
    try:
        info = os.lstat(path)
        content = path.read_bytes() if stat.S_ISREG(info.st_mode) and info.st_size <= MOST else b""
        return content if content.decode().strip() else None
    except (OSError, UnicodeError):
        return None


def _put(path: Path, content: bytes | None) -> None:
    """Write a file in the place of an earlier one, which may be read-only; None: there is to be none."""
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)


def _lab(coursedir: CourseDirectory, assignment: str) -> Lab | None:
    """The lab of an assignment; None where it is none of ours, or where submissions lie elsewhere."""
    try:
        lab = find_lab(assignment)
    except UserError:
        return None
    usual = Path(coursedir.root) / "submitted" / "STUDENT" / "LAB"
    there = coursedir.format_path(coursedir.submitted_directory, "STUDENT", "LAB")
    return lab if lab.assignment == assignment and os.path.normpath(there) == os.path.normpath(usual) else None


def configure(c: Config) -> None:
    """Have formgrader list who handed in, and when, by the same search, in courses that have this configuration."""
    c[SECTION].search = True


def is_ours(config: Config) -> bool:
    """Whether a configuration is ours: formgrader can be led to another course while it runs."""
    return bool(dict.get(config, SECTION))


def submitted_students(coursedir: CourseDirectory, assignment: str) -> set[str]:
    """Who handed in for an assignment, or for any ("*"), wherever it lies."""
    found = set[str]()
    names = [lab.assignment for lab in all_labs()] if assignment == "*" else [assignment]
    for lab in (_lab(coursedir, name) for name in names):
        if lab is not None and (Path(coursedir.root) / "release" / lab.assignment).is_dir():
            found |= students(Course(Path(coursedir.root)), lab)
    return found


def submitted_folder(coursedir: CourseDirectory, assignment: str, student: str) -> Path | None:
    """The folder that holds a submission's timestamp; None for an assignment that is none of ours."""
    lab = _lab(coursedir, assignment)
    return folder_of(Course(Path(coursedir.root)), lab, student) if lab is not None else None
