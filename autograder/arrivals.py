"""What lies in a student's folder, looked at by its content: notebooks under any name, in any place, in a zip.

Nothing is believed and nothing is followed: regular files only, a bounded number of them, read in memory.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

from .rebuild import MAX_FILE, Unreadable, parse_submission, take_in
from .recognise import SubmittedCell, lab_of

DEPTH = 30  # folders below a student's
ENTRIES = 100_000  # of one student, whose names are looked at
FILES = 300  # of these, the likeliest, that are opened
MEMBERS = 1000  # of a zip
NOTEBOOKS, BYTES = 50, 2 * MAX_FILE  # of one student, that are parsed
ZIP = b"PK\x03\x04"
# 7z, rar, gzip, xz, bzip2: nobody looks into these.
PACKED = (b"7z\xbc\xaf", b"Rar!", b"\x1f\x8b", b"\xfd7zXZ", b"BZh")
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

    @property
    def is_meant(self) -> bool:
        """Whether its name says that it is a notebook."""
        return ".ipynb" in (self.member or self.path.name).lower()

    def name(self, root: Path) -> str:
        """Where it lies, for people."""
        place = os.path.relpath(self.path, root)
        return f"{self.member} in {place}" if self.member else place


def files(folder: Path, depth: int = DEPTH) -> list[Path]:
    """Files in a folder and below, links not followed: notebooks and zips (by their names) first, then the nearest."""
    found = islice(_walk(folder, depth), ENTRIES)
    return sorted(found, key=lambda path: (not _is_likely(path.name), len(path.parts), path))[:FILES]


def _is_likely(name: str) -> bool:
    return ".ipynb" in name.lower() or name.lower().endswith(".zip")


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    """Level by level, so that a folder full of pictures hides nothing that lies beside it."""
    level = [folder]
    for _ in range(depth + 1):
        below: list[Path] = []
        for each in level:
            try:
                entries = sorted(os.scandir(each), key=lambda entry: entry.name)
            except OSError:
                continue
            for entry in entries:
                if entry.name.startswith(".") or entry.name in SKIPPED:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    below.append(Path(entry.path))
                elif entry.name not in BESIDE:
                    yield Path(entry.path)
        level = below


def arrivals(folder: Path) -> Iterator[Arrival]:
    """The files of a folder and below that may be notebooks, and those in its zips."""
    count, left = 0, BYTES
    for path in files(folder):
        for arrival, size in _of_file(path):
            if count < NOTEBOOKS and (size <= left or not count):  # the first may be too large, and says so
                count, left = count + 1, left - size
                yield arrival


def arrivals_in(path: Path) -> list[Arrival]:
    """What one file holds that may be a notebook."""
    return [arrival for arrival, _ in _of_file(path)][:NOTEBOOKS]


def is_packed(path: Path) -> bool:
    """Whether a file is an archive, of whatever kind."""
    return _start(path).startswith((ZIP, *PACKED))


def _of_file(path: Path) -> Iterator[tuple[Arrival, int]]:
    """What a file holds that may be a notebook, and how many bytes each has."""
    start = _start(path)
    if start.startswith(ZIP):
        yield from ((Arrival(path, member), min(size, MAX_FILE + 1)) for member, size in _members(path))
    elif start.decode(json.detect_encoding(start), errors="replace").lstrip("\ufeff \t\r\n").startswith("{"):
        yield Arrival(path), min(path.stat().st_size, MAX_FILE + 1)


def _start(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return b""
        with path.open("rb") as file:
            return file.read(64)
    except OSError:
        return b""


def _members(path: Path) -> list[tuple[str, int]]:
    """Names and sizes of a zip's members that may be notebooks, by their endings; none where it cannot be read."""
    try:
        with zipfile.ZipFile(io.BytesIO(take_in(path))) as archive:
            found = {info.filename: info.file_size for info in archive.infolist()[:MEMBERS] if not info.is_dir()}
    except (Unreadable, OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return []
    may_be = {name: size for name, size in found.items() if not _is_left_over(name) and _has_ending(name)}
    return sorted(may_be.items(), key=lambda member: (".ipynb" not in member[0].lower(), member[0]))


def _has_ending(name: str) -> bool:
    """Whether a notebook may have this name, among others one that a browser or a mail program has given it."""
    return ".ipynb" in name.lower() or Path(name).suffix.lower() in ("", ".json", ".txt")


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
