"""What lies in a student's folder, looked at by its content: notebooks under any name, in any place, in a zip.

Nothing is believed and nothing is followed: regular files only, a bounded number of them, read in memory.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .rebuild import MAX_FILE, Unreadable, parse_submission, take_in
from .recognise import SubmittedCell, lab_of

DEPTH = 5  # folders below a student's
FILES = 300  # of one student; beyond these nothing is looked at
MEMBERS = 1000  # of a zip
ZIP = b"PK\x03\x04"
SKIPPED = ("__MACOSX", "Thumbs.db", "desktop.ini")  # left by systems, beside everything whose name starts with a dot
BESIDE = ("timestamp.txt", "submission_secret.txt")  # nbgrader's own


@dataclass(frozen=True)
class Arrival:
    """A file, or a member of a zip.

    Attributes:
        member: its name in the zip at `path`; "" for a file of its own.
    """

    path: Path
    member: str = ""

    def read(self) -> bytes:
        """Its content.

        Raises:
            Unreadable: it is no regular file, too large, or its zip is damaged or encrypted.
        """
        content = take_in(self.path)
        return _unzipped(content, self.member, self.path.name) if self.member else content

    @cached_property
    def cells(self) -> list[SubmittedCell] | None:
        """Its cells; None when it is no notebook."""
        try:
            return parse_submission(self.read(), self.path.name)
        except (Unreadable, OSError):
            return None

    @cached_property
    def lab(self) -> str | None:
        """The assignment that its cells belong to; None when they cannot tell, or it is no notebook."""
        return lab_of(self.cells) if self.cells is not None else None

    @cached_property
    def digest(self) -> str:
        """Equal for equal contents."""
        return hashlib.sha256(self.read()).hexdigest()

    def name(self, root: Path) -> str:
        """Where it lies, for people."""
        place = os.path.relpath(self.path, root)
        return f"{self.member} in {place}" if self.member else place


def files(folder: Path, depth: int = DEPTH) -> Iterator[Path]:
    """Regular files in a folder and below, in order; links are not followed."""
    left = FILES
    for path in _walk(folder, depth):
        yield path
        left -= 1
        if left <= 0:
            return


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name in SKIPPED:
            continue
        if entry.is_dir(follow_symlinks=False):
            if depth > 0:
                yield from _walk(Path(entry.path), depth - 1)
        elif entry.name not in BESIDE:
            yield Path(entry.path)


def arrivals(folder: Path) -> Iterator[Arrival]:
    """The files of a folder and below that may be notebooks, and those in its zips."""
    for path in files(folder):
        start = _start(path)
        if start.startswith(ZIP):
            yield from (Arrival(path, member) for member in _members(path))
        elif start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
            yield Arrival(path)


def _start(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return b""
        with path.open("rb") as file:
            return file.read(64)
    except OSError:
        return b""


def _members(path: Path) -> list[str]:
    """Names of a zip's members that may be notebooks, by their endings; none where it cannot be read."""
    try:
        with zipfile.ZipFile(io.BytesIO(take_in(path))) as archive:
            names = [info.filename for info in archive.infolist()[:MEMBERS] if not info.is_dir()]
    except (Unreadable, OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return []
    return sorted(name for name in names if ".ipynb" in name.lower() and not _is_left_over(name))


def _is_left_over(name: str) -> bool:
    """Whether a member is what a system or Jupyter left beside the real one."""
    return any(part.startswith(".") or part in SKIPPED for part in name.replace("\\", "/").split("/"))


def _unzipped(content: bytes, member: str, name: str) -> bytes:
    """A member's content, of which no more is unpacked than a notebook may have."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive, archive.open(member) as file:
            found = file.read(MAX_FILE + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, OSError, RuntimeError) as error:
        # RuntimeError: encrypted; NotImplementedError, one of its kind: a compression that Python does not know
        why = "it is encrypted" if "encrypted" in str(error) or "password" in str(error) else type(error).__name__
        raise Unreadable(f"{member} in {name} cannot be unpacked ({why})") from None
    if len(found) > MAX_FILE:
        raise Unreadable(f"{member} in {name} has more than the {MAX_FILE} bytes that a notebook may have")
    return found
