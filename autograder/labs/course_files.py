"""Where the course's own files lie: beside `autograder/` in a clone of the repository, inside it where it is installed.

Only the standard library: what starts before all else asks, too.
"""

from __future__ import annotations

import sys
from pathlib import Path

from autograder.errors import UserError

PACKAGE = Path(__file__).resolve().parents[1]
ROOT = PACKAGE.parent  # of a clone
DATA = PACKAGE / "_course"  # of the wheel: packaging/vitedu-autograder puts solutions/ there
SEEN = ("vitedu", "notebooks")  # folders of a clone without answers


def is_installed() -> bool:
    """Whether this is the installed package, and no clone."""
    return DATA.is_dir() or not (ROOT / "solutions").is_dir()


def solutions() -> Path:
    """The folder with a folder for each lab: its text, and its executed notebook."""
    return (DATA if is_installed() else ROOT) / "solutions"


def require_clone(what: str) -> None:
    """Let nobody go on who needs a clone of the repository and has none.

    Args:
        what: such as "autograder build".

    Raises:
        UserError: this is the installed package.
    """
    if is_installed():
        raise UserError(f"{what} works in a clone of the repository, and this autograder is an installed package.")


def code_files(package: Path) -> list[Path]:
    """Our modules below a package, in an order that is the same in a clone and where it is installed."""
    return sorted(path for path in package.rglob("*.py") if DATA not in path.parents)


def answer_folders() -> tuple[str, ...]:
    """Folders that students' code must not see, should they lie in what a sandbox shows, such as /usr.

    An installed package has none beside itself. Of a clone it is all but what students have, and but Python.
    """
    if is_installed():
        return ()
    kept = [Path(prefix).resolve() for prefix in (sys.prefix, sys.base_prefix)]
    folders = [path for path in sorted(ROOT.iterdir()) if path.is_dir() and path.name not in SEEN]
    return tuple(str(path) for path in folders if not any(p.is_relative_to(path.resolve()) for p in kept))
