"""What could not be taken in at all, such as a folder with an impossible name: kept, so that every report lists it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from .folder import write_atomically
from .untrusted import terminal


def write_refused(course: Path, assignment: str, refused: Mapping[str, str]) -> None:
    """Keep name -> why for an assignment."""
    path = _path(course, assignment)
    if refused:
        write_atomically(path, json.dumps(dict(refused), indent=1))
    else:
        path.unlink(missing_ok=True)


def read_refused(course: Path, assignment: str) -> dict[str, str]:
    """Name -> why; empty where there is nothing, or nothing readable: the next grading writes it anew."""
    try:
        found = json.loads(_path(course, assignment).read_text(encoding="utf-8"))
        return {name: terminal(why, 600) for name, why in sorted(found.items())}
    except (OSError, ValueError, AttributeError):
        return {}


def _path(course: Path, assignment: str) -> Path:
    return course / "refused" / f"{assignment}.json"
