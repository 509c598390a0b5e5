"""What lies in a student's folder, looked at by its content: notebooks under any name, in any place, in a zip.

Nothing is believed and nothing is followed: regular files only, a bounded number of them, read in memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

from autograder.submission.archives import LEFT_OVER, is_packed, members, unpacked
from autograder.submission.match_cells import lab_answered, lab_of, normal
from autograder.submission.parse_notebook import MAX_FILE, SubmittedCell, Unreadable, parse_submission, read_content

DEPTH = 30  # folders below a student's
FILES = 300  # of one student, the likeliest, that are opened
ENTRIES = 50_000  # files and folders of one student whose names are read
NOTEBOOKS = 60  # of one student that are read
BYTES = 4 * MAX_FILE  # of all of them
PACKED = 10  # archives of one student that are looked into
ARCHIVES = (".zip", ".tar", ".gz", ".tgz")
GUESSES = 20  # members of an archive that are tried although their names do not say that they are notebooks
START = 512  # bytes that tell what a file is
BESIDE = ("timestamp.txt", "submission_secret.txt")  # nbgrader's own


@dataclass(frozen=True)
class Arrival:
    """A file, or a member of an archive.

    Attributes:
        member: its name in the archive at `path`; None for a file of its own.
    """

    path: Path
    member: str | None = None

    def read(self) -> bytes:
        """Its content.

        Raises:
            Unreadable: it is no regular file, too large, or its archive is damaged or encrypted.
        """
        content = read_content(self.path)
        return content if self.member is None else unpacked(content, self.member, self.path.name)

    @cached_property
    def cells(self) -> list[SubmittedCell] | None:
        """Its cells; None when it is no notebook."""
        try:
            return parse_submission(self.read(), self.path.name)
        except (Unreadable, OSError):
            return None

    @cached_property
    def lab(self) -> str | None:
        """The assignment whose cells it has, or else whose exercises it answers; None when they cannot tell."""
        return (lab_of(self.cells) or lab_answered(self.cells)) if self.cells is not None else None

    @property
    def is_named(self) -> bool:
        """Whether its name says that it is a notebook."""
        return ".ipynb" in (self.member or self.path.name).lower()

    @cached_property
    def digest(self) -> str:
        """Equal for equal cells: outputs, and whatever else a program adds, are nothing that is graded."""
        cells = [(c.kind, normal(c.source), sorted(c.attachments.items())) for c in self.cells or () if not c.is_empty]
        return hashlib.sha256(repr(cells).encode() if self.cells is not None else self.read()).hexdigest()

    def name(self, root: Path) -> str:
        """Where it lies, for people."""
        place = os.path.relpath(self.path, root)
        return f"{self.member} in {place}" if self.member else place


def files(folder: Path) -> list[Path]:
    """Files in a folder and below, regular or not: by their names notebooks and archives first, then the nearest."""
    found = islice(_walk(folder), ENTRIES)
    return sorted(found, key=lambda path: (not _is_likely(path.name), len(path.parts), path))[:FILES]


def _is_likely(name: str) -> bool:
    return ".ipynb" in name.lower() or name.lower().endswith(ARCHIVES)


def _walk(folder: Path) -> Iterator[Path]:
    """Level by level, so that a folder full of data hides nothing that lies beside it; links are not followed."""
    level, left = [folder], ENTRIES
    for _ in range(DEPTH + 1):
        below: list[Path] = []
        for each in level:
            entries = _listed(each, left)
            left -= len(entries)
            for entry in entries:
                if entry.name.startswith(".") or entry.name in LEFT_OVER:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    below.append(Path(entry.path))
                elif entry.name not in BESIDE:
                    yield Path(entry.path)
        level = below


def _listed(folder: Path, most: int) -> list[os.DirEntry[str]]:
    """What lies in a folder, in order."""
    try:
        with os.scandir(folder) as found:
            return sorted(islice(found, most), key=lambda entry: entry.name)
    except OSError:
        return []


def arrivals(folder: Path) -> Iterator[Arrival]:
    """The files of a folder and below that may be notebooks, and those in its archives."""
    budget, count, archives = BYTES, 0, 0
    for path in files(folder):
        if is_packed(start_of(path)):
            archives += 1
            if archives > PACKED:
                continue
        for arrival, size in of_file(path):
            if count < NOTEBOOKS and (size := min(size, MAX_FILE)) <= budget:
                budget, count = budget - size, count + 1
                yield arrival


def of_file(path: Path) -> Iterator[tuple[Arrival, int]]:
    """The notebooks that a file may be or hold, each with its size in bytes."""
    start = start_of(path)
    if is_packed(start):
        try:
            found = members(read_content(path))
        except (Unreadable, OSError):
            return
        sure = {member: size for member, size in found.items() if not member or ".ipynb" in member.lower()}
        others = [(Arrival(path, member), size) for member, size in found.items() if size < MAX_FILE // 8]
        yield from ((Arrival(path, member), size) for member, size in sure.items())
        yield from (each for each in others[: 0 if sure else GUESSES] if each[0].cells is not None)
    elif start.decode(json.detect_encoding(start), errors="replace").lstrip("\ufeff \t\r\n").startswith("{"):
        yield Arrival(path), os.lstat(path).st_size


def start_of(path: Path) -> bytes:
    """The first bytes of a regular file; b"" of anything else."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return b""
        with path.open("rb") as file:
            return file.read(START)
    except OSError:
        return b""
