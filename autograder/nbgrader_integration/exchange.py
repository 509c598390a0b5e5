"""nbgrader's exchange: what students put there is copied without trust, and one submission costs no other.

A folder in the exchange belongs to the student who made it. A link in it would be followed with the instructor's
rights, and a name or a file that says no time would stop a command for the whole class.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
from contextlib import suppress
from datetime import datetime
from glob import escape, glob
from pathlib import Path
from typing import Any

from nbgrader.exchange import ExchangeError
from nbgrader.exchange.default import ExchangeCollect, ExchangeReleaseFeedback
from nbgrader.utils import ignore_patterns

from autograder.nbgrader_integration.submission_reader import SECRET, usable_secret
from autograder.sanitize.untrusted import shown, terminal
from autograder.storage.folders import is_folder
from autograder.submission.arrivals import DEPTH, ENTRIES
from autograder.submission.timestamps import FILE, read_timestamp

BLOCK = 2**20  # bytes that are copied at a time
NOTHING_NEWER = "Nothing newer to collect of %s"
LEFT_AS_IT_IS = "Collected before, and left as it is: %s (--update takes a newer submission)"


class Collect(ExchangeCollect):
    """Collects regular files only; what cannot be collected is named, and stops nobody else's."""

    src_records: list[dict[str, Any]]

    def init_src(self) -> None:
        """Find the newest submission of each student."""
        super().init_src()
        self.src_records = [record for record in self.src_records if record["username"]]

    def _path_to_record(self, path: str) -> dict[str, Any]:
        """A submission's student, folder and time; no student where it is none."""
        found, reason = {"username": "", "filename": os.path.basename(path), "timestamp": datetime.min}, ""
        try:
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                reason = "it is a link or a file, not a folder"
            else:
                found = super()._path_to_record(path)
                if not found["username"] or found["username"].startswith("."):
                    reason, found["username"] = "it names no student", ""
        except Exception:  # dateutil has many ways to fail on a text that is no time
            reason = "its name says no time"
        if reason:
            self.log.warning("Not collected: %s: %s", terminal(path, 300), reason)
        return found

    def copy_files(self) -> None:
        """Collect.

        Raises:
            ExchangeError: a submission could not be collected; all others were.
        """
        lost = []
        for record in sorted(self.src_records, key=lambda record: record["username"]):
            student, source = record["username"], Path(self.inbound_path) / record["filename"]
            place = self.coursedir.submitted_directory
            folder = Path(self.coursedir.format_path(place, student, self.coursedir.assignment_id))
            if not self._is_wanted(folder, record["timestamp"]):
                self.log.info(NOTHING_NEWER if self.update else LEFT_AS_IT_IS, shown(student))
                continue
            try:
                self._collect(source, folder, record)
            except (OSError, RecursionError) as error:
                lost.append(shown(student))
                with suppress(OSError):
                    folder.mkdir(parents=True, exist_ok=True)  # so that grading names who handed in
                reason = getattr(error, "strerror", None) or error
                self.log.error("Not collected: %s: %s", terminal(str(source), 300), terminal(str(reason), 300))
        if not self.src_records:
            self.log.warning("There is nothing to collect for %s.", self.coursedir.assignment_id)
        if lost:
            raise ExchangeError(f"not collected, for the reasons above: {', '.join(lost)}")

    def _is_wanted(self, folder: Path, time: datetime) -> bool:
        """Whether a submission is to take the place of what was collected before."""
        if not os.path.lexists(folder) or (is_folder(folder) and not os.listdir(folder)):  # a failed collect left it
            return True
        before = read_timestamp(folder).time
        return (self.update and (before is None or time > before)) or (self.before_duedate and time != before)

    def _collect(self, source: Path, folder: Path, record: dict[str, Any]) -> None:
        """Copy a submission, and put it in the place of an earlier one when that is done.

        Raises:
            OSError: it cannot be read, or is larger than the course allows.
        """
        if self.check_owner and (owner := _owner(source)) != record["username"]:
            self.log.warning(
                "%s claims to be of %s but belongs to %s: look into that, or set "
                "c.ExchangeCollect.check_owner = False where all files have one owner.",
                terminal(str(source), 300), shown(record["username"]), shown(owner),
            )  # fmt: skip
        unfinished = folder.with_name(f".{folder.name}-unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        try:
            self._copy(source, unfinished)
            if read_timestamp(unfinished).time is None:  # the folder's name says it, too
                _remove(unfinished / FILE)
                (unfinished / FILE).write_text(f"{record['timestamp']} UTC")
            _remove(folder)
            os.replace(unfinished, folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        self.log.info("Collected %s of %s", self.coursedir.assignment_id, shown(record["username"]))

    def _copy(self, source: Path, target: Path) -> None:
        """Copy regular files by open folders, of which none can become a link meanwhile."""
        left = 1000 * self.coursedir.max_dir_size  # bytes, from kilobytes
        unwanted = ignore_patterns(
            # Scripts, too: they are not released, but somebody's work may be in one, and grading names it.
            exclude=[pattern for pattern in self.coursedir.ignore if pattern != "*.py"],
            include=self.coursedir.include, max_file_size=self.coursedir.max_file_size, log=self.log,
        )  # fmt: skip
        walk = os.fwalk(source, onerror=_raise)
        seen = 0
        for here, folders, files, descriptor in walk:
            seen += 1 + len(files)
            below = os.path.relpath(here, source)
            if seen > ENTRIES or len(Path(below).parts) > DEPTH:
                raise OSError("it holds more files or folders than a submission may have")
            out = unwanted(here, [*folders, *files])
            linked = [name for name in folders if stat.S_ISLNK(os.lstat(name, dir_fd=descriptor).st_mode)]
            folders[:] = [name for name in folders if name not in out and name not in linked]
            there = target / below
            there.mkdir(exist_ok=True)
            for name in (name for name in files if name not in out):
                size = _copy_file(name, descriptor, there / name, left)
                left -= size or 0
                if size is None:
                    linked.append(name)
                elif self.coursedir.groupshared:
                    (there / name).chmod(0o664)
            if self.coursedir.groupshared:
                there.chmod(0o2775)
            for name in linked:
                self.log.warning("Left out, as it is no regular file: %s", terminal(os.path.join(here, name), 300))


class ReleaseFeedback(ExchangeReleaseFeedback):
    """Releases the feedback of everybody who used the exchange, and names the others."""

    src_path: str

    def copy_files(self) -> None:
        """nbgrader's step, for each student; it needs two files, which only the exchange puts beside a submission."""
        everybody = self.src_path
        try:
            for folder in sorted({Path(page).parent for page in glob(f"{everybody}/*.html")}):
                if usable_secret(folder) is not None:
                    self.src_path = escape(str(folder))
                    self._release(folder / FILE)
                elif folder.parent.name not in self.coursedir.student_id_exclude.split(","):
                    self.log.warning(
                        "The feedback of %s was not released: the submission did not come through the exchange, or "
                        "its %s is damaged. Give %s to this student in another way.",
                        shown(folder.parent.name), SECRET, terminal(str(folder), 200),
                    )  # fmt: skip
        finally:
            self.src_path = everybody

    def _release(self, timestamp: Path) -> None:
        """Release one student's; nbgrader's log names a time, also where none could be read."""
        if timestamp.exists():
            return super().copy_files()
        timestamp.write_text("no time that could be read")
        try:
            super().copy_files()
        finally:
            timestamp.unlink()


def _raise(error: OSError) -> None:
    raise error


def _owner(path: Path) -> str:
    """The name of the user that a folder belongs to, or the number of one without a name."""
    number = os.lstat(path).st_uid
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _remove(path: Path) -> None:
    """Remove a folder, or whatever stands there; nothing is no error."""
    if is_folder(path):
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _copy_file(name: str, folder: int, target: Path, most: int) -> int | None:
    """Copy a file of an open folder; how many bytes it has, or None where it is no regular file.

    Raises:
        OSError: it cannot be read, or has more than `most` bytes.
    """
    if not stat.S_ISREG(os.lstat(name, dir_fd=folder).st_mode):
        return None
    descriptor, size = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder), 0
    with open(descriptor, "rb") as source, target.open("wb") as copy:
        while part := source.read(BLOCK):
            size += copy.write(part)
            if size > most:
                raise OSError("it is larger than c.CourseDirectory.max_dir_size allows")
    return size
