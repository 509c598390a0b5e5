"""What lies in a folder of submissions, and which of it is damaged or cannot be read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from autograder.storage.diagnose import AGAIN
from autograder.submission.archives import LEFT_OVER
from autograder.submission.arrivals import of_file


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, in order, but for what systems and programs hide there."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [folder / name for name in names if not name.startswith(".") and name not in LEFT_OVER]


def folders_in(folder: Path) -> list[Path]:
    """Those of the entries that are folders."""
    return [path for path in entries(folder) if is_folder(path)]


def is_folder(path: Path) -> bool:
    """Whether it is a folder, and no link to one; no, too, where nobody may look."""
    return os.path.isdir(path) and not os.path.islink(path)


def is_damaged(path: Path) -> bool:
    """Whether a regular file is, or holds, nothing that can be read as a notebook."""
    try:
        regular = stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:  # closed, or taken away meanwhile
        return True
    return regular and all(each.cells is None for each, _ in of_file(path))


def is_open(place: Path, right: Path) -> bool:
    """Whether a student's folder can be read, as far as it matters for this lab."""
    path = place / right
    places = [place, path.parent, path]
    if os.access(place, os.X_OK):
        places = [p for p in places if os.path.lexists(p) and not os.path.islink(p)]
    else:
        places = [place]
    return all(os.access(p, os.R_OK | (os.X_OK if os.path.isdir(p) else 0), effective_ids=True) for p in places)


def permission_problem(folder: Path) -> str:
    """What to do about a folder that nobody may read."""
    return f"Permission denied: {folder} cannot be read; open it (chmod -R u+rX {folder}) {AGAIN}"
