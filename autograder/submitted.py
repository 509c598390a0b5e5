"""Who handed in what, and what lies there but cannot be taken in: somebody has to mend that, it is never a zero."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from .errors import UserError
from .handed_in import misnamed
from .lab import Lab
from .trouble import AGAIN


@dataclass
class Handed:
    """What was handed in for a lab, by student, in order.

    Attributes:
        paths: the notebooks; a link or a folder in its place counts, and is judged for what it is.
        unreadable: why a submission cannot be taken in at all.
    """

    paths: dict[str, Path] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)


def handed_in(course: Path, lab: Lab, students: list[str] | None) -> Handed:
    """Find the submissions to a lab.

    Raises:
        UserError: there are none, or none of a student who was named.
    """
    found, root = Handed(), course / "submitted"
    for student in sorted(os.listdir(root)) if root.is_dir() else ():
        path = root / student / lab.assignment / f"{lab.notebook}.ipynb"
        try:
            mode = os.lstat(path).st_mode
        except PermissionError:
            found.unreadable[student] = _closed(path)
            continue
        except OSError:  # nothing there, or `student` is no folder
            if told := misnamed(path.parent, lab.notebook):
                found.unreadable[student] = f"{told} {AGAIN}"
            continue
        places = [path.parent.parent, path.parent, *([path] if stat.S_ISREG(mode) else [])]
        if not all(os.access(place, os.R_OK, effective_ids=True) for place in places):
            found.unreadable[student] = _closed(path)
        elif any(sign in student for sign in "*?["):
            found.unreadable[student] = f"nbgrader takes the folder's name for a pattern; rename it {AGAIN}"
        else:
            found.paths[student] = path
    if not found.paths and not found.unreadable:
        raise UserError(
            f"Nothing to grade: expected files submitted/STUDENT/{lab.assignment}/{lab.notebook}.ipynb "
            f"in {course}, found none."
        )
    known = found.paths | found.unreadable
    if unknown := [student for student in students or [] if student not in known]:
        raise UserError(
            f"{', '.join(unknown)} handed in nothing for {lab.assignment}; check the spelling of --student."
        )
    wanted = known.keys() & set(students) if students else known
    return Handed(
        {student: path for student, path in found.paths.items() if student in wanted},
        {student: problem for student, problem in found.unreadable.items() if student in wanted},
    )


def _closed(path: Path) -> str:
    folder = path.parent.parent
    return f"Permission denied: {folder} cannot be read; open it (chmod -R u+rX {folder}) {AGAIN}"
